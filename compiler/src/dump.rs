//! Dumps: the output of each compiler stage as text, on request. Each type prints itself in its own module.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use thiserror::Error;

use crate::pass::Passed;

/// A stage of the compiler whose result can be dumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The graph as declared, or as autodiff produced it.
    Graph,
    /// The graph before the first pass and after every pass.
    Passes,
    /// Algorithms, memory and kernel order.
    Plan,
    /// Loop nests and leaves.
    Kernels,
    /// Cranelift's intermediate form.
    Clif,
    /// Machine code, disassembled.
    Asm,
}

impl Stage {
    /// Every stage, in pipeline order.
    pub const ALL: [Stage; 6] =
        [Stage::Graph, Stage::Passes, Stage::Plan, Stage::Kernels, Stage::Clif, Stage::Asm];

    /// The name in [`STAGES_VARIABLE`].
    pub fn name(self) -> &'static str {
        match self {
            Stage::Graph => "graph",
            Stage::Passes => "passes",
            Stage::Plan => "plan",
            Stage::Kernels => "kernels",
            Stage::Clif => "clif",
            Stage::Asm => "asm",
        }
    }

    /// The file extension of such a dump.
    fn extension(self) -> &'static str {
        match self {
            Stage::Graph | Stage::Passes => "graph",
            Stage::Plan => "plan",
            Stage::Kernels => "kernel",
            Stage::Clif => "clif",
            Stage::Asm => "asm",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Stage {
    type Err = DumpError;

    fn from_str(text: &str) -> Result<Self, DumpError> {
        let known = Stage::ALL.into_iter().find(|stage| stage.name() == text);
        known.ok_or_else(|| DumpError::UnknownStage { name: text.to_owned() })
    }
}

/// Why a dump was not written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DumpError {
    /// An unknown stage.
    #[error(
        "there is no stage `{name}` to dump; the stages are {} and `all`",
        Stage::ALL.map(|stage| format!("`{stage}`")).join(", ")
    )]
    UnknownStage {
        /// The given name.
        name: String,
    },
    /// A dump that cannot be written.
    #[error("cannot write the dump {}: {reason}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        reason: std::io::Error,
    },
}

/// The environment variable that lists the stages to dump, separated by commas; `all` stands for every stage.
pub const STAGES_VARIABLE: &str = "WINDLASS_DUMP";
/// The environment variable that names the directory dumps go to; without it they go to the standard error.
pub const DIRECTORY_VARIABLE: &str = "WINDLASS_DUMP_DIR";

/// The environment variable that writes function names for `perf`. Any value except an empty one and `0` turns it on.
pub const PERF_MAP_VARIABLE: &str = "WINDLASS_PERF_MAP";

/// Receives the output of the stages and writes the requested ones to a directory or to the standard error.
///
/// ```
/// use windlass_compiler::dump::{Dump, Stage};
/// let directory = std::env::temp_dir().join(format!("windlass-dump-{}", std::process::id()));
/// let dump = Dump::new(vec![Stage::Plan]).into_directory(&directory);
/// dump.stage(Stage::Plan, "lenet", || "one step".to_owned());
/// dump.stage(Stage::Asm, "lenet", || unreachable!("was not asked for"));
/// assert_eq!(std::fs::read_to_string(directory.join("000-plan-lenet.plan"))?, "one step\n");
/// # std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Dump {
    stages: Vec<Stage>,
    directory: Option<PathBuf>,
    /// Whether to write function names for `perf`.
    names_for_perf: bool,
    /// Whether a failed write has been reported.
    failed: AtomicBool,
}

impl Dump {
    /// Dumps these stages to the standard error.
    pub fn new(stages: Vec<Stage>) -> Self {
        Dump { stages, ..Dump::default() }
    }

    /// Dumps nothing.
    pub fn none() -> Self {
        Dump::default()
    }

    /// Writes the dumps into files of a directory instead, which is created for the first one. Files are named
    /// `003-passes-lenet-cse.graph`: number, stage, name. Numbering continues after the largest number in the
    /// directory, so no dump replaces another.
    #[must_use]
    pub fn into_directory(self, directory: &Path) -> Self {
        Dump { directory: Some(directory.to_owned()), ..self }
    }

    /// Also writes the names of a program's functions to `/tmp/perf-<process>.map`, where `perf report` looks for them.
    #[must_use]
    pub fn with_names_for_perf(self) -> Self {
        Dump { names_for_perf: true, ..self }
    }

    /// Whether function names are written for `perf`.
    pub fn wants_names_for_perf(&self) -> bool {
        self.names_for_perf
    }

    /// Reads [`STAGES_VARIABLE`], [`DIRECTORY_VARIABLE`] and [`PERF_MAP_VARIABLE`] from the environment. An unknown
    /// stage is reported in one line on the standard error; the other stages still apply.
    pub fn from_environment() -> Self {
        let requested = std::env::var(STAGES_VARIABLE).unwrap_or_default();
        let (stages, unknown) = parse_stages(&requested);
        for error in unknown {
            warn(&format!("{STAGES_VARIABLE}: {error}"));
        }
        let names_for_perf =
            std::env::var_os(PERF_MAP_VARIABLE).is_some_and(|value| !value.is_empty() && value != "0");
        let dump = Dump { names_for_perf, ..Dump::new(stages) };
        match std::env::var_os(DIRECTORY_VARIABLE) {
            Some(directory) if !directory.is_empty() => dump.into_directory(Path::new(&directory)),
            _ => dump,
        }
    }

    /// Whether a stage is dumped.
    pub fn wants(&self, stage: Stage) -> bool {
        self.stages.contains(&stage)
    }

    /// Dumps a stage's text under a name. The text is only built when the stage is requested. A failed write is
    /// reported once on the standard error and does not stop the compilation.
    pub fn stage(&self, stage: Stage, name: &str, text: impl FnOnce() -> String) {
        if let Err(error) = self.try_stage(stage, name, text)
            && !self.failed.swap(true, Ordering::Relaxed)
        {
            warn(&error.to_string());
        }
    }

    /// Like [`Dump::stage`], but returns the error.
    ///
    /// # Errors
    /// [`DumpError::Write`] when the text cannot be written.
    pub fn try_stage(
        &self,
        stage: Stage,
        name: &str,
        text: impl FnOnce() -> String,
    ) -> Result<(), DumpError> {
        if !self.wants(stage) {
            return Ok(());
        }
        let mut text = text();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let Some(directory) = &self.directory else {
            return write!(std::io::stderr().lock(), "; {stage}: {name}\n{text}\n")
                .map_err(|reason| DumpError::Write { path: "to the standard error".into(), reason });
        };
        let fail = |path: &Path, reason| DumpError::Write { path: path.to_owned(), reason };
        std::fs::create_dir_all(directory).map_err(|reason| fail(directory, reason))?;
        let name = format!("{stage}-{}.{}", file_name(name), stage.extension());
        // Writes one file at a time in this process, so that each gets its own number.
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut number = next_number(directory).map_err(|reason| fail(directory, reason))?;
        loop {
            let path = directory.join(format!("{number:03}-{name}"));
            match File::create_new(&path) {
                Ok(mut file) => {
                    return file.write_all(text.as_bytes()).map_err(|reason| fail(&path, reason));
                }
                // Another process took this number first.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(reason) => return Err(fail(&path, reason)),
            }
        }
    }

    /// Dumps a pass: its result and, for the first pass of a pipeline, also its input. The input of any other pass is
    /// the result of the previous one.
    pub fn passed(&self, passed: &Passed<'_>) {
        let network = passed.after.name();
        if passed.index == 0 {
            self.stage(Stage::Passes, &format!("{network}-before"), || passed.before.to_string());
        }
        self.stage(Stage::Passes, &format!("{network}-{}", passed.name), || {
            format!("; {passed}\n{}", passed.after)
        });
    }
}

/// One more than the largest number of the files in a directory.
fn next_number(directory: &Path) -> std::io::Result<usize> {
    let mut next = 0;
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number =
            name.to_str().and_then(|name| name.split_once('-')).and_then(|(number, _)| number.parse().ok());
        next = next.max(number.map_or(0, |number: usize| number.saturating_add(1)));
    }
    Ok(next)
}

/// Parses a comma-separated list into stages and the errors for unknown ones.
fn parse_stages(text: &str) -> (Vec<Stage>, Vec<DumpError>) {
    let (mut stages, mut unknown) = (Vec::new(), Vec::new());
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match name.parse() {
            Ok(stage) => stages.push(stage),
            Err(_) if name == "all" => stages.extend(Stage::ALL),
            Err(error) => unknown.push(error),
        }
    }
    (stages, unknown)
}

/// Replaces characters that have a meaning in file systems.
fn file_name(name: &str) -> String {
    let plain = |character: char| character.is_alphanumeric() || "-_.".contains(character);
    name.chars().map(|character| if plain(character) { character } else { '_' }).collect()
}

fn warn(message: &str) {
    // Ignores a closed standard error: there is nowhere left to report it.
    let _ = writeln!(std::io::stderr(), "windlass: warning: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use crate::pass::{Mode, PassOptions, optimize};

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("windlass-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_list_of_stages_is_read_and_what_is_none_is_named() {
        let (stages, unknown) = parse_stages(" clif, passes,,pases ");
        assert_eq!(stages, [Stage::Clif, Stage::Passes]);
        let messages: Vec<String> = unknown.iter().map(DumpError::to_string).collect();
        assert_eq!(
            messages,
            [
                "there is no stage `pases` to dump; the stages are `graph`, `passes`, `plan`, `kernels`, `clif`, `asm` \
              and `all`"
            ]
        );
        assert_eq!(parse_stages("all").0, Stage::ALL);
        assert!(parse_stages("").0.is_empty());
    }

    #[test]
    fn the_passes_leave_one_numbered_file_each() {
        let directory = scratch("passes");
        let dump = Dump::new(vec![Stage::Passes]).into_directory(&directory);
        let graph: Graph =
            "graph a/b {\n %0 = input {name = \"x\", type = \"f32[N, 4]\"}\n output \"y\" = %0\n}"
                .parse()
                .unwrap();
        let options = PassOptions::NONE.cse(true);
        optimize(&graph, Mode::Training, &options, &mut |passed| dump.passed(passed)).unwrap();
        let before = std::fs::read_to_string(directory.join("000-passes-a_b-before.graph")).unwrap();
        let after = std::fs::read_to_string(directory.join("001-passes-a_b-cse.graph")).unwrap();
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 2);
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(before, graph.to_string());
        assert!(after.starts_with("; cse: 1 → 1 nodes in "), "{after}");
        assert_eq!(after.parse::<Graph>().unwrap(), graph);
    }

    #[test]
    fn no_dump_replaces_another() {
        let directory = scratch("numbers");
        let dump = || Dump::new(vec![Stage::Graph]).into_directory(&directory);
        for text in ["first", "second"] {
            dump().stage(Stage::Graph, "net", || text.to_owned());
        }
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..5).for_each(|_| dump().stage(Stage::Graph, "net", || "more".to_owned())));
            }
        });
        let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
        let (first, second) = (read("000-graph-net.graph"), read("001-graph-net.graph"));
        let names: Vec<_> =
            std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!((first.as_str(), second.as_str()), ("first\n", "second\n"));
        assert_eq!(names.len(), 22);
        assert!(names.contains(&"021-graph-net.graph".into()), "{names:?}");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_reported_and_no_panic() {
        let file = scratch("file");
        std::fs::write(&file, "").unwrap();
        let dump = Dump::new(vec![Stage::Graph]).into_directory(&file.join("below"));
        let error = dump.try_stage(Stage::Graph, "net", || "text".to_owned()).unwrap_err();
        dump.stage(Stage::Graph, "net", || "text".to_owned());
        std::fs::remove_file(&file).unwrap();
        assert!(error.to_string().starts_with("cannot write the dump "), "{error}");
        assert!(dump.failed.load(Ordering::Relaxed));
    }
}
