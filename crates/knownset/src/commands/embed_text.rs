//! `knownset embed-text`: one prompt a line → one embedding a row.

use anyhow::Context;
use knownset_core::{Features, write_features};
use serde_json::json;

use super::Status;
use crate::cli::EmbedText;
use crate::printer::Printer;
use crate::towers;

pub(super) fn run(args: &EmbedText, printer: Printer) -> anyhow::Result<Status> {
    let text = fs_err::read_to_string(&args.prompts).context("the prompts are a UTF-8 file, one a line")?;
    let prompts: Vec<String> = text.lines().map(str::to_owned).collect();
    anyhow::ensure!(!prompts.is_empty(), "{} holds no prompts", args.prompts.display());
    let clip = towers::open(&args.towers.backbone, args.towers.weights.as_deref(), printer)?;
    let cache = args.keeping.cache();
    let embedding = towers::embed(&clip, "prompts", &prompts, cache.as_ref(), printer)?;
    let shape = embedding.dim();
    let features = Features {
        embedding: Some(embedding),
        source: Some(args.prompts.display().to_string()),
        ..Features::default()
    };
    write_features(&args.out, &features)?;
    let out = args.out.display().to_string();
    printer.result(&json!({ "out": out, "n": shape.0, "width": shape.1 }), || {
        format!("{out}: {} prompts, embeddings of {}", shape.0, shape.1)
    })?;
    Ok(Status::Done)
}
