//! Event files of TensorBoard: records of protobuf messages, each with its length and checksums (TFRecord).
//!
//! The messages are parts of TensorFlow's `event.proto` and `summary.proto`.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prost::Message;

use super::history::EpochReport;
use crate::error::Error;
use crate::evaluation::Evaluation;
use crate::trainer::StepReport;

/// The first record of every file.
const VERSION: &str = "brain.Event:2";

/// The time after which what was written is on the disk, for a TensorBoard that watches the file.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// Writes an event file.
#[derive(Debug)]
pub(super) struct Events {
    path: PathBuf,
    file: BufWriter<File>,
    flushed: Instant,
    /// The losses since the last update, if several batches make one.
    losses: Vec<f32>,
}

impl Events {
    /// Begins a file in a directory, which is created.
    pub(super) fn create(directory: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
        let seconds = since_1970().as_secs();
        // Two fits of a process may begin in the same second.
        let mut number = 0u64;
        let (path, file) = loop {
            let name = format!("events.out.tfevents.{seconds}.windlass.{}.{number}", std::process::id());
            let path = directory.join(name);
            match File::create_new(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                file => break (path, file),
            }
        };
        let file = BufWriter::new(file.map_err(Error::io("write", &path))?);
        let mut events = Events { path, file, flushed: Instant::now(), losses: Vec::new() };
        events.write(&Event { file_version: Some(VERSION.to_owned()), ..Event::at(0) })?;
        events.flush()?;
        Ok(events)
    }

    /// Writes the results of a step, after this many steps. If several batches make one, the loss is their mean.
    pub(super) fn step(&mut self, report: &StepReport, steps: u64) -> Result<(), Error> {
        self.losses.push(report.loss);
        if !report.updated {
            return Ok(());
        }
        let loss = self.losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / self.losses.len() as f64;
        self.losses.clear();
        let mut values =
            vec![("step/loss".to_owned(), loss), ("step/learning_rate".to_owned(), report.learning_rate)];
        values.extend(report.gradient_norm.map(|norm| ("step/gradient_norm".to_owned(), f64::from(norm))));
        self.scalars(steps, values)?;
        if self.flushed.elapsed() > PAUSE { self.flush() } else { Ok(()) }
    }

    /// Writes the results of an epoch.
    pub(super) fn epoch(&mut self, report: &EpochReport) -> Result<(), Error> {
        let mut values = Vec::new();
        let mut add = |data: &str, results: &Evaluation| {
            values.push((format!("{data}/loss"), results.loss));
            for (metric, value) in &results.metrics {
                values.extend(value.map(|value| (format!("{data}/{metric}"), value)));
            }
        };
        add("training", &report.training);
        if let Some(results) = &report.validation {
            add("validation", results);
        }
        self.scalars(report.steps, values)?;
        self.flush()
    }

    fn scalars(&mut self, steps: u64, values: Vec<(String, f64)>) -> Result<(), Error> {
        let scalars = values.into_iter().map(|(tag, value)| Scalar { tag, simple_value: Some(value as f32) });
        let summary = Some(Summary { value: scalars.collect() });
        self.write(&Event { summary, ..Event::at(i64::try_from(steps).unwrap_or(i64::MAX)) })
    }

    fn write(&mut self, event: &Event) -> Result<(), Error> {
        let record = record(&event.encode_to_vec());
        self.file.write_all(&record).map_err(Error::io("write", &self.path))
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.flushed = Instant::now();
        self.file.flush().map_err(Error::io("write", &self.path))
    }
}

impl Event {
    fn at(step: i64) -> Self {
        Event { wall_time: since_1970().as_secs_f64(), step, file_version: None, summary: None }
    }
}

/// A clock before 1970 counts as 1970.
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A record: its length, the checksum of the length, the content, and its checksum.
fn record(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), content, &masked(content)].concat()
}

/// The CRC-32C of bytes, rotated and shifted so that records of records have other checksums.
fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metric;

    /// The record that TensorFlow's `TFRecordWriter` writes for these bytes.
    #[test]
    fn records_have_masked_checksums() {
        // CRC-32C of "123456789" is 0xe3069283 (RFC 3720, appendix B.4 has further values).
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        let written = record(b"123456789");
        assert_eq!(written[..8], 9u64.to_le_bytes());
        assert_eq!(written[12..21], *b"123456789");
        let mask = 0xe306_9283u32.rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(written[21..], mask.to_le_bytes());
    }

    /// The messages of a file, whose checksums are right.
    fn read(path: &Path) -> Vec<Event> {
        let bytes = std::fs::read(path).unwrap();
        let (mut rest, mut events) = (&bytes[..], Vec::new());
        while let Some((length, after)) = rest.split_first_chunk::<8>() {
            let length = u64::from_le_bytes(*length) as usize;
            assert_eq!(after[..4], masked(&rest[..8]));
            let (content, after) = after[4..].split_at(length);
            assert_eq!(after[..4], masked(content));
            events.push(Event::decode(content).unwrap());
            rest = &after[4..];
        }
        events
    }

    #[test]
    fn steps_and_epochs_are_scalars() {
        let directory = tempfile::tempdir().unwrap();
        let mut events = Events::create(&directory.path().join("runs/first")).unwrap();
        let other = Events::create(&directory.path().join("runs/first")).unwrap();
        assert_ne!(events.path, other.path);
        let report = StepReport { loss: 1.0, learning_rate: 0.1, gradient_norm: Some(2.0), updated: false };
        events.step(&report, 0).unwrap();
        events.step(&StepReport { loss: 3.0, updated: true, ..report }, 1).unwrap();
        let training = Evaluation { loss: 0.5, metrics: vec![(Metric::Accuracy, Some(0.75))], examples: 8 };
        let validation =
            Some(Evaluation { loss: 0.25, metrics: vec![(Metric::Accuracy, None)], examples: 8 });
        let epoch =
            EpochReport { epoch: 1, steps: 1, learning_rate: 0.1, seconds: 2.0, training, validation };
        events.epoch(&epoch).unwrap();
        let written = read(&events.path);
        assert_eq!(written[0].file_version.as_deref(), Some("brain.Event:2"));
        let scalars = |event: &Event| {
            let values = event.summary.iter().flat_map(|summary| &summary.value);
            values.map(|scalar| (scalar.tag.clone(), scalar.simple_value.unwrap())).collect::<Vec<_>>()
        };
        let expected = [("step/loss", 2.0), ("step/learning_rate", 0.1), ("step/gradient_norm", 2.0)];
        assert_eq!(scalars(&written[1]), expected.map(|(tag, value)| (tag.to_owned(), value)));
        let expected = [("training/loss", 0.5), ("training/accuracy", 0.75), ("validation/loss", 0.25)];
        assert_eq!(scalars(&written[2]), expected.map(|(tag, value)| (tag.to_owned(), value)));
        assert_eq!((written.len(), written[2].step), (3, 1));
        assert!(written[1].wall_time > 1.6e9);
    }
}
