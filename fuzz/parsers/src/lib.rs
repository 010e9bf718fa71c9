//! Feeds mutated files to all parsers of Windlass: seeds ([`seeds`]), mutations ([`mutate`]), the checks of each input
//! ([`judge`]), and their memory ([`memory`]).

pub mod campaign;
pub mod judge;
pub mod memory;
pub mod mutate;
pub mod seeds;

/// A parser to test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum FuzzTarget {
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

impl FuzzTarget {
    /// All targets, the fastest first.
    pub const ALL: [FuzzTarget; 10] = [
        FuzzTarget::Idx,
        FuzzTarget::Checkpoint,
        FuzzTarget::Settings,
        FuzzTarget::Options,
        FuzzTarget::Tuning,
        FuzzTarget::Layers,
        FuzzTarget::KernelText,
        FuzzTarget::GraphText,
        FuzzTarget::GraphJson,
        FuzzTarget::IdxGzip,
    ];

    /// The name on the command line and in files of the corpus.
    pub fn name(self) -> &'static str {
        match self {
            FuzzTarget::GraphText => "graph-text",
            FuzzTarget::KernelText => "kernel-text",
            FuzzTarget::GraphJson => "graph-json",
            FuzzTarget::Checkpoint => "checkpoint",
            FuzzTarget::Idx => "idx",
            FuzzTarget::IdxGzip => "idx-gzip",
            FuzzTarget::Tuning => "tuning",
            FuzzTarget::Options => "options",
            FuzzTarget::Layers => "layers",
            FuzzTarget::Settings => "settings",
        }
    }

    /// The target with a name.
    pub fn of_name(name: &str) -> Option<Self> {
        FuzzTarget::ALL.into_iter().find(|target| target.name() == name)
    }

    /// Whether its files are text.
    pub fn is_text(self) -> bool {
        match self {
            FuzzTarget::GraphText
            | FuzzTarget::KernelText
            | FuzzTarget::GraphJson
            | FuzzTarget::Tuning
            | FuzzTarget::Options
            | FuzzTarget::Layers
            | FuzzTarget::Settings => true,
            FuzzTarget::Checkpoint | FuzzTarget::Idx | FuzzTarget::IdxGzip => false,
        }
    }

    /// The number of inputs relative to the slowest target: more for faster targets and for those with a larger syntax.
    pub fn share(self) -> u64 {
        match self {
            FuzzTarget::Idx => 6,
            FuzzTarget::Checkpoint | FuzzTarget::Settings | FuzzTarget::Options | FuzzTarget::Tuning => 3,
            FuzzTarget::GraphText | FuzzTarget::KernelText | FuzzTarget::GraphJson | FuzzTarget::Layers => 2,
            FuzzTarget::IdxGzip => 1,
        }
    }
}
