//! knownset
fn main() {}
