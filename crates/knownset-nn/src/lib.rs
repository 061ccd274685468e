//! knownset-nn
