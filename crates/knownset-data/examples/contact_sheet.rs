//! Writes a PNG with samples of every split of Sprite World, one row per class.
//!
//! `cargo run -p knownset-data --example contact_sheet -- OUT.png [SPLIT]...`

use std::error::Error;

use image::{Rgb, RgbImage, imageops};
use knownset_data::world::{SIDE, SPLITS, World};

const COLUMNS: usize = 16;
const GAP: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let out = arguments.next().ok_or("usage: contact_sheet OUT.png [SPLIT]...")?;
    let mut names: Vec<String> = arguments.collect();
    if names.is_empty() {
        names = SPLITS.iter().map(|info| info.name.to_owned()).collect();
    }

    let mut rows = Vec::new();
    for name in &names {
        let split = World::open("sprites", name)?;
        let classes = split.info().classes.len();
        for class in 0..classes {
            let images = split.images_of(class);
            // Steps coprime to most pool sizes, so that a row shows many sprites.
            let pick = |column: usize| images.start + column * 7 % images.len();
            rows.push((0..COLUMNS).map(|column| split.image(pick(column))).collect::<Vec<_>>());
        }
    }

    let cell = (SIDE + GAP) as u32;
    let mut sheet = RgbImage::from_pixel(cell * COLUMNS as u32, cell * rows.len() as u32, Rgb([255; 3]));
    for (y, row) in rows.iter().enumerate() {
        for (x, image) in row.iter().enumerate() {
            imageops::replace(&mut sheet, image, x as i64 * i64::from(cell), y as i64 * i64::from(cell));
        }
    }
    sheet.save(out)?;
    Ok(())
}
