//! Feeds mutated files to all parsers of Windlass: seeds ([`seeds`]), mutations ([`mutate`]), the checks of each input
//! ([`judge`]), and their memory ([`memory`]).

pub mod campaign;
pub mod judge;
pub mod memory;
pub mod mutate;
pub mod seeds;

/// A parser to test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Target {
    /// The text form of graphs.
    GraphText,
    /// The text form of kernels.
    KernelText,
    /// Graphs as JSON.
    GraphJson,
    /// Checkpoints: safetensors, with the metadata for resuming training.
    Checkpoint,
    /// IDX files, plain.
    Idx,
    /// IDX files, gzipped.
    IdxGzip,
    /// The cache file of tuning.
    Tuning,
    /// Options of the compiler as JSON.
    Options,
    /// Lists of layers as JSON.
    Layers,
    /// Settings of a data loader as JSON: normalisation, augmentation, schedules.
    Settings,
}

impl Target {
    /// All targets, the fastest first.
    pub const ALL: [Target; 10] = [
        Target::Idx,
        Target::Checkpoint,
        Target::Settings,
        Target::Options,
        Target::Tuning,
        Target::Layers,
        Target::KernelText,
        Target::GraphText,
        Target::GraphJson,
        Target::IdxGzip,
    ];

    /// The name on the command line and in files of the corpus.
    pub fn name(self) -> &'static str {
        match self {
            Target::GraphText => "graph-text",
            Target::KernelText => "kernel-text",
            Target::GraphJson => "graph-json",
            Target::Checkpoint => "checkpoint",
            Target::Idx => "idx",
            Target::IdxGzip => "idx-gzip",
            Target::Tuning => "tuning",
            Target::Options => "options",
            Target::Layers => "layers",
            Target::Settings => "settings",
        }
    }

    /// The target with a name.
    pub fn of_name(name: &str) -> Option<Self> {
        Target::ALL.into_iter().find(|target| target.name() == name)
    }

    /// Whether its files are text.
    pub fn is_text(self) -> bool {
        match self {
            Target::GraphText
            | Target::KernelText
            | Target::GraphJson
            | Target::Tuning
            | Target::Options
            | Target::Layers
            | Target::Settings => true,
            Target::Checkpoint | Target::Idx | Target::IdxGzip => false,
        }
    }

    /// The number of inputs relative to the slowest target: more for faster targets and for those with a larger syntax.
    pub fn share(self) -> u64 {
        match self {
            Target::Idx => 6,
            Target::Checkpoint | Target::Settings | Target::Options | Target::Tuning => 3,
            Target::GraphText | Target::KernelText | Target::GraphJson | Target::Layers => 2,
            Target::IdxGzip => 1,
        }
    }
}
