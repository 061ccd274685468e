//! Training speed: images a second through forward, backward and an SGD step, pictures in memory.
//!
//! `cargo bench -p knownset-train`; `python benches/train_step.py` is the other side.

use std::ops::ControlFlow;
use std::time::Instant;

use knownset_nn::find;
use knownset_train::{
    Augment, Chosen, Classification, Curve, Decays, Event, Keep, Labelled, Optimiser, Pictures, Schedule, Training,
    keep_freed_memory,
};

const BATCH: usize = 64;
const STEPS: usize = 6;

struct Noise {
    side: usize,
}

impl Pictures for Noise {
    fn len(&self) -> usize {
        BATCH * STEPS
    }

    fn picture(&self, index: usize) -> Result<Vec<f32>, String> {
        let pixels = 3 * self.side * self.side;
        Ok((0..pixels).map(|pixel| ((pixel * 2_654_435_761 + index * 40_503) % 1009) as f32 / 1008.0).collect())
    }
}

impl Labelled for Noise {
    fn label(&self, index: usize) -> usize {
        index % 10
    }
}

#[expect(clippy::print_stdout, reason = "a benchmark says what it found")]
fn main() {
    keep_freed_memory();
    for name in ["sprite-resnet", "cifar-resnet20", "resnet18-32x32"] {
        println!("{name}, batch {BATCH}: {:.1} images/s", rate(name));
    }
}

/// Images a second, from the end of the first step to that of the last.
#[expect(clippy::unwrap_used, reason = "a benchmark")]
fn rate(name: &str) -> f64 {
    let backbone = find(name).unwrap();
    let data = Noise { side: backbone.preprocess.size as usize };
    let out = tempfile::tempdir().unwrap();
    let task = Classification {
        backbone,
        classes: 10,
        data: &data,
        synthetic: None,
        outliers: None,
        validation: None,
        augment: &Augment::crop_and_flip(4),
    };
    let training = Training {
        fingerprint: String::new(),
        epochs: 1,
        batch: BATCH,
        accumulate: 1,
        optimiser: Optimiser::Sgd { momentum: 0.9, nesterov: false, weight_decay: 5e-4, decays: Decays::All },
        schedule: Schedule { lr: 0.1, warmup: 0, curve: Curve::Constant },
        clip: None,
        ema: None,
        keep: Keep::Last,
        seed: 0,
        compute: knownset_nn::Compute::default(),
        precision: knownset_nn::Precision::F32,
        out: out.path(),
        resume: false,
    };
    let mut ends = Vec::new();
    let plain = Chosen::parse("cross-entropy").unwrap();
    plain
        .train(&task, &training, &mut |event| {
            if matches!(event, Event::Step(_)) {
                ends.push(Instant::now());
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    let seconds = ends.last().unwrap().duration_since(ends[0]).as_secs_f64();
    (BATCH * (ends.len() - 1)) as f64 / seconds
}
