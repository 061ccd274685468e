//! Network inputs against torchvision on PIL images.

use fs_err as fs;
use image::RgbImage;
use knownset_core::{Filter, Preprocess, Resize, ScaledPreprocess};
use knownset_data::{preprocess, preprocess_scaled};
use serde_json::Value;

use crate::golden;

const IDENTITY: [[f32; 3]; 2] = [[0.0; 3], [1.0; 3]];

fn json() -> Value {
    serde_json::from_slice(&fs::read(golden("preprocess.json")).unwrap()).unwrap()
}

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap()).unwrap()
}

fn spec(case: &Value) -> Preprocess {
    let filter = serde_json::from_value(case["filter"].clone()).unwrap();
    let size = number(&case["size"]);
    let resize = match case["kind"].as_str().unwrap() {
        "shorter" => Resize::Shorter { size, filter },
        _ => Resize::Exact { size, filter },
    };
    Preprocess { resize, size: number(&case["crop"]), mean: Preprocess::IMAGENET_MEAN, std: Preprocess::IMAGENET_STD }
}

/// Back from `[3, s, s]` in 0–1 to interleaved bytes.
fn bytes(input: &[f32]) -> Vec<u8> {
    let plane = input.len() / 3;
    (0..plane).flat_map(|at| (0..3).map(move |c| (input[c * plane + at] * 255.0).round() as u8)).collect()
}

#[test]
fn resized_and_cropped_pixels_are_those_of_torchvision() {
    let mut wrong = Vec::new();
    for case in json()["cases"].as_array().unwrap() {
        let raw = fs::read(golden(case["input"].as_str().unwrap())).unwrap();
        let image = RgbImage::from_raw(number(&case["width"]), number(&case["height"]), raw).unwrap();
        let name = case["pixels"].as_str().unwrap();
        let expected = fs::read(golden(name)).unwrap();
        let bare = Preprocess { mean: IDENTITY[0], std: IDENTITY[1], ..spec(case) };
        let ours = bytes(&preprocess(&image, &bare));
        assert_eq!(ours.len(), expected.len(), "{name}");
        let differences: Vec<u8> = ours.iter().zip(&expected).map(|(ours, pil)| ours.abs_diff(*pil)).collect();
        let unequal = differences.iter().filter(|&&difference| difference > 0).count();
        if unequal > 0 {
            let largest = differences.iter().max().unwrap();
            wrong.push(format!("{name}: {unequal} of {} differ, by up to {largest}", expected.len()));
            continue;
        }
        let input = preprocess(&image, &spec(case));
        let pinned = |key: &str| -> Vec<f32> { serde_json::from_value(case[key].clone()).unwrap() };
        assert_eq!(input[..8], pinned("first"), "{name}");
        assert_eq!(input[input.len() - 8..], pinned("last"), "{name}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn normalisation_is_bit_equal_for_every_value() {
    let ramp = RgbImage::from_fn(16, 16, |x, y| image::Rgb([(16 * y + x) as u8; 3]));
    let spec = Preprocess {
        resize: Resize::Shorter { size: 16, filter: Filter::Bicubic },
        size: 16,
        mean: Preprocess::IMAGENET_MEAN,
        std: Preprocess::IMAGENET_STD,
    };
    let expected = fs::read(golden("normalize.f32")).unwrap();
    let expected = expected.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    assert!(preprocess(&ramp, &spec).iter().map(|value| value.to_bits()).eq(expected));
}

#[test]
fn centre_crops_round_and_pad_as_torchvision() {
    for case in json()["crops"].as_array().unwrap() {
        let (length, size) = (number(&case[0]), number(&case[1]));
        let expected: Vec<u8> = serde_json::from_value(case[2].clone()).unwrap();
        let image = RgbImage::from_fn(length, length, |x, _| image::Rgb([x as u8 + 1; 3]));
        let resize = Resize::Exact { size: length, filter: Filter::Nearest };
        let spec = Preprocess { resize, size, mean: IDENTITY[0], std: IDENTITY[1] };
        let input = preprocess(&image, &spec);
        let middle = &input[(size / 2 * size) as usize..][..size as usize];
        let middle: Vec<u8> = middle.iter().map(|value| (value * 255.0).round() as u8).collect();
        assert_eq!(middle, expected, "{length} cropped to {size}");
    }
}

#[test]
fn images_are_resized_within_bounds_as_transformers_does() {
    let golden_file: Value = serde_json::from_slice(&fs::read(golden("scaled.json")).unwrap()).unwrap();
    let spec = |shortest: &Value, longest: &Value| ScaledPreprocess {
        shortest: number(shortest),
        longest: number(longest),
        filter: Filter::Bilinear,
        mean: Preprocess::IMAGENET_MEAN,
        std: Preprocess::IMAGENET_STD,
    };
    for size in golden_file["sizes"].as_array().unwrap() {
        let got = spec(&size[2], &size[3]).size(number(&size[0]), number(&size[1]));
        assert_eq!(got, (number(&size[4]), number(&size[5])), "{size}");
    }
    for case in golden_file["cases"].as_array().unwrap() {
        let raw = fs::read(golden(case["input"].as_str().unwrap())).unwrap();
        let image = RgbImage::from_raw(number(&case["width"]), number(&case["height"]), raw).unwrap();
        let (input, shape) = preprocess_scaled(&image, &spec(&case["shortest"], &case["longest"]));
        let name = format!("{}x{} of {}", case["shortest"], case["longest"], case["input"]);
        assert_eq!(shape.to_vec(), serde_json::from_value::<Vec<usize>>(case["shape"].clone()).unwrap(), "{name}");
        assert_eq!(input.len(), shape.iter().product::<usize>(), "{name}");
        let pinned = |key: &str| -> Vec<f64> { serde_json::from_value(case[key].clone()).unwrap() };
        let rows: Vec<f64> = input.chunks(shape[2]).map(|row| row.iter().map(|&x| f64::from(x)).sum()).collect();
        let near = |ours: &[f64], theirs: &[f64]| ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 1e-4);
        let ends: Vec<f64> = input.iter().map(|&x| f64::from(x)).collect();
        assert!(near(&ends[..8], &pinned("first")) && near(&ends[ends.len() - 8..], &pinned("last")), "{name}");
        assert_eq!(rows.len(), pinned("rows").len(), "{name}");
        assert!(near(&rows, &pinned("rows")), "{name}");
    }
}

#[test]
fn no_side_vanishes() {
    let spec =
        ScaledPreprocess { shortest: 32, longest: 64, filter: Filter::Bilinear, mean: IDENTITY[0], std: IDENTITY[1] };
    assert_eq!((spec.size(10_000, 1), spec.size(1, 10_000)), ((64, 1), (1, 64)));
}
