//! Time and memory of one image with networks of Stable Diffusion 1.x's size and random weights, text encoder aside. The
//! first run writes the folder, the second draws from it:
//!
//! ```sh
//! cargo run --release --example stable_diffusion_size -- FOLDER [SIDE]
//! ```

#![expect(clippy::print_stdout, reason = "what it is for")]

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use burn::tensor::Device;
use knownset_nn::diffusion::{Method, Pipeline, Request, Schedule};
use knownset_nn::network::{Autoencoder, AutoencoderSpec, UNet, UNetSpec, initialise};
use ndarray::{Array3, Array4};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("a folder, and a side if it is not 512")?;
    let side: usize = arguments.next().map_or(Ok(512), |side| side.parse())?;
    let folder = Path::new(&folder);
    if !folder.exists() {
        let device = Device::flex();
        let unet = initialise(UNet::new(&UNetSpec::stable_diffusion(), &device), 1);
        let autoencoder = initialise(Autoencoder::new(&AutoencoderSpec::stable_diffusion(), &device), 2);
        Pipeline::new(None, unet, Some(autoencoder), Schedule::default()).save(folder)?;
        println!("{} is written; run this again", folder.display());
        return Ok(());
    }

    let start = Instant::now();
    let pipeline = Pipeline::open(folder)?;
    report("opened", start);
    let start = Instant::now();
    pipeline.sha256();
    report("digest", start);
    let number = |(_, b, c): (usize, usize, usize)| ((b * 31 + c * 17) % 23) as f32 / 11.0 - 1.0;
    let context = Array3::from_shape_fn((1, 77, 768), number);
    let factor = pipeline.autoencoder().map_or(1, |autoencoder| autoencoder.spec().factor());
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

/// Seconds since `start`, memory in use, and the most that was at any time so far, where Linux says it.
fn report(what: &str, start: Instant) {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map_or("unknown", str::trim);
    let (now, peak) = (of("VmRSS:"), of("VmHWM:"));
    println!("{what}: {:.1} s, {now}, at most {peak}", start.elapsed().as_secs_f64());
}
