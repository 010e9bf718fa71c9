//! The cache file of measurements: its path, its format, and locking between processes.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use windlass_compiler::plan::Convolution;

use crate::atomic_file;

/// Algorithms by the key of what they compute, for one machine.
pub(super) type Entries = BTreeMap<String, Convolution>;

/// The version of the file format.
const FORMAT: u32 = 2;
/// Times depend on the version of the kernels.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The maximum file size: an entry takes about 300 bytes.
const MAX_BYTES: u64 = 16 << 20;
/// How long to wait for another process's lock: far longer than a write takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where measurements are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    path: CachePath,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum CachePath {
    /// In the platform's cache directory.
    Default,
    File(PathBuf),
    Nowhere,
}

impl Default for Cache {
    /// `windlass/tuning.json` in the platform's cache directory: on Linux `$XDG_CACHE_HOME` or `~/.cache`.
    fn default() -> Self {
        Cache { path: CachePath::Default }
    }
}

/// Why measurements could not be read or stored. No problem stops tuning: what cannot be read is measured, and what
/// cannot be stored is measured again the next time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheProblem {
    /// The system has no cache directory.
    #[error(
        "this system has no cache directory, so measurements are not stored; choose a file with `Cache::at`"
    )]
    NoDirectory,
    /// An operation failed in the operating system.
    #[error("could not {action} {}: {reason}; measurements are not stored", path.display())]
    Io {
        /// The operation: "read", "lock", "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: io::Error,
    },
    /// Another process holds the file.
    #[error("another process keeps {} locked; measurements are not stored", path.display())]
    Locked {
        /// The locked file.
        path: PathBuf,
    },
    /// The file is not a tuning cache.
    #[error("{} holds no measurements: {problem}; it is replaced", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The file was written by another version, whose kernels have other times.
    #[error("{} was written by {got}, and this is {expected}; it is replaced", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version that wrote it.
        got: String,
        /// The version that reads it.
        expected: String,
    },
}

/// The whole file.
#[derive(Serialize, Deserialize)]
struct Contents {
    #[serde(flatten)]
    header: Header,
    /// By CPU name, because machines may share a home directory.
    machines: BTreeMap<String, Entries>,
}

/// The part that shows whether the rest can be read.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    format: u32,
    windlass: String,
}

impl Header {
    fn current() -> Self {
        Header { format: FORMAT, windlass: VERSION.to_owned() }
    }

    fn in_words(&self) -> String {
        format!("Windlass {} in format {}", self.windlass, self.format)
    }
}

impl Contents {
    fn empty() -> Self {
        Contents { header: Header::current(), machines: BTreeMap::new() }
    }
}

impl Cache {
    /// A file. Its directory is created if necessary.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Cache { path: CachePath::File(path.into()) }
    }

    /// No cache.
    pub fn none() -> Self {
        Cache { path: CachePath::Nowhere }
    }

    /// The file; `None` for [`Cache::none`], and if the system has no cache directory.
    pub fn path(&self) -> Option<PathBuf> {
        match &self.path {
            CachePath::Default => Some(dirs::cache_dir()?.join("windlass").join("tuning.json")),
            CachePath::File(path) => Some(path.clone()),
            CachePath::Nowhere => None,
        }
    }

    /// Checks the content of a cache file, and counts its measurements.
    ///
    /// # Errors
    /// [`CacheProblem::Malformed`] and [`CacheProblem::Version`], as for a file named `<bytes>`.
    pub fn check(contents: &[u8]) -> Result<usize, CacheProblem> {
        let contents = parse(Path::new("<bytes>"), contents)?;
        Ok(contents.machines.values().map(BTreeMap::len).sum())
    }

    /// The measurements for a CPU. An unreadable file counts as empty, and the problem is returned.
    pub(super) fn load(&self, cpu: &str) -> (Entries, Option<CacheProblem>) {
        match self.path() {
            Some(path) => match read(&path) {
                Ok(mut contents) => (contents.machines.remove(cpu).unwrap_or_default(), None),
                Err(problem) => (Entries::new(), Some(problem)),
            },
            None if self.path == CachePath::Nowhere => (Entries::new(), None),
            None => (Entries::new(), Some(CacheProblem::NoDirectory)),
        }
    }

    /// Adds measurements for a CPU, and keeps those that other processes have added meanwhile. An unreadable file is
    /// replaced.
    pub(super) fn add(&self, cpu: &str, entries: &Entries) -> Result<(), CacheProblem> {
        let Some(path) = self.path() else {
            return if self.path == CachePath::Nowhere { Ok(()) } else { Err(CacheProblem::NoDirectory) };
        };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(problem("write", &path))?;
        }
        // Dropping it, or the end of the process, unlocks. The lock file stays: removing it would leave other processes
        // with the lock of a deleted file.
        let _lock = lock(&path, PATIENCE)?;
        let mut contents = match read(&path) {
            Ok(contents) => contents,
            Err(CacheProblem::Malformed { .. } | CacheProblem::Version { .. }) => Contents::empty(),
            Err(problem) => return Err(problem),
        };
        let known = contents.machines.entry(cpu.to_owned()).or_default();
        known.extend(entries.iter().map(|(key, &algorithm)| (key.clone(), algorithm)));
        atomic_file::write(&path, |writer| {
            serde_json::to_writer_pretty(&mut *writer, &contents)?;
            writer.write_all(b"\n")
        })
        .map_err(problem("write", &path))
    }
}

fn problem(action: &'static str, path: &Path) -> impl Fn(io::Error) -> CacheProblem {
    move |reason| CacheProblem::Io { action, path: path.to_owned(), reason }
}

/// Locks a separate file, because the cache file itself is replaced.
fn lock(path: &Path, patience: Duration) -> Result<File, CacheProblem> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    let beside = path.with_file_name(name);
    let file = File::options().create(true).truncate(false).write(true).open(beside);
    let file = file.map_err(problem("lock", path))?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(problem("lock", path)(source)),
            Err(TryLockError::WouldBlock) if start.elapsed() >= patience => {
                return Err(CacheProblem::Locked { path: path.to_owned() });
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// A file that does not exist counts as empty.
fn read(path: &Path) -> Result<Contents, CacheProblem> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut text));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contents::empty()),
        Err(error) => return Err(problem("read", path)(error)),
        Ok(_) => {}
    }
    parse(path, &text)
}

fn parse(path: &Path, text: &[u8]) -> Result<Contents, CacheProblem> {
    let malformed = |problem: String| CacheProblem::Malformed { path: path.to_owned(), problem };
    if text.len() as u64 > MAX_BYTES {
        return Err(malformed(format!("it is larger than {} MiB", MAX_BYTES >> 20)));
    }
    let header: Header = serde_json::from_slice(text).map_err(|error| malformed(error.to_string()))?;
    if header != Header::current() {
        return Err(CacheProblem::Version {
            path: path.to_owned(),
            got: header.in_words(),
            expected: Header::current().in_words(),
        });
    }
    serde_json::from_slice(text).map_err(|error| malformed(error.to_string()))
}

#[cfg(test)]
mod tests;
