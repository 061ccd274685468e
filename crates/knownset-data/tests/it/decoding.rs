//! Pixels against PIL's `convert("RGB")`.

use fs_err as fs;
use knownset_data::{DecodeError, DecodePolicy, Limits, decode};

use crate::golden;

/// Largest difference per channel that is accepted: none, but for JPEG, where zune-jpeg and libjpeg-turbo round the
/// transform and the interpolation of subsampled colour differently.
fn tolerance(name: &str) -> u8 {
    match name {
        "grey.jpg" | "cmyk.jpg" => 1,
        "q90-444.jpg" | "rotated-exif.jpg" => 2,
        "q75-420.jpg" | "q75-422.jpg" | "progressive.jpg" => 3,
        _ => 0,
    }
}

#[test]
fn pixels_are_those_of_pil() {
    let index: serde_json::Value = serde_json::from_slice(&fs::read(golden("decode.json")).unwrap()).unwrap();
    let mut wrong = Vec::new();
    for (name, facts) in index.as_object().unwrap() {
        let expected = fs::read(golden(&format!("{name}.rgb"))).unwrap();
        let decoded = match decode(&fs::read(golden(name)).unwrap(), DecodePolicy::Strict, &Limits::default()) {
            Ok(decoded) => decoded,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        assert!(!decoded.truncated, "{name}");
        let size = (u64::from(decoded.image.width()), u64::from(decoded.image.height()));
        assert_eq!(size, (facts["width"].as_u64().unwrap(), facts["height"].as_u64().unwrap()), "{name}");
        let differences = decoded.image.as_raw().iter().zip(&expected).map(|(ours, pil)| ours.abs_diff(*pil));
        let largest = differences.clone().max().unwrap();
        let mean = differences.map(f64::from).sum::<f64>() / expected.len() as f64;
        println!("{name}: largest difference {largest}, mean {mean:.3}");
        if largest > tolerance(name) {
            wrong.push(format!("{name}: differs by {largest}, mean {mean:.3}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_truncated_jpeg_is_refused_or_counted() {
    let whole = fs::read(golden("q75-420.jpg")).unwrap();
    let scan = whole.windows(2).position(|marker| marker == [0xff, 0xda]).unwrap();
    let limits = Limits::default();
    for percent in [50, 80, 99] {
        let cut = &whole[..scan + (whole.len() - scan) * percent / 100];
        let strict = decode(cut, DecodePolicy::Strict, &limits);
        assert!(matches!(strict, Err(DecodeError::DamagedJpeg { .. })), "{percent} % was accepted");
        let lenient = decode(cut, DecodePolicy::PilLenient, &limits).unwrap();
        assert!(lenient.truncated, "{percent} %");
        assert_eq!(lenient.image.dimensions(), (29, 23));
    }
    assert!(!decode(&whole, DecodePolicy::PilLenient, &limits).unwrap().truncated);
}

#[test]
fn every_limit_is_checked() {
    let png = fs::read(golden("rgb.png")).unwrap();
    let refused = |limits| decode(&png, DecodePolicy::PilLenient, &limits).unwrap_err();
    let plenty = Limits::default();
    assert!(matches!(refused(Limits { bytes: 100, ..plenty }), DecodeError::TooManyBytes { .. }));
    assert!(matches!(refused(Limits { side: 28, ..plenty }), DecodeError::TooLarge { width: 29, height: 23, .. }));
    assert!(matches!(refused(Limits { pixels: 29 * 23 - 1, ..plenty }), DecodeError::TooLarge { .. }));
    let error = refused(Limits { memory: 29 * 23 * 3 - 1, ..plenty });
    assert!(matches!(error, DecodeError::TooMuchMemory { .. } | DecodeError::Decoder { .. }), "{error}");
}

#[test]
fn content_decides_not_the_name() {
    let error = decode(b"<svg xmlns='http://www.w3.org/2000/svg'/>", DecodePolicy::Strict, &Limits::default());
    assert!(matches!(error, Err(DecodeError::UnknownFormat { .. })));
    assert!(matches!(decode(b"", DecodePolicy::Strict, &Limits::default()), Err(DecodeError::UnknownFormat { .. })));
}

proptest::proptest! {
    /// Damage anywhere gives pixels or an error, never a panic that escapes.
    #[test]
    fn damaged_files_give_pixels_or_an_error(file in 0_usize..6, at in 0_usize..2000, value: u8) {
        let name = ["q75-420.jpg", "palette.png", "animated.gif", "palette.bmp", "lossy.webp", "lzw.tif"][file];
        let mut bytes = fs::read(golden(name)).unwrap();
        let at = at % bytes.len();
        bytes[at] = value;
        let _ = decode(&bytes, DecodePolicy::PilLenient, &Limits { pixels: 1 << 20, ..Limits::default() });
    }
}
