//! Which pictures a step learns from: a pure function of seed and epoch.

use rand::seq::SliceRandom;

use crate::augment::stream;
use crate::sio::{Exhaust, Second, Sio};

/// Indices of a step's pictures in their sources.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Indices {
    /// Real pictures of known classes.
    pub(crate) known: Vec<usize>,
    /// Synthetic pictures of known classes.
    pub(crate) synthetic: Vec<usize>,
    /// Pictures of anything else.
    pub(crate) outliers: Vec<usize>,
}

/// How many pictures there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pools {
    pub(crate) known: usize,
    pub(crate) synthetic: usize,
    pub(crate) outliers: usize,
}

/// What every source is shuffled by.
pub(crate) const KNOWN: usize = usize::MAX - 1;
const SYNTHETIC: usize = usize::MAX - 2;
const OUTLIERS: usize = usize::MAX - 3;
const REDRAWN: usize = usize::MAX - 4;

/// The steps of an epoch: ⌈known / batch⌉ of them whatever the sources, so that every run of the same known set has
/// the same budget. `per_known` outliers come for every known picture, as long as there are any; they and synthetic
/// pictures are shuffled anew when they run out.
pub(crate) fn plan(
    pools: Pools,
    batch: usize,
    per_known: f64,
    sio: Option<&Sio>,
    seed: u64,
    epoch: usize,
) -> Vec<Indices> {
    let steps = pools.known.div_ceil(batch);
    let known = shuffled(pools.known, KNOWN, seed, epoch);
    let real = sio.map_or(batch, |sio| sio.real(batch));
    let mut second = match sio.map(|sio| sio.second) {
        None | Some(Second::None) => Cycle::new(0, SYNTHETIC, seed, epoch),
        Some(Second::Synthetic) => Cycle::new(pools.synthetic, SYNTHETIC, seed, epoch),
        Some(Second::Redrawn) => Cycle::new(pools.known, REDRAWN, seed, epoch),
    };
    let redrawn = sio.is_some_and(|sio| sio.second == Second::Redrawn);
    let mut outliers = Cycle::new(pools.outliers, OUTLIERS, seed, epoch);
    (0..steps)
        .map(|step| {
            let slice = |size: usize| (step * size).min(known.len())..((step + 1) * size).min(known.len());
            let mut first = known[slice(real)].to_vec();
            let mut synthetic = second.take(batch - real);
            // Real pictures drawn a second time are real pictures.
            if redrawn {
                first.append(&mut synthetic);
            }
            let count = ((first.len() + synthetic.len()) as f64 * per_known).round() as usize;
            // A mean over no outliers is no number.
            let count = count.max(usize::from(per_known > 0.0));
            Indices { known: first, synthetic, outliers: outliers.take(count) }
        })
        .collect()
}

/// Whether the synthetic pictures last for an epoch, when they must.
pub(crate) fn lasts(pools: Pools, batch: usize, sio: &Sio) -> bool {
    let wanted = pools.known.div_ceil(batch) * (batch - sio.real(batch));
    sio.second != Second::Synthetic || sio.exhaust == Exhaust::Cycle || pools.synthetic >= wanted
}

/// `0..len` in an order of its own for every epoch.
pub(crate) fn shuffled(len: usize, what: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    order.shuffle(&mut stream(seed, epoch, what));
    order
}

/// All of `0..len` in batches, the last of which may be smaller, in an order of its own for every epoch.
pub(crate) fn batches(len: usize, batch: usize, seed: u64, epoch: usize) -> Vec<Vec<usize>> {
    shuffled(len, KNOWN, seed, epoch).chunks(batch).map(<[usize]>::to_vec).collect()
}

/// A pool that is shuffled anew whenever it has been seen whole.
struct Cycle {
    len: usize,
    what: usize,
    seed: u64,
    epoch: usize,
    rounds: usize,
    rest: Vec<usize>,
}

impl Cycle {
    fn new(len: usize, what: usize, seed: u64, epoch: usize) -> Self {
        Self { len, what, seed, epoch, rounds: 0, rest: Vec::new() }
    }

    /// The next `count`; none of an empty pool.
    fn take(&mut self, count: usize) -> Vec<usize> {
        if self.len == 0 {
            return Vec::new();
        }
        let next = |_| {
            if self.rest.is_empty() {
                // Rounds after the first have seeds of their own.
                let seed = self.seed.wrapping_add((self.rounds as u64) << 40);
                self.rest = shuffled(self.len, self.what, seed, self.epoch);
                self.rounds += 1;
            }
            self.rest.pop().unwrap_or_default()
        };
        (0..count).map(next).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const POOLS: Pools = Pools { known: 50, synthetic: 7, outliers: 3 };

    #[test]
    fn without_more_sources_an_epoch_sees_every_picture_once() {
        let steps = plan(POOLS, 16, 0.0, None, 1, 2);
        assert_eq!(steps.iter().map(|step| step.known.len()).collect::<Vec<_>>(), [16, 16, 16, 2]);
        let seen: BTreeSet<usize> = steps.iter().flat_map(|step| step.known.iter().copied()).collect();
        assert_eq!(seen.len(), 50);
        assert!(steps.iter().all(|step| step.synthetic.is_empty() && step.outliers.is_empty()));
        assert_eq!(steps, plan(POOLS, 16, 0.0, None, 1, 2));
        assert_ne!(steps, plan(POOLS, 16, 0.0, None, 1, 3));
    }

    /// B = 10, α = 0.7: 7 real and 3 synthetic pictures in each of ⌈50/10⌉ steps, 35 of the 50 real ones in an epoch.
    #[test]
    fn two_sources_have_the_exact_composition_and_the_same_budget() {
        let sio = Sio { alpha: 0.7, ..Sio::default() };
        let steps = plan(POOLS, 10, 0.0, Some(&sio), 1, 1);
        assert_eq!(steps.len(), 5);
        assert!(steps.iter().all(|step| step.known.len() == 7 && step.synthetic.len() == 3));
        let real: BTreeSet<usize> = steps.iter().flat_map(|step| step.known.iter().copied()).collect();
        assert_eq!(real.len(), 35, "none twice");
        // 15 of 7 synthetic ones: every one twice before any comes a third time.
        let mut counts = [0; 7];
        steps.iter().flat_map(|step| &step.synthetic).for_each(|&index| counts[index] += 1);
        assert!(counts.iter().all(|&count| count == 2 || count == 3), "{counts:?}");
        assert!(lasts(POOLS, 10, &sio));
        assert!(!lasts(POOLS, 10, &Sio { exhaust: Exhaust::Error, ..sio }));
        assert!(lasts(Pools { synthetic: 15, ..POOLS }, 10, &Sio { exhaust: Exhaust::Error, ..sio }));
    }

    /// B = 16, α = 0.9: four steps of 14 real pictures leave 8 of the 50 for the last, which synthetic ones do not fill
    /// up: it has its 2 as any other. So has the last batch of the paper's sampler (`TwoSourceSampler`).
    #[test]
    fn the_last_batch_has_what_is_left_of_the_real_pictures() {
        let sio = Sio { alpha: 0.9, ..Sio::default() };
        let steps = plan(POOLS, 16, 0.0, Some(&sio), 1, 1);
        let composition: Vec<_> = steps.iter().map(|step| (step.known.len(), step.synthetic.len())).collect();
        assert_eq!(composition, [(14, 2), (14, 2), (14, 2), (8, 2)]);
        let real: BTreeSet<usize> = steps.iter().flat_map(|step| step.known.iter().copied()).collect();
        assert_eq!(real.len(), 50, "every one once");
    }

    #[test]
    fn the_reference_numbers() {
        let cifar = Sio::default();
        assert_eq!((cifar.real(128), 128 - cifar.real(128)), (102, 26));
        let subsets = Sio { alpha: 0.9, ..cifar };
        assert_eq!((subsets.real(128), 128 - subsets.real(128)), (115, 13));
        assert_eq!(Sio { alpha: 0.7, ..cifar }.real(10), 7, "0.7 · 10 is 7, though not in floating point");
        assert_eq!((Sio { alpha: 1.0, ..cifar }.real(64), Sio { alpha: 0.0, ..cifar }.real(64)), (64, 0));
    }

    #[test]
    fn controls() {
        let fewer = Sio { second: Second::None, ..Sio::default() };
        let steps = plan(POOLS, 10, 0.0, Some(&fewer), 1, 1);
        assert!(steps.iter().all(|step| step.known.len() == 8 && step.synthetic.is_empty()));
        let redrawn = Sio { second: Second::Redrawn, ..Sio::default() };
        let steps = plan(POOLS, 10, 0.0, Some(&redrawn), 1, 1);
        assert!(steps.iter().all(|step| step.known.len() == 10 && step.synthetic.is_empty()));
    }

    #[test]
    fn outliers_come_in_proportion() {
        let steps = plan(POOLS, 16, 0.5, None, 1, 1);
        assert_eq!(steps.iter().map(|step| step.outliers.len()).collect::<Vec<_>>(), [8, 8, 8, 1]);
        assert!(steps.iter().flat_map(|step| &step.outliers).all(|&index| index < 3));
        assert!(plan(POOLS, 16, 0.01, None, 1, 1).iter().all(|step| step.outliers.len() == 1), "never none");
    }
}
