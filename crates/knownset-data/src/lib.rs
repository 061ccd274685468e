//! knownset-data

pub mod world;
