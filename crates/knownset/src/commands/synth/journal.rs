//! A file of JSON objects, one a line, each about a row of something, in the rows' order. A run that was stopped, however
//! it was, goes on behind the last whole line.

use std::io::{BufRead, BufReader, Seek, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::Context;
use fs_err::{File, OpenOptions};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;

use crate::images::STOP;
use crate::printer::Printer;

pub(super) struct Journal {
    file: File,
    path: PathBuf,
    /// Lines there are.
    pub(super) lines: usize,
    /// The row behind the last line's.
    pub(super) next: usize,
    /// Lines that were taken off, what the first of them is about being gone.
    again: usize,
}

impl Journal {
    /// Opens a file, made if it is not there; a line cut short is taken off. `place` is the row that a line is about, if
    /// it is one from the given row on. From the first line on of which not all is `there`, lines are taken off too.
    pub(super) fn open(
        path: &Path,
        first: usize,
        place: impl Fn(&Value, usize) -> Option<usize>,
        there: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let (mut lines, mut next, mut end) = (0, first, 0);
        let (mut again, mut behind) = (0, first);
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = reader.read_until(b'\n', &mut line)?;
            if length == 0 || line.last() != Some(&b'\n') {
                break;
            }
            let line: Option<Value> = serde_json::from_slice(&line).ok();
            let found = line.and_then(|line| Some((place(&line, behind)?, there(&line))));
            let number = lines + again + 1;
            let (row, there) =
                found.with_context(|| format!("{}: line {number} is not about the next image", path.display()))?;
            behind = row + 1;
            if there && again == 0 {
                (lines, next, end) = (lines + 1, behind, end + length as u64);
            } else {
                again += 1;
            }
        }
        file.set_len(end)?;
        file.seek(std::io::SeekFrom::End(0))?;
        Ok(Self { file, path: path.to_owned(), lines, next, again })
    }

    /// Writes lines that belong together.
    pub(super) fn write<T: Serialize>(&mut self, lines: &[T]) -> anyhow::Result<()> {
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
        }
        let written = self.file.write_all(&text).and_then(|()| self.file.flush());
        written.with_context(|| format!("cannot write {}", self.path.display()))?;
        self.lines += lines.len();
        Ok(())
    }

    /// Makes the rows from the end of the file on, `at_once` of them side by side, and writes a line about each. What is
    /// finished before the first error is written too.
    pub(super) fn fill<T: Serialize + Send>(
        &mut self,
        rows: Range<usize>,
        at_once: usize,
        what: &str,
        printer: Printer,
        make: impl Fn(usize) -> anyhow::Result<T> + Sync,
    ) -> anyhow::Result<()> {
        if self.again > 0 {
            let gone =
                format!("note: {}: an image is gone; {} from there on are made again", self.path.display(), self.again);
            printer.note(gone);
        }
        let progress = printer.progress(what, rows.len()).behind(self.next - rows.start);
        for start in (self.next..rows.end).step_by(at_once) {
            let some = start..start.saturating_add(at_once).min(rows.end);
            let make = |row| {
                anyhow::ensure!(!STOP.load(Ordering::Relaxed), "stopped; run the same command again to go on");
                make(row)
            };
            let lines: Vec<anyhow::Result<T>> = some.into_par_iter().map(make).collect();
            let mut failed = None;
            let finished = lines.into_iter().map_while(|line| line.map_err(|error| failed = Some(error)).ok());
            let finished: Vec<T> = finished.collect();
            self.write(&finished)?;
            self.next += finished.len();
            progress.advance(finished.len());
            if let Some(error) = failed {
                return Err(error.context(format!("after {} of {} {what}", self.next - rows.start, rows.len())));
            }
        }
        Ok(())
    }
}
