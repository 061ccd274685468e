//! Runs that do not come to their end.

use std::path::PathBuf;

use knownset_core::params::ParamError;
use knownset_nn::network::Mismatch;
use knownset_nn::tokenizer::TokenizerError;
use knownset_nn::{ComputeError, WeightsError};

/// A run that did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// No such device.
    #[error(transparent)]
    Compute(#[from] ComputeError),
    /// A device other than the CPU for a recipe that needs the CPU.
    #[error("the recipe {recipe} reads frozen towers, which are on the CPU, and learns there too; leave out --device")]
    OnlyCpu {
        /// The recipe.
        recipe: String,
    },
    /// A precision in which gradients vanish.
    #[error("gradients in f16 vanish unless losses are scaled; train in bf16")]
    Underflow,
    /// Mixed precision for what is no classifier.
    #[error("only classifiers are trained in mixed precision; leave out --precision")]
    OnlyF32,
    /// Nothing to train on.
    #[error("there are no labelled training images")]
    Empty,
    /// Nothing to be found.
    #[error("the training images show nothing that has a name and a place")]
    NoThings,
    /// A caption without room in the language model.
    #[error("a caption of {tokens} tokens; beside {queries} queries the language model has room for {room}")]
    CaptionTooLong {
        /// Its tokens.
        tokens: usize,
        /// Vectors of the image before it.
        queries: usize,
        /// Most tokens of a caption.
        room: usize,
    },
    /// Nothing to train on, labelled or not.
    #[error("there are no training images")]
    NoPictures,
    /// No outliers for a recipe that learns from them.
    #[error("the recipe {recipe} learns from outliers, and there are none")]
    NoOutliers {
        /// The recipe.
        recipe: String,
    },
    /// Outliers for a recipe that has no use for them.
    #[error("the recipe {recipe} does not learn from outliers, but some are given")]
    UnwantedOutliers {
        /// The recipe.
        recipe: String,
    },
    /// No synthetic images for SIO.
    #[error("sio learns from synthetic images of the known classes, and there are none")]
    NoSynthetic,
    /// Synthetic images for a recipe without SIO.
    #[error("synthetic images are given, but the recipe {recipe} does not use them; write sio+{recipe}")]
    UnwantedSynthetic {
        /// The recipe.
        recipe: String,
    },
    /// A share of real images that leaves none of them in a batch that cannot do without.
    #[error("sio leaves no real image in a batch of {batch} with alpha={alpha}; raise alpha or --batch-size")]
    NothingLeft {
        /// Share of the real images.
        alpha: f64,
        /// Images per batch.
        batch: usize,
    },
    /// Fewer synthetic images than an epoch takes.
    #[error(
        "{found} synthetic images do not last for an epoch; add some, or let them be seen again with exhaust=cycle"
    )]
    Exhausted {
        /// How many there are.
        found: usize,
    },
    /// A network that the recipe cannot train.
    #[error("`{backbone}` is a pair of towers, not a classifier; the recipe clip trains those")]
    Backbone {
        /// Its name.
        backbone: &'static str,
    },
    /// A label beyond the classes.
    #[error("{what} image {image} has label {label}, but there are {classes} classes")]
    Label {
        /// `training`, `synthetic` or `validation`.
        what: &'static str,
        /// Its index.
        image: usize,
        /// Its label.
        label: usize,
        /// Number of classes.
        classes: usize,
    },
    /// Tokens of another number or length than the training images'.
    #[error("the {what} images have {} tokens of length {}, expected {} of length {}", found[0], found[1], expected[0], expected[1])]
    Tokens {
        /// `validation`.
        what: &'static str,
        /// Their number and length.
        found: [usize; 2],
        /// Those of the training images.
        expected: [usize; 2],
    },
    /// Parameters that do not fit what is trained on.
    #[error("bad parameters for `{recipe}`")]
    Params {
        /// The recipe.
        recipe: String,
        /// What is wrong with them.
        source: ParamError,
    },
    /// A class without a training image.
    #[error("there is no training image of {class}")]
    NoImages {
        /// Its name.
        class: String,
    },
    /// A class name that leaves no room for the vectors that are to be learned.
    #[error(
        "`{class}.` takes {taken} tokens and the context {context}, but the text tower reads {room}; lower `tokens`"
    )]
    PromptTooLong {
        /// The class.
        class: String,
        /// Tokens of its name, start and end token included.
        taken: usize,
        /// Vectors of the context.
        context: usize,
        /// Tokens of the text tower.
        room: usize,
    },
    /// A file that should hold learned prompts.
    #[error("{path}: no learned `vectors`")]
    NoVectors {
        /// The file.
        path: PathBuf,
    },
    /// A class name that cannot be cut into tokens.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The best epoch cannot be told without validation images.
    #[error("the best epoch is the one with the best validation accuracy, and there are no validation images")]
    NoValidation,
    /// An image that cannot be read.
    #[error("{0}")]
    Image(String),
    /// The loss stopped being a number; the checkpoint of the epoch before is kept.
    #[error("the loss is {loss} in epoch {epoch}, step {step}; {}try a lower --lr", safe(*kept))]
    Diverged {
        /// The loss.
        loss: f64,
        /// The epoch, from 1.
        epoch: usize,
        /// The step in it, from 1.
        step: usize,
        /// The last finished epoch, 0 if there is none.
        kept: usize,
    },
    /// A weight stopped being a number; the checkpoint of the epoch before is kept.
    #[error("the weights are not finite after epoch {epoch}, `{tensor}` first; {}try a lower --lr", safe(*kept))]
    NotFinite {
        /// The first tensor with such a weight, by its name in the weights file.
        tensor: String,
        /// The epoch, from 1.
        epoch: usize,
        /// The last finished epoch, 0 if there is none.
        kept: usize,
    },
    /// The caller asked to stop.
    #[error("stopped in epoch {epoch}; run the same command {}", again(*kept))]
    Stopped {
        /// The epoch, from 1.
        epoch: usize,
        /// The last finished epoch, 0 if there is none.
        kept: usize,
    },
    /// The caller asked to stop before the first step.
    #[error("stopped before the first step; run the same command again")]
    StoppedEarly,
    /// The folder already holds a run.
    #[error("{path}: there is a checkpoint here; give --resume to go on with it, or another folder")]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// The checkpoint is of another run.
    #[error("{path}: the checkpoint was made with other settings: {found}, now {given}")]
    OtherRun {
        /// The folder.
        path: PathBuf,
        /// Settings in the checkpoint.
        found: String,
        /// Settings now.
        given: String,
    },
    /// A checkpoint file that cannot be parsed.
    #[error("{path}: damaged checkpoint")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The optimiser's state cannot be written or read.
    #[error("the optimiser's state: {0}")]
    Optimiser(String),
    /// Weights that do not fit the network.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// A weights file that cannot be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What a run that cannot go on leaves, as a part of a sentence.
fn safe(kept: usize) -> String {
    if kept == 0 { String::new() } else { format!("the checkpoint of epoch {kept} is kept; ") }
}

/// How a stopped run goes on.
fn again(kept: usize) -> String {
    if kept == 0 { "again".to_owned() } else { format!("with --resume to go on from epoch {kept}") }
}
