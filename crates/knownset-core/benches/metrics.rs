//! Every metric of one ID set against one OOD set, a million scores each: `cargo bench -p knownset-core`.

use divan::{Bencher, black_box};
use knownset_core::metrics::Metrics;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn main() {
    divan::main();
}

#[divan::bench(args = [10_000, 1_000_000])]
fn all_metrics(bencher: Bencher<'_, '_>, n: usize) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut scores = |shift: f64| (0..n).map(|_| rng.random::<f64>() + shift).collect::<Vec<f64>>();
    let (id, ood) = (scores(0.3), scores(0.0));
    bencher.bench(|| Metrics::new(black_box(&id), black_box(&ood)));
}
