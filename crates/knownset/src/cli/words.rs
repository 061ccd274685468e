//! Arguments of the commands that take the known set in words.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use knownset_data::corruptions::Severity;

use super::{Gate, Keeping, Reading, StreamArgs, at_least_one, named};

/// A pair of towers that read images and words.
#[derive(Debug, Clone, Args)]
pub(crate) struct TowersArgs {
    /// Towers by name: sprite-clip, which is bundled, or clip with --weights
    #[arg(long, value_name = "NAME", default_value = "sprite-clip")]
    pub(crate) backbone: String,
    /// A CLIP checkpoint's folder (Hugging Face, OpenAI or OpenCLIP layout), or hf:ORGANISATION/NAME, with @REVISION behind it for other than main
    #[arg(long, value_name = "DIR", requires = "backbone")]
    pub(crate) weights: Option<PathBuf>,
}

/// The known set in words.
#[derive(Debug, Clone, Args)]
pub(crate) struct Words {
    /// Class names, one a line or a JSON list [default: the class names of the data]
    #[arg(long, value_name = "FILE")]
    pub(crate) classes: Option<PathBuf>,
    /// Prompts around class names: simple, nice, 80, … or a file with one a line, {} for the name
    #[arg(long, value_name = "NAME|FILE", default_value = "simple")]
    pub(crate) templates: String,
    /// Where negative words come from: words:wordnet, a folder or zip of WordNet lists, or a text file
    #[arg(long, value_name = "REF", default_value = "words:wordnet")]
    pub(crate) corpus: String,
    /// Lists of the corpus to leave out, such as noun.animal
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) without: Vec<String>,
    /// Names of what may turn up but is not known, for the detector eoe
    #[arg(long, value_name = "FILE")]
    pub(crate) outliers: Option<PathBuf>,
    /// Rounds of shuffled prompts, for the detector tag
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = at_least_one)]
    pub(crate) shuffles: usize,
    /// Seed of whatever words are joined or shuffled by chance
    #[arg(long = "words-seed", value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
}

/// The arguments that say which words.
const WORDS: [&str; 7] = ["classes", "templates", "corpus", "without", "outliers", "shuffles", "seed"];

impl Default for Words {
    /// As the command line's.
    fn default() -> Self {
        Self {
            classes: None,
            templates: "simple".into(),
            corpus: "words:wordnet".into(),
            without: Vec::new(),
            outliers: None,
            shuffles: 10,
            seed: 0,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct EmbedText {
    #[command(flatten)]
    pub(crate) towers: TowersArgs,
    /// Prompts, one a line; an empty line is an empty prompt
    #[arg(long, value_name = "FILE")]
    pub(crate) prompts: PathBuf,
    /// Feature file to write (.safetensors)
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) keeping: Keeping,
}

#[derive(Debug, Args)]
pub(crate) struct Zeroshot {
    #[command(flatten)]
    pub(crate) towers: TowersArgs,
    #[command(flatten)]
    pub(crate) words: Words,
    /// The known set in words from a file instead: what `train` or `zeroshot --out` left as known.safetensors
    #[arg(long, value_name = "FILE", conflicts_with_all = WORDS)]
    pub(crate) known: Option<PathBuf>,
    /// Images to label and score; with --ood, the in-distribution test images
    #[arg(long, value_name = "REF")]
    pub(crate) data: String,
    /// Images to refuse; repeat for several sets
    #[arg(long, value_name = "NAME=REF", value_parser = named)]
    pub(crate) ood: Vec<(String, String)>,
    /// Comma-separated detectors [default: mcm; with --ood zero-shot, all that read words]
    #[arg(long, value_name = "LIST")]
    pub(crate) detectors: Option<String>,
    /// Folder for report.html, results.{json,csv,md,tex}, the scores, words.json, and known.safetensors: the known set in
    /// words, which fit takes as --train
    #[arg(long, value_name = "DIR", requires = "ood")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) stream: StreamArgs,
    #[command(flatten)]
    pub(crate) gate: Gate,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

#[derive(Debug, Args)]
pub(crate) struct Probe {
    #[command(flatten)]
    pub(crate) towers: TowersArgs,
    #[command(flatten)]
    pub(crate) words: Words,
    /// In-distribution test images, labelled if accuracy is to be told
    #[arg(long, value_name = "REF")]
    pub(crate) id: String,
    /// Unknown images that look like the known set; repeat for several sets
    #[arg(long, value_name = "NAME=REF", value_parser = named, required_unless_present = "far")]
    pub(crate) near: Vec<(String, String)>,
    /// Unknown images of another kind; repeat for several sets
    #[arg(long, value_name = "NAME=REF", value_parser = named)]
    pub(crate) far: Vec<(String, String)>,
    /// Labelled images of the known set, to train a linear probe on
    #[arg(long, value_name = "REF")]
    pub(crate) train: Option<String>,
    /// A classifier of the same classes to compare with, such as sprite-resnet
    #[arg(long, value_name = "BACKBONE[=WEIGHTS]", requires = "train", value_parser = supervised)]
    pub(crate) supervised: Option<(String, Option<PathBuf>)>,
    /// Single templates whose scores are compared: a name or a file, as --templates
    #[arg(long, value_name = "NAME|FILE", default_value = "sensitivity")]
    pub(crate) templates_compared: String,
    /// What to look at
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "mechanisms,modalities,sensitivity")]
    pub(crate) parts: Vec<Part>,
    /// Kinds of corruption, or all
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "all")]
    pub(crate) corruptions: Vec<String>,
    /// Severities of corruption, 1 to 5
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1,2,3,4,5")]
    pub(crate) severities: Vec<Severity>,
    /// Images drawn from each set, 0 for all [default: 200 for sensitivity, all for the other parts]
    #[arg(long, value_name = "N")]
    pub(crate) images: Option<usize>,
    /// Detectors whose sensitivity is measured
    #[arg(long, value_name = "LIST", default_value = "mcm,neglabel")]
    pub(crate) detectors: String,
    /// Folder for report.html and probe.json
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// A part of the probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Cosines of images and words
    Mechanisms,
    /// Words against a linear probe and a supervised network
    Modalities,
    /// Corrupted images and other prompts
    Sensitivity,
}

fn supervised(text: &str) -> Result<(String, Option<PathBuf>), String> {
    match text.split_once('=') {
        None => Ok((text.into(), None)),
        Some((name, weights)) if !name.is_empty() && !weights.is_empty() => Ok((name.into(), Some(weights.into()))),
        Some(_) => Err("expected BACKBONE or BACKBONE=WEIGHTS, such as resnet50=weights.safetensors".into()),
    }
}
