//! Every dataset format, from files made here or by the golden script.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use fs_err as fs;
use image::RgbImage;
use knownset_data::{DataError, EncodedImage, ImageSource};
use tempfile::TempDir;

use crate::{golden, open, refused, rows};

fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn pixels(source: &dyn ImageSource, i: usize) -> RgbImage {
    match source.get(i).unwrap() {
        EncodedImage::Pixels(image) => image,
        EncodedImage::Bytes(_) => panic!("bytes"),
    }
}

#[test]
fn folder() {
    let root = TempDir::new().unwrap();
    for name in ["dog/b.png", "dog/deep/a.PNG", "cat/1.jpg", "loose.png", "cat/readme.txt"] {
        put(&root.path().join(name), name.as_bytes());
    }
    let reference = format!("folder:{}", root.path().display());
    let source = open(&reference).unwrap();
    assert_eq!(source.info().class_names, ["cat", "dog"]);
    assert_eq!(source.info().name, reference);
    assert_eq!(rows(&*source), [("cat/1.jpg", 0), ("dog/b.png", 1), ("dog/deep/a.PNG", 1), ("loose.png", -1)]);
    assert_eq!(source.get(2).unwrap(), EncodedImage::Bytes(b"dog/deep/a.PNG".to_vec()));

    let before = source.fingerprint();
    assert_eq!(before, open(&reference).unwrap().fingerprint());
    put(&root.path().join("dog/b.png"), b"longer than before");
    assert_ne!(before, open(&reference).unwrap().fingerprint());

    fs::remove_file(root.path().join("dog/b.png")).unwrap();
    assert!(source.get(1).unwrap_err().to_string().starts_with("dog/b.png: "));
}

#[test]
fn an_empty_folder_and_an_empty_class_are_named() {
    let root = TempDir::new().unwrap();
    let reference = format!("folder:{}", root.path().display());
    assert_eq!(refused(&reference).to_string(), format!("{}: no images", root.path().display()));
    put(&root.path().join("cat/1.jpg"), b"x");
    fs::create_dir_all(root.path().join("dog")).unwrap();
    assert!(matches!(refused(&reference), DataError::EmptyClass { class, .. } if class == "dog"));
    assert!(refused("folder:no/such/folder").to_string().contains("no/such/folder"));
}

#[cfg(unix)]
#[test]
fn a_link_loop_ends() {
    let root = TempDir::new().unwrap();
    put(&root.path().join("cat/1.jpg"), b"x");
    fs_err::os::unix::fs::symlink(root.path(), root.path().join("cat/again")).unwrap();
    assert!(matches!(refused(&format!("folder:{}", root.path().display())), DataError::Malformed { .. }));
}

#[test]
fn zip_reads_like_a_folder_from_many_threads() {
    let root = TempDir::new().unwrap();
    let file = root.path().join("set.zip");
    let mut archive = zip::ZipWriter::new(fs::File::create(&file).unwrap());
    let content = |name: &str| name.as_bytes().repeat(5000);
    for name in
        ["train/dog/b.png", "train/cat/1.jpg", "__MACOSX/train/cat/._1.jpg", "train/cat/2.jpg", "test/cat/1.jpg"]
    {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(&content(name)).unwrap();
    }
    archive.finish().unwrap();

    let source = open(&format!("zip:{}#train", file.display())).unwrap();
    assert_eq!(source.info().class_names, ["cat", "dog"]);
    assert_eq!(rows(&*source), [("cat/1.jpg", 0), ("cat/2.jpg", 0), ("dog/b.png", 1)]);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for i in [2, 0, 1, 2, 1, 0] {
                    let expected = content(&format!("train/{}", source.id(i)));
                    assert_eq!(source.get(i).unwrap(), EncodedImage::Bytes(expected));
                }
            });
        }
    });
    assert_eq!(open(&format!("zip:{}", file.display())).unwrap().info().class_names, ["test", "train"]);
    let empty = refused(&format!("zip:{}#val", file.display())).to_string();
    assert!(empty.ends_with("set.zip: no images under `val`"), "{empty}");

    // One flipped byte in the stored data is caught by the checksum or the inflater, with the image's name.
    let fingerprint = source.fingerprint();
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(15).position(|window| window == b"train/dog/b.png").unwrap() + 40;
    bytes[at] ^= 0x10;
    fs::write(&file, bytes).unwrap();
    let damaged = open(&format!("zip:{}#train", file.display())).unwrap();
    assert_eq!(damaged.fingerprint(), fingerprint);
    assert!(damaged.get(2).unwrap_err().to_string().starts_with("dog/b.png: cannot be read from"));
}

#[test]
fn imglist() {
    let root = TempDir::new().unwrap();
    put(&root.path().join("images/a b.jpg"), b"a b");
    let list = root.path().join("list.txt");
    put(&list, b"z/1.jpg {'class_label': 4}\r\na b.jpg 2\r\n");
    let reference = format!("imglist:{}@{}", list.display(), root.path().join("images").display());
    let source = open(&reference).unwrap();
    assert_eq!(rows(&*source), [("a b.jpg", 2), ("z/1.jpg", 4)]);
    assert_eq!(source.get(0).unwrap(), EncodedImage::Bytes(b"a b".to_vec()));
    assert!(source.get(1).unwrap_err().to_string().starts_with("z/1.jpg: "));
    put(&list, b"\r\n");
    assert!(matches!(refused(&reference), DataError::Empty { .. }));
}

/// The two images of the golden script's batches.
fn check_cifar(source: &dyn ImageSource, labels: [i64; 2]) {
    assert_eq!((source.label(0), source.label(1)), (labels[0], labels[1]));
    let first = pixels(source, 0);
    assert_eq!(first.dimensions(), (32, 32));
    assert_eq!(first.get_pixel(0, 0).0, [255, 3, 0]);
    assert_eq!(first.get_pixel(1, 0).0, [1, 0, 0]);
    assert_eq!(first.get_pixel(0, 1).0, [2, 0, 0]);
    assert_eq!(first.get_pixel(31, 31).0, [0, 0, 4]);
    assert_eq!(pixels(source, 1).get_pixel(31, 0).0, [0, 0, 231]);
}

fn binary(labels: &[&[u8]]) -> Vec<u8> {
    let mut images = [[0_u8; 3072]; 2];
    for (at, value) in [(0, 255), (1, 1), (32, 2), (1024, 3), (3071, 4)] {
        images[0][at] = value;
    }
    for (at, value) in images[1][2048..2080].iter_mut().zip(200..) {
        *at = value;
    }
    labels.iter().zip(&images).flat_map(|(label, image)| [label, &image[..]].concat()).collect()
}

#[test]
fn cifar_python_batches_of_every_kind() {
    let root = TempDir::new().unwrap();
    for file in ["python2.pkl", "protocol2.pkl", "protocol4.pkl"] {
        let batch = fs::read(golden(file)).unwrap();
        for name in ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"] {
            put(&root.path().join("cifar-10-batches-py").join(name), &batch);
        }
        let source = open(&format!("cifar10:{}", root.path().display())).unwrap();
        assert_eq!(
            (source.len(), source.id(0), source.id(2), source.id(11)),
            (12, "test/000000", "train/000000", "train/000009")
        );
        assert_eq!(source.info().class_names[9], "truck");
        check_cifar(&*source, [3, 9]);
    }
    let source = open(&format!("cifar10:{}#train", root.path().join("cifar-10-batches-py").display())).unwrap();
    assert_eq!((source.len(), source.id(0)), (10, "train/000000"));
    fs::remove_file(root.path().join("cifar-10-batches-py/data_batch_3")).unwrap();
    assert!(refused(&format!("cifar10:{}#train", root.path().display())).to_string().contains("data_batch_3"));
}

#[test]
fn cifar_binary_and_python_are_the_same_dataset() {
    let root = TempDir::new().unwrap();
    put(&root.path().join("bin/test_batch.bin"), &binary(&[&[3], &[9]]));
    put(&root.path().join("py/test_batch"), &fs::read(golden("python2.pkl")).unwrap());
    let binary_set = open(&format!("cifar10:{}#test", root.path().join("bin").display())).unwrap();
    let python_set = open(&format!("cifar10:{}#test", root.path().join("py").display())).unwrap();
    check_cifar(&*binary_set, [3, 9]);
    assert_eq!(binary_set.fingerprint(), python_set.fingerprint());

    put(&root.path().join("bin/test_batch.bin"), &binary(&[&[3], &[10]]));
    let error = refused(&format!("cifar10:{}#test", root.path().join("bin").display())).to_string();
    assert!(error.contains("label 10 is outside 0..10"), "{error}");
    put(&root.path().join("bin/test_batch.bin"), &[0; 3072]);
    assert!(matches!(
        refused(&format!("cifar10:{}#test", root.path().join("bin").display())),
        DataError::Malformed { .. }
    ));
}

#[test]
fn cifar100_takes_fine_labels_from_tars() {
    let root = TempDir::new().unwrap();
    for (name, file, bytes) in [
        ("python.tar", "cifar-100-python/test", fs::read(golden("fine.pkl")).unwrap()),
        ("binary.tar", "cifar-100-binary/test.bin", binary(&[&[1, 99], &[2, 0]])),
    ] {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, file, bytes.as_slice()).unwrap();
        let tar = tar.into_inner().unwrap();
        put(&root.path().join(name), &tar);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&tar).unwrap();
        put(&root.path().join(format!("{name}.gz")), &gzip.finish().unwrap());
        for file in [name.to_owned(), format!("{name}.gz")] {
            let source = open(&format!("cifar100:{}#test", root.path().join(file).display())).unwrap();
            check_cifar(&*source, [99, 0]);
            assert_eq!(source.info().class_names.len(), 100);
            assert!(source.info().class_names.is_sorted());
        }
        let error = refused(&format!("cifar100:{}", root.path().join(name).display())).to_string();
        assert!(error.ends_with("train.bin not found") || error.ends_with("train not found"), "{error}");
    }
}

fn idx(shape: &[u32], values: &[u8]) -> Vec<u8> {
    let shape_bytes = shape.iter().flat_map(|d| d.to_be_bytes());
    [0, 0, 8, shape.len() as u8].into_iter().chain(shape_bytes).chain(values.iter().copied()).collect()
}

#[test]
fn mnist() {
    let root = TempDir::new().unwrap();
    let at = |name: &str| root.path().join(name);
    let images = idx(&[2, 2, 3], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    put(&at("t10k-images-idx3-ubyte"), &images);
    put(&at("t10k-labels-idx1-ubyte"), &idx(&[2], &[7, 1]));
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&images).unwrap();
    put(&at("train-images-idx3-ubyte.gz"), &gzip.finish().unwrap());
    put(&at("train-labels-idx1-ubyte"), &idx(&[2], &[0, 3]));

    let source = open(&format!("mnist:{}", root.path().display())).unwrap();
    assert_eq!(rows(&*source), [("test/000000", 7), ("test/000001", 1), ("train/000000", 0), ("train/000001", 3)]);
    assert_eq!(source.info().class_names.len(), 8);
    let second = pixels(&*source, 3);
    assert_eq!(second.dimensions(), (3, 2));
    assert_eq!((second.get_pixel(0, 0).0, second.get_pixel(2, 1).0), ([6; 3], [11; 3]));

    let one = open(&format!("mnist:{}", at("t10k-images-idx3-ubyte").display())).unwrap();
    assert_eq!(one.len(), 2);
    assert!(matches!(
        refused(&format!("mnist:{}#train", at("t10k-images-idx3-ubyte").display())),
        DataError::Malformed { .. }
    ));
    put(&at("fashion-t10k-images-idx3-ubyte"), &images);
    let error = refused(&format!("mnist:{}#test", root.path().display())).to_string();
    assert!(error.contains("name one of them"), "{error}");
    assert!(matches!(
        refused(&format!("mnist:{}", at("fashion-t10k-images-idx3-ubyte").display())),
        DataError::Missing { .. }
    ));
    put(&at("t10k-labels-idx1-ubyte"), &idx(&[3], &[7, 1, 1]));
    let error = refused(&format!("mnist:{}", at("t10k-images-idx3-ubyte").display())).to_string();
    assert!(error.contains("3 labels for 2 images"), "{error}");
    put(&at("t10k-images-idx3-ubyte"), &idx(&[u32::MAX, u32::MAX, u32::MAX], &[0; 12]));
    assert!(matches!(
        refused(&format!("mnist:{}", at("t10k-images-idx3-ubyte").display())),
        DataError::Malformed { .. }
    ));
}
