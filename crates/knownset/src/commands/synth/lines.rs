//! A stage that says something of every image: one JSON object a line, in the images' order, kept as they come.
//!
//! Beside the file lies a record of what made it; a run goes on behind the lines that are there if that is the same, and
//! refuses if it is not.

use std::io::{BufRead, BufReader, Seek, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::Context;
use fs_err::{File, OpenOptions};
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::Lines;
use crate::commands::Status;
use crate::hint::Hint;
use crate::images::{Images, STOP};
use crate::printer::Printer;

/// What is written for an image.
pub(super) enum Answer<T> {
    Said(T),
    /// The image cannot be read, and why.
    Unreadable(String),
}

/// A line.
#[derive(Serialize)]
struct Line<'a, T> {
    id: &'a str,
    label: i64,
    #[serde(flatten)]
    said: T,
}

/// What a run did.
#[derive(Serialize)]
struct Written {
    out: String,
    /// Lines in the file.
    n: usize,
    /// Images of this run that could not be read.
    unreadable: Vec<String>,
}

/// Opens the images, asks `answers` about those that the file does not know yet, a batch of rows at a time, and writes
/// what it says. `settings` is everything else that decides the answers.
pub(super) fn write<T: Serialize>(
    args: &Lines,
    what: &str,
    settings: &Value,
    printer: Printer,
    answers: impl Fn(&Images, Range<usize>) -> anyhow::Result<Vec<Answer<T>>>,
) -> anyhow::Result<Status> {
    let images = Images::open(&args.data, args.strict)?;
    let range = share(images.len(), args.shard);
    let settings = json!({ "settings": settings, "images": images.fingerprint(), "rows": [range.start, range.end] });
    let mut file = resume(&args.out, &settings)?;
    // An unreadable image leaves no line: the rows behind the last one written are those to be looked at.
    let (mut lines, next) = known(&args.out, &mut file, |row| images.id(row).into(), range.clone())?;
    let progress = printer.progress(what, range.len());
    progress.advance(next - range.start);
    let mut unreadable = Vec::new();
    for start in (next..range.end).step_by(args.batch_size) {
        let rows = start..(start + args.batch_size).min(range.end);
        if STOP.load(Ordering::Relaxed) {
            let done = start - range.start;
            anyhow::bail!("stopped after {done} of {}; run the same command again to go on", range.len());
        }
        let mut text = Vec::new();
        for (row, answer) in rows.clone().zip(answers(&images, rows.clone())?) {
            match answer {
                Answer::Said(said) => {
                    serde_json::to_writer(&mut text, &Line { id: images.id(row), label: images.label(row), said })?;
                    text.push(b'\n');
                    lines += 1;
                }
                Answer::Unreadable(why) if args.strict => anyhow::bail!(why),
                Answer::Unreadable(why) => unreadable.push(why),
            }
        }
        file.write_all(&text).and_then(|()| file.flush())?;
        progress.advance(rows.len());
    }
    drop(progress);
    if let Some(first) = unreadable.first() {
        printer.note(format!("warning: {} images left out, first {first}", unreadable.len()));
    }
    let written = Written { out: args.out.display().to_string(), n: lines, unreadable };
    printer.result(&written, || format!("{}: {} lines", written.out, written.n))?;
    Ok(Status::Done)
}

/// The I-th of N shares of so many rows, or all.
pub(super) fn share(rows: usize, shard: Option<(usize, usize)>) -> Range<usize> {
    shard.map_or(0..rows, |(index, count)| rows * (index - 1) / count..rows * index / count)
}

/// The file, to be read and written behind its end; made if it is not there.
pub(super) fn resume(out: &Path, settings: &Value) -> anyhow::Result<File> {
    let record = record(out);
    if out.exists() {
        let made = fs_err::read_to_string(&record).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
        if made.as_ref() != Some(settings) {
            let error = anyhow::anyhow!("{} was made with other settings, or by something else", out.display());
            return Err(error.context(Hint("choose another --out, or remove the file".into())));
        }
    } else {
        let text = serde_json::to_string_pretty(settings)?;
        let written = knownset_core::write_atomically(&record, |file| file.write_all(text.as_bytes()));
        written.with_context(|| format!("cannot write {}", record.display()))?;
    }
    Ok(OpenOptions::new().read(true).append(true).create(true).open(out)?)
}

/// `captions.jsonl` → `captions.jsonl.made.json`.
fn record(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".made.json");
    name.into()
}

/// The lines there are, and the row behind the last one's; `id` names every row. A line cut short is taken off.
pub(super) fn known(
    path: &Path,
    file: &mut File,
    id: impl Fn(usize) -> String,
    range: Range<usize>,
) -> anyhow::Result<(usize, usize)> {
    let (mut lines, mut next, mut end) = (0, range.start, 0);
    let mut reader = BufReader::new(&*file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line)?;
        if length == 0 || line.last() != Some(&b'\n') {
            break;
        }
        let said =
            serde_json::from_slice::<Value>(&line).ok().and_then(|line| Some(line.get("id")?.as_str()?.to_owned()));
        let row = said.and_then(|said| (next..range.end).find(|&row| id(row) == said));
        let row = row.with_context(|| format!("{}: line {} is not about the next image", path.display(), lines + 1))?;
        (lines, next, end) = (lines + 1, row + 1, end + length as u64);
    }
    file.set_len(end)?;
    file.seek(std::io::SeekFrom::End(0))?;
    Ok((lines, next))
}
