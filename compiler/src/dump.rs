//! Dumps: what each stage of the compiler made, as text, on request. How things print lives with the things.

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
    /// The graph as declared, or as autodiff made it.
    Graph,
    /// The graph before the first pass that runs and after each.
    Passes,
    /// Algorithms, memory and order of steps.
    Plan,
    /// Loop nests and leaves.
    Kernels,
    /// Cranelift's intermediate form.
    Clif,
    /// Machine code, disassembled.
    Asm,
}

impl Stage {
    /// Every stage, in the order data flows.
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

    /// What a file that holds such a dump is named after its last dot.
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

/// Why something is not dumped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DumpError {
    /// A stage that does not exist.
    #[error(
        "there is no stage `{name}` to dump; the stages are {} and `all`",
        Stage::ALL.map(|stage| format!("`{stage}`")).join(", ")
    )]
    UnknownStage {
        /// The name given.
        name: String,
    },
    /// A dump that cannot be written.
    #[error("cannot write the dump {}: {reason}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
}

/// The environment variable that lists the stages to dump, separated by commas; `all` stands for every stage.
pub const STAGES_VARIABLE: &str = "WINDLASS_DUMP";
/// The environment variable that names the directory dumps go to; without it they go to the standard error.
pub const DIRECTORY_VARIABLE: &str = "WINDLASS_DUMP_DIR";

/// The environment variable that asks for the names of functions in the profiles of `perf`, by any text but none and `0`.
pub const PERF_MAP_VARIABLE: &str = "WINDLASS_PERF_MAP";

/// Receives what the stages made and writes the requested ones to a directory or to the standard error.
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
    /// Whether `perf` is to be told the names of functions.
    names_for_perf: bool,
    /// Whether a write has failed and was reported.
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

    /// Dumps into files of a directory instead, which is made when the first is written. The files are named
    /// `003-passes-lenet-cse.graph`: number, stage, name. Numbers go on from the largest that is in the directory, so that
    /// no dump replaces another.
    #[must_use]
    pub fn into_directory(self, directory: &Path) -> Self {
        Dump { directory: Some(directory.to_owned()), ..self }
    }

    /// Also writes the names of a program's functions where `perf report` looks for them, `/tmp/perf-<process>.map`.
    #[must_use]
    pub fn with_names_for_perf(self) -> Self {
        Dump { names_for_perf: true, ..self }
    }

    /// Whether `perf` is told the names of functions.
    pub fn wants_names_for_perf(&self) -> bool {
        self.names_for_perf
    }

    /// What the environment asks for in [`STAGES_VARIABLE`], [`DIRECTORY_VARIABLE`] and [`PERF_MAP_VARIABLE`]. A stage that
    /// does not exist is reported in one line on the standard error, and the others hold.
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

    /// Dumps the text of something a stage made, under a name. The text is only made when the stage is asked for. A dump
    /// that cannot be written is reported on the standard error, once, and ends no compilation.
    pub fn stage(&self, stage: Stage, name: &str, text: impl FnOnce() -> String) {
        if let Err(error) = self.try_stage(stage, name, text)
            && !self.failed.swap(true, Ordering::Relaxed)
        {
            warn(&error.to_string());
        }
    }

    /// As [`Dump::stage`], for a caller that wants to know.
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
        // One file at a time in this process, so that each has a number of its own.
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut number = next_number(directory).map_err(|reason| fail(directory, reason))?;
        loop {
            let path = directory.join(format!("{number:03}-{name}"));
            match File::create_new(&path) {
                Ok(mut file) => {
                    return file.write_all(text.as_bytes()).map_err(|reason| fail(&path, reason));
                }
                // Another process was quicker.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(reason) => return Err(fail(&path, reason)),
            }
        }
    }

    /// Dumps a pass: its result and, for the first of a pipeline, the graph it was given. The graph before any other
    /// pass is the one after the pass before it.
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

/// The stages of a list separated by commas, and what in it is none.
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

/// A name in which no character has a meaning to a file system.
fn file_name(name: &str) -> String {
    let plain = |character: char| character.is_alphanumeric() || "-_.".contains(character);
    name.chars().map(|character| if plain(character) { character } else { '_' }).collect()
}

fn warn(message: &str) {
    // A standard error that is closed is no reason to stop, and leaves nowhere to say so.
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
        let options = PassOptions { cse: true, ..PassOptions::NONE };
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
