//! knownset-train
