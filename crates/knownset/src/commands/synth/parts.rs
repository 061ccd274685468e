//! Arrays of one size in a file, one behind the other, each as it is finished: what a run that was stopped, however it was,
//! goes on behind.

use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Context;
use fs_err::{File, OpenOptions};
use serde_json::Value;

use super::record::{Claim, claim, holds};
use crate::hint::Hint;

pub(super) struct Parts {
    file: File,
    claim: Claim,
    /// The file, and the record of what made it.
    paths: [PathBuf; 2],
    /// Numbers of a part.
    size: usize,
    /// Parts there are.
    pub(super) finished: usize,
}

impl Parts {
    /// Opens what there is of `out`, made by these settings, at most so many parts of that size above 0; one that is cut
    /// short is taken off. An error if there are parts that were made by other settings, and while another run is at it.
    pub(super) fn open(out: &Path, settings: &Value, most: usize, size: usize) -> anyhow::Result<Self> {
        let paths = [".parts", ".parts.made.json"].map(|ending| {
            let mut path = out.as_os_str().to_owned();
            path.push(ending);
            PathBuf::from(path)
        });
        let [path, record] = &paths;
        let claim = claim(record, settings, path, || holds(path))?;
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let bytes = (size * size_of::<f32>()) as u64;
        let finished = file.metadata()?.len() / bytes;
        if finished > most as u64 {
            let error = anyhow::anyhow!("{} holds {finished} images of {most}", path.display());
            return Err(error.context(Hint("remove it, and draw them again".into())));
        }
        file.set_len(finished * bytes)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file, claim, paths, size, finished: usize::try_from(finished)? })
    }

    /// Writes the next part.
    pub(super) fn push<'a>(&mut self, part: impl Iterator<Item = &'a f32>) -> anyhow::Result<()> {
        let bytes: Vec<u8> = part.flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(bytes.len(), self.size * size_of::<f32>(), "a part is as large as it was said to be");
        let written = self.file.write_all(&bytes).and_then(|()| self.file.flush());
        written.with_context(|| format!("cannot write {}", self.paths[0].display()))?;
        self.finished += 1;
        Ok(())
    }

    /// Those numbers of every part, one part after the other.
    pub(super) fn read(
        &self,
        numbers: Range<usize>,
    ) -> anyhow::Result<impl Iterator<Item = std::io::Result<Vec<f32>>> + use<>> {
        const WIDTH: usize = size_of::<f32>();
        let (mut file, size) = (File::open(&self.paths[0])?, self.size);
        Ok((0..self.finished).map(move |part| {
            file.seek(SeekFrom::Start(((part * size + numbers.start) * WIDTH) as u64))?;
            let mut bytes = vec![0; numbers.len() * WIDTH];
            file.read_exact(&mut bytes)?;
            Ok(bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect())
        }))
    }

    /// Removes the file, whose content is somewhere else by now.
    pub(super) fn remove(self) -> anyhow::Result<()> {
        let Self { file, claim, paths, .. } = self;
        drop((file, claim));
        Ok(paths.into_iter().try_for_each(fs_err::remove_file)?)
    }
}
