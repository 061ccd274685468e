//! Images with boxes → a detector, in a folder that `knownset synth boxes` and transformers open.

use anyhow::Context;
use knownset_core::Preprocess;
use knownset_data::Located;
use knownset_nn::Weights;
use knownset_nn::grounding::{DetectorDesign, Grounding, WordPiece};
use knownset_train::{Detecting, Pictures, Scenes, Thing};
use serde_json::json;

use super::{Watch, fingerprint, unused};
use crate::cli::{OptimiserName, Train};
use crate::commands::Status;
use crate::images::{Images, TrainingImages};
use crate::printer::Printer;

/// Share of the run that is warm-up.
const WARMUP: f64 = 1.0 / 20.0;
/// Held-out images that are looked at.
const HELD_OUT: usize = 500;

pub(super) fn run(args: &Train, printer: Printer) -> anyhow::Result<Status> {
    anyhow::ensure!(
        args.recipe == "detector",
        "the recipe detector has no parameters, but is given as {}",
        args.recipe
    );
    let flags = [
        ("--backbone", args.backbone.is_some()),
        ("--synthetic", args.synthetic.is_some()),
        ("--outliers", !args.outliers.is_empty()),
        // Boxes would have to move with their pictures.
        ("--augment", args.augment.is_some()),
    ];
    unused("detector", &flags)?;
    let images = Images::open(&args.data, true)?;
    let objects = images.all_objects(printer)?;
    let names = objects.iter().flatten().flat_map(|object| &object.names).map(String::as_str);
    let words = WordPiece::of_words(names).context("cannot make a vocabulary")?;
    let design = match &args.towers {
        Some(folder) => DetectorDesign::open(folder, &words)?,
        None => DetectorDesign::sprite(&words)?,
    };
    let preprocess = &design.square();
    let data = Seen::new(&images, preprocess, &objects);
    let held_out = args.val.as_ref().map(|reference| anyhow::Ok(Images::open(reference, true)?.at_most(HELD_OUT)));
    let held_out = held_out.transpose()?;
    let validation =
        held_out.as_ref().map(|images| anyhow::Ok(Seen::new(images, preprocess, &images.all_objects(printer)?)));
    let validation = validation.transpose()?;
    fs_err::create_dir_all(&args.out)?;
    let task = Detecting {
        spec: &design.spec,
        preprocess,
        words: &words,
        data: &data,
        validation: validation.as_ref().map(|seen| seen as _),
    };
    let training =
        args.training(fingerprint(args, images.fingerprint())?, images.len(), OptimiserName::Adamw, WARMUP)?;
    let mut watch = Watch::new(printer, images.len(), "AP50");
    let trained = task.train(&training, &mut |event| watch.see(&event))?;
    drop(watch);
    // Behind the training, which refuses a folder with another run's checkpoint.
    design.save(&args.out, &words)?;
    let weights = DetectorDesign::save_weights(&args.out, &Weights::open(&trained.weights)?)?;

    let detector = Grounding::load(&args.out)?;
    let precision = task.precision(detector.network()).map_err(anyhow::Error::msg)?;
    let figures = held_out.as_ref().map(|images| json!({ "images": images.len(), "ap50": precision }));
    let out = weights.display().to_string();
    let result = json!({
        "out": out, "recipe": args.recipe, "kept": trained.kept, "epochs": trained.epochs, "held_out": figures,
    });
    printer.result(&result, || {
        let told = precision
            .zip(held_out.as_ref())
            .map(|(precision, images)| format!("; AP50 {:.2} on {} held-out images", 100.0 * precision, images.len()));
        format!("{out}: trained for {} epochs{}", trained.epochs.len(), told.unwrap_or_default())
    })?;
    Ok(Status::Done)
}

/// The images of a set with what they show.
struct Seen<'a> {
    pictures: TrainingImages<'a>,
    things: Vec<Vec<Thing>>,
}

impl<'a> Seen<'a> {
    /// `objects` belong to the images, row by row.
    fn new(images: &'a Images, preprocess: &Preprocess, objects: &[Vec<Located>]) -> Self {
        let thing = |object: &Located| {
            let (width, height) = (object.image.0 as f32, object.image.1 as f32);
            let [left, top, right, bottom] = object.corners;
            Thing { names: object.names.clone(), corners: [left / width, top / height, right / width, bottom / height] }
        };
        let things = objects.iter().map(|objects| objects.iter().map(thing).collect()).collect();
        Self { pictures: TrainingImages::all(images, preprocess), things }
    }
}

impl Pictures for Seen<'_> {
    fn len(&self) -> usize {
        self.things.len()
    }

    fn picture(&self, index: usize) -> Result<Vec<f32>, String> {
        self.pictures.picture(index)
    }
}

impl Scenes for Seen<'_> {
    fn things(&self, index: usize) -> &[Thing] {
        &self.things[index]
    }
}
