//! Images: where they come from, how they are decoded within limits, and how they become a network's input.
//!
//! ```no_run
//! use knownset_data::{DatasetRef, DecodePolicy, Limits, load};
//! # fn main() -> Result<(), knownset_data::DataError> {
//! # let spec = knownset_core::Preprocess {
//! #     resize: knownset_core::Resize::Shorter { size: 32, filter: knownset_core::Filter::Bilinear },
//! #     size: 32, mean: [0.5; 3], std: [0.5; 3],
//! # };
//! let source = "folder:holiday-pictures".parse::<DatasetRef>()?.open()?;
//! for i in 0..source.len() {
//!     let image = load(source.as_ref(), i, DecodePolicy::Strict, &Limits::default(), &spec)?;
//!     println!("{}: {} numbers", source.id(i), image.input.len());
//! }
//! # Ok(())
//! # }
//! ```

pub mod corruptions;
mod decode;
mod error;
mod formats;
pub mod hub;
mod load;
mod pickle;
mod preprocess;
mod reference;
mod resample;
mod source;
mod subset;
mod tree;
pub mod words;
pub mod world;

pub use decode::{DecodeError, DecodePolicy, Decoded, Limits, decode};
pub use error::{DataError, ListProblem};
pub use load::{LoadedImage, load, rgb};
pub use pickle::PickleError;
pub use preprocess::{preprocess, preprocess_into, preprocess_scaled};
pub use reference::{DATASETS, DatasetEntry, DatasetRef, Split};
pub use source::{DatasetInfo, EncodedImage, ImageSource, Located, Texts};
pub use subset::Subset;
