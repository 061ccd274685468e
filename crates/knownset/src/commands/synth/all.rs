//! `knownset synth all`: captions → outliers → backgrounds, each as its own command makes it.

use knownset_nn::grounding::Grounding;
use serde_json::json;

use super::{backgrounds, captions, outliers};
use crate::checkpoints;
use crate::cli::{All, Backgrounds, CaptionerName, Captions, Lines, Outliers};
use crate::commands::Status;
use crate::printer::Printer;

pub(super) fn run(args: &All, printer: Printer) -> anyhow::Result<Status> {
    // What the later stages refuse should not be found after days.
    outliers::check(&args.source, &args.drawing, printer)?;
    checkpoints::open("detector", &args.grounding_weights, Grounding::load)?;
    let lines = args.out.join("captions.jsonl");
    let written = captions::write(
        &Captions {
            captioner: CaptionerName::Blip2,
            weights: args.captioner_weights.clone(),
            prompt: String::new(),
            max_tokens: args.max_tokens,
            lines: Lines {
                source: args.source.clone(),
                out: lines.clone(),
                shard: None,
                batch_size: args.batch_size,
                strict: args.strict,
            },
        },
        printer,
    )?;
    printer.note(written.to_string());
    let outliers = outliers::make(
        &Outliers {
            source: args.source.clone(),
            captions: lines,
            out: args.out.join("outliers"),
            shard: None,
            drawing: args.drawing.clone(),
        },
        printer,
    )?;
    printer.note(outliers.to_string());
    let backgrounds = backgrounds::make(
        &Backgrounds {
            source: args.source.clone(),
            boxes: None,
            grounding_weights: Some(args.grounding_weights.clone()),
            thresholds: args.thresholds,
            out: args.out.join("backgrounds"),
            size: args.blur_size,
            window: args.blur_window,
            shard: None,
            batch_size: args.batch_size,
            strict: args.strict,
        },
        printer,
    )?;
    let out = args.out.display();
    let all = json!({ "out": out.to_string(), "captions": written, "outliers": outliers, "backgrounds": backgrounds });
    let kinds = match (outliers.n(), backgrounds.n()) {
        (0, 0) => "there are no fakes".to_owned(),
        (0, _) => format!("folder:{out}/backgrounds is all fakes, for train --outliers"),
        (_, 0) => format!("folder:{out}/outliers is all fakes, for train --outliers"),
        _ => format!("folder:{out} is all fakes, for train --outliers"),
    };
    printer.result(&all, || format!("{backgrounds}\n{kinds}"))?;
    Ok(Status::Done)
}
