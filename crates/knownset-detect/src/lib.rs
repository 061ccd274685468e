//! Out-of-distribution detectors, one file each, behind one registry.
//!
//! A detector is chosen by name and parameters ([`select`]), fitted on features of the known set
//! ([`FitInput`], whose statistics all detectors share), and then gives every image one score,
//! **higher = more in-distribution** ([`Fitted`]). A fitted detector is one portable file.
//!
//! ```
//! use knownset_core::Features;
//! use knownset_detect::{FitInput, Fitted, select};
//! use ndarray::array;
//!
//! let known = Features { logits: Some(array![[4.0, 0.0], [0.0, 5.0]]), ..Features::default() };
//! let input = FitInput::new(&known, None)?;
//! for chosen in select("msp,ebo:temperature=2")? {
//!     let fitted = Fitted::fit(&chosen, &input)?;
//!     assert_eq!(fitted.score(&known)?.len(), 2);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod checks;
mod detectors;
mod fitted;
mod grouped;
mod input;
mod linear;
pub mod mining;
mod registry;
mod rows;
mod shaping;
mod spec;
mod stream;
mod words;

pub use fitted::{Fitted, LoadError, ScoreError};
pub use input::{FitError, FitInput};
pub use registry::{Chosen, DETECTORS, SelectError, find, select};
pub use spec::{Batch, Entry, Info, Information, Needs, ParamDoc, ParamError, Scorer, Spec, Widths};
pub use stream::{Ratio, RatioError, Stream, Streamed};
