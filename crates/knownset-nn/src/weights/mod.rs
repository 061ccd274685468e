//! Weights files as data: `.safetensors`, and PyTorch's `.pt/.pth/.th/.ckpt/.bin` without running their pickle.

mod elements;
mod error;
mod legacy;
mod pickle;
mod pickle_machine;
mod safetensors_file;
mod store;
mod torch_zip;

pub use error::{PickleError, WeightsError};
pub use store::{HostTensor, Weights};
