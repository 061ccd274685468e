//! Heads with shaped features.
