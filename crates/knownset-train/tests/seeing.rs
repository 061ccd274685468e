//! Whole runs of the captioner and of the detector on a toy problem: coloured squares in the corners of dark pictures.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::ops::ControlFlow;
use std::path::Path;

use knownset_core::Preprocess;
use knownset_nn::blip2::{Captioner, CaptionerDesign, Request};
use knownset_nn::grounding::{DetectorDesign, Grounding, WordPiece};
use knownset_nn::tokenizer::LanguageTokenizer;
use knownset_nn::{Precision, Weights};
use knownset_train::{
    Augment, Captioning, Curve, Decays, Described, Detecting, Event, Keep, Optimiser, Pictures, Scenes, Schedule,
    Thing, TrainError, Trained, Training, Writing,
};
use ndarray::Array4;
use serde_json::{Value, json};

const SIDE: usize = 32;
const COLOURS: [&str; 2] = ["red square", "blue square"];
const PLACES: [(&str, usize, usize); 4] =
    [("upper left", 0, 0), ("upper right", 14, 0), ("lower left", 0, 14), ("lower right", 14, 14)];

/// Two pictures of every colour in every place, of slightly different light.
struct Toy {
    captions: Vec<Vec<Vec<u32>>>,
    things: Vec<Vec<Thing>>,
}

impl Toy {
    const COUNT: usize = 16;

    fn caption(index: usize) -> String {
        format!("a {} in the {}", COLOURS[index % 2], PLACES[index / 2 % 4].0)
    }

    fn new(tokenizer: &LanguageTokenizer) -> Self {
        let captions = (0..Self::COUNT).map(|index| vec![tokenizer.encode(&Self::caption(index)).unwrap()]);
        let thing = |index: usize| {
            let (_, left, top) = PLACES[index / 2 % 4];
            let corners = [left, top, left + 18, top + 18].map(|pixel| pixel as f32 / SIDE as f32);
            vec![Thing { names: vec![COLOURS[index % 2].into()], corners }]
        };
        Self { captions: captions.collect(), things: (0..Self::COUNT).map(thing).collect() }
    }
}

impl Pictures for Toy {
    fn len(&self) -> usize {
        Self::COUNT
    }

    fn picture(&self, index: usize) -> Result<Vec<f32>, String> {
        let (_, left, top) = PLACES[index / 2 % 4];
        let pixel = |at: usize| {
            let (channel, y, x) = (at / (SIDE * SIDE), at / SIDE % SIDE, at % SIDE);
            let inside = (left..left + 18).contains(&x) && (top..top + 18).contains(&y);
            let light = 0.05 * (index / 8) as f32;
            if inside && channel == 2 * (index % 2) { 0.9 } else { 0.1 + light }
        };
        Ok((0..3 * SIDE * SIDE).map(pixel).collect())
    }
}

impl Described for Toy {
    fn captions(&self, index: usize) -> &[Vec<u32>] {
        &self.captions[index]
    }
}

impl Scenes for Toy {
    fn things(&self, index: usize) -> &[Thing] {
        &self.things[index]
    }
}

fn training(out: &Path, epochs: usize, resume: bool) -> Training<'_> {
    Training {
        fingerprint: "toy".into(),
        epochs,
        batch: 8,
        accumulate: 1,
        optimiser: Optimiser::AdamW {
            beta1: 0.9,
            beta2: 0.98,
            epsilon: 1e-6,
            weight_decay: 0.01,
            decays: Decays::Matrices,
        },
        schedule: Schedule { lr: 3e-3, warmup: 4, curve: Curve::Cosine { least: 0.0 } },
        clip: Some(1.0),
        ema: None,
        keep: Keep::Last,
        seed: 5,
        compute: knownset_nn::Compute::default(),
        precision: Precision::F32,
        out,
        resume,
    }
}

/// Stops after an epoch of that number.
fn until(stop_after: usize) -> impl FnMut(Event<'_>) -> ControlFlow<()> {
    move |event| match event {
        Event::Epoch(epoch) if epoch.epoch == stop_after => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    }
}

fn folder(config: &Value, preprocessor: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("config.json"), config.to_string()).unwrap();
    fs_err::write(folder.path().join("preprocessor_config.json"), preprocessor.to_string()).unwrap();
    folder
}

/// A run with a stop against one without, and a longer run, whose loss is to fall.
fn twice(epochs: usize, train: impl Fn(&Training<'_>, usize) -> Result<Trained, TrainError>) -> (Trained, Weights) {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let short = train(&training(whole.path(), 3, false), 99).unwrap();
    let stopped = train(&training(parts.path(), 3, false), 2).unwrap_err();
    assert!(matches!(stopped, TrainError::Stopped { kept: 2, .. }), "{stopped}");
    let resumed = train(&training(parts.path(), 3, true), 99).unwrap();
    let sha256 = |trained: &Trained| Weights::open(&trained.weights).unwrap().sha256();
    assert_eq!(sha256(&resumed), sha256(&short));

    let long = tempfile::tempdir().unwrap();
    let trained = train(&training(long.path(), epochs, false), 999).unwrap();
    let (first, last) = (&trained.epochs[0], &trained.epochs[epochs - 1]);
    assert!(last.loss < 0.5 * first.loss, "{} {}", first.loss, last.loss);
    let weights = Weights::open(&trained.weights).unwrap();
    (trained, weights)
}

fn tokenizer() -> LanguageTokenizer {
    let captions: Vec<String> = (0..Toy::COUNT).map(Toy::caption).collect();
    LanguageTokenizer::train(captions.iter().map(String::as_str), 300).unwrap()
}

fn captioner(tokenizer: &LanguageTokenizer) -> CaptionerDesign {
    let sizes = |width: usize| json!({ "hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 1, "num_attention_heads": 2 });
    let mut config = json!({
        "model_type": "blip-2", "num_query_tokens": 4,
        "vision_config": sizes(24), "qformer_config": sizes(16),
        "text_config": {
            "model_type": "opt", "hidden_size": 24, "word_embed_proj_dim": 24, "ffn_dim": 48, "num_hidden_layers": 1,
            "num_attention_heads": 2, "max_position_embeddings": 24,
        },
    });
    config["vision_config"]["image_size"] = SIDE.into();
    config["vision_config"]["patch_size"] = 8.into();
    config["qformer_config"]["cross_attention_frequency"] = 1.into();
    let preprocessor = json!({ "size": { "height": SIDE, "width": SIDE }, "image_mean": [0.3, 0.3, 0.3], "image_std": [0.3, 0.3, 0.3] });
    CaptionerDesign::open(folder(&config, &preprocessor).path(), tokenizer).unwrap()
}

fn normalised(picture: Vec<f32>, preprocess: &Preprocess) -> Vec<f32> {
    let channel = |at: usize| at / (SIDE * SIDE);
    let values = picture.into_iter().enumerate();
    values.map(|(at, value)| (value - preprocess.mean[channel(at)]) / preprocess.std[channel(at)]).collect()
}

#[test]
fn a_captioner_learns_goes_on_to_the_same_bits_and_opens() {
    let tokenizer = tokenizer();
    let (design, data, augment) = (captioner(&tokenizer), Toy::new(&tokenizer), Augment::default());
    let task = Captioning {
        spec: &design.spec,
        preprocess: &design.preprocess,
        begin: tokenizer.begin().unwrap(),
        writing: Writing::default(),
        data: &data,
        validation: Some(&data),
        augment: &augment,
    };
    let (trained, weights) = twice(120, |training, stop| task.train(training, &mut until(stop)));
    let exact = trained.epochs.last().unwrap().validation_accuracy.unwrap();
    assert!(exact >= 0.5, "{exact} of the captions are exact; one of eight is by chance");

    let out = tempfile::tempdir().unwrap();
    design.save(out.path(), &tokenizer).unwrap();
    CaptionerDesign::save_weights(out.path(), &weights).unwrap();
    let opened = Captioner::load(out.path()).unwrap();
    assert_eq!(opened.spec(), &design.spec);
    let pixels: Vec<f32> =
        (0..Toy::COUNT).flat_map(|index| normalised(data.picture(index).unwrap(), opened.preprocess())).collect();
    let images = Array4::from_shape_vec((Toy::COUNT, 3, SIDE, SIDE), pixels).unwrap();
    let written = opened.captions(images.view(), Request::default(), &|| ControlFlow::Continue(())).unwrap();
    let right = written.iter().enumerate().filter(|(index, caption)| caption.text == Toy::caption(*index)).count();
    // Rounded to half precision, a caption may turn.
    assert!((right as f64 / Toy::COUNT as f64 - exact).abs() <= 0.13, "{right} {exact}");
    assert_eq!(tokenizer.vocabulary(), opened.spec().text.vocabulary);
    assert_eq!(opened.tokenizer().encode(&Toy::caption(3)).unwrap(), data.captions[3][0]);

    let long = Toy { captions: vec![vec![vec![4; 20]]; Toy::COUNT], ..Toy::new(&tokenizer) };
    let folder = tempfile::tempdir().unwrap();
    let refused =
        Captioning { data: &long, ..task }.train(&training(folder.path(), 1, false), &mut until(9)).unwrap_err();
    assert!(matches!(refused, TrainError::CaptionTooLong { tokens: 20, queries: 4, room: 19 }), "{refused}");
}

fn detector(words: &WordPiece) -> DetectorDesign {
    let config = json!({
        "model_type": "grounding-dino",
        "backbone_config": {
            "model_type": "swin", "patch_size": 4, "embed_dim": 16, "depths": [1, 2], "num_heads": [2, 2], "window_size": 4,
            "mlp_ratio": 2.0, "out_features": ["stage1", "stage2"],
        },
        "text_config": {
            "model_type": "bert", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
            "num_attention_heads": 2, "max_position_embeddings": 32,
        },
        "d_model": 32, "num_feature_levels": 3, "num_queries": 6, "max_text_len": 32,
        "encoder_layers": 1, "encoder_attention_heads": 4, "encoder_ffn_dim": 32, "encoder_n_points": 2,
        "decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 32, "decoder_n_points": 2,
    });
    let preprocessor = json!({ "size": { "shortest_edge": SIDE, "longest_edge": SIDE } });
    DetectorDesign::open(folder(&config, &preprocessor).path(), words).unwrap()
}

#[test]
fn a_detector_learns_goes_on_to_the_same_bits_and_opens() {
    let (words, data) = (WordPiece::of_words(COLOURS).unwrap(), Toy::new(&tokenizer()));
    let design = detector(&words);
    let preprocess = design.square();
    let task =
        Detecting { spec: &design.spec, preprocess: &preprocess, words: &words, data: &data, validation: Some(&data) };
    let (trained, weights) = twice(60, |training, stop| task.train(training, &mut until(stop)));
    let precision = trained.epochs.last().unwrap().validation_accuracy.unwrap();
    assert!(precision > 0.5, "an average precision of {precision}");

    let out = tempfile::tempdir().unwrap();
    design.save(out.path(), &words).unwrap();
    DetectorDesign::save_weights(out.path(), &weights).unwrap();
    let opened = Grounding::load(out.path()).unwrap();
    assert_eq!(opened.spec(), &design.spec);
    let rounded = task.precision(opened.network()).unwrap().unwrap();
    assert!((rounded - precision).abs() < 0.2, "{rounded} {precision}");
    assert_eq!(opened.prompt("red square . blue square .").unwrap(), words.phrases(&COLOURS).unwrap().prompt);

    let bare = Toy { things: vec![Vec::new(); Toy::COUNT], ..Toy::new(&tokenizer()) };
    let folder = tempfile::tempdir().unwrap();
    let refused = Detecting { data: &bare, validation: None, ..task };
    let refused = refused.train(&training(folder.path(), 1, false), &mut until(9)).unwrap_err();
    assert!(matches!(refused, TrainError::NoThings), "{refused}");
}
