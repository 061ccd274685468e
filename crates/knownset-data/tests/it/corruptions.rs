//! Corruptions: against the code that made the published sets, and what every kind must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use image::{Rgb, RgbImage};
use knownset_data::corruptions::{CORRUPTIONS, Corrupted, Corruption, CorruptionError, Severity, find};
use knownset_data::world::World;
use knownset_data::{DecodePolicy, ImageSource, Limits, rgb};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::{golden, open};

/// Rows of the golden sheets, and the seed of `make_corruptions.py`.
const GOLDEN: [&str; 18] = [
    "gaussian-noise",
    "shot-noise",
    "impulse-noise",
    "speckle-noise",
    "defocus-blur",
    "glass-blur",
    "motion-blur",
    "zoom-blur",
    "gaussian-blur",
    "snow",
    "fog",
    "brightness",
    "spatter",
    "contrast",
    "elastic-transform",
    "pixelate",
    "jpeg-compression",
    "saturate",
];
const SEED: u64 = 7;

/// Mean and largest difference from the published code, in grey levels, that each kind may show.
///
/// Sums in another order end just below a whole number on one side and just above on the other, and are cut to 8 bits:
/// blurs of flat colours differ by 1 here and there, and by 2 where they are cut twice.
fn tolerance(kind: &str) -> (f64, u8) {
    match kind {
        "defocus-blur" | "zoom-blur" | "gaussian-blur" => (0.2, 1),
        "elastic-transform" | "spatter" => (0.05, 1),
        "glass-blur" => (0.2, 2),
        _ => (0.0, 0),
    }
}

fn read(name: &str) -> RgbImage {
    image::open(golden(name)).unwrap().into_rgb8()
}

/// Mean absolute difference of all values.
fn distance(a: &RgbImage, b: &RgbImage) -> f64 {
    assert_eq!(a.dimensions(), b.dimensions());
    let total: f64 = a.iter().zip(b.iter()).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
    total / a.len() as f64
}

#[test]
fn results_are_those_of_the_published_code() {
    let mut wrong = Vec::new();
    for side in [32, 64, 224] {
        let input = read(&format!("corrupt-input-{side}.png"));
        let sheet = read(&format!("corrupt-{side}.png"));
        let step = side / 32;
        for (row, name) in (0..).zip(GOLDEN) {
            let (mut total, mut largest, mut unequal) = (0.0, 0, 0);
            for severity in Severity::ALL {
                let ours = find(name).unwrap().apply(&input, severity, SEED);
                let ours = RgbImage::from_fn(32, 32, |x, y| *ours.get_pixel(x * step, y * step));
                let column = u32::from(severity.get()) - 1;
                let published = image::imageops::crop_imm(&sheet, 32 * column, 32 * row, 32, 32).to_image();
                total += distance(&ours, &published) / 5.0;
                let differences = ours.iter().zip(published.iter()).map(|(a, b)| a.abs_diff(*b));
                largest = differences.clone().fold(largest, u8::max);
                unequal += differences.filter(|&difference| difference > 0).count();
            }
            println!("{side} {name}: mean {total:.4}, largest {largest}, {unequal} of 15360 differ");
            let (mean, most) = tolerance(name);
            if total > mean || largest > most {
                wrong.push(format!("{side} {name}: mean {total:.4}, largest {largest}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_table_is_sound() {
    let names: BTreeSet<_> = CORRUPTIONS.iter().map(|entry| entry.name).collect();
    assert_eq!(names.len(), 19);
    assert!(GOLDEN.iter().all(|name| names.contains(name)));
    assert_eq!(CORRUPTIONS.iter().filter(|entry| entry.validation).count(), 4);
    for entry in CORRUPTIONS {
        assert!(entry.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", entry.name);
        assert_eq!(find(entry.name), Ok(*entry));
    }
    let error = find("defocus").unwrap_err();
    assert!(matches!(&error, CorruptionError::Unknown { nearest: "defocus-blur", .. }), "{error}");
}

/// Kinds whose published parameters make no ladder of mean change: saturate first takes colour, then adds it; spatter
/// changes from water to mud; elastic trades its affine map for its displacements; frost takes from the image what it adds
/// of ice.
const NO_LADDER: [&str; 4] = ["elastic-transform", "frost", "saturate", "spatter"];

#[test]
fn severity_grows() {
    let world = World::open("sprites", "test").unwrap();
    let images: Vec<RgbImage> = (0..50).map(|i| world.image(20 * i)).collect();
    for entry in CORRUPTIONS {
        let change = Severity::ALL.map(|severity| {
            let changes = (0..).zip(&images).map(|(seed, image)| distance(image, &entry.apply(image, severity, seed)));
            changes.sum::<f64>() / images.len() as f64
        });
        println!("{}: {change:.2?}", entry.name);
        assert!(change[0] > 0.3, "{}: {change:?}", entry.name);
        if !NO_LADDER.contains(&entry.name) {
            assert!(change.is_sorted_by(|a, b| a < b), "{}: {change:?}", entry.name);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_image_and_another_does_not() {
    let image = World::open("sprites", "test").unwrap().image(3);
    let still = [
        "defocus-blur",
        "zoom-blur",
        "gaussian-blur",
        "brightness",
        "contrast",
        "pixelate",
        "jpeg-compression",
        "saturate",
    ];
    for entry in CORRUPTIONS {
        for severity in Severity::ALL {
            let once = entry.apply(&image, severity, 1);
            assert_eq!(once, entry.apply(&image, severity, 1), "{}", entry.name);
            let seed_matters = once != entry.apply(&image, severity, 2);
            assert_eq!(seed_matters, !still.contains(&entry.name), "{} {severity}", entry.name);
        }
    }
}

#[test]
fn flat_images_stay_flat_where_nothing_is_added() {
    let moves_or_mixes = |entry: &&&Corruption| {
        matches!(entry.name, "contrast" | "elastic-transform" | "pixelate" | "jpeg-compression" | "saturate")
            || entry.name.ends_with("-blur")
    };
    for side in [9, 32, 64, 130] {
        for grey in [0_u8, 255] {
            let flat = RgbImage::from_pixel(side, side, Rgb([grey; 3]));
            for entry in CORRUPTIONS.iter().filter(moves_or_mixes) {
                for severity in Severity::ALL {
                    // White saturated is the one exception: severities 4 and 5 give grey a colour, red.
                    if entry.name == "saturate" && severity.get() >= 4 && grey == 255 {
                        continue;
                    }
                    let result = entry.apply(&flat, severity, 5);
                    let worst = result.iter().map(|value| value.abs_diff(grey)).max();
                    assert!(worst <= Some(2), "{} {severity} made {grey} differ by {worst:?}", entry.name);
                }
            }
        }
    }
}

#[test]
fn a_dataset_is_corrupted_when_it_is_decoded() {
    let clean = open("world:sprites#test").unwrap();
    let source = open("corrupt:fog:3:9@world:sprites#test").unwrap();
    let again = Corrupted::new(open("world:sprites#test").unwrap(), find("fog").unwrap(), Severity::ALL[2], 9);
    assert_eq!(source.info().name, "corrupt:fog:3:9@world:sprites#test");
    assert_eq!(source.info(), again.info());
    assert_eq!(source.info().class_names, clean.info().class_names);
    assert_eq!((source.len(), source.id(5), source.label(5)), (clean.len(), clean.id(5), clean.label(5)));
    assert_eq!(source.get(5).unwrap(), clean.get(5).unwrap());

    let pixels = |source: &dyn ImageSource, i| rgb(source, i, DecodePolicy::Strict, &Limits::default()).unwrap().image;
    // Rows in another order, by another object: the same images.
    let forward: Vec<_> = (0..4).map(|i| pixels(&*source, i)).collect();
    for i in (0..4).rev() {
        assert_eq!(pixels(&again, i), forward[i]);
        assert!(distance(&forward[i], &pixels(&*clean, i)) > 3.0);
    }
    // Fog hangs differently over every image.
    let fog = |i: usize| distance(&forward[i], &pixels(&*clean, i));
    assert!((fog(0) - fog(1)).abs() > 1e-6);

    let prints: BTreeSet<String> = ["fog:3:9", "fog:3", "fog:4:9", "snow:3:9"]
        .map(|how| open(&format!("corrupt:{how}@world:sprites#test")).unwrap().fingerprint())
        .into_iter()
        .chain([clean.fingerprint(), open("corrupt:fog:3:9@world:sprites#val").unwrap().fingerprint()])
        .collect();
    assert_eq!(prints.len(), 6);
    assert_eq!(source.fingerprint(), again.fingerprint());
}

/// A change of any image is a new version: bump `CORRUPTIONS_VERSION`, then write the file again with
/// `KNOWNSET_BLESS=1 cargo test -p knownset-data --test it`.
#[test]
fn images_are_those_of_this_version_on_every_machine() {
    let mut digests = BTreeMap::new();
    for entry in CORRUPTIONS {
        let mut digest = Sha256::new();
        for (width, height) in [(32, 24), (64, 64), (130, 121)] {
            let image = RgbImage::from_fn(width, height, |x, y| Rgb([(3 * x) as u8, (x * y) as u8, (2 * y) as u8]));
            for severity in Severity::ALL {
                digest.update(entry.apply(&image, severity, SEED).as_raw());
            }
        }
        let mut hex = String::new();
        for byte in digest.finalize() {
            write!(hex, "{byte:02x}").unwrap();
        }
        digests.insert(entry.name, hex);
    }
    let found = serde_json::to_string_pretty(&digests).unwrap() + "\n";
    if std::env::var_os("KNOWNSET_BLESS").is_some() {
        fs_err::write(golden("corruptions.json"), &found).unwrap();
    }
    assert_eq!(found, fs_err::read_to_string(golden("corruptions.json")).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_size_works(width in 8_u32..=96, height in 8_u32..=96, kind in 0..19_usize, severity in 0..5_usize, seed: u64) {
        let image = RgbImage::from_fn(width, height, |x, y| Rgb([(3 * x + y) as u8, (x * y) as u8, (7 * y) as u8]));
        let result = CORRUPTIONS[kind].apply(&image, Severity::ALL[severity], seed);
        prop_assert_eq!(result.dimensions(), image.dimensions());
        prop_assert_ne!(result, image);
    }

    #[test]
    fn even_the_smallest_sizes_do(width in 1_u32..8, height in 1_u32..8, kind in 0..19_usize, severity in 0..5_usize) {
        let image = RgbImage::from_fn(width, height, |x, y| Rgb([(60 * x + y) as u8, 99, (50 * y) as u8]));
        prop_assert_eq!(CORRUPTIONS[kind].apply(&image, Severity::ALL[severity], 0).dimensions(), (width, height));
    }
}
