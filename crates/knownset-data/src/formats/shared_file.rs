//! One open file, read from many places.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

/// One open file read from many places at once: clones share the file, each has its own position and read-ahead.
#[derive(Debug)]
pub(super) struct SharedFile {
    file: Arc<fs_err::File>,
    length: u64,
    position: u64,
    window: Vec<u8>,
    window_start: u64,
}

const WINDOW: usize = 32 << 10;

impl SharedFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = fs_err::File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), length, position: 0, window: Vec::new(), window_start: 0 })
    }

    /// Length in bytes when it was opened.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Fills `buffer` from `offset` on.
    pub(super) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut file = Self { position: offset, ..self.clone() };
        file.read_exact(buffer)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_at(self.file.file(), buffer, offset);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_read(self.file.file(), buffer, offset);
    }
}

impl Clone for SharedFile {
    fn clone(&self) -> Self {
        Self { file: Arc::clone(&self.file), window: Vec::new(), ..*self }
    }
}

impl Read for SharedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.len() >= WINDOW {
            let read = self.read_at(buffer, self.position)?;
            self.position += read as u64;
            return Ok(read);
        }
        let ahead = |file: &Self| {
            let skip = usize::try_from(file.position.checked_sub(file.window_start)?).ok()?;
            (skip < file.window.len()).then_some(skip)
        };
        if ahead(self).is_none() {
            let mut window = std::mem::take(&mut self.window);
            window.resize(WINDOW, 0);
            let read = self.read_at(&mut window, self.position)?;
            window.truncate(read);
            (self.window, self.window_start) = (window, self.position);
        }
        let Some(skip) = ahead(self) else { return Ok(0) };
        let count = buffer.len().min(self.window.len() - skip);
        buffer[..count].copy_from_slice(&self.window[skip..skip + count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for SharedFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
        };
        self.position = position
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "seek before the start of the archive"))?;
        Ok(self.position)
    }
}
