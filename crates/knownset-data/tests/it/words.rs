//! Words: templates, class names, corpora, perturbed prompts.

use std::io::Write;
use std::path::Path;

use knownset_data::words::{
    Corpus, PartOfSpeech, Perturbation, Templates, WordsError, class_names_of, read_class_names, spoken, synonyms,
};
use proptest::prelude::*;

use crate::open;
use crate::shared::data;

fn written(folder: &Path, name: &str, content: &[u8]) -> String {
    let path = folder.join(name);
    fs_err::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn templates_come_from_names_and_files() {
    assert_eq!(Templates::parse("simple").unwrap().fill("owl"), ["a photo of a owl."]);
    assert_eq!(Templates::parse("neglabel").unwrap().fill("sea animal"), ["the nice sea animal"]);
    assert_eq!(Templates::parse("sensitivity").unwrap().fill("cat")[6], "cat.");
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "mine.txt", "\u{feff}a sketch of {}\r\n\n  {} at night \n".as_bytes());
    let templates = Templates::parse(&file).unwrap();
    assert_eq!(templates.all(), ["a sketch of {}", "{} at night"]);
    assert_eq!(templates.fill("{} {}"), ["a sketch of {} {}", "{} {} at night"], "a word is not a template");
}

#[test]
fn templates_that_cannot_be_used_are_named_by_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    for (content, told) in [
        (&b"a {}\nno gap"[..], "bad.txt, line 2: {} must occur once in \"no gap\", it occurs 0 times"),
        (b"\n{} and {}", "bad.txt, line 2: {} must occur once"),
        (b"a {}\n\xff {}", "bad.txt, line 2: not UTF-8"),
        (b"a {}\x07", "bad.txt, line 1: a control character"),
        (b" \n\n", "bad.txt: no templates"),
    ] {
        let message = Templates::parse(&written(folder.path(), "bad.txt", content)).unwrap_err().to_string();
        assert!(message.contains(told), "{message}");
    }
    let message = Templates::parse("smiple").unwrap_err().to_string();
    assert!(message.contains("\"smiple\"") && message.contains("simple, mcm, nice"), "{message}");
}

#[test]
fn class_names_come_from_files_and_datasets() {
    let folder = tempfile::tempdir().unwrap();
    let lines = written(folder.path(), "names.txt", b"tench\ngreat white shark \nT-shirt\n");
    let json = written(folder.path(), "names.json", b" [\"tench\", \"great white shark\", \"T-shirt\"]\n");
    for file in [lines, json] {
        assert_eq!(read_class_names(Path::new(&file)).unwrap(), ["tench", "great white shark", "T-shirt"]);
    }
    for (content, told) in [
        (&b"tench\n\nshark"[..], "bad, line 3: an empty line before"),
        (b"\n", "bad: no class names"),
        (b"[\"a\", 3]", "bad: not a JSON list of strings"),
        (b"[\"a\", \" \"]", "bad: class name 1 is empty"),
        (b"[]", "bad: no class names"),
    ] {
        let message = read_class_names(Path::new(&written(folder.path(), "bad", content))).unwrap_err().to_string();
        assert!(message.contains(told), "{message}");
    }
    let message = read_class_names(folder.path()).unwrap_err().to_string();
    assert!(message.contains(folder.path().to_str().unwrap()), "{message}");
    assert!(matches!(read_class_names(&folder.path().join("none")), Err(WordsError::Io(_))));
    assert_eq!(spoken("_hot--dog "), "hot dog");
    let names = class_names_of(open("world:sprites#test").unwrap().info());
    assert_eq!(names[7], "sea animal");
}

#[test]
fn a_corpus_keeps_the_first_of_equal_words() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("noun.animal.txt", "cat\nsea_lion\ncat\n"),
        ("noun.artifact.txt", "light\n\nCat\ncat\nice  cream\n"),
        ("adj.all.txt", "light\nfluffy"),
        ("verb.motion.txt", "run"),
        ("README.md", "not a word list"),
    ] {
        written(folder.path(), name, content.as_bytes());
    }
    let path = folder.path().to_str().unwrap();
    let corpus = Corpus::open(path, &[]).unwrap();
    let nouns: Vec<&str> = corpus.words(PartOfSpeech::Noun).collect();
    assert_eq!(nouns, ["cat", "sea lion", "Cat", "ice cream"]);
    assert_eq!(corpus.words(PartOfSpeech::Adjective).collect::<Vec<_>>(), ["light", "fluffy"]);
    let counts: Vec<_> =
        corpus.lists().iter().map(|list| (list.name.as_str(), list.listed, list.words.len())).collect();
    assert_eq!(counts, [("adj.all", 2, 2), ("noun.animal", 3, 2), ("noun.artifact", 4, 2)]);
    assert!(corpus.includes("noun.animal") && !corpus.includes("noun.food"));
    let names = ["Sea Lion".to_owned(), "dog".to_owned()];
    assert_eq!(corpus.shared_with(&names), ["Sea Lion"]);

    // A list left out no longer keeps its words from the others.
    let fewer = Corpus::open(path, &["adj.all"]).unwrap();
    assert_eq!(fewer.words(PartOfSpeech::Noun).collect::<Vec<_>>(), ["cat", "sea lion", "light", "Cat", "ice cream"]);
    assert_ne!(fewer.sha256(), corpus.sha256());
    let message = Corpus::open(path, &["noun.food"]).unwrap_err().to_string();
    assert!(message.contains("no word list \"noun.food\"") && message.contains("adj.all, noun.animal"), "{message}");

    // The same words in a zip are the same corpus.
    let zipped = folder.path().join("words.zip");
    let mut archive = zip::ZipWriter::new(fs_err::File::create(&zipped).unwrap());
    for name in ["noun.artifact.txt", "noun.animal.txt", "adj.all.txt"] {
        archive.start_file(format!("deep/{name}"), zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(&fs_err::read(folder.path().join(name)).unwrap()).unwrap();
    }
    archive.start_file("__MACOSX/deep/noun.animal.txt", zip::write::SimpleFileOptions::default()).unwrap();
    archive.finish().unwrap();
    assert_eq!(Corpus::open(zipped.to_str().unwrap(), &[]).unwrap().sha256(), corpus.sha256());
}

#[test]
fn corpora_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    assert!(matches!(Corpus::open(path, &[]), Err(WordsError::Empty { .. })));
    assert!(
        matches!(Corpus::open("words:wordnt", &[]), Err(WordsError::UnknownCorpus { name, .. }) if name == "wordnt")
    );
    assert!(Corpus::open("/no/such/file", &[]).unwrap_err().to_string().contains("/no/such/file"));
    let message = Corpus::open(&written(folder.path(), "x.zip", b"PK"), &[]).unwrap_err().to_string();
    assert!(message.contains("x.zip: not a zip archive"), "{message}");
    let long = written(folder.path(), "long.txt", format!("cat\n{}", "x".repeat(201)).as_bytes());
    let message = Corpus::open(&long, &[]).unwrap_err().to_string();
    assert!(message.starts_with(&format!("{long}, line 2: longer than 200 characters")), "{message}");
    let plain = Corpus::open(&written(folder.path(), "plain.txt", b"cat\ndog\n"), &[]).unwrap();
    assert_eq!(plain.words(PartOfSpeech::Noun).collect::<Vec<_>>(), ["cat", "dog"]);
    let renamed = written(folder.path(), "other.txt", b"\r\n cat \r\ndog");
    assert_eq!(Corpus::open(&renamed, &[]).unwrap().sha256(), plain.sha256(), "the words count, not the file");
}

/// Changes of the bundled words change mined negatives, and scores with them.
#[test]
fn the_bundled_corpus_is_this_one() {
    let corpus = Corpus::open("words:wordnet", &[]).unwrap();
    let count = |part| corpus.words(part).count();
    assert_eq!((count(PartOfSpeech::Noun), count(PartOfSpeech::Adjective)), (15_624, 5_057));
    assert_eq!(corpus.lists().len(), 29);
    assert_eq!(corpus.sha256(), "a09d572a8630642025498c4930277776363875ff0f64d3a3df682cbb2d759b73");
    assert!(corpus.includes("noun.animal") && corpus.includes("noun.food"));
    let plain = |word: &str| word.chars().all(|c| c.is_ascii_lowercase() || " -'".contains(c));
    for part in [PartOfSpeech::Noun, PartOfSpeech::Adjective] {
        assert!(corpus.words(part).all(|word| plain(word) && word.split(' ').count() <= 2));
    }
    let classes = class_names_of(open("world:sprites#test").unwrap().info());
    assert_eq!(corpus.shared_with(&classes).len(), 9, "all but `sea animal`");
    for word in corpus.words(PartOfSpeech::Noun) {
        assert!(synonyms(word).unwrap().iter().all(|other| plain(other) && other != word), "{word}");
    }
}

/// NegLabel's published corpus: 27 files (24 of nouns, 3 of adjectives), 79,455 words, 70,000 of them different.
#[test]
fn the_corpus_of_neglabel() {
    let Some(data) = data() else { return };
    let path = data.join("text/neglabel_corpus.zip");
    let corpus = Corpus::open(path.to_str().unwrap(), &[]).unwrap();
    assert_eq!(corpus.lists().len(), 27);
    assert_eq!(corpus.lists().iter().map(|list| list.listed).sum::<usize>(), 79_455);
    assert_eq!(corpus.len(), 70_000);
    assert_eq!(corpus.words(PartOfSpeech::Adjective).count(), 13_091);
    assert!(!corpus.includes("noun.animal") && !corpus.includes("noun.food"));
    let csp =
        Corpus::open(path.to_str().unwrap(), &["noun.person", "noun.quantity", "noun.group", "adj.pert"]).unwrap();
    assert_eq!(csp.lists().len(), 23);
}

#[test]
fn perturbed_prompts_by_hand() {
    let apply = |kind: Perturbation, template: &str, word: &str, seed| kind.apply(template, word, seed).unwrap();
    let pairs: Vec<String> =
        (0..20).map(|seed| apply(Perturbation::WordOrder, "the {}", "cat", seed).unwrap()).collect();
    assert!(pairs.iter().all(|prompt| prompt == "cat the"), "two words have one other order");
    assert_eq!(apply(Perturbation::WordOrder, "{}", "cat", 1), None);
    assert_eq!(apply(Perturbation::WordOrder, "cat {}", "cat", 1), None);
    assert_eq!(apply(Perturbation::Synonym, "a {}.", "building", 1).unwrap(), "a edifice.");
    assert_eq!(apply(Perturbation::Synonym, "a {}.", "sea animal", 1), None);
    assert_eq!(apply(Perturbation::Typo, "a {}", "42", 1), None);
    let single: Vec<String> = (0..50).map(|seed| apply(Perturbation::Typo, "{}", "a", seed).unwrap()).collect();
    assert!(single.iter().all(|word| word == "aa" || (word.len() == 1 && word != "a")), "{single:?}");
    let kinds: std::collections::BTreeSet<usize> =
        (0..50).map(|seed| apply(Perturbation::Typo, "{}", "horse", seed).unwrap().len()).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), [4, 5, 6]);
    assert_eq!("word-order".parse::<Perturbation>().unwrap(), Perturbation::WordOrder);
    let error = "worder".parse::<Perturbation>().unwrap_err().to_string();
    assert!(error.contains("\"worder\"; there are: typo, word-order, synonym"), "{error}");
}

/// Prompts of this version: a change would be another experiment under the same seed.
#[test]
fn perturbed_prompts_do_not_change() {
    let all = Perturbation::ALL.map(|kind| kind.apply("a photo of a {}.", "car", 7).unwrap().unwrap());
    assert_eq!(all, ["a photo of a xar.", "a a car. of photo", "a photo of a automobile."]);
}

proptest! {
    #[test]
    fn perturbed_prompts_differ_by_what_they_say(word in "[a-z]{1,8}( [a-z]{1,8})?", seed in any::<u64>()) {
        let template = "a photo of the {}, seen from afar.";
        let plain = template.replace("{}", &word);
        for kind in Perturbation::ALL {
            let prompt = kind.apply(template, &word, seed).unwrap();
            prop_assert_eq!(&prompt, &kind.apply(template, &word, seed).unwrap());
            let Some(prompt) = prompt else { continue };
            prop_assert_ne!(&prompt, &plain);
            match kind {
                Perturbation::Typo => {
                    let slipped = prompt.strip_prefix("a photo of the ").and_then(|rest| rest.strip_suffix(", seen from afar."));
                    prop_assert!(slipped.unwrap().chars().count().abs_diff(word.chars().count()) <= 1);
                }
                Perturbation::WordOrder => {
                    let sorted = |text: &str| {
                        let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
                        words.sort();
                        words
                    };
                    prop_assert_eq!(sorted(&prompt), sorted(&plain));
                }
                Perturbation::Synonym => prop_assert!(synonyms(&word).unwrap().iter().any(|other| prompt.contains(other))),
            }
        }
    }

    #[test]
    fn no_text_makes_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let folder = tempfile::tempdir().unwrap();
        let file = written(folder.path(), "any.txt", &bytes);
        if let Ok(templates) = Templates::parse(&file) {
            let gaps = |template: &String| template.matches("{}").count();
            prop_assert!(templates.all().iter().map(gaps).all(|gaps| gaps == 1));
        }
        if let Ok(names) = read_class_names(Path::new(&file)) {
            prop_assert!(!names.is_empty() && names.iter().all(|name| !name.is_empty()));
        }
        if let Ok(corpus) = Corpus::open(&file, &[]) {
            prop_assert!(!corpus.is_empty());
        }
    }
}
