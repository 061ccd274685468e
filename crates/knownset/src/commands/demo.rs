//! `knownset demo`: the whole path on bundled data.

use std::path::Path;
use std::time::Instant;

use knownset_core::calibration::Calibration;
use knownset_data::words::spoken;
use knownset_data::world::{CLASSES, SPLITS};
use knownset_detect::{FitInput, Fitted, Stream, select};
use knownset_nn::clip::Clip;

use super::{Status, bench};
use crate::benchmark::{Outcome, Sets, run as compare};
use crate::cli::{Demo, Keeping, Reading, Words};
use crate::images::{Images, network};
use crate::inputs::Set;
use crate::known_words;
use crate::printer::Printer;
use crate::report::tables;
use crate::towers::Towers;

/// Detectors that need no training images, of those that read words.
const ZERO_SHOT: &str = "mcm,gl-mcm,neglabel,cma,adaneg";
/// The backbone trained on Sprite World.
const BACKBONE: &str = "sprite-resnet";
/// False-alarm rate of the detector the demo calibrates.
const ALPHA: f64 = 0.05;

pub(super) fn run(args: &Demo, printer: Printer) -> anyhow::Result<Status> {
    let started = Instant::now();
    // Nothing cached: the demo shows what the work takes.
    let keeping = Keeping { cache_dir: None, no_cache: true };
    let reading = Reading { batch_size: 64, strict: true, keeping };
    let network = network(BACKBONE, None, printer)?;
    let open = |split: &str| Set::from_images(split, &format!("world:sprites#{split}"), &network, &reading, printer);
    let unknown = SPLITS.iter().filter(|split| split.kind.is_unknown());
    let ood = unknown.map(|split| Ok((split.name.to_owned(), open(split.name)?)));
    let sets = Sets {
        train: open("train")?,
        val: Some(open("val")?),
        id: open("test")?,
        ood: ood.collect::<anyhow::Result<_>>()?,
        stream: Stream::default(),
    };
    let read = started.elapsed().as_secs_f64();
    let mut outcome = compare(&sets, &select("all")?, printer)?;
    outcome.results.timing.insert("read".into(), read);
    let best = outcome.results.leaderboard()[0].detector.to_owned();
    let words = in_words(&reading, printer)?;
    outcome.results.results.extend(words.results.results);
    outcome.results.timing.extend(words.results.timing);
    outcome.scores.extend(words.scores);
    if let Some(folder) = &args.out {
        let subtitle = "Sprite World: ten known classes, against unknown classes near to them and far from them. \
                        Detectors that know images read a small ResNet trained on the known classes alone; those that \
                        know words read a small CLIP trained on other drawings' captions, and the class names.";
        bench::write(folder, "What does the model know?", subtitle, &sets, &outcome)?;
        calibrated(folder, &sets, &best)?;
        printer.note(format!("wrote {}", folder.join("report.html").display()));
    }
    outcome.results.timing.insert("total".into(), started.elapsed().as_secs_f64());
    printer.result(&outcome.results, || tables::terminal(&outcome.results))?;
    Ok(Status::Done)
}

/// The same test images through the towers that read words: no training image, the class names alone.
fn in_words(reading: &Reading, printer: Printer) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let detectors = select(ZERO_SHOT)?;
    let towers = Towers::new(Clip::bundled()?, true);
    let names: Vec<String> = CLASSES.iter().map(|name| spoken(name)).collect();
    let known = known_words::build(&Words::default(), &names, &detectors, towers.clip(), None, printer)?;
    let read = |split: &str| {
        let images = Images::open(&format!("world:sprites#{split}"), reading.strict)?;
        towers.read(split, images, &known.features, reading, printer)
    };
    let unknown = SPLITS.iter().filter(|split| split.kind.is_unknown());
    let ood = unknown.map(|split| Ok((split.name.to_owned(), read(split.name)?)));
    let sets = Sets {
        train: Set::of(known.features.clone()),
        val: None,
        id: read("test")?,
        ood: ood.collect::<anyhow::Result<_>>()?,
        stream: Stream::default(),
    };
    let seconds = started.elapsed().as_secs_f64();
    let mut outcome = compare(&sets, &detectors, printer)?;
    outcome.results.timing.insert("read (words)".into(), seconds);
    Ok(outcome)
}

/// Leaves the best detector behind, calibrated on the validation images and ready for `knownset score`.
fn calibrated(folder: &Path, sets: &Sets, best: &str) -> anyhow::Result<()> {
    let Some(val) = &sets.val else { return Ok(()) };
    let chosen = select(best)?;
    let input = FitInput::new(&sets.train.features, Some(&val.features))?;
    for chosen in &chosen {
        let mut fitted = Fitted::fit(chosen, &input)?;
        fitted.calibration = Some(Calibration::new(fitted.score(&val.features)?, ALPHA)?);
        fitted.save(&folder.join("detector.safetensors"))?;
    }
    Ok(())
}
