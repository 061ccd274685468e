//! Images in NumPy's archives: files of NumPy itself, and broken ones made here.

use std::io::Write;
use std::path::Path;

use fs_err as fs;
use image::Rgb;
use knownset_data::{DataError, EncodedImage, ImageSource};
use tempfile::TempDir;
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use crate::{golden, open, refused, rows};

fn reference(path: &Path) -> String {
    format!("arrays:{}", path.display())
}

fn pixel(source: &dyn ImageSource, i: usize, x: u32, y: u32) -> [u8; 3] {
    let EncodedImage::Pixels(image) = source.get(i).unwrap() else { panic!("arrays are pixels") };
    assert_eq!(image.dimensions(), (4, 2));
    let Rgb(value) = *image.get_pixel(x, y);
    value
}

#[test]
fn numpys_own_files() {
    let plain = open(&reference(&golden("arrays.npz"))).unwrap();
    let compressed = open(&reference(&golden("arrays-compressed.npz"))).unwrap();
    for source in [&*plain, &*compressed] {
        assert_eq!(rows(source), [("000000", 2), ("000001", -1), ("000002", 0)]);
        assert_eq!(source.info().class_names, ["0", "1", "2"]);
        assert_eq!(pixel(source, 0, 0, 0), [0, 50, 100]);
        assert_eq!(pixel(source, 1, 3, 1), [113, 163, 213]);
        assert_eq!(pixel(source, 2, 2, 0), [202, 252, 46]);
    }
    assert_eq!(plain.fingerprint(), compressed.fingerprint());

    let grey = open(&reference(&golden("arrays-grey.npz"))).unwrap();
    assert_eq!(rows(&*grey), [("000000", -1), ("000001", -1), ("000002", -1)]);
    assert!(grey.info().class_names.is_empty());
    assert_eq!(pixel(&*grey, 2, 3, 1), [213; 3]);
    assert_ne!(grey.fingerprint(), plain.fingerprint());
}

#[test]
fn many_threads_read_one_file() {
    let source = open(&reference(&golden("arrays.npz"))).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                (0..300).for_each(|i| assert_eq!(pixel(&*source, i % 3, 1, 0)[0], (100 * (i % 3) + 1) as u8));
            });
        }
    });
}

/// A `.npy` with this header entry for type, order and shape.
fn npy(element: &str, order: &str, shape: &str, values: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{element}', 'fortran_order': {order}, 'shape': ({shape}), }}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), values].concat()
}

fn images(shape: &str, count: usize) -> Vec<u8> {
    npy("|u1", "False", shape, &vec![7; count])
}

fn archive(path: &Path, compression: CompressionMethod, members: &[(&str, Vec<u8>)]) {
    let mut archive = zip::ZipWriter::new(fs::File::create(path).unwrap());
    for (name, bytes) in members {
        archive.start_file(*name, SimpleFileOptions::default().compression_method(compression)).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
}

#[test]
fn what_is_no_stack_of_images_is_refused_by_name() {
    let root = TempDir::new().unwrap();
    let path = root.path().join("a.npz");
    let good = || ("images.npy", images("2, 1, 1, 3", 6));
    let labels = |element: &str, shape: &str, values: &[u8]| ("labels.npy", npy(element, "False", shape, values));
    let mut long = images("1, 1, 1", 1);
    long[8..10].copy_from_slice(&5000_u16.to_le_bytes());
    for (members, words) in [
        (vec![], "images.npy not found"),
        (vec![labels("|u1", "2,", &[0, 1])], "images.npy not found"),
        (vec![("arr_0.npy", images("2, 1, 1, 3", 6))], "holds `arr_0.npy`; wanted are images.npy and, if any, labels"),
        (vec![good(), ("label.npy", npy("|u1", "False", "2,", &[0, 1]))], "holds `label.npy`"),
        (vec![("images.npy", images("0, 1, 1, 3", 0))], "no images"),
        (vec![("images.npy", images("6,", 6))], "shape [6], wanted [n, h, w, 3] or [n, h, w]"),
        (vec![("images.npy", images("2, 3, 1, 1", 6))], "shape [2, 3, 1, 1], wanted"),
        (vec![("images.npy", images("2, 1, 0, 3", 0))], "images of 0x1 pixels"),
        (vec![("images.npy", images("1, 20000, 1", 20_000))], "images of 1x20000 pixels; sides are from 1 to 16384"),
        (vec![("images.npy", images("10000001, 1, 1", 10_000_001))], "10000001 images, above the limit of 10000000"),
        (vec![("images.npy", images("2, 1, 1, 3", 5))], "shape [2, 1, 1, 3] of type |u1 does not fill 5 bytes"),
        (vec![("images.npy", images("2, 1, 1, 3", 7))], "does not fill 7 bytes"),
        (vec![("images.npy", images("4294967296, 4294967296, 4294967296", 6))], "does not fill 6 bytes"),
        (vec![("images.npy", npy("<f4", "False", "1, 1, 1", &[0; 4]))], "type <f4, wanted |u1 (uint8)"),
        (vec![("images.npy", npy("|O", "False", "1, 1, 1", b"cos\nsystem\n"))], "elements of type |O are not read"),
        (vec![("images.npy", npy("|u1", "True", "1, 1, 1", &[0]))], "in Fortran's order"),
        (vec![("images.npy", b"\x93NUMPY\x02\x00".to_vec())], "not a .npy of version 1.0"),
        (vec![("images.npy", b"\x93NUM".to_vec())], "images.npy: "),
        (vec![("images.npy", long)], "a header of 5000 bytes"),
        (vec![good(), labels("|u1", "3,", &[0, 1, 2])], "labels.npy: shape [3] for 2 images"),
        (vec![good(), labels("|u1", "2, 1", &[0, 1])], "labels.npy: shape [2, 1] for 2 images"),
        (vec![good(), labels("|i1", "2,", &[0, 0xfe])], "label -2 is outside -1..100000"),
        (vec![good(), labels("<i8", "2,", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0])], "label 4294967296 is"),
        (vec![good(), labels("<f4", "2,", &[0; 8])], "elements of type <f4; wanted whole numbers"),
        (vec![good(), labels(">i8", "2,", &[0; 16])], "elements of type >i8 are not read"),
    ] {
        for compression in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            if words.contains("10000001 images") && compression == CompressionMethod::Deflated {
                continue; // A bomb, and refused as one.
            }
            archive(&path, compression, &members);
            let error = refused(&reference(&path)).to_string();
            assert!(error.starts_with(path.to_str().unwrap()) && error.contains(words), "{error}, not {words}");
        }
    }
    fs::write(&path, b"PK no zip").unwrap();
    assert!(matches!(refused(&reference(&path)), DataError::Malformed { .. }));
    assert!(refused("arrays:no/such.npz").to_string().contains("no/such.npz"));
}

#[test]
fn labels_of_every_whole_type() {
    let root = TempDir::new().unwrap();
    let path = root.path().join("a.npz");
    for (element, values) in [
        ("|u1", vec![3, 1]),
        ("|i1", vec![3, 1]),
        ("<u2", vec![3, 0, 1, 0]),
        ("<i2", vec![3, 0, 1, 0]),
        ("<u4", vec![3, 0, 0, 0, 1, 0, 0, 0]),
        ("<i4", vec![3, 0, 0, 0, 1, 0, 0, 0]),
        ("<i8", vec![3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        let labels = npy(element, "False", "2,", &values);
        archive(&path, CompressionMethod::Stored, &[("labels.npy", labels), ("images.npy", images("2, 1, 1", 2))]);
        let source = open(&reference(&path)).unwrap();
        assert_eq!((source.label(0), source.label(1)), (3, 1), "{element}");
        assert_eq!(source.info().class_names.len(), 4, "{element}");
    }
}

#[test]
fn a_bomb_is_refused_and_a_damaged_file_noticed() {
    let root = TempDir::new().unwrap();
    let path = root.path().join("a.npz");
    archive(&path, CompressionMethod::Deflated, &[("images.npy", images("64, 256, 256", 64 << 16))]);
    let error = refused(&reference(&path)).to_string();
    assert!(error.contains("images.npy: ") && error.ends_with("look like a zip bomb"), "{error}");

    // One flipped bit anywhere in a compressed file is noticed, or does not matter.
    let compressed = fs::read(golden("arrays-compressed.npz")).unwrap();
    let intact = open(&reference(&golden("arrays-compressed.npz"))).unwrap();
    let mut noticed = 0;
    for at in 0..compressed.len() {
        let mut bytes = compressed.clone();
        bytes[at] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        match open(&reference(&path)) {
            Err(_) => noticed += 1,
            Ok(source) => {
                assert_eq!(rows(&*source), rows(&*intact), "byte {at}");
                (0..3).for_each(|i| assert_eq!(source.get(i).unwrap(), intact.get(i).unwrap(), "byte {at}"));
            }
        }
    }
    assert!(noticed > compressed.len() / 2, "{noticed} of {} flips noticed", compressed.len());

    // A file that ends early is no archive; one that is cut while it is open gives an error with the image's id.
    let plain = fs::read(golden("arrays.npz")).unwrap();
    for length in 0..plain.len() {
        fs::write(&path, &plain[..length]).unwrap();
        assert!(open(&reference(&path)).is_err(), "{length} of {} bytes", plain.len());
    }
    fs::write(&path, &plain).unwrap();
    let source = open(&reference(&path)).unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(100).unwrap();
    let error = source.get(1).unwrap_err().to_string();
    assert!(error.starts_with("000001: cannot be read from "), "{error}");
}
