//! What a benchmark leaves behind: tables and a page.

pub(crate) mod charts;
pub(crate) mod html;
pub(crate) mod svg;
pub(crate) mod tables;

use std::path::Path;

use anyhow::Context;
use knownset_core::write_atomically;

use html::Report;

/// Writes `results.{json,csv,md,tex}` and `report.html` into `folder`.
pub(crate) fn write(folder: &Path, report: &Report<'_>) -> anyhow::Result<()> {
    let results = report.results;
    let files = [
        ("results.json", serde_json::to_string_pretty(results)?),
        ("results.csv", tables::csv(results)),
        ("results.md", tables::markdown(results)),
        ("results.tex", tables::latex(results)),
        ("report.html", report.render()?),
    ];
    for (name, text) in files {
        let path = folder.join(name);
        write_atomically(&path, |out| out.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
