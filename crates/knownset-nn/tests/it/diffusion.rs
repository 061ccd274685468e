//! Stable Diffusion's parts, and the whole, say what diffusers says.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use knownset_nn::diffusion::{Method, Pipeline, Prediction, Progress, Request, SampleError, Sampled};
use knownset_nn::network::{Autoencoder, AutoencoderSpec, UNet, UNetSpec, load, shapes, to_weights};
use knownset_nn::{Precision, Weights};
use ndarray::{Array3, Array4, Array5, Axis, s};

use crate::diffusion_folders::{folder, golden};
use crate::hashed::{hashed_f32, relative_error};

const TOLERANCE: f32 = 1e-4;
const FOLDERS: [&str; 2] = ["sd1", "sd2"];
const TEXTS: [&str; 4] = ["a small red cat.", "", "a wooden lighthouse near the old river", LONG];
const LONG: &str = "word word word word word word word word word word word word word word word word word word word word \
                    word word word word word word word word word word word word word word word word word word word word ";

fn open(name: &str) -> Pipeline {
    Pipeline::open(folder(name).path()).unwrap()
}

fn expected(name: &str) -> Weights {
    Weights::open(&golden(name).join("expected.safetensors")).unwrap()
}

fn tensor<const D: usize>(name: &str, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(hashed_f32(name, shape.iter().product()), shape), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

#[track_caller]
fn agree(what: &str, got: &[f32], expected: &Weights, key: &str, tolerance: f32) {
    let error = relative_error(got, &expected.get(key).unwrap().values);
    println!("{what} {key}: {error:.1e}");
    assert!(error < tolerance, "{what} {key}: relative error {error}");
}

/// Contexts and noise of two images.
fn inputs(pipeline: &Pipeline, [height, width]: [usize; 2]) -> (Array3<f32>, Array4<f32>) {
    let text = pipeline.text_encoder().unwrap().spec();
    let shape = (2, text.context, text.tower.width);
    let context = Array3::from_shape_vec(shape, hashed_f32("fake tokens", shape.0 * shape.1 * shape.2)).unwrap();
    let shape = (2, pipeline.unet().spec().inputs, height, width);
    let count = shape.0 * shape.1 * height * width;
    (context, Array4::from_shape_vec(shape, hashed_f32("noise", count)).unwrap())
}

fn sides(name: &str) -> [usize; 2] {
    if name == "sd1" { [6, 10] } else { [5, 7] }
}

fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn each_network_agrees_with_diffusers() {
    let device = Device::flex();
    for name in FOLDERS {
        let (pipeline, expected) = (open(name), expected(name));
        agree(name, pipeline.encode(&TEXTS).unwrap().as_slice().unwrap(), &expected, "text", TOLERANCE);

        let unet = pipeline.unet();
        let [height, width] = sides(name);
        let sample = tensor("sample", [2, unet.spec().inputs, height, width], &device);
        let context = tensor("context", [2, 9, unet.spec().context], &device);
        let answer = unet.forward(sample.clone(), &[1.0, 887.25], context);
        agree(name, &values(answer), &expected, "unet", TOLERANCE);

        let autoencoder = pipeline.autoencoder().unwrap();
        let factor = autoencoder.spec().factor();
        let images = tensor("image", [2, 3, factor * height, factor * width], &device);
        let (mean, variance) = autoencoder.encode(images.clone());
        agree(name, &values(mean.clone()), &expected, "vae.mean", TOLERANCE);
        agree(name, &values((variance * 0.5).exp()), &expected, "vae.deviation", TOLERANCE);
        agree(name, &values(autoencoder.decode(sample)), &expected, "vae.decoded", TOLERANCE);

        // An image there and back is what its mean is decoded as, in 0..1 with colours last.
        let there = values(images.narrow(0, 0, 1).permute([0, 2, 3, 1])).into_iter().map(|value| value / 2.0 + 0.5);
        let there = Array3::from_shape_vec((factor * height, factor * width, 3), there.collect()).unwrap();
        let back = values(autoencoder.decode(mean.narrow(0, 0, 1)).permute([0, 2, 3, 1]));
        let reconstructed = pipeline.reconstruct(there.view());
        assert_eq!(reconstructed.dim(), there.dim());
        for (own, other) in reconstructed.iter().zip(back) {
            assert!((own - (other / 2.0 + 0.5).clamp(0.0, 1.0)).abs() < 1e-4, "{name}: {own} of {other}");
        }
    }
}

#[test]
fn ten_steps_of_every_method_agree_with_diffusers() {
    let methods = [("ddim", Method::Ddim { eta: 0.0 }), ("pndm", Method::Pndm), ("euler", Method::Euler)];
    for name in FOLDERS {
        let (pipeline, expected) = (open(name), expected(name));
        let (context, noise) = inputs(&pipeline, sides(name));
        let empty = pipeline.encode(&[""]).unwrap();
        for (method, guidance) in methods.map(|method| (method, 7.5)).into_iter().chain([(methods[0], 1.0)]) {
            let key = if guidance == 1.0 { format!("{}.unguided", method.0) } else { method.0.to_owned() };
            let request = Request::new(context.view(), empty.view(), noise.view());
            let request = Request { method: method.1, steps: 10, guidance, ..request };
            let Sampled { latents, images } = pipeline.sample(&request, go_on).unwrap();
            assert_eq!(images.shape(), expected.get(&format!("{key}.images")).unwrap().shape);
            agree(name, latents.as_slice().unwrap(), &expected, &format!("{key}.latents"), 1e-3);
            agree(name, images.as_slice().unwrap(), &expected, &format!("{key}.images"), 1e-3);
        }
    }
    let (first, second) = (open("sd1"), open("sd2"));
    assert_eq!((first.method(), second.method()), (Some(Method::Pndm), Some(methods[0].1)));
    assert_eq!(second.schedule().prediction, Prediction::Velocity);
    // The file says 0 and true; Stable Diffusion's pipeline says otherwise.
    assert_eq!((second.schedule().offset, second.schedule().clip), (1, None));
}

#[test]
fn the_released_architectures_have_as_many_parameters_as_diffusers() {
    // Counted of diffusers' networks with the released configurations. Nothing is allocated here.
    let count = |shapes: BTreeMap<String, Vec<usize>>| {
        (shapes.values().map(|shape| shape.iter().product::<usize>()).sum::<usize>(), shapes.len())
    };
    let device = Device::flex();
    let unet = UNet::new(&UNetSpec::stable_diffusion(), &device);
    assert_eq!(count(shapes(&unet)), (859_520_964, 686));
    let autoencoder = Autoencoder::new(&AutoencoderSpec::stable_diffusion(), &device);
    assert_eq!(count(shapes(&autoencoder)), (83_653_863, 248));
}

#[test]
fn half_precision_is_near() {
    let device = Device::flex();
    for name in FOLDERS {
        let folder = folder(name);
        let pipeline = Pipeline::open_on(folder.path(), &device, Precision::F16).unwrap();
        let (context, noise) = inputs(&pipeline, sides(name));
        let empty = pipeline.encode(&[""]).unwrap();
        let request = Request { steps: 10, ..Request::new(context.view(), empty.view(), noise.view()) };
        let images = pipeline.sample(&request, go_on).unwrap().images;
        agree(name, images.as_slice().unwrap(), &expected(name), "ddim.images", 0.05);
        let full = open(name).sample(&request, go_on).unwrap().images;
        assert_ne!(images, full, "f16 rounds");
    }
}

#[test]
fn an_image_has_the_same_bits_in_any_batch_and_on_any_number_of_threads() {
    let pipeline = open("sd1");
    let (context, noise) = inputs(&pipeline, [6, 10]);
    let empty = pipeline.encode(&["", "dog"]).unwrap();
    let fresh = Array5::from_shape_vec((2, 3, 4, 6, 10), hashed_f32("fresh", 2 * 3 * 240)).unwrap();
    let request = Request::new(context.view(), empty.view(), noise.view());
    let request = Request { method: Method::Ddim { eta: 1.0 }, fresh: Some(fresh.view()), steps: 3, ..request };
    let on = |threads: usize, request: &Request<'_>| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| pipeline.sample(request, go_on).unwrap())
    };
    let whole = on(1, &request);
    for threads in [2, 3] {
        assert_eq!(on(threads, &request), whole);
    }
    let second = Request {
        context: context.slice(s![1.., .., ..]),
        unconditional: empty.slice(s![1.., .., ..]),
        noise: noise.slice(s![1.., .., .., ..]),
        fresh: Some(fresh.slice(s![1.., .., .., .., ..])),
        ..request
    };
    let alone = on(2, &second);
    assert_eq!(alone.images.index_axis(Axis(0), 0), whole.images.index_axis(Axis(0), 1));
    assert_eq!(alone.latents.index_axis(Axis(0), 0), whole.latents.index_axis(Axis(0), 1));
    let without = pipeline.sample(&Request { method: Method::Ddim { eta: 0.0 }, ..second }, go_on).unwrap();
    assert_ne!(without.latents, alone.latents, "fresh noise counts");
}

#[test]
fn sampling_can_be_stopped() {
    let pipeline = open("sd1");
    let (context, noise) = inputs(&pipeline, [6, 10]);
    let empty = pipeline.encode(&[""]).unwrap();
    let request = Request { steps: 2, ..Request::new(context.view(), empty.view(), noise.view()) };
    let request = Request { method: Method::Pndm, ..request };
    let mut seen = Vec::new();
    let sampled = pipeline.sample(&request, |progress| {
        seen.push((progress.image, progress.step));
        assert_eq!((progress.images, progress.steps), (2, 3));
        if progress.image == 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let sampled = sampled.unwrap();
    assert_eq!(seen, [(0, 1), (0, 2), (0, 3), (1, 1)]);
    assert_eq!((sampled.latents.shape(), sampled.images.shape()), (&[1, 4, 6, 10][..], &[1, 12, 20, 3][..]));
    let nothing = pipeline.sample(&request, |_| ControlFlow::Break(())).unwrap();
    assert_eq!((nothing.latents.shape(), nothing.images.shape()), (&[0, 4, 6, 10][..], &[0, 12, 20, 3][..]));
}

#[test]
fn arrays_that_do_not_go_together_are_refused() {
    let pipeline = open("sd1");
    let (context, noise) = inputs(&pipeline, [6, 10]);
    let empty = pipeline.encode(&[""]).unwrap();
    let request = Request { steps: 2, ..Request::new(context.view(), empty.view(), noise.view()) };
    let refused = |request: Request<'_>| pipeline.sample(&request, go_on).unwrap_err();
    let array = |request| match refused(request) {
        SampleError::Shape { array, .. } => array,
        other => panic!("{other}"),
    };
    assert_eq!(array(Request { noise: noise.slice(s![.., ..3, .., ..]), ..request }), "noise");
    assert_eq!(array(Request { noise: noise.slice(s![.., .., .., ..0]), ..request }), "noise");
    assert_eq!(array(Request { context: context.slice(s![..1, .., ..]), ..request }), "context");
    assert_eq!(array(Request { context: context.slice(s![.., .., ..20]), ..request }), "context");
    assert_eq!(array(Request { unconditional: empty.slice(s![.., ..4, ..]), ..request }), "unconditional");
    let random = Request { method: Method::Ddim { eta: 0.5 }, ..request };
    assert_eq!(array(random), "fresh");
    let message = refused(random).to_string();
    assert_eq!(message, "fresh has shape [], expected [2, 2, 4, 6, 10]");
    assert!(matches!(refused(Request { steps: 0, ..request }), SampleError::Steps { .. }));
    // Unused, so of any shape.
    let alone = Request { guidance: 1.0, unconditional: empty.slice(s![.., ..0, ..]), ..request };
    assert!(pipeline.sample(&alone, go_on).is_ok());

    let mut odd = noise.clone();
    odd[[1, 0, 2, 3]] = f32::NAN;
    assert_eq!(refused(Request { noise: odd.view(), ..request }), SampleError::NotFinite { image: 1, step: 0 });
    let mut odd = context.clone();
    odd[[0, 3, 5]] = f32::INFINITY;
    assert_eq!(refused(Request { context: odd.view(), ..request }), SampleError::NotFinite { image: 0, step: 1 });
}

#[test]
fn without_an_autoencoder_samples_are_images() {
    let latent = open("sd2");
    let (context, noise) = inputs(&latent, [5, 7]);
    let pixel = Pipeline::new(None, latent.unet().clone(), None, latent.schedule().clone());
    assert!(pixel.encode(&["cat"]).unwrap_err().to_string().contains("no text encoder"));
    let request = Request::new(context.view(), context.view(), noise.view());
    let request = Request { steps: 3, guidance: 1.0, ..request };
    let (here, there) = (pixel.sample(&request, go_on).unwrap(), latent.sample(&request, go_on).unwrap());
    assert_eq!(here.latents, there.latents);
    assert_eq!(here.images.shape(), [2, 5, 7, 3]);
    let mapped = here.latents.mapv(|value| (value / 2.0 + 0.5).clamp(0.0, 1.0));
    assert_eq!(here.images, mapped.permuted_axes([0, 2, 3, 1]));
}

/// Counts tensors, and those that a gradient reaches.
struct Reached<'a>(&'a Gradients, [usize; 2]);

impl ModuleVisitor for Reached<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.1[0] += 1;
        let gradient = param.val().grad(self.0);
        self.1[1] += usize::from(gradient.is_some_and(|gradient| values(gradient.abs()).iter().any(|&x| x > 0.0)));
    }
}

#[test]
fn a_unet_can_be_trained() {
    let (plain, device) = (Device::flex(), Device::flex().autodiff());
    for name in FOLDERS {
        let pipeline = open(name);
        let spec = pipeline.unet().spec();
        let answer = |unet: &UNet, device: &Device| {
            let sample = tensor("sample", [1, spec.inputs, 8, 8], device);
            unet.forward(sample, &[300.0], tensor("context", [1, 5, spec.context], device))
        };
        let unet = load(UNet::new(spec, &device), &to_weights(pipeline.unet())).unwrap();
        let trained = answer(&unet, &device);
        let error = relative_error(&values(trained.clone()), &values(answer(pipeline.unet(), &plain)));
        assert!(error < 1e-4, "{name}: relative error {error}");
        let gradients = trained.powf_scalar(2.0).sum().backward();
        let mut reached = Reached(&gradients, [0, 0]);
        unet.visit(&mut reached);
        let [all, with] = reached.1;
        assert!(all > 100 && all == with, "{name}: a gradient reaches {with} of {all} tensors");
    }
}
