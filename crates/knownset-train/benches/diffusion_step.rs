//! Speed of the bundled generator's networks: images a second through a training step of the autoencoder and of the UNet,
//! and through a guided step of sampling and the decoder, one image at a time.
//!
//! `cargo bench -p knownset-train --bench diffusion_step`; `python benches/diffusion_step.py` is the other side.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark says what it found")]

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use burn::tensor::Device;
use knownset_nn::clip::Clip;
use knownset_nn::diffusion::{Pipeline, Request, TextEncoder};
use knownset_nn::network::{Autoencoder, autoencoder_init, initialise_with};
use knownset_train::synthesis::Wanted;
use knownset_train::{
    Augment, AutoencoderRecipe, Autoencoding, Conditions, Curve, Decays, Diffusing, DiffusionRecipe, Event, GENERIC,
    Keep, Latents, Optimiser, Pictures, Schedule, Training, keep_freed_memory,
};
use ndarray::{Array4, Axis};
use rand_chacha::ChaCha8Rng;

const BATCH: usize = 32;
const STEPS: usize = 6;
const SAMPLING_STEPS: usize = 20;

/// Pictures of no pattern.
struct Noise;

impl Pictures for Noise {
    fn len(&self) -> usize {
        BATCH * STEPS
    }

    fn picture(&self, index: usize) -> Result<Vec<f32>, String> {
        Ok((0..3 * 64 * 64).map(|pixel| ((pixel * 2_654_435_761 + index * 40_503) % 1009) as f32 / 1008.0).collect())
    }
}

fn main() {
    keep_freed_memory();
    let out = tempfile::tempdir().unwrap();
    let coder = AutoencoderRecipe::parse("autoencoder").unwrap();
    let task = Autoencoding { recipe: &coder, data: &Noise, validation: None, augment: &Augment::default() };
    let rate = images_per_second(|watch| {
        task.train(&training(&out.path().join("autoencoder")), watch).unwrap();
    });
    println!("autoencoder, batch {BATCH}: {rate:.1} images/s");

    let encoder = TextEncoder::of(&Clip::bundled().unwrap()).unwrap();
    let conditions = Conditions::new(&encoder, GENERIC).unwrap();
    let autoencoder = initialise_with(Autoencoder::new(&coder.spec(), &Device::flex()), 1, autoencoder_init);
    let latents = Latents::encode(&autoencoder, &Noise, &coder.preprocess(), &mut |_| ControlFlow::Continue(()));
    let (recipe, latents) = (DiffusionRecipe::parse("diffusion").unwrap(), latents.unwrap());
    let describe = |_: usize, _: &mut ChaCha8Rng| "a small red cat in the middle on a striped wall".to_owned();
    let data = (&latents, &describe as _);
    let task = Diffusing { recipe: &recipe, conditions: &conditions, data, validation: None };
    let mut trained = None;
    let rate = images_per_second(|watch| {
        trained = Some(task.train(&training(&out.path().join("unet")), watch).unwrap());
    });
    println!("UNet, batch {BATCH}: {rate:.1} images/s");

    let unet = task.network(&trained.unwrap()).unwrap();
    let pipeline = Pipeline::new(None, unet, Some(autoencoder), recipe.schedule());
    let context = conditions.plain("a small red cat").unwrap().insert_axis(Axis(0));
    let empty = conditions.empty().to_owned().insert_axis(Axis(0));
    let noise =
        Array4::from_shape_vec((1, 4, 16, 16), Wanted { condition: (), seed: 1, stream: 0 }.noise(1024)).unwrap();
    let request = Request::new(context.view(), empty.view(), noise.view());
    let request = Request { steps: SAMPLING_STEPS, guidance: 3.0, ..request };
    let mut steps = Vec::new();
    let drawn = pipeline.sample(&request, |_| {
        steps.push(Instant::now());
        ControlFlow::Continue(())
    });
    let step = steps[SAMPLING_STEPS - 1].duration_since(steps[0]).as_secs_f64() / (SAMPLING_STEPS - 1) as f64;
    let latents = drawn.unwrap().latents;
    let started = Instant::now();
    for _ in 0..SAMPLING_STEPS {
        pipeline.decode(&latents);
    }
    let decoded = started.elapsed().as_secs_f64() / SAMPLING_STEPS as f64;
    println!("a guided step {:.1} ms, decoding {:.1} ms", 1e3 * step, 1e3 * decoded);
}

/// Images a second, from the end of the first step to that of the last.
fn images_per_second(train: impl FnOnce(&mut dyn FnMut(Event<'_>) -> ControlFlow<()>)) -> f64 {
    let mut ends = Vec::new();
    train(&mut |event| {
        if matches!(event, Event::Step(_)) {
            ends.push(Instant::now());
        }
        ControlFlow::Continue(())
    });
    let seconds = ends.last().unwrap().duration_since(ends[0]).as_secs_f64();
    (BATCH * (ends.len() - 1)) as f64 / seconds
}

fn training(out: &Path) -> Training<'_> {
    Training {
        fingerprint: String::new(),
        epochs: 1,
        batch: BATCH,
        accumulate: 1,
        optimiser: Optimiser::AdamW {
            beta1: 0.9,
            beta2: 0.98,
            epsilon: 1e-6,
            weight_decay: 0.01,
            decays: Decays::Matrices,
        },
        schedule: Schedule { lr: 1e-3, warmup: 0, curve: Curve::Constant },
        clip: None,
        ema: None,
        keep: Keep::Last,
        seed: 0,
        compute: knownset_nn::Compute::default(),
        precision: knownset_nn::Precision::F32,
        out,
        resume: false,
    }
}
