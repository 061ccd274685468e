//! knownset-data
