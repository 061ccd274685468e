//! A stage that says something of every image: one JSON object a line, in the images' order, kept as they come.
//!
//! Beside the file lies a record of what made it; a run goes on behind the lines that are there if that is the same, and
//! refuses if it is not.

use std::ops::Range;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::journal::Journal;
use super::record::{claim, holds};
use super::{contact, files};
use crate::cli::Lines;
use crate::commands::Status;
use crate::images::{Images, STOP};
use crate::printer::Printer;
use crate::shard::share;

/// What is written for an image.
pub(super) enum Answer<T> {
    Said {
        said: T,
        /// Whether the image is damaged, and what it lacks filled in.
        truncated: bool,
    },
    /// The image cannot be read, and why.
    Unreadable(String),
    /// There is nothing to be said of it, and why.
    Silent(String),
    /// What the network says of it is no number; its words for that.
    Broken(String),
}

/// A line.
#[derive(Serialize)]
struct Line<'a, T> {
    id: &'a str,
    label: i64,
    #[serde(flatten)]
    said: T,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

/// What is read of a line again.
#[derive(Deserialize)]
struct Flag {
    #[serde(default)]
    truncated: bool,
}

/// What a run did.
#[derive(Serialize)]
pub(super) struct Written {
    out: String,
    /// Lines in the file.
    n: usize,
    /// Images without a line.
    left_out: usize,
    /// Why, of those that this run could not read.
    unreadable: Vec<String>,
    /// Why, of those that this run had nothing to say of.
    silent: Vec<String>,
    /// Lines about damaged images, partly filled in.
    truncated: usize,
    /// A page to look at.
    contact: String,
}

impl Written {
    pub(super) fn print(&self, printer: Printer) -> anyhow::Result<Status> {
        printer.result(self, || self.to_string())?;
        Ok(Status::Done)
    }
}

impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} lines", self.out, self.n)?;
        if self.left_out > 0 {
            write!(f, ", {} images left out", self.left_out)?;
        }
        write!(f, "; {}", self.contact)
    }
}

/// Asks `answers` about those of the images that the file does not know yet, a batch of rows at a time, and writes what it
/// says. `settings` is everything else that decides the answers.
pub(super) fn write<T: Serialize>(
    args: &Lines,
    images: &Images,
    what: &str,
    settings: &Value,
    printer: Printer,
    answers: impl Fn(Range<usize>) -> anyhow::Result<Vec<Answer<T>>>,
) -> anyhow::Result<Written> {
    let range = share(images.len(), args.shard);
    let mut settings = settings.clone();
    settings["images"] = images.fingerprint().into();
    settings["rows"] = json!([range.start, range.end]);
    // `captions.jsonl` → `captions.jsonl.made.json`.
    let mut record = args.out.as_os_str().to_owned();
    record.push(".made.json");
    let _claim = claim(record.as_ref(), &settings, &args.out, || holds(&args.out))?;
    // An unreadable image leaves no line: the rows behind the last one written are those to be looked at.
    let mut journal = Journal::open(
        &args.out,
        range.start,
        |line, next| {
            let id = line.get("id")?.as_str()?;
            (next..range.end).find(|&row| images.id(row) == id)
        },
        |_| true,
    )?;
    let progress = printer.progress(what, range.len()).behind(journal.next - range.start);
    let (mut unreadable, mut silent, mut truncated) = (Vec::new(), Vec::new(), Vec::new());
    for start in (journal.next..range.end).step_by(args.batch_size) {
        let rows = start..start.saturating_add(args.batch_size).min(range.end);
        let answers = if STOP.load(Ordering::Relaxed) { None } else { Some(answers(rows.clone())) };
        // A batch that was stopped has an error of its own.
        let Some(answers) = answers.filter(|answers| answers.is_ok() || !STOP.load(Ordering::Relaxed)) else {
            let done = start - range.start;
            anyhow::bail!("stopped after {done} of {}; run the same command again to go on", range.len());
        };
        let (mut lines, mut refused, mut broken) = (Vec::new(), None, Vec::new());
        for (row, answer) in rows.clone().zip(answers?) {
            match answer {
                Answer::Said { said, truncated: filled } => {
                    truncated.extend(filled.then(|| images.id(row).to_owned()));
                    lines.push(Line { id: images.id(row), label: images.label(row), said, truncated: filled });
                }
                Answer::Unreadable(why) if args.strict => {
                    refused = Some(why);
                    break;
                }
                Answer::Unreadable(why) => unreadable.push(why),
                Answer::Silent(why) => silent.push(why),
                Answer::Broken(why) => broken.push(format!("{}: {why}", images.id(row))),
            }
        }
        // One image may be too much for a network; where it says nothing of any, it is the network.
        if let Some(first) = broken.first().filter(|_| lines.is_empty() && journal.lines == 0) {
            anyhow::bail!("{first}");
        }
        silent.extend(broken);
        journal.write(&lines)?;
        if let Some(why) = refused {
            anyhow::bail!(why);
        }
        progress.advance(rows.len());
    }
    drop(progress);
    if let Some(first) = unreadable.iter().chain(&silent).next() {
        printer.note(format!("warning: {} images left out, first {first}", unreadable.len() + silent.len()));
    }
    if let Some(first) = truncated.first() {
        printer.note(format!("warning: {} damaged images partly filled in, first {first}", truncated.len()));
    }
    let (n, left_out) = (journal.lines, range.len() - journal.lines);
    let contact = contact::of_lines(&args.out, what, images)?.display().to_string();
    let flags = files::read_lines::<Flag>(&args.out)?;
    let truncated = flags.into_iter().filter(|flag| flag.truncated).count();
    Ok(Written { out: args.out.display().to_string(), n, left_out, unreadable, silent, truncated, contact })
}
