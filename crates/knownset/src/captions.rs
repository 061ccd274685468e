//! Images with their captions and tags, as what learns from them wants them.

use knownset_core::Preprocess;
use knownset_data::Texts;
use knownset_nn::tokenizer::Tokenizer;
use knownset_train::{Captioned, Pictures};
use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::images::{Images, TrainingImages};

/// Share of texts that are one of the image's captions; the others are made of tags.
const CAPTIONS: f64 = 0.5;
/// Share of texts that are one tag in a common prompt.
const PROMPTS: f64 = 0.2;
/// Share of the texts to draw from that are a tag and a caption in FodFoM's sentence.
const SENTENCES: f64 = 0.3;

/// The images of a set that has texts.
pub(crate) struct CaptionedImages<'a> {
    pictures: TrainingImages<'a>,
    texts: &'a [Texts],
    tokenizer: &'a Tokenizer,
}

impl<'a> CaptionedImages<'a> {
    /// `texts` belong to the images, row by row.
    pub(crate) fn new(
        images: &'a Images,
        preprocess: &Preprocess,
        texts: &'a [Texts],
        tokenizer: &'a Tokenizer,
    ) -> Self {
        Self { pictures: TrainingImages::all(images, preprocess), texts, tokenizer }
    }
}

impl Captioned for CaptionedImages<'_> {
    fn len(&self) -> usize {
        self.texts.len()
    }

    fn pair(&self, index: usize, random: &mut ChaCha8Rng) -> Result<(Vec<f32>, Vec<u32>), String> {
        let text = choose(&self.texts[index], random);
        let tokens = self.tokenizer.encode(&text).map_err(|error| error.to_string())?;
        Ok((self.pictures.picture(index)?, tokens.ids[..=tokens.end].to_vec()))
    }
}

/// What an image is drawn from: a caption, a tag as SIO asks for a class, or both as FodFoM does.
pub(crate) fn prompt(texts: &Texts, random: &mut ChaCha8Rng) -> String {
    let draw: f64 = random.random();
    match (texts.captions.choose(random), texts.tags.choose(random)) {
        (Some(caption), Some(tag)) if draw < SENTENCES => format!("This is a photo of {tag} and {caption}"),
        (_, Some(tag)) if draw < SENTENCES + PROMPTS => format!("a photo of a {tag}"),
        (Some(caption), _) => caption.clone(),
        (None, tag) => tag.cloned().unwrap_or_default(),
    }
}

/// A caption, "a photo of a TAG", or up to three tags in a row: what stands beside pictures in the wild.
fn choose(texts: &Texts, random: &mut ChaCha8Rng) -> String {
    let draw: f64 = random.random();
    match (texts.captions.choose(random), texts.tags.choose(random)) {
        (Some(caption), tag) if draw < CAPTIONS || tag.is_none() => caption.clone(),
        (_, Some(tag)) if draw < CAPTIONS + PROMPTS => format!("a photo of a {tag}"),
        _ => {
            let mut tags: Vec<&str> = texts.tags.iter().map(String::as_str).collect();
            tags.shuffle(random);
            tags.truncate(random.random_range(1..=3));
            tags.join(", ")
        }
    }
}
