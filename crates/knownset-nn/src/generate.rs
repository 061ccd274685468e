//! Writing with a language model, token by token.
//!
//! What is written for a text does not depend on the texts beside it, nor on the number of threads: its beginning is read
//! alone, further tokens in groups of a fixed size, and random numbers are drawn from a stream of its own.

use std::ops::ControlFlow;

use burn::tensor::{Int, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use rayon::prelude::*;

use crate::network::{Opt, Past};

/// Texts that are gone on with at a time, always as many: the shape of a matrix product can change its rounding.
const TEXTS: usize = 8;

/// Asked before each step of the work, on any thread; `Break` stops it.
pub type Watch<'a> = &'a (dyn Fn() -> ControlFlow<()> + Sync);

/// Text that is not written.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// A share of the probability outside its range.
    #[error("a share of {share} of the probability is not in (0, 1]")]
    Share {
        /// The share.
        share: f64,
    },
    /// A temperature outside its range.
    #[error("a temperature of {temperature} is not a finite number above 0")]
    Temperature {
        /// The temperature.
        temperature: f64,
    },
    /// Not one stream of random numbers a text.
    #[error("{streams} streams of random numbers for {texts} texts")]
    Streams {
        /// Streams given.
        streams: usize,
        /// Texts to be written.
        texts: usize,
    },
    /// More tokens than the model has positions for.
    #[error("{start} tokens and {most} more are too many, the language model has {positions} positions")]
    TooLong {
        /// Tokens to begin with.
        start: usize,
        /// Most tokens to be written.
        most: usize,
        /// Positions there are.
        positions: usize,
    },
    /// A NaN or an infinity among the logits.
    #[error("the language model's output for text {0} is not finite; are these the right weights?")]
    NotFinite(usize),
    /// The caller asked to stop.
    #[error("stopped")]
    Stopped,
}

/// Nucleus sampling (Holtzman et al. 2020, <https://arxiv.org/abs/1904.09751>): the next token is drawn among the likeliest
/// ones that have a share of the probability together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nucleus {
    share: f64,
    temperature: f64,
}

impl Nucleus {
    /// `share` in (0, 1], the paper's p; logits are divided by `temperature`, above 0, first.
    pub fn new(share: f64, temperature: f64) -> Result<Self, GenerateError> {
        if !(share > 0.0 && share <= 1.0) {
            Err(GenerateError::Share { share })
        } else if !(temperature > 0.0 && temperature.is_finite()) {
            Err(GenerateError::Temperature { temperature })
        } else {
            Ok(Self { share, temperature })
        }
    }

    /// The tokens that may be drawn and their probabilities, likeliest first, of equals the smaller number. A token is among
    /// them if those before it have less than the share together, as in transformers.
    pub fn candidates(&self, logits: &[f32]) -> Vec<(u32, f64)> {
        let mut tokens: Vec<u32> = (0..logits.len() as u32).collect();
        tokens.sort_unstable_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
        let largest = tokens.first().map_or(0.0, |&token| f64::from(logits[token as usize]));
        let weight = |token: u32| ((f64::from(logits[token as usize]) - largest) / self.temperature).exp();
        let all: f64 = tokens.iter().map(|&token| weight(token)).sum();
        let mut before = 0.0;
        let mut candidates: Vec<(u32, f64)> = tokens
            .into_iter()
            .map(|token| (token, weight(token)))
            .take_while(|(_, weight)| {
                let within = before < self.share * all;
                before += weight;
                within
            })
            .collect();
        let kept: f64 = candidates.iter().map(|(_, weight)| weight).sum();
        for (_, weight) in &mut candidates {
            *weight /= kept;
        }
        candidates
    }

    /// The token that a number in [0, 1) draws among the candidates in their order.
    pub fn draw(&self, logits: &[f32], number: f64) -> u32 {
        let candidates = self.candidates(logits);
        let mut reached = 0.0;
        let drawn = candidates.iter().find(|(_, probability)| {
            reached += probability;
            reached > number
        });
        drawn.or(candidates.last()).map_or(0, |&(token, _)| token)
    }
}

/// How the next token is chosen.
#[derive(Debug)]
pub enum Decoding<'a> {
    /// The likeliest one; of equals the smaller number.
    Greedy,
    /// One that is drawn.
    Nucleus {
        /// Among which.
        nucleus: Nucleus,
        /// Random numbers, a stream for each text; one number a token.
        streams: &'a mut [ChaCha8Rng],
    },
}

impl Decoding<'_> {
    fn choose(&mut self, text: usize, logits: &[f32]) -> Result<u32, GenerateError> {
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err(GenerateError::NotFinite(text));
        }
        Ok(match self {
            Self::Greedy => likeliest(logits),
            Self::Nucleus { nucleus, streams } => {
                let number = (streams[text].next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
                nucleus.draw(logits, number)
            }
        })
    }
}

fn likeliest(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = token;
        }
    }
    best as u32
}

/// When a text is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Tokens that end a text; the one that did is its last.
    pub ends: Vec<u32>,
    /// Most tokens that are written.
    pub most: usize,
}

impl Stop {
    fn complete(&self, text: &[u32]) -> bool {
        text.len() >= self.most || text.last().is_some_and(|token| self.ends.contains(token))
    }
}

/// Goes on with texts, each given by its word vectors `[1, T, words]`; → the tokens written behind each.
///
/// # Errors
/// Any of [`GenerateError`].
///
/// # Panics
/// If the beginnings have no tokens or different numbers of them.
pub fn continuations(
    model: &Opt,
    starts: &[Tensor<3>],
    mut decoding: Decoding<'_>,
    stop: &Stop,
    watch: Watch<'_>,
) -> Result<Vec<Vec<u32>>, GenerateError> {
    let Some(start) = starts.first().map(|start| start.dims()[1]) else { return Ok(Vec::new()) };
    assert!(start > 0 && starts.iter().all(|other| other.dims()[1] == start), "beginnings of one length");
    if let Decoding::Nucleus { streams, .. } = &decoding
        && streams.len() != starts.len()
    {
        return Err(GenerateError::Streams { streams: streams.len(), texts: starts.len() });
    }
    if stop.most == 0 {
        return Ok(vec![Vec::new(); starts.len()]);
    }
    // The last token written is not read any more.
    let (most, positions) = (stop.most, model.positions());
    if start.saturating_add(most - 1) > positions {
        return Err(GenerateError::TooLong { start, most, positions });
    }
    let mut texts = Vec::with_capacity(starts.len());
    for group in starts.chunks(TEXTS) {
        let first = texts.len();
        texts.extend(together(model, group, first, &mut decoding, stop, watch)?);
    }
    Ok(texts)
}

/// At most [`TEXTS`] texts, of which `first` says the first one's number.
fn together(
    model: &Opt,
    starts: &[Tensor<3>],
    first: usize,
    decoding: &mut Decoding<'_>,
    stop: &Stop,
    watch: Watch<'_>,
) -> Result<Vec<Vec<u32>>, GenerateError> {
    let go_on = || if watch().is_break() { Err(GenerateError::Stopped) } else { Ok(()) };
    let read = |start: &Tensor<3>| {
        go_on()?;
        let [_, tokens, _] = start.dims();
        let mut past = Past::default();
        let last = model.read(start.clone(), &mut past).narrow(1, tokens - 1, 1).squeeze_dim(1);
        Ok((past, values(model.logits(last))))
    };
    let (pasts, logits): (Vec<Past>, Vec<Vec<f32>>) =
        starts.par_iter().map(read).collect::<Result<Vec<_>, GenerateError>>()?.into_iter().unzip();
    // Rows that no text has go on with a copy of the first, and rows whose text is complete just go on.
    let row = |row: usize| if row < starts.len() { row } else { 0 };
    let mut past = Past::stack(&(0..TEXTS).map(|each| &pasts[row(each)]).collect::<Vec<_>>());
    drop(pasts);
    let mut logits = logits.concat();
    let mut texts = vec![Vec::new(); starts.len()];
    loop {
        for ((number, text), logits) in texts.iter_mut().enumerate().zip(logits.chunks_exact(model.vocabulary())) {
            if !stop.complete(text) {
                text.push(decoding.choose(first + number, logits)?);
            }
        }
        if texts.iter().all(|text| stop.complete(text)) {
            return Ok(texts);
        }
        go_on()?;
        let ids: Vec<i64> = (0..TEXTS).map(|each| texts[row(each)].last().map_or(0, |&id| i64::from(id))).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [TEXTS, 1]), &model.device());
        logits = values(model.logits(model.read(model.vectors(ids), &mut past).squeeze_dim(1)));
    }
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_candidate_while_those_before_it_have_less_than_the_share() {
        // Probabilities 1/2, 1/4, 1/8, 1/8 of tokens 2, 0, 1, 3.
        let logits = [4_f32.ln(), 2_f32.ln(), 8_f32.ln(), 2_f32.ln()];
        let kept = |share| {
            let candidates = Nucleus::new(share, 1.0).unwrap().candidates(&logits);
            candidates
                .into_iter()
                .map(|(token, probability)| (token, (probability * 1e6).round() / 1e6))
                .collect::<Vec<_>>()
        };
        assert_eq!(kept(0.3), [(2, 1.0)]);
        assert_eq!(kept(0.6), [(2, 0.666_667), (0, 0.333_333)]);
        assert_eq!(kept(0.8), [(2, 0.571_429), (0, 0.285_714), (1, 0.142_857)]);
        assert_eq!(kept(1.0), [(2, 0.5), (0, 0.25), (1, 0.125), (3, 0.125)]);
        let nucleus = Nucleus::new(1.0, 1.0).unwrap();
        let drawn = [0.0, 0.49, 0.51, 0.74, 0.76, 0.88, 0.999].map(|number| nucleus.draw(&logits, number));
        assert_eq!(drawn, [2, 2, 0, 0, 1, 3, 3]);
        // Squares at half the temperature: 16, 4, 1, 1 of 22.
        let cold = Nucleus::new(1.0, 0.5).unwrap().candidates(&logits);
        assert!((cold[0].1 - 16.0 / 22.0).abs() < 1e-6 && (cold[3].1 - 1.0 / 22.0).abs() < 1e-6);
    }

    #[test]
    fn parameters_outside_their_range_are_refused() {
        for share in [0.0, -0.5, 1.1, f64::NAN] {
            assert!(matches!(Nucleus::new(share, 1.0), Err(GenerateError::Share { .. })));
        }
        for temperature in [0.0, -1.0, f64::INFINITY, f64::NAN] {
            assert!(matches!(Nucleus::new(0.9, temperature), Err(GenerateError::Temperature { .. })));
        }
    }

    #[test]
    fn the_likeliest_of_equals_is_the_first() {
        assert_eq!(likeliest(&[1.0, 3.0, 3.0, 2.0]), 1);
        assert_eq!(Decoding::Greedy.choose(5, &[0.0, f32::NAN]), Err(GenerateError::NotFinite(5)));
    }
}
