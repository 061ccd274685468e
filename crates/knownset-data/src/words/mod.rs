//! Words for models that read: prompt templates, class names, word corpora and perturbed prompts. No network needed.
//!
//! ```
//! use knownset_data::words::{Corpus, Templates, spoken};
//!
//! let templates = Templates::parse("nice")?;
//! assert_eq!(templates.fill(&spoken("sea-animal")), ["The nice sea animal."]);
//! let corpus = Corpus::open("words:wordnet", &[])?;
//! assert!(corpus.includes("noun.animal"));
//! # Ok::<(), knownset_data::words::WordsError>(())
//! ```

mod bundled;
mod class_names;
mod corpus;
mod error;
mod perturb;
mod templates;
mod text;

pub use bundled::synonyms;
pub use class_names::{class_names_of, read_class_names, spoken};
pub use corpus::{Corpus, PartOfSpeech, WordList};
pub use error::WordsError;
pub use perturb::Perturbation;
pub use templates::{CSP_SUPERCLASSES, TEMPLATES, TemplateSet, Templates, fill};
