//! knownset-detect
