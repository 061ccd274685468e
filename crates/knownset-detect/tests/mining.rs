//! Mining of negatives against NumPy, against brute force, and on real words.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

use knownset_core::{Tensor, TensorFile, half_to_f32};
use knownset_detect::mining::{Measured, Mining, QuantileRule};
use ndarray::Array2;
use proptest::prelude::*;

fn golden() -> TensorFile {
    TensorFile::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/words.npz")).unwrap()
}

fn matrix(file: &TensorFile, name: &str) -> Array2<f32> {
    match &file.tensors[name] {
        Tensor::F32(array) => array.clone().into_dimensionality().unwrap(),
        other => panic!("{name}: {other:?}"),
    }
}

fn indices(file: &TensorFile, name: &str) -> Vec<usize> {
    match &file.tensors[name] {
        Tensor::I64(array) => array.iter().map(|&index| usize::try_from(index).unwrap()).collect(),
        other => panic!("{name}: {other:?}"),
    }
}

fn measure(mining: &Mining, classes: &Array2<f32>, words: &Array2<f32>) -> Measured {
    mining.measure(classes, words, None, |_| ControlFlow::Continue(())).unwrap()
}

fn mine(mining: &Mining, classes: &Array2<f32>, words: &Array2<f32>, parts: &[Range<usize>]) -> Vec<usize> {
    let measured = measure(mining, classes, words);
    parts.iter().flat_map(|part| mining.choose(&measured, part.clone()).unwrap()).collect()
}

#[test]
fn the_same_words_as_numpy() {
    let file = golden();
    let (classes, words) = (matrix(&file, "mining.classes"), matrix(&file, "mining.words"));
    let Tensor::F64(near) = &file.tensors["mining.near"] else { panic!("not f64") };
    let measured = measure(&Mining::NEGLABEL, &classes, &words);
    let worst = measured.nearness().iter().zip(near).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst < 1e-14, "{worst:e}");
    let parts = [0..500, 500..700];
    let rule = QuantileRule::Ascending;
    for (name, mining) in [
        ("neglabel", Mining::NEGLABEL),
        ("csp", Mining { ceiling: Some(0.8), ..Mining::CSP }),
        ("ascending", Mining { rule, ..Mining::NEGLABEL }),
    ] {
        assert_eq!(mine(&mining, &classes, &words, &parts), indices(&file, &format!("mining.{name}")), "{name}");
    }
}

proptest! {
    /// Integer vectors, so that equal distances are common.
    #[test]
    fn the_same_words_as_by_sorting_everything(
        classes in proptest::collection::vec(proptest::collection::vec(-3..4_i8, 3), 1..6),
        words in proptest::collection::vec(proptest::collection::vec(-3..4_i8, 3), 1..40),
        share in 0.0..1.0_f64,
        ceiling in proptest::option::of(-1.0..1.0_f64),
        ascending: bool,
    ) {
        let directed = |rows: Vec<Vec<i8>>| -> Vec<Vec<i8>> {
            rows.into_iter().map(|row| if row.iter().all(|&v| v == 0) { vec![1, 0, 0] } else { row }).collect()
        };
        let array = |rows: &[Vec<i8>]| Array2::from_shape_fn((rows.len(), 3), |(row, d)| f32::from(rows[row][d]));
        let (classes, words) = (directed(classes), directed(words));
        let rule = if ascending { QuantileRule::Ascending } else { QuantileRule::Linear };
        let mining = Mining { quantile: 0.95, rule, share, ceiling };
        let measured = measure(&mining, &array(&classes), &array(&words));
        let chosen = mining.choose(&measured, 0..words.len()).unwrap();
        // The nearness itself, from the definition.
        let norm = |row: &[i8]| row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        for (word, &nearness) in words.iter().zip(measured.nearness()) {
            let dot = |class: &Vec<i8>| class.iter().zip(word).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
            let mut cosines: Vec<f64> = classes.iter().map(|class| dot(class) / norm(class) / norm(word)).collect();
            cosines.sort_by(f64::total_cmp);
            let last = cosines.len() - 1;
            let expected = if ascending {
                cosines[((0.95 * cosines.len() as f64) as usize).min(last)]
            } else {
                let position = 0.95 * last as f64;
                let (low, high) = (position.floor() as usize, position.ceil() as usize);
                cosines[low] + (cosines[high] - cosines[low]) * position.fract()
            };
            prop_assert!((nearness - expected).abs() < 1e-12);
        }
        // What is kept: at most the share, none above the ceiling, in order, and nothing nearer than what is left out.
        let allowed = |word: &usize| ceiling.is_none_or(|ceiling| measured.largest()[*word] <= ceiling);
        let key = |word: usize| (measured.nearness()[word], word);
        let possible: Vec<usize> = (0..words.len()).filter(allowed).collect();
        prop_assert_eq!(chosen.len(), ((share * words.len() as f64) as usize).min(possible.len()));
        prop_assert!(chosen.iter().all(allowed));
        prop_assert!(chosen.windows(2).all(|pair| key(pair[0]) < key(pair[1])));
        if let Some(&last) = chosen.last() {
            prop_assert!(possible.iter().all(|&word| chosen.contains(&word) || key(word) > key(last)));
        }
    }
}

fn shared(name: &str) -> Option<zip::ZipArchive<fs_err::File>> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/text").join(name);
    if !path.is_file() {
        println!("skipped: no shared data");
        return None;
    }
    Some(zip::ZipArchive::new(fs_err::File::open(path).unwrap()).unwrap())
}

/// The member whose name ends so.
fn member(zip: &mut zip::ZipArchive<fs_err::File>, end: &str) -> Vec<u8> {
    let index = (0..zip.len()).find(|&index| zip.by_index(index).unwrap().name().unwrap().ends_with(end)).unwrap();
    let mut bytes = Vec::new();
    zip.by_index(index).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// A `.npy` of float16 rows of 512.
fn halves(bytes: &[u8]) -> Array2<f32> {
    let data = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert!(String::from_utf8_lossy(&bytes[..data]).contains("'<f2'"));
    let values: Vec<f32> =
        bytes[data..].chunks_exact(2).map(|pair| half_to_f32(u16::from_le_bytes([pair[0], pair[1]]))).collect();
    Array2::from_shape_vec((values.len() / 512, 512), values).unwrap()
}

#[test]
fn negatives_of_coco_from_real_clip_text_embeddings() {
    let Some(mut zip) = shared("detic_clip_text_embeddings.zip") else { return };
    let coco = halves(&member(&mut zip, "coco_clip_a+cname.npy"));
    let lvis = halves(&member(&mut zip, "lvis_v1_clip_a+cname.npy"));
    let file = golden();
    let whole = 0..lvis.nrows();
    let negatives = mine(&Mining::NEGLABEL, &coco, &lvis, std::slice::from_ref(&whole));
    assert_eq!(negatives, indices(&file, "mining.coco_lvis"));
    assert_eq!(mine(&Mining::CSP, &coco, &lvis, std::slice::from_ref(&whole)), indices(&file, "mining.coco_lvis_csp"));
    let info: Vec<serde_json::Value> =
        serde_json::from_slice(&member(&mut zip, "lvis_v1_train_cat_info.json")).unwrap();
    let name = |word: usize| info[word]["name"].as_str().unwrap().to_owned();
    let measured = measure(&Mining::NEGLABEL, &coco, &lvis);
    let mut order: Vec<usize> = whole.collect();
    order.sort_by(|&a, &b| measured.nearness()[a].total_cmp(&measured.nearness()[b]));
    let show = |words: &[usize]| -> Vec<String> {
        words.iter().map(|&word| format!("{} {:.3}", name(word), measured.nearness()[word])).collect()
    };
    println!("{} of {} kept; first: {}", negatives.len(), order.len(), show(&order[..20]).join(", "));
    println!("last: {}", show(&order[order.len() - 20..]).join(", "));
    // COCO's own classes are among LVIS's names; none is taken for a negative of COCO.
    let own = measured.largest().iter().filter(|&&cosine| cosine > 0.999).count();
    assert!(own > 30, "{own} of COCO's classes are found among LVIS's names");
    assert!(negatives.iter().all(|&word| measured.largest()[word] < 0.95));
    // Synonyms of single classes are: the quantile forgives them.
    let kept: Vec<String> = negatives.iter().map(|&word| name(word)).collect();
    assert!(["traffic_light", "parasol", "fireplug"].iter().all(|name| kept.iter().any(|kept| kept == name)));
    assert_eq!(kept.len(), 180);
}

/// What can be said of NegLabel's released prompts without CLIP: where they come from, and how many there are.
#[test]
fn the_released_neglabel_prompts_are_fifteen_percent_of_the_corpus() {
    let Some(mut zip) = shared("neglabel_corpus.zip") else { return };
    let files: Vec<String> =
        (0..zip.len()).map(|index| zip.by_index(index).unwrap().name().unwrap().into_owned()).collect();
    let mut words: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let lists: Vec<&String> = files.iter().filter(|name| name.contains("/txtfiles/") && !name.ends_with('/')).collect();
    assert_eq!(lists.len(), 27, "24 lists of nouns, 3 of adjectives");
    for list in lists {
        let kind = if list.contains("/noun.") { "noun" } else { "adj" };
        let text = String::from_utf8(member(&mut zip, list)).unwrap();
        words.entry(kind).or_default().extend(text.lines().map(str::to_owned));
    }
    let (nouns, adjectives) = (&words["noun"], &words["adj"]);
    let released = String::from_utf8(member(&mut zip, "selected_neg_labels_in1k_10k.txt")).unwrap();
    let noun = |line: &str| line.strip_prefix("the nice ").map(str::to_owned);
    let adjective = |line: &str| line.strip_prefix("This is a ")?.strip_suffix(" photo").map(str::to_owned);
    let chosen_nouns: Vec<String> = released.lines().filter_map(noun).collect();
    let chosen_adjectives: Vec<String> = released.lines().filter_map(adjective).collect();
    assert_eq!(chosen_nouns.len() + chosen_adjectives.len(), released.lines().count(), "two templates, no other line");
    assert!(chosen_nouns.iter().all(|word| nouns.contains(word)));
    assert!(chosen_adjectives.iter().all(|word| adjectives.contains(word)));
    // No word twice, not even as noun and adjective: a word belongs to the list that is read first.
    let distinct: BTreeSet<&String> = chosen_nouns.iter().chain(&chosen_adjectives).collect();
    assert_eq!(distinct.len(), released.lines().count());
    // So the 70,000 words fall into nouns and adjectives; which of the words in both lists are nouns depends on the
    // order of the files, but their number is bounded, and ⌊15 %⌋ of each part must give the released counts.
    let all = nouns.union(adjectives).count();
    assert_eq!((all, nouns.len(), adjectives.len()), (70_000, 58_546, 13_091));
    let kept = |n: usize| {
        let measured = measure(&Mining::NEGLABEL, &ndarray::array![[1.0]], &Array2::ones((n, 1)));
        Mining::NEGLABEL.choose(&measured, 0..n).unwrap().len()
    };
    let split = (all - adjectives.len()..=nouns.len())
        .filter(|&n| (n as f64 * 0.15) as usize == chosen_nouns.len())
        .find(|&n| kept(n) == chosen_nouns.len() && kept(all - n) == chosen_adjectives.len());
    println!(
        "{} nouns and {} adjectives of {all}; the first split: {split:?}",
        chosen_nouns.len(),
        chosen_adjectives.len()
    );
    assert!(split.is_some(), "no split of the corpus gives the released counts");
}
