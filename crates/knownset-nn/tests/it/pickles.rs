//! PyTorch files are read as data: every layout gives the same tensors, nothing runs, no size is believed.

use std::path::{Path, PathBuf};

use knownset_nn::Weights;
use proptest::prelude::*;

fn file(folder: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder).join(name)
}

#[test]
fn every_layout_gives_the_same_tensors() {
    let truth = Weights::open(&file("golden", "pickles.safetensors")).unwrap();
    assert_eq!(truth.iter().count(), 15);
    for name in ["plain.pt", "checkpoint.pt", "checkpoint-old.pt"] {
        let read = Weights::open(&file("golden", name)).unwrap();
        for (tensor, expected) in truth.iter() {
            assert_eq!(read.get(tensor), Some(expected), "{name}: {tensor}");
        }
        assert_eq!(read.sha256(), truth.sha256(), "{name}");
    }
}

#[test]
fn attacks_are_refused_and_say_why() {
    let cases = [
        ("runs-a-command.pt", "the pickle asks for `posix.system`"),
        ("runs-a-command-protocol4.pt", "the pickle asks for `posix.system`"),
        ("runs-a-command-old.pt", "the pickle asks for `posix.system`"),
        ("storage-too-long.pt", "data/0 states 8589934588 bytes but the file holds 16"),
        ("shape-too-long.pt", "tensor weight of shape [2147483647] does not fit its storage of 4 elements"),
        ("storage-missing.pt", "data/0 is missing"),
        ("storage-short.pt", "data/0 states 16 bytes but the file holds 12"),
        ("storage-too-long-old.pt", "states 9223372036854775808 bytes but the file holds 16"),
        ("one-element-repeated.pt", "tensor weight of shape [1048576, 1048576] does not fit its storage of 1 elements"),
        ("compressed.pt", "archive/data.pkl is compressed"),
    ];
    for (name, why) in cases {
        let error = Weights::open(&file("attacks", name)).expect_err(name).to_string();
        assert!(error.contains(why) && error.contains(name), "{name}: {error}");
    }
    assert!(!Path::new("pwned-by-pickle").exists());
}

#[test]
fn a_text_file_is_no_weights_file() {
    let error = Weights::open(&file("golden", "make_pickles.py")).unwrap_err().to_string();
    assert!(error.contains("make_pickles.py: not a weights file"), "{error}");
}

#[test]
fn files_cut_anywhere_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.pt");
    for name in ["plain.pt", "checkpoint-old.pt"] {
        let bytes = fs_err::read(file("golden", name)).unwrap();
        for kept in (0..bytes.len()).step_by(13) {
            fs_err::write(&path, &bytes[..kept]).unwrap();
            assert!(Weights::open(&path).is_err(), "{name} cut to {kept} bytes");
        }
    }
}

/// Reads bytes from a file and lets the answer be anything but a panic.
fn open(bytes: &[u8]) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), bytes).unwrap();
    let _ = Weights::open(file.path());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes_never_panic(tail in proptest::collection::vec(any::<u8>(), 0..256)) {
        open(&tail);
        let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";
        open(&[magic.as_slice(), &tail].concat());
    }

    #[test]
    fn pickle_instructions_in_any_order_never_panic(
        codes in proptest::collection::vec(proptest::sample::select(b"\x80.(012N\x88]GJKM\x8aX\x8c}) t\x85\x86\x87aesuqr\x94hjQcR\x81b\x93\x01\x00".to_vec()), 0..200),
    ) {
        let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";
        open(&[magic.as_slice(), &codes].concat());
    }

    #[test]
    fn changed_bytes_never_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        for name in ["plain.pt", "checkpoint-old.pt"] {
            let mut bytes = fs_err::read(file("golden", name)).unwrap();
            for (index, byte) in &changes {
                let at = index.index(bytes.len());
                bytes[at] = *byte;
            }
            open(&bytes);
        }
    }
}
