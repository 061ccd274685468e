//! The museum: every file is refused, by words that say what it tried.

use fs_err as fs;
use knownset_core::{Filter, Preprocess, Resize};
use knownset_data::{DataError, DecodeError, DecodePolicy, Limits, PickleError, decode, load};
use tempfile::TempDir;

use crate::{attack, open, refused};

#[test]
fn a_malicious_pickle_is_named_and_does_not_run() {
    for protocol in [2, 4] {
        let root = TempDir::new().unwrap();
        fs::copy(attack(&format!("evil-protocol{protocol}.pkl")), root.path().join("test_batch")).unwrap();
        let error = refused(&format!("cifar10:{}#test", root.path().display()));
        let DataError::Pickle { problem: PickleError::Callable { name }, .. } = &error else { panic!("{error}") };
        assert_eq!(name, "posix.system");
        assert!(error.to_string().contains("it was not run"));
        assert!(!std::path::Path::new("pickle-was-run").exists());
    }
}

#[test]
fn archives_that_leave_themselves_link_or_explode_are_refused() {
    for (file, entry, words) in [
        ("bomb.zip", "a/zeros.png", "look like a zip bomb"),
        ("escape.zip", "../escaped.png", "its name leaves the archive"),
        ("absolute.zip", "/etc/escaped.png", "its name leaves the archive"),
        ("link.zip", "a/link.png", "it is a link"),
    ] {
        let error = refused(&format!("zip:{}", attack(file).display()));
        let DataError::Archive { entry: refused, why, .. } = &error else { panic!("{file}: {error}") };
        assert_eq!(refused, entry, "{file}");
        assert!(why.contains(words), "{file}: {why}");
    }
    let lying = open(&format!("zip:{}", attack("lying-size.zip").display())).unwrap();
    let error = lying.get(0).unwrap_err().to_string();
    assert!(error.starts_with("a/liar.png: cannot be read"), "{error}");
}

#[test]
fn headers_that_promise_too_much_are_refused_before_any_pixel() {
    for file in ["huge-header.jpg", "huge-header.png"] {
        for policy in [DecodePolicy::Strict, DecodePolicy::PilLenient] {
            let error = decode(&fs::read(attack(file)).unwrap(), policy, &Limits::default()).unwrap_err();
            assert!(matches!(error, DecodeError::TooLarge { width: 65_500, height: 65_500, .. }), "{file}: {error}");
        }
    }
}

#[test]
fn a_list_that_leaves_its_root_is_refused_by_line() {
    let root = TempDir::new().unwrap();
    let error = refused(&format!("imglist:{}@{}", attack("escape.txt").display(), root.path().display())).to_string();
    assert!(error.ends_with("escape.txt, line 2: path `../../secret.jpg` leaves the root folder"), "{error}");
}

#[test]
fn a_truncated_file_is_refused_by_name_or_counted() {
    let root = TempDir::new().unwrap();
    for file in ["whole.jpg", "truncated.jpg", "truncated.png"] {
        fs::copy(attack(file), root.path().join(file)).unwrap();
    }
    let source = open(root.path().to_str().unwrap()).unwrap();
    let spec = Preprocess {
        resize: Resize::Shorter { size: 8, filter: Filter::Bilinear },
        size: 8,
        mean: [0.5; 3],
        std: [0.5; 3],
    };
    let read = |i: usize, policy| load(&*source, i, policy, &Limits::default(), &spec);
    let strict = read(0, DecodePolicy::Strict).unwrap_err().to_string();
    assert!(strict.starts_with("truncated.jpg: truncated or damaged JPEG: "), "{strict}");
    let lenient = read(0, DecodePolicy::PilLenient).unwrap();
    assert!(lenient.truncated && lenient.input.len() == 3 * 8 * 8);
    assert!(read(1, DecodePolicy::PilLenient).unwrap_err().to_string().starts_with("truncated.png: PNG decoder: "));
    assert!(!read(2, DecodePolicy::Strict).unwrap().truncated);
}
