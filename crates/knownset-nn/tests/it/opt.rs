//! OPT in the two layouts that BLIP-2 does not have says and writes what transformers does; nucleus sampling draws what its
//! samplers leave.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{Device, Int, Tensor, TensorData};
use knownset_nn::Weights;
use knownset_nn::generate::{Decoding, GenerateError, Nucleus, Stop, continuations};
use knownset_nn::network::{Opt, OptSpec, Past, load, shapes};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::hashed::{golden, relative_error, value};

const TOLERANCE: f32 = 1e-4;
const VOCABULARY: usize = 37;
const POSITIONS: usize = 14;
const AFTER: OptSpec = OptSpec {
    vocabulary: VOCABULARY,
    positions: POSITIONS,
    width: 24,
    words: 16,
    hidden: 20,
    depth: 3,
    heads: 3,
    norm_first: false,
    norm_last: false,
    biases: true,
    gelu: false,
    tied: true,
};
const PLAIN: OptSpec = OptSpec {
    vocabulary: VOCABULARY,
    positions: POSITIONS,
    width: 20,
    words: 20,
    hidden: 28,
    depth: 2,
    heads: 4,
    norm_first: true,
    norm_last: false,
    biases: false,
    gelu: true,
    tied: false,
};

fn model(spec: &OptSpec) -> Opt {
    let model = Opt::new(spec, &Device::flex());
    let tensors = shapes(&model).into_iter().map(|(name, shape)| (name.clone(), value(&name, &shape)));
    let weights = Weights::from_tensors(tensors.collect());
    load(model, &weights).unwrap()
}

/// Rows of token numbers that Python wrote as f32.
fn rows(file: &Weights, name: &str) -> Vec<Vec<u32>> {
    let tensor = file.get(name).unwrap();
    tensor.values.chunks(tensor.shape[1]).map(|row| row.iter().map(|&id| id as u32).collect()).collect()
}

fn vectors(model: &Opt, rows: &[Vec<u32>]) -> Tensor<3> {
    let ids: Vec<i64> = rows.iter().flatten().map(|&id| i64::from(id)).collect();
    let shape = [rows.len(), rows[0].len()];
    model.vectors(Tensor::<2, Int>::from_data(TensorData::new(ids, shape), &Device::flex()))
}

fn logits(model: &Opt, hidden: Tensor<3>) -> Vec<f32> {
    let [n, tokens, words] = hidden.dims();
    model.logits(hidden.reshape([n * tokens, words])).into_data().iter::<f32>().collect()
}

fn stop(most: usize) -> Stop {
    Stop { ends: Vec::new(), most }
}

fn go_on() -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn logits_with_and_without_a_past_and_greedy_texts() {
    let file = golden("opt.safetensors");
    for (name, spec) in [("after", AFTER), ("plain", PLAIN)] {
        let model = model(&spec);
        let (ids, written) = (rows(&file, &format!("{name}.ids")), rows(&file, &format!("{name}.written")));
        let all: Vec<Vec<u32>> = ids.iter().zip(&written).map(|(ids, written)| [&ids[..], written].concat()).collect();
        let expected = file.get(&format!("{name}.logits")).unwrap();
        let vectors_of_all = vectors(&model, &all);
        let whole = logits(&model, model.read(vectors_of_all.clone(), &mut Past::default()));
        let mut past = Past::default();
        let parts = [(0, 3), (3, 1), (4, 6), (10, 4)].map(|(start, count)| {
            assert_eq!(past.tokens(), start);
            model.read(vectors_of_all.clone().narrow(1, start, count), &mut past)
        });
        let in_parts = logits(&model, Tensor::cat(parts.into(), 1));
        for (how, logits) in [("whole", whole), ("in parts", in_parts)] {
            let error = relative_error(&logits, &expected.values);
            println!("opt {name} {how}: {error:.1e}");
            assert!(error < TOLERANCE, "{name} {how}: relative error {error}");
        }

        let starts: Vec<_> = ids.iter().map(|row| vectors(&model, std::slice::from_ref(row))).collect();
        let got = continuations(&model, &starts, Decoding::Greedy, &stop(written[0].len()), &go_on).unwrap();
        assert_eq!(got, written, "{name}");
        let ends = vec![written[1][2], VOCABULARY as u32 + 5];
        let ended = continuations(&model, &starts[1..2], Decoding::Greedy, &Stop { ends, most: 9 }, &go_on).unwrap();
        let end = written[1].iter().position(|&id| id == written[1][2]).unwrap();
        assert_eq!(ended, [written[1][..=end].to_vec()], "{name}");
    }
}

#[test]
fn candidates_and_draws_are_the_samplers_of_transformers() {
    let file = golden("nucleus.safetensors");
    for (name, temperature, share) in
        [("usual", 1.0, 0.9), ("sharp", 0.7, 0.5), ("all", 1.3, 1.0), ("least", 1.0, 0.01)]
    {
        let nucleus = Nucleus::new(share, temperature).unwrap();
        let get = |key: &str| &file.get(&format!("{name}.{key}")).unwrap().values;
        let mut left = vec![0.0; get("probabilities").len()];
        let mut drawn = Vec::new();
        for (row, logits) in get("logits").chunks(VOCABULARY).enumerate() {
            for (token, probability) in nucleus.candidates(logits) {
                left[row * VOCABULARY + token as usize] = probability as f32;
            }
            drawn.push(nucleus.draw(logits, f64::from(get("numbers")[row])) as f32);
        }
        assert!(relative_error(&left, get("probabilities")) < 1e-6, "{name}");
        assert_eq!(
            left.iter().filter(|&&p| p > 0.0).count(),
            get("probabilities").iter().filter(|&&p| p > 0.0).count()
        );
        assert_eq!(&drawn, get("drawn"), "{name}");
    }
}

fn streams(seeds: impl Iterator<Item = u64>) -> Vec<ChaCha8Rng> {
    seeds.map(ChaCha8Rng::seed_from_u64).collect()
}

#[test]
fn a_text_is_the_same_in_any_company_and_on_any_number_of_threads() {
    let model = model(&AFTER);
    let nucleus = Nucleus::new(0.95, 1.1).unwrap();
    let starts: Vec<_> = (0..19).map(|text| vectors(&model, &[vec![text, 2 * text % 37, 5, 30 - text]])).collect();
    let drawn = |texts: std::ops::Range<usize>| {
        let mut streams = streams(texts.clone().map(|text| text as u64));
        let decoding = Decoding::Nucleus { nucleus, streams: &mut streams };
        continuations(&model, &starts[texts], decoding, &Stop { ends: vec![0, 11], most: 8 }, &go_on).unwrap()
    };
    let whole = drawn(0..19);
    let lengths: std::collections::BTreeSet<usize> = whole.iter().map(Vec::len).collect();
    assert!(lengths.len() > 2, "texts end at different places: {whole:?}");
    for texts in [0..1, 3..6, 7..8, 5..19, 10..18] {
        assert_eq!(drawn(texts.clone()), whole[texts]);
    }
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| drawn(0..19)), whole);
    }
    let mut other = streams(100..119);
    let decoding = Decoding::Nucleus { nucleus, streams: &mut other };
    assert_ne!(continuations(&model, &starts, decoding, &stop(8), &go_on).unwrap(), whole);
}

#[test]
fn what_cannot_be_written_is_refused() {
    let spec = AFTER;
    let model = model(&spec);
    let starts: Vec<_> = (0..2).map(|text| vectors(&model, &[vec![text; 5]])).collect();
    let write = |decoding, most, watch: &(dyn Fn() -> ControlFlow<()> + Sync)| {
        continuations(&model, &starts, decoding, &stop(most), watch)
    };
    // The last token written takes no position.
    assert_eq!(write(Decoding::Greedy, 10, &go_on).unwrap()[0].len(), 10);
    assert_eq!(
        write(Decoding::Greedy, 11, &go_on),
        Err(GenerateError::TooLong { start: 5, most: 11, positions: POSITIONS })
    );
    assert_eq!(
        write(Decoding::Greedy, usize::MAX, &go_on),
        Err(GenerateError::TooLong { start: 5, most: usize::MAX, positions: POSITIONS })
    );
    assert_eq!(write(Decoding::Greedy, 0, &go_on).unwrap(), [Vec::<u32>::new(), Vec::new()]);
    assert!(continuations(&model, &[], Decoding::Greedy, &stop(5), &go_on).unwrap().is_empty());
    let nucleus = Nucleus::new(0.9, 1.0).unwrap();
    let mut one = streams(0..1);
    assert_eq!(
        write(Decoding::Nucleus { nucleus, streams: &mut one }, 3, &go_on),
        Err(GenerateError::Streams { streams: 1, texts: 2 })
    );
    let asked = AtomicUsize::new(0);
    let third = || if asked.fetch_add(1, Ordering::Relaxed) == 2 { ControlFlow::Break(()) } else { go_on() };
    assert_eq!(write(Decoding::Greedy, 9, &third), Err(GenerateError::Stopped));

    let broken = Opt::new(&spec, &Device::flex());
    let tensors = shapes(&broken).into_iter().map(|(name, shape)| {
        let mut tensor = value(&name, &shape);
        if name.ends_with("project_out.weight") {
            tensor.values.fill(f32::INFINITY);
        }
        (name, tensor)
    });
    let broken = load(broken, &Weights::from_tensors(tensors.collect())).unwrap();
    let error = continuations(&broken, &starts, Decoding::Greedy, &stop(3), &go_on).unwrap_err();
    assert_eq!(error, GenerateError::NotFinite(0));
}
