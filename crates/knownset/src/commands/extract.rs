//! `knownset extract`: images → feature file.

use knownset_core::write_features;
use knownset_nn::extract::shard;
use serde::Serialize;

use super::Status;
use crate::cli::Extract;
use crate::images::{FromImages, Images, headed, with_patches};
use crate::printer::Printer;
use crate::results::ImageCounts;
use crate::shard::Shard;

/// What was written.
#[derive(Serialize)]
struct Written {
    out: String,
    n: usize,
    accuracy: Option<f64>,
    images: ImageCounts,
}

pub(super) fn run(args: &Extract, printer: Printer) -> anyhow::Result<Status> {
    let weights = args.weights.as_deref();
    let network = if args.patches {
        with_patches(&args.backbone, weights, printer)?
    } else {
        headed(&args.backbone, weights, args.head.as_deref(), printer)?
    };
    let images = Images::open(&args.data, args.reading.strict)?;
    let range = args.shard.map_or(0..images.len(), |Shard { index, count }| shard(images.len(), index, count));
    anyhow::ensure!(
        !range.is_empty(),
        "{} images are too few for this many shards: shares are whole blocks of {} images",
        images.len(),
        knownset_nn::extract::PART
    );
    let FromImages { features, counts } = images.features("extract", &network, &args.reading, range, printer)?;
    write_features(&args.out, &features)?;
    let out = args.out.display().to_string();
    let written = Written { n: features.len(), accuracy: features.accuracy(), images: counts, out };
    printer.result(&written, || {
        let accuracy = written.accuracy.map(|accuracy| format!(", accuracy {:.2} %", 100.0 * accuracy));
        format!("{}: {} images{}", written.out, written.n, accuracy.unwrap_or_default())
    })?;
    Ok(Status::Done)
}
