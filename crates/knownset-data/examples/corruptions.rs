//! Writes a PNG of every corruption, one row per kind and one column per severity, of one image, and prints how long each
//! takes.
//!
//! `cargo run -p knownset-data --example corruptions -- OUT.png [IMAGE]`; without IMAGE, one of Sprite World.

#![expect(clippy::print_stdout, reason = "an example talks")]

use std::error::Error;
use std::time::Instant;

use image::{Rgb, RgbImage, imageops};
use knownset_data::corruptions::{CORRUPTIONS, Severity};
use knownset_data::world::World;

const GAP: u32 = 2;
const SEEDS: u64 = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let out = arguments.next().ok_or("usage: corruptions OUT.png [IMAGE]")?;
    let image = match arguments.next() {
        Some(path) => image::open(path)?.into_rgb8(),
        None => World::open("sprites", "test")?.image(3),
    };
    let (width, height) = (image.width() + GAP, image.height() + GAP);
    let mut sheet = RgbImage::from_pixel(6 * width, CORRUPTIONS.len() as u32 * height, Rgb([255; 3]));
    for (row, corruption) in CORRUPTIONS.iter().enumerate() {
        let top = row as i64 * i64::from(height);
        imageops::replace(&mut sheet, &image, 0, top);
        let start = Instant::now();
        for severity in Severity::ALL {
            for seed in (0..SEEDS).rev() {
                let corrupted = corruption.apply(&image, severity, seed);
                imageops::replace(&mut sheet, &corrupted, i64::from(severity.get()) * i64::from(width), top);
            }
        }
        let each = start.elapsed().as_secs_f64() * 1e3 / (5 * SEEDS) as f64;
        println!("{:18} {each:8.3} ms", corruption.name);
    }
    sheet.save(out)?;
    Ok(())
}
