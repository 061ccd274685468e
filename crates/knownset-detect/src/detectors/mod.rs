//! One file per detector.

pub(crate) mod ebo;
pub(crate) mod knn;
pub(crate) mod mds;
pub(crate) mod msp;
