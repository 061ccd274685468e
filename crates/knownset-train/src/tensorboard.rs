//! Event files that TensorBoard shows: scalars by step, nothing else.
//!
//! A file is a row of TFRecords: length (u64), masked CRC-32C of the length, content, masked CRC-32C of the content. The
//! content is an `Event` message of protobuf (`tensorboard/compat/proto/event.proto`, `summary.proto` in
//! <https://github.com/tensorflow/tensorboard>), of whose fields six are written here.

use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crc::{CRC_32_ISCSI, Crc};
use fs_err as fs;

static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
const NAME: &str = "events.out.tfevents.";

/// A file of scalars, written record by record: whoever reads meanwhile sees whole records, but perhaps the last.
#[derive(Debug)]
pub struct EventFile {
    file: fs::File,
}

impl EventFile {
    /// Begins a new file in `folder`, which is made if it is not there; TensorBoard reads a folder's files as one run.
    ///
    /// Of the folder's earlier files, if there are any, everything from `step` on no longer counts, and TensorBoard drops
    /// it: a resumed run gives the first step that it takes again, a fresh one 0.
    ///
    /// # Errors
    /// Whatever the operating system says; the error names the path.
    pub fn create(folder: &Path, step: u64) -> io::Result<Self> {
        Self::begin(folder, step, now())
    }

    fn begin(folder: &Path, step: u64, wall_time: f64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let number = next_number(folder)?;
        let path = folder.join(format!("{NAME}{number:06}.knownset"));
        let file = fs::OpenOptions::new().write(true).create_new(true).open(path)?;
        let mut events = Self { file };
        let mut version = Message::default();
        version.double(1, wall_time).bytes(3, b"brain.Event:2");
        events.record(&version)?;
        if number > 0 {
            let (mut start, mut session) = (Message::default(), Message::default());
            session.integer(1, 1); // the status START
            start.double(1, wall_time).integer(2, step).bytes(7, &session.0);
            events.record(&start)?;
        }
        Ok(events)
    }

    /// Writes the value of `tag` at a step, as f32. `wall_time` is in seconds since 1970, as [`now`] gives it. Tags with
    /// the same beginning up to a `/` are shown together.
    ///
    /// # Errors
    /// Whatever the operating system says; the error names the path.
    pub fn scalar(&mut self, tag: &str, step: u64, value: f64, wall_time: f64) -> io::Result<()> {
        let (mut event, mut summary, mut entry) = (Message::default(), Message::default(), Message::default());
        entry.bytes(1, tag.as_bytes()).float(2, value as f32);
        summary.bytes(1, &entry.0);
        event.double(1, wall_time).integer(2, step).bytes(5, &summary.0);
        self.record(&event)
    }

    /// Writes one record, at once.
    fn record(&mut self, message: &Message) -> io::Result<()> {
        let length = (message.0.len() as u64).to_le_bytes();
        let record = [&length[..], &masked_crc(&length), &message.0, &masked_crc(&message.0)].concat();
        self.file.write_all(&record)
    }
}

/// Seconds since 1970.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// The number after those of the folder's event files; they are read in the order of their names.
fn next_number(folder: &Path) -> io::Result<u64> {
    let mut next = 0;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(NAME)?.split('.').next()?.parse::<u64>().ok());
        next = next.max(number.map_or(0, |number| number.saturating_add(1)));
    }
    Ok(next)
}

/// TFRecord's checksum: CRC-32C, turned by 15 bits, plus a constant.
fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    CRC.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// A protobuf message in the making. As protobuf does, zeros are left out, but not floats, which here are part of a `oneof`.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn double(&mut self, field: u64, value: f64) -> &mut Self {
        if value.to_bits() != 0 {
            self.varint(field << 3 | 1);
            self.0.extend(value.to_le_bytes());
        }
        self
    }

    fn integer(&mut self, field: u64, value: u64) -> &mut Self {
        if value != 0 {
            self.varint(field << 3);
            self.varint(value);
        }
        self
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) -> &mut Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    fn float(&mut self, field: u64, value: f32) -> &mut Self {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Seven bits a byte, the lowest first; the eighth says that more follow.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn golden(name: &str) -> Vec<u8> {
        fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)).unwrap()
    }

    /// The bytes that `make_tensorboard.py` has from tensorboard's own writer.
    #[test]
    fn files_are_those_of_tensorboards_own_writer() {
        const START: f64 = 1_767_225_600.25;
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("a/run");
        let mut events = EventFile::begin(&runs, 0, START).unwrap();
        for (tag, step, value, after) in [
            ("loss", 0, 2.5, 1.0),
            ("loss", 127, 0.0, 2.0),
            ("loss", 128, -1.25, 3.0),
            ("accuracy/val", 1 << 40, 0.1, 4.0),
            (&format!("loss/{}", "é".repeat(100)), 300, f64::INFINITY, 5.0),
        ] {
            events.scalar(tag, step, value, START + after).unwrap();
        }
        events.scalar("huge", 1, 1e300, 0.0).unwrap();
        // A later session: what step 128 and those after it said is void.
        let mut events = EventFile::begin(&runs, 128, START + 6.0).unwrap();
        events.scalar("loss", 128, -1.5, START + 7.0).unwrap();
        for name in ["events.out.tfevents.000000.knownset", "events.out.tfevents.000001.knownset"] {
            assert_eq!(fs::read(runs.join(name)).unwrap(), golden(name), "{name}");
        }
    }

    #[test]
    fn a_file_is_never_written_over_and_its_name_comes_after_all_others() {
        let folder = tempfile::tempdir().unwrap();
        let foreign = folder.path().join("events.out.tfevents.1700000000.host.1.0");
        fs::write(&foreign, b"of another program").unwrap();
        fs::write(folder.path().join("weights.safetensors"), b"").unwrap();
        for _ in 0..2 {
            EventFile::create(folder.path(), 7).unwrap();
        }
        let mut names: Vec<String> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let expected =
            ["1700000000.host.1.0", "1700000001.knownset", "1700000002.knownset"].map(|n| format!("{NAME}{n}"));
        assert_eq!(names[..3], expected);
        assert_eq!(fs::read(foreign).unwrap(), b"of another program");
        let message = EventFile::create(&folder.path().join("weights.safetensors"), 0).unwrap_err().to_string();
        assert!(message.contains("weights.safetensors"), "{message}");
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(CRC.checksum(b"123456789"), 0xe306_9283);
    }
}
