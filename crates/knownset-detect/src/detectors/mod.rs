//! One file per detector.

pub(crate) mod ash_s;
pub(crate) mod dice;
pub(crate) mod ebo;
pub(crate) mod entropy;
pub(crate) mod fdbd;
pub(crate) mod generalized_entropy;
pub(crate) mod grad_norm;
pub(crate) mod klm;
pub(crate) mod knn;
pub(crate) mod mds;
pub(crate) mod mls;
pub(crate) mod msp;
pub(crate) mod openmax;
pub(crate) mod react;
pub(crate) mod residual;
pub(crate) mod rmds;
pub(crate) mod scale;
pub(crate) mod she;
pub(crate) mod temp_scale;
pub(crate) mod vim;
