//! Checks that every detector passes.
