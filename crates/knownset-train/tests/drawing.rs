//! Whole runs of what trains the parts of a generator, on a toy problem.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::ops::ControlFlow;
use std::path::Path;

use burn::tensor::Device;
use knownset_nn::clip::Clip;
use knownset_nn::diffusion::{Pipeline, Request, TextEncoder};
use knownset_nn::network::{Autoencoder, autoencoder_init, initialise_with, load, to_weights};
use knownset_nn::{Precision, Weights};
use knownset_train::synthesis::Wanted;
use knownset_train::{
    Augment, AutoencoderRecipe, Autoencoding, Conditions, Curve, Decays, Diffusing, DiffusionRecipe, Event, GENERIC,
    Keep, Latents, Optimiser, Pictures, Schedule, TrainError, Trained, Training,
};
use ndarray::{Array4, Axis};
use rand_chacha::ChaCha8Rng;

const SIDE: usize = 16;
const AUTOENCODER: &str = "autoencoder:side=16:levels=[16,32]:latents=2:groups=4:kl=0.001:square=0.5";
const DIFFUSION: &str = "diffusion:side=16:levels=[16,32]:heads=2:groups=4";

/// A bright square on the left of even pictures, on the right of odd ones.
struct Squares(usize);

impl Pictures for Squares {
    fn len(&self) -> usize {
        self.0
    }

    fn picture(&self, index: usize) -> Result<Vec<f32>, String> {
        let value = |place: usize| {
            let (channel, y, x) = (place / SIDE / SIDE, place / SIDE % SIDE, place % SIDE);
            let inside = (4..12).contains(&y) && x / 8 == index % 2;
            let noise = ((place * 7 + index * 13) % 11) as f32 * 0.01;
            if inside { 0.9 - 0.2 * channel as f32 - noise } else { 0.1 + noise }
        };
        Ok((0..3 * SIDE * SIDE).map(value).collect())
    }
}

/// What is written about them.
fn describe(index: usize, _: &mut ChaCha8Rng) -> String {
    ["a square on the left", "a square on the right"][index % 2].to_owned()
}

fn training(out: &Path, epochs: usize, resume: bool) -> Training<'_> {
    Training {
        fingerprint: "squares".into(),
        epochs,
        batch: 8,
        accumulate: 1,
        optimiser: Optimiser::AdamW { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.0, decays: Decays::All },
        schedule: Schedule { lr: 0.003, warmup: 0, curve: Curve::Constant },
        clip: Some(1.0),
        ema: Some(0.8),
        keep: Keep::Last,
        seed: 3,
        compute: knownset_nn::Compute::default(),
        precision: Precision::F32,
        out,
        resume,
    }
}

/// Stops a run at the end of that epoch.
fn until(last: Option<usize>) -> impl FnMut(Event<'_>) -> ControlFlow<()> {
    move |event| match event {
        Event::Epoch(epoch) if last == Some(epoch.epoch) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    }
}

/// Runs it whole, and again with a stop after the second epoch; both end with the same bits.
fn whole_and_resumed(
    epochs: usize,
    run: impl Fn(&Training<'_>, &mut dyn FnMut(Event<'_>) -> ControlFlow<()>) -> Result<Trained, TrainError>,
) -> (tempfile::TempDir, Trained) {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let trained = run(&training(whole.path(), epochs, false), &mut until(None)).unwrap();
    let stopped = run(&training(parts.path(), epochs, false), &mut until(Some(2)));
    assert!(matches!(stopped, Err(TrainError::Stopped { kept: 2, .. })));
    let again = run(&training(parts.path(), epochs, false), &mut until(None));
    assert!(matches!(again, Err(TrainError::Exists { .. })));
    let resumed = run(&training(parts.path(), epochs, true), &mut until(None)).unwrap();
    let digest = |trained: &Trained| Weights::open(&trained.weights).unwrap().sha256();
    assert_eq!(digest(&resumed), digest(&trained));
    (whole, trained)
}

#[test]
fn an_autoencoder_learns_and_a_stopped_run_goes_on_to_the_same_bits() {
    let recipe = AutoencoderRecipe::parse(AUTOENCODER).unwrap();
    let (data, held_out) = (Squares(24), Squares(5));
    let augment = "flip".parse::<Augment>().unwrap();
    let task = Autoencoding { recipe: &recipe, data: &data, validation: Some(&held_out), augment: &augment };
    let (_folder, trained) = whole_and_resumed(12, |training, watch| task.train(training, watch));
    let (first, last) = (&trained.epochs[0], &trained.epochs[11]);
    assert!(last.loss < 0.7 * first.loss, "{:?}", trained.epochs);
    assert!(last.validation_accuracy > first.validation_accuracy && last.validation_accuracy > Some(8.0));
    assert_eq!(
        to_weights(&recipe.network(&trained).unwrap()).sha256(),
        Weights::open(&trained.weights).unwrap().sha256()
    );

    let out = tempfile::tempdir().unwrap();
    let empty = Autoencoding { data: &Squares(0), ..task };
    assert!(matches!(empty.train(&training(out.path(), 1, false), &mut until(None)), Err(TrainError::NoPictures)));
}

/// An autoencoder that was not trained, but whose latents have little noise of their own: nothing can be learned of noise.
fn certain() -> Autoencoder {
    let spec = AutoencoderRecipe::parse(AUTOENCODER).unwrap().spec();
    let random = initialise_with(Autoencoder::new(&spec, &Device::flex()), 1, autoencoder_init);
    let mut tensors = to_weights(&random).into_tensors();
    tensors.get_mut("quant_conv.bias").unwrap().values[spec.latents..].fill(-8.0);
    load(random, &Weights::from_tensors(tensors)).unwrap()
}

#[test]
fn a_diffusion_model_learns_resumes_and_draws() {
    let encoder = TextEncoder::of(&Clip::bundled().unwrap()).unwrap();
    let conditions = Conditions::new(&encoder, GENERIC).unwrap();
    let autoencoder = certain();
    let recipe = DiffusionRecipe::parse(DIFFUSION).unwrap();
    let encode = |count: usize| {
        let mut seen = 0;
        let latents = Latents::encode(&autoencoder, &Squares(count), &recipe.preprocess(), &mut |more| {
            seen += more;
            ControlFlow::Continue(())
        });
        assert_eq!(seen, count);
        latents.unwrap()
    };
    let (latents, held_out) = (encode(24), encode(10));
    assert_eq!((latents.len(), latents.shape()), (24, [2, 8, 8]));
    let (data, validation) = ((&latents, &describe as _), Some((&held_out, &describe as _)));
    let task = Diffusing { recipe: &recipe, conditions: &conditions, data, validation };
    let (_folder, trained) = whole_and_resumed(20, |training, watch| task.train(training, watch));
    let (first, last) = (&trained.epochs[0], &trained.epochs[19]);
    assert!(
        last.validation_accuracy > first.validation_accuracy.map(|minus_loss| 0.9 * minus_loss),
        "{:?}",
        trained.epochs
    );

    let noisy = DiffusionRecipe::parse(&format!("{DIFFUSION}:predicts=noise:snr=0")).unwrap();
    let out = tempfile::tempdir().unwrap();
    let other = Diffusing { recipe: &noisy, ..task }.train(&training(out.path(), 3, false), &mut until(None)).unwrap();
    assert!(other.epochs[2].loss < other.epochs[0].loss, "{:?}", other.epochs);

    // What is written draws the same as what was trained, but for weights rounded to f16.
    let unet = task.network(&trained).unwrap();
    assert_eq!(unet.spec(), &task.spec());
    let context = conditions.spliced("a square on the left").unwrap().insert_axis(Axis(0));
    let empty = conditions.empty().to_owned().insert_axis(Axis(0));
    let noise = Array4::from_shape_vec((1, 2, 8, 8), Wanted { condition: (), seed: 1, stream: 0 }.noise(128)).unwrap();
    let scaled = autoencoder.clone().with_scale(latents.scale());
    let pipeline = Pipeline::new(None, unet, Some(scaled), recipe.schedule());
    let draw = |pipeline: &Pipeline| {
        let request = Request::new(context.view(), empty.view(), noise.view());
        pipeline.sample(&Request { steps: 5, guidance: 2.0, ..request }, |_| ControlFlow::Continue(())).unwrap().images
    };
    let images = draw(&pipeline);
    assert_eq!(images.shape(), [1, SIDE, SIDE, 3]);
    pipeline.save(out.path()).unwrap();
    let opened = Pipeline::open(out.path()).unwrap();
    assert_eq!(opened.autoencoder().unwrap().spec().scale, latents.scale());
    for (found, expected) in draw(&opened).iter().zip(&images) {
        assert!((found - expected).abs() < 0.05, "{found} {expected}");
    }
}

#[test]
fn latents_of_nothing_and_a_stop_are_told() {
    let spec = AutoencoderRecipe::parse(AUTOENCODER).unwrap().spec();
    let autoencoder = initialise_with(Autoencoder::new(&spec, &Device::flex()), 1, autoencoder_init);
    let preprocess = DiffusionRecipe::parse(DIFFUSION).unwrap().preprocess();
    let encode = |count, flow| Latents::encode(&autoencoder, &Squares(count), &preprocess, &mut |_| flow).err();
    assert!(matches!(encode(0, ControlFlow::Continue(())), Some(TrainError::NoPictures)));
    assert!(matches!(encode(20, ControlFlow::Break(())), Some(TrainError::StoppedEarly)));
    assert!(encode(20, ControlFlow::Continue(())).is_none());
}
