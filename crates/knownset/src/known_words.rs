//! The known set given in words: class names in templates, and the words that detectors hold against them.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::Context;
use knownset_core::Features;
use knownset_core::prompts::{AGENTS, CANDIDATES, CLASSES, CONJUGATED, NEGATIVES, OUTLIERS, SHUFFLED, unit_rows};
use knownset_data::words::{
    CSP_SUPERCLASSES, Corpus, PartOfSpeech, Perturbation, Templates, WordList, fill, read_class_names, spoken,
};
use knownset_detect::Chosen;
use knownset_detect::mining::Mining;
use knownset_nn::clip::Clip;
use knownset_nn::extract::Cache;
use ndarray::{Array2, ArrayView2, Axis, concatenate};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::cli::Words;
use crate::images::{Images, STOP};
use crate::printer::Printer;
use crate::towers::embed;

/// CMA's neutral texts (Lee et al., AAAI 2025).
const NEUTRAL: [&str; 5] = [
    "a photo of a thing.",
    "an everyday object.",
    "a scene we live in.",
    "highlighting different textures.",
    "a thing that we can see in nature.",
];
/// ZOC's prompt for a word that an image may show.
const CANDIDATE: &str = "This is a photo of a {}";
/// Lists that CSP leaves out of its pool.
const CSP_WITHOUT: [&str; 4] = ["noun.person", "noun.quantity", "noun.group", "adj.pert"];

/// Text features of a known set, and the words they are of.
pub(crate) struct KnownWords {
    /// Prompts and class names, no images.
    pub(crate) features: Features,
    /// The words, for people.
    pub(crate) record: Record,
}

/// Which words stand behind the text features.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Record {
    pub(crate) classes: Vec<String>,
    pub(crate) templates: Vec<String>,
    /// Where negative words were looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) corpus: Option<CorpusRecord>,
    /// The words of every array of prompts but the classes'.
    pub(crate) words: BTreeMap<&'static str, Vec<String>>,
}

/// A corpus, as input to be named in a result.
#[derive(Debug, Serialize)]
pub(crate) struct CorpusRecord {
    pub(crate) reference: String,
    pub(crate) sha256: String,
    pub(crate) lists: Vec<WordList>,
    /// Class names that are words of the corpus: mining may choose a class as its own negative.
    pub(crate) class_names_among_words: Vec<String>,
}

impl Words {
    /// The class names given, or those of the images, as they are spoken.
    pub(crate) fn class_names(&self, images: &Images) -> anyhow::Result<Vec<String>> {
        match &self.classes {
            Some(path) => Ok(read_class_names(path)?),
            None => Ok(images.class_names().iter().map(|name| spoken(name)).collect()),
        }
    }
}

/// What building needs, passed around together.
struct Builder<'a> {
    args: &'a Words,
    clip: &'a Clip,
    cache: Option<&'a Cache>,
    printer: Printer,
    corpus: Option<Corpus>,
    prompts: BTreeMap<String, Array2<f32>>,
    record: Record,
}

/// Embeds the class names, and whatever else these detectors read and the arguments give.
pub(crate) fn build(
    args: &Words,
    classes: &[String],
    detectors: &[Chosen],
    clip: &Clip,
    cache: Option<&Cache>,
    printer: Printer,
) -> anyhow::Result<KnownWords> {
    anyhow::ensure!(!classes.is_empty(), "there are no class names; give --classes");
    let templates = Templates::parse(&args.templates)?;
    let mut builder = Builder {
        args,
        clip,
        cache,
        printer,
        corpus: None,
        prompts: BTreeMap::new(),
        record: Record { classes: classes.to_vec(), templates: templates.all().to_vec(), ..Record::default() },
    };
    let rows = builder.ensemble("classes", classes, &templates)?;
    builder.prompts.insert(CLASSES.into(), rows);
    let wanted = |name: &str| detectors.iter().any(|chosen| chosen.entry().info.needs.prompts.contains(&name));
    if wanted(NEGATIVES) {
        builder.negatives()?;
    }
    if wanted(CONJUGATED) {
        builder.conjugated()?;
    }
    if wanted(CANDIDATES) {
        builder.candidates()?;
    }
    if wanted(SHUFFLED) {
        builder.shuffled(&templates)?;
    }
    if wanted(AGENTS) {
        builder.plain(AGENTS, NEUTRAL.map(str::to_owned).to_vec())?;
    }
    if let Some(path) = args.outliers.as_deref().filter(|_| wanted(OUTLIERS)) {
        builder.outliers(path, &templates)?;
    }
    let features = Features {
        prompts: builder.prompts,
        class_names: Some(classes.to_vec()),
        origin: Some(clip.origin().clone()),
        ..Features::default()
    };
    Ok(KnownWords { features, record: builder.record })
}

impl Builder<'_> {
    fn embed(&self, what: &str, texts: &[String]) -> anyhow::Result<Array2<f32>> {
        embed(self.clip, what, texts, self.cache, self.printer)
    }

    /// One row a word: the mean over the templates of unit text features.
    fn ensemble(&self, what: &str, words: &[String], templates: &Templates) -> anyhow::Result<Array2<f32>> {
        let texts: Vec<String> = words.iter().flat_map(|word| templates.fill(word)).collect();
        mean_of(self.embed(what, &texts)?.view(), templates.all().len())
    }

    fn insert(&mut self, name: &'static str, rows: Array2<f32>, words: Vec<String>) {
        self.prompts.insert(name.into(), rows);
        self.record.words.insert(name, words);
    }

    /// Texts as they are.
    fn plain(&mut self, name: &'static str, texts: Vec<String>) -> anyhow::Result<()> {
        let rows = self.embed(name, &texts)?;
        self.insert(name, rows, texts);
        Ok(())
    }

    fn outliers(&mut self, path: &Path, templates: &Templates) -> anyhow::Result<()> {
        let names = read_class_names(path)?;
        let rows = self.ensemble(OUTLIERS, &names, templates)?;
        self.insert(OUTLIERS, rows, names);
        Ok(())
    }

    /// Opens the corpus once.
    fn corpus(&mut self) -> anyhow::Result<()> {
        if self.corpus.is_none() {
            let without: Vec<&str> = self.args.without.iter().map(String::as_str).collect();
            let corpus = Corpus::open(&self.args.corpus, &without).context("cannot open the words")?;
            let shared = corpus.shared_with(&self.record.classes);
            self.record.corpus = Some(CorpusRecord {
                reference: corpus.reference().to_owned(),
                sha256: corpus.sha256().to_owned(),
                lists: corpus.lists().to_vec(),
                class_names_among_words: shared.into_iter().map(str::to_owned).collect(),
            });
            self.corpus = Some(corpus);
        }
        Ok(())
    }

    /// Words of one part of speech, as texts.
    fn words(&self, part: PartOfSpeech) -> Vec<String> {
        self.corpus.iter().flat_map(|corpus| corpus.words(part)).map(str::to_owned).collect()
    }

    /// NegLabel's negatives: the nouns and the adjectives least like the classes.
    fn negatives(&mut self) -> anyhow::Result<()> {
        self.corpus()?;
        let (nouns, adjectives) = (self.words(PartOfSpeech::Noun), self.words(PartOfSpeech::Adjective));
        let noun_rows = self.ensemble("nouns", &nouns, &Templates::parse("neglabel")?)?;
        let adjective_rows = self.ensemble("adjectives", &adjectives, &Templates::parse("neglabel-adjective")?)?;
        let parts = [0..nouns.len(), nouns.len()..nouns.len() + adjectives.len()];
        let rows = concatenate(Axis(0), &[noun_rows.view(), adjective_rows.view()])?;
        let words: Vec<String> = nouns.into_iter().chain(adjectives).collect();
        self.mine(NEGATIVES, Mining::NEGLABEL, &rows, &words, &parts)
    }

    /// CSP's pool: negatives of which each adjective is joined with a noun that fits anything.
    fn conjugated(&mut self) -> anyhow::Result<()> {
        self.corpus()?;
        let dropped = |list: &WordList| CSP_WITHOUT.contains(&list.name.as_str());
        let lists = self.corpus.iter().flat_map(Corpus::lists).filter(|list| !dropped(list));
        let (mut nouns, mut pairs) = (Vec::new(), Vec::new());
        let mut random = ChaCha8Rng::seed_from_u64(self.args.seed);
        for list in lists {
            match list.part {
                PartOfSpeech::Noun => nouns.extend(list.words.iter().cloned()),
                // The enum may grow; a word of any other kind is joined with a noun too.
                _ => pairs.extend(list.words.iter().map(|word| {
                    format!("{word} {}", CSP_SUPERCLASSES[random.random_range(0..CSP_SUPERCLASSES.len())])
                })),
            }
        }
        let noun_rows = self.ensemble("nouns (CSP)", &nouns, &Templates::parse("csp")?)?;
        let pair_rows = self.ensemble("pairs (CSP)", &pairs, &Templates::parse("csp-adjective")?)?;
        let parts = [0..nouns.len(), nouns.len()..nouns.len() + pairs.len()];
        let rows = concatenate(Axis(0), &[noun_rows.view(), pair_rows.view()])?;
        let words: Vec<String> = nouns.into_iter().chain(pairs).collect();
        self.mine(CONJUGATED, Mining::CSP, &rows, &words, &parts)
    }

    /// Keeps the words of each part that are least like the classes.
    fn mine(
        &mut self,
        name: &'static str,
        mining: Mining,
        rows: &Array2<f32>,
        words: &[String],
        parts: &[Range<usize>],
    ) -> anyhow::Result<()> {
        let classes = &self.prompts[CLASSES];
        let measured = mining.measure(classes, rows, None, |_| {
            if STOP.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let mut kept = Vec::new();
        for part in parts {
            kept.extend(mining.choose(&measured, part.clone())?);
        }
        anyhow::ensure!(!kept.is_empty(), "{} words are too few to mine negatives from", words.len());
        let chosen = kept.iter().map(|&word| words[word].clone()).collect();
        self.insert(name, rows.select(Axis(0), &kept), chosen);
        Ok(())
    }

    /// Every noun that is no class name.
    fn candidates(&mut self) -> anyhow::Result<()> {
        self.corpus()?;
        let mut nouns = self.words(PartOfSpeech::Noun);
        nouns.retain(|noun| !self.record.classes.contains(noun));
        let texts: Vec<String> = nouns.iter().map(|noun| fill(CANDIDATE, noun)).collect();
        let rows = self.embed("candidates", &texts)?;
        self.insert(CANDIDATES, rows, nouns);
        Ok(())
    }

    /// Every class in prompts whose words are shuffled, round after round.
    fn shuffled(&mut self, templates: &Templates) -> anyhow::Result<()> {
        let template = &templates.all()[0];
        let mut texts = Vec::new();
        for round in 0..self.args.shuffles {
            for class in &self.record.classes {
                let seed = self.args.seed.wrapping_add(round as u64);
                let text = Perturbation::WordOrder.apply(template, class, seed)?;
                texts.push(text.unwrap_or_else(|| fill(template, class)));
            }
        }
        self.plain(SHUFFLED, texts)
    }
}

/// Rows of `[n * m, d]` made unit length and averaged, m at a time: `[n, d]`.
pub(crate) fn mean_of(rows: ArrayView2<'_, f32>, m: usize) -> anyhow::Result<Array2<f32>> {
    let unit = unit_rows(&rows.to_owned()).map_err(|row| anyhow::anyhow!("the embedding of text {row} is zero"))?;
    let mut means = Array2::zeros((unit.nrows() / m, unit.ncols()));
    for (mut mean, rows) in means.outer_iter_mut().zip(unit.axis_chunks_iter(Axis(0), m)) {
        mean.assign(&(rows.sum_axis(Axis(0)) / m as f64).mapv(|value| value as f32));
    }
    Ok(means)
}
