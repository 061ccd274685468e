//! Fit and score of every detector on 50,000 training and 50,000 test rows of width 512, K = 100.
//!
//! `cargo bench -p knownset-detect` (a few minutes); `KNOWNSET_BENCH_ROWS=5000` for a quick look. Features are made
//! like a trained network's: rectified, clustered by class, a head that mostly finds the cluster. Beside it,
//! `compare_pytorch_ood.py` measures pytorch-ood on features made the same way.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a benchmark may panic and says what it runs on")]

use std::sync::OnceLock;

use divan::Bencher;
use knownset_core::{Features, Head};
use knownset_detect::{DETECTORS, FitInput, Fitted, select};
use ndarray::{Array1, Array2};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const WIDTH: usize = 512;
const CLASSES: usize = 100;

fn rows() -> usize {
    std::env::var("KNOWNSET_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(50_000)
}

fn bell(rng: &mut impl Rng) -> f32 {
    (0..4).map(|_| rng.random_range(-0.5_f32..0.5)).sum::<f32>() * 3_f32.sqrt()
}

fn features(seed: u64) -> Features {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let centres = Array2::from_shape_simple_fn((CLASSES, WIDTH), || rng.random_range(0.0_f32..1.0).powi(4) * 3.0);
    let mean = centres.mean_axis(ndarray::Axis(0)).unwrap();
    let weight = (&centres - &mean) * 0.05;
    let bias = Array1::from_shape_fn(CLASSES, |c| -0.5 * weight.row(c).dot(&(&centres.row(c) + &mean)));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let labels = Array1::from_shape_simple_fn(rows(), || rng.random_range(0..CLASSES as i64));
    let embedding = Array2::from_shape_fn((rows(), WIDTH), |(row, d)| {
        (centres[(labels[row] as usize, d)] + 0.8 * bell(&mut rng) - 0.2).max(0.0)
    });
    let logits = embedding.dot(&weight.t()) + &bias;
    let head = Some(Head { weight, bias });
    Features { labels: Some(labels), logits: Some(logits), embedding: Some(embedding), head, ..Features::default() }
}

fn data() -> &'static (Features, Features) {
    static DATA: OnceLock<(Features, Features)> = OnceLock::new();
    DATA.get_or_init(|| {
        let data = (features(1), features(2));
        eprintln!("{} rows, training accuracy {:.3}", rows(), data.0.accuracy().unwrap_or(f64::NAN));
        data
    })
}

fn names() -> Vec<&'static str> {
    let plain = DETECTORS
        .iter()
        .map(|entry| &entry.info)
        .filter(|info| info.needs.prompts.is_empty() && info.needs.recipe.is_none());
    plain.map(|info| info.name).collect()
}

fn fit_and_score(names: &str) {
    let (train, test) = data();
    let input = FitInput::new(train, None).unwrap();
    for chosen in select(names).unwrap().iter().filter(|chosen| chosen.applies(train)) {
        divan::black_box(Fitted::fit(chosen, &input).unwrap().score(test).unwrap());
    }
}

/// Each detector alone, with no statistics from another one.
#[divan::bench(args = names(), sample_count = 2, sample_size = 1)]
fn alone(bencher: Bencher<'_, '_>, name: &str) {
    data();
    bencher.bench_local(|| fit_and_score(name));
}

/// All twenty on shared statistics.
#[divan::bench(sample_count = 1, sample_size = 1)]
fn all(bencher: Bencher<'_, '_>) {
    data();
    bencher.bench_local(|| fit_and_score("all"));
}

fn main() {
    divan::main();
}
