//! Time and memory of one image with networks of Stable Diffusion 1.x's size and random weights:
//!
//! ```sh
//! cargo run --release --example stable_diffusion_size -- [SIDE]
//! ```

#![expect(clippy::print_stdout, reason = "what it is for")]

use std::ops::ControlFlow;
use std::time::Instant;

use burn::tensor::Device;
use knownset_nn::diffusion::{Method, Pipeline, Request, Schedule};
use knownset_nn::network::{Autoencoder, AutoencoderSpec, UNet, UNetSpec, initialise};
use ndarray::{Array3, Array4};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let side: usize = std::env::args().nth(1).map_or(Ok(512), |side| side.parse())?;
    let device = Device::flex();
    let start = Instant::now();
    let unet = initialise(UNet::new(&UNetSpec::stable_diffusion(), &device), 1);
    let autoencoder = initialise(Autoencoder::new(&AutoencoderSpec::stable_diffusion(), &device), 2);
    let factor = autoencoder.spec().factor();
    let pipeline = Pipeline::new(None, unet, Some(autoencoder), Schedule::default());
    report("networks made", start);

    let number = |(_, b, c): (usize, usize, usize)| ((b * 31 + c * 17) % 23) as f32 / 11.0 - 1.0;
    let context = Array3::from_shape_fn((1, 77, 768), number);
    let noise = Array4::from_shape_fn((1, 4, side / factor, side / factor), |(_, b, c, d)| number((b, c, d)));
    let request = Request::new(context.view(), context.view(), noise.view());
    let start = Instant::now();
    let request = Request { method: Method::Ddim { eta: 0.0 }, steps: 2, ..request };
    pipeline.sample(&request, |progress| {
        report(&format!("{side} px, guided step {}", progress.step), start);
        ControlFlow::Continue(())
    })?;
    report("decoded", start);
    Ok(())
}

/// Seconds since `start`, and the most memory that was in use at any time so far, where Linux says it.
fn report(what: &str, start: Instant) {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).map_or("unknown", str::trim);
    println!("{what}: {:.1} s, peak {peak}", start.elapsed().as_secs_f64());
}
