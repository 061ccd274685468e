use std::path::Path;

use knownset_core::{Tensor, TensorFile};

use super::*;

/// The golden file's values of one name.
struct Golden(TensorFile);

impl Golden {
    fn open() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/augment.safetensors");
        Self(TensorFile::read(&path).unwrap())
    }

    fn input(&self) -> Picture {
        let Tensor::I64(levels) = &self.0.tensors["input"] else { panic!("the input is not in levels") };
        Picture { side: levels.shape()[2], values: levels.iter().map(|&level| level as f32 / 255.0).collect() }
    }

    /// How far every seventh value of `found` is from the one expected, at most.
    fn difference(&self, name: &str, found: &Picture) -> f32 {
        let Tensor::F32(expected) = &self.0.tensors[name] else { panic!("{name} is not f32") };
        let found = found.values.iter().step_by(7);
        assert_eq!(found.len(), expected.len());
        found.zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }
}

#[test]
fn operations_are_those_of_pillow_and_torchvision() {
    use Operation as O;
    let golden = Golden::open();
    let input = golden.input();
    // Roundings of f32, torchvision's luminance (0.2989 R), and nothing where both sides end in levels.
    let (rounding, luminance, none) = (1e-6, 1e-4, 0.0);
    let cases: &[(&str, Operation, f32)] = &[
        ("rotate.17", O::Rotate(17.0), rounding),
        ("rotate.-30", O::Rotate(-30.0), rounding),
        ("shear-x.0.3", O::ShearX(0.3), rounding),
        ("shear-y.-0.14", O::ShearY(-0.14), rounding),
        ("translate-x.5", O::TranslateX(5.0), none),
        ("translate-y.-3", O::TranslateY(-3.0), none),
        ("brightness.0.4", O::Brightness(0.4), rounding),
        ("brightness.1.7", O::Brightness(1.7), rounding),
        ("contrast.0.4", O::Contrast(0.4), luminance),
        ("contrast.1.7", O::Contrast(1.7), luminance),
        ("colour.0.4", O::Colour(0.4), luminance),
        ("colour.1.7", O::Colour(1.7), luminance),
        ("sharpness.0.1", O::Sharpness(0.1), rounding),
        ("sharpness.1.9", O::Sharpness(1.9), rounding),
        ("auto-contrast", O::AutoContrast, rounding),
        ("posterize.1", O::Posterize(1), none),
        ("posterize.6", O::Posterize(6), none),
        ("solarize.136", O::Solarize(136.0 / 255.0), rounding),
        ("solarize.256", O::Solarize(256.0 / 255.0), none),
        ("equalize", O::Equalize, none),
    ];
    for (name, operation, tolerance) in cases {
        let worst = golden.difference(name, &operation.apply(input.clone()));
        println!("{name}: {worst:.1e}");
        assert!(worst <= *tolerance, "{name}: {worst}");
    }
}

#[test]
fn hue_and_parts_are_those_of_torchvision_and_pillow() {
    let golden = Golden::open();
    let input = golden.input();
    for (name, turn) in [("hue.-0.5", -0.5), ("hue.0.1", 0.1), ("hue.0.37", 0.37)] {
        let worst = golden.difference(name, &input.clone().map_colours(|colour| turn_hue(colour, turn)));
        assert!(worst <= 2e-6, "{name}: {worst}");
    }
    for (name, corner, size) in [("part.3.2.9.13", (3, 2), (9, 13)), ("part.0.7.31.1", (0, 7), (31, 1))] {
        let worst = golden.difference(name, &enlarge(&input, corner, size));
        assert!(worst <= 1e-6, "{name}: {worst}");
    }
}

/// What Pillow makes of the same picture in 8 bits, in levels of 256: it rounds luminance and its mean, and cuts results.
#[test]
fn eight_bits_differ_by_less_than_two_levels() {
    use Operation as O;
    let golden = Golden::open();
    let input = golden.input();
    for (name, operation) in [
        ("brightness.1.7", O::Brightness(1.7)),
        ("contrast.0.4", O::Contrast(0.4)),
        ("contrast.1.7", O::Contrast(1.7)),
        ("colour.0.4", O::Colour(0.4)),
        ("colour.1.7", O::Colour(1.7)),
        ("sharpness.1.9", O::Sharpness(1.9)),
        ("auto-contrast", O::AutoContrast),
        ("rotate.17", O::Rotate(17.0)),
    ] {
        let worst = 255.0 * golden.difference(&format!("8-bit.{name}"), &operation.apply(input.clone()));
        println!("{name}: {worst:.2} levels");
        assert!(worst < 2.0, "{name}: {worst}");
    }
}

/// One row of three grey pixels, and black below.
fn row(values: [f32; 3]) -> Picture {
    Picture::from_fn(3, |_, x, y| if y == 0 { values[x] } else { 0.0 })
}

fn first_row(picture: &Picture) -> [f32; 3] {
    [0, 1, 2].map(|x| picture.at(0, x, 0))
}

#[test]
fn moves_by_hand() {
    use Operation as O;
    let picture = row([0.25, 0.5, 1.0]);
    assert_eq!(first_row(&O::TranslateX(1.0).apply(picture.clone())), [0.5, 1.0, 0.0]);
    assert_eq!(first_row(&O::TranslateX(-1.0).apply(picture.clone())), [0.0, 0.25, 0.5]);
    assert_eq!(first_row(&O::TranslateY(1.0).apply(picture.clone())), [0.0; 3]);
    // The first row's middle is half a pixel from the edge: a shear of 1 moves it left by half a pixel; the last
    // position, 3.0, is beyond the picture.
    assert_eq!(first_row(&O::ShearX(1.0).apply(picture.clone())), [0.375, 0.75, 0.0]);
    // A quarter turn counter-clockwise takes the upper row to the left column, its right end up.
    let turned = O::Rotate(90.0).apply(picture.clone());
    let column = [0, 1, 2].map(|y| (turned.at(0, 0, y) * 1e6).round() / 1e6);
    assert_eq!(column, [1.0, 0.5, 0.25]);
    // Two pixels made three: positions −1/6, 1/2 and 7/6, kept within 0..1.
    let wide = enlarge(&picture, (1, 0), (2, 1));
    assert_eq!(first_row(&wide), [0.5, 0.75, 1.0]);
    assert_eq!(wide.values[..3], wide.values[24..], "one row made three");
}

#[test]
fn tones_by_hand() {
    use Operation as O;
    let picture = row([0.25, 0.5, 1.0]);
    assert_eq!(first_row(&O::Brightness(0.5).apply(picture.clone())), [0.125, 0.25, 0.5]);
    assert_eq!(first_row(&O::Brightness(3.0).apply(picture.clone())), [0.75, 1.0, 1.0]);
    assert_eq!(first_row(&O::Solarize(0.5).apply(picture.clone())), [0.25, 0.5, 0.0]);
    let near = row([246.0, 247.0, 136.0].map(|level: f32| level / 255.0));
    for (threshold, kept) in [(1.0 - 1.0 / 30.0, [true, false, true]), (1.0 - 14.0 / 30.0, [false; 3])] {
        let found = first_row(&O::Solarize(threshold).apply(near.clone()));
        assert_eq!([0, 1, 2].map(|x| found[x] == first_row(&near)[x]), kept, "246.5 and 136 levels");
    }
    // Levels 64, 128 and 255 of 256: the upper two bits are 64, 128 and 192.
    let levels = [64.0, 128.0, 192.0].map(|level: f32| level / 255.0);
    assert_eq!(first_row(&O::Posterize(2).apply(picture.clone())), levels);
    // The mean of the nine is 1.75 / 9.
    let flat = O::Contrast(0.0).apply(picture.clone()).values[0];
    assert!((flat - 1.75 / 9.0).abs() < 1e-7);
    // The middle is black among black but for the row above: 1.75 / 13.
    let smooth = O::Sharpness(0.0).apply(picture.clone());
    assert!((smooth.at(0, 1, 1) - 1.75 / 13.0).abs() < 1e-7 && smooth.at(0, 0, 1) == 0.0);
    let dim = picture.map(|value| 0.25 + value / 2.0);
    assert_eq!(first_row(&O::AutoContrast.apply(dim)), [0.25, 0.5, 1.0]);
}

#[test]
fn colours_by_hand() {
    assert_eq!(luminance([1.0; 3]), 1.0);
    // A third of the circle takes red to green to blue.
    assert_eq!(turn_hue([1.0, 0.0, 0.0], 1.0 / 3.0), [0.0, 1.0, 0.0]);
    assert_eq!(turn_hue([0.25, 0.75, 0.25], 1.0 / 3.0), [0.25, 0.25, 0.75]);
    assert_eq!(turn_hue([1.0, 0.5, 0.0], 0.5), [0.0, 0.5, 1.0]);
    assert_eq!(turn_hue([0.5; 3], 0.3), [0.5; 3], "grey has no hue");
    let red = Picture::from_fn(1, |channel, _, _| [1.0, 0.0, 0.0][channel]);
    assert_eq!(Operation::Colour(0.0).apply(red).values, [0.299; 3]);
}

#[test]
fn at_their_neutral_point_operations_change_nothing() {
    use Operation as O;
    let input = Golden::open().input();
    for operation in [
        O::Identity,
        O::ShearX(0.0),
        O::ShearY(0.0),
        O::TranslateX(0.0),
        O::TranslateY(0.0),
        O::Rotate(0.0),
        O::Brightness(1.0),
        O::Colour(1.0),
        O::Contrast(1.0),
        O::Sharpness(1.0),
        O::Posterize(8),
        O::Solarize(1.1),
    ] {
        assert_eq!(operation.apply(input.clone()), input, "{operation:?}");
    }
    let flat = Picture::from_fn(40, |channel, _, _| channel as f32 / 2.0);
    assert_eq!(O::AutoContrast.apply(flat.clone()), flat);
    assert_eq!(O::Equalize.apply(flat.clone()), flat, "one level has no step");
}
