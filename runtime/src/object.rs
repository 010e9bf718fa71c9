//! Networks as object files: C functions that need no library, beside their weights.

mod build;
mod header;
mod manifest;
mod ports;
mod rust;
mod state;
#[cfg(test)]
mod tests;
mod weights;

use std::path::Path;

use thiserror::Error as ThisError;
use windlass_compiler::pipeline::CompileOptions;
use windlass_compiler::plan::{Accuracy, Convolution};
use windlass_compiler::setters;
use windlass_compiler::shape::{Sizes, Symbol};

pub use self::state::TrainedState;
use crate::atomic_file;
use crate::error::Error;
use crate::model::Model;
use crate::network::AnyNetwork;
use crate::trainer::TrainerOptions;

/// How a network becomes an object file.
///
/// ```
/// use windlass::object::ObjectOptions;
/// let options = ObjectOptions::default().name("digits").vector_bits([256]).embed(true);
/// assert_eq!(options.vector_bits, [256]);
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ObjectOptions {
    /// The prefix of the C functions; by default the name of the network in lower case.
    pub name: Option<String>,
    /// The vector widths in bits that the object has code for, of which a run uses the widest that the CPU has. Empty, the
    /// default, for all of the platform: 128 (every CPU), 256 (AVX2 and FMA) and 512 (AVX-512F) on x86-64, 128 on aarch64.
    pub vector_bits: Vec<usize>,
    /// Whether the object holds the weights, or the initial state of its training; otherwise they are a file of their own.
    pub embed: bool,
    /// The number of threads that share a run or step, 1 by default. Callers give the object a function that runs parts of its
    /// work on their threads.
    pub threads: Option<usize>,
    /// Whether runs continue sequences: each begins with the states that recurrent layers had after the one before, which the
    /// caller keeps as a block of memory, the stream. The network must read its sequences forwards.
    pub streaming: bool,
    /// Sizes of runs for which the Rust module has a type with the memory of its runs, and the C header their number of bytes.
    pub sizes: Option<Sizes>,
    /// How the object trains the network; by default it cannot. Callers give the learning rate of each step, instead of
    /// [`TrainerOptions::schedule`].
    pub training: Option<TrainerOptions>,
    /// The platform, such as `x86_64-unknown-linux-gnu`, `x86_64-apple-darwin`, `x86_64-pc-windows-msvc`,
    /// `aarch64-unknown-linux-gnu` or `aarch64-apple-darwin`; by default this one. Code for a machine of another
    /// architecture needs the feature `arm64`.
    pub platform: Option<String>,
    /// Passes and algorithms. Threads, instructions and the vector width are those of the other options.
    pub compile: CompileOptions,
}

impl ObjectOptions {
    setters! {
        compile: CompileOptions;
        /// The convolution algorithm.
        [compile.plan] convolution: Convolution;
        /// How closely results must follow the sums as written.
        [compile.plan] accuracy: Accuracy;
    }

    /// Sets the prefix of the C functions.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the vector widths in bits.
    #[must_use]
    pub fn vector_bits(mut self, bits: impl Into<Vec<usize>>) -> Self {
        self.vector_bits = bits.into();
        self
    }

    /// Puts the weights into the object, or into a file of their own.
    #[must_use]
    pub fn embed(mut self, embed: bool) -> Self {
        self.embed = embed;
        self
    }

    /// Sets the number of threads that share a run.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Lets runs continue sequences, or not.
    #[must_use]
    pub fn streaming(mut self, streaming: bool) -> Self {
        self.streaming = streaming;
        self
    }

    /// Adds memory for runs of these sizes: a batch, and values of the other open sizes of the network.
    ///
    /// ```
    /// use windlass::object::ObjectOptions;
    /// assert!(ObjectOptions::default().sizes(1).sizes.is_some());
    /// ```
    #[must_use]
    pub fn sizes(mut self, sizes: impl Into<Sizes>) -> Self {
        self.sizes = Some(sizes.into());
        self
    }

    /// Adds a training step.
    ///
    /// ```
    /// use windlass::{Optimizer, TrainerOptions};
    /// use windlass::object::ObjectOptions;
    ///
    /// let adam = TrainerOptions::default().optimizer(Optimizer::adam());
    /// assert!(ObjectOptions::default().train(adam).training.is_some());
    /// ```
    #[must_use]
    pub fn train(mut self, options: TrainerOptions) -> Self {
        self.training = Some(options);
        self
    }

    /// Sets the platform.
    #[must_use]
    pub fn platform(mut self, triple: impl Into<String>) -> Self {
        self.platform = Some(triple.into());
        self
    }
}

/// Why a network cannot become an object file.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum ObjectError {
    /// A name that C functions cannot have.
    #[error(
        "`{name}` is no C identifier; use ASCII letters, digits and `_`, not a digit first: `name(\"net\")`"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A vector width that the platform lacks, or that is given twice.
    #[error(
        "`{platform}` has no vectors of {bits} bits to choose once; leave `vector_bits` out, or use some of {known:?}"
    )]
    VectorWidth {
        /// The platform.
        platform: String,
        /// The width.
        bits: usize,
        /// The widths it has.
        known: Vec<usize>,
    },
    /// Weights that could not be prepacked for a CPU other than this one.
    #[error("its weights could not be prepacked: {reason}")]
    Weights {
        /// Why.
        reason: String,
    },
    /// A setting of the trainer that objects do not have.
    #[error("objects have no `{setting}`; leave it out")]
    Training {
        /// The setting.
        setting: &'static str,
    },
    /// Sizes of runs that are missing, 0 or too large.
    #[error("`sizes` needs a value of {size} from 1, with which the network fits in memory")]
    Sizes {
        /// The open size.
        size: Symbol,
    },
    /// Bytes that are not the state of a training.
    #[error("{problem}; give all the bytes of the state, and the options that the object was built with")]
    State {
        /// What is wrong with them.
        problem: String,
    },
    /// A platform that does not exist, or that there is no code generator for.
    #[error("cannot generate code for `{platform}`: {reason}; for example `x86_64-unknown-linux-gnu`")]
    Platform {
        /// The platform.
        platform: String,
        /// Why.
        reason: String,
    },
}

/// A network as files that C and Rust programs compile and link with.
///
/// `net.o` defines `net_supported`, `net_arena_bytes` and `net_run`, which `net.h` declares and explains. It imports nothing, not
/// even the C library, and a run allocates nothing: weights and arena are memory of the caller.
///
/// With [`ObjectOptions::training`] it also defines `net_step`, which takes a step of training. Parameters, running
/// statistics and the optimiser's state are one block of memory of the caller, at first the content of `net.state`.
/// `net_pack` makes the weights of `net_run` from it, and [`TrainedState`] reads it.
#[derive(Clone, Debug)]
pub struct ObjectFiles {
    /// The prefix of the functions and files.
    pub name: String,
    /// The object file.
    pub object: Vec<u8>,
    /// Prepacked weights for every vector width, unless the object holds them or trains.
    pub weights: Option<Vec<u8>>,
    /// The initial state of the training, unless the object holds it.
    pub state: Option<Vec<u8>>,
    /// The C header.
    pub header: String,
    /// A Rust module that calls the functions, without the standard library.
    pub rust: String,
    /// Shapes, sizes, checksums and algorithms, as JSON.
    pub manifest: String,
}

impl ObjectFiles {
    /// Writes `net.o`, `net.h`, `net.rs`, `net.json` and, unless the object holds them, `net.weights` or `net.state` to a folder,
    /// which is created if it does not exist. Each file is written atomically.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, folder: impl AsRef<Path>) -> Result<(), Error> {
        let folder = folder.as_ref();
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |reason| Error::Io { action: "write", path, reason }
        };
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
        let files = [
            ("o", Some(&self.object[..])),
            ("h", Some(self.header.as_bytes())),
            ("rs", Some(self.rust.as_bytes())),
            ("json", Some(self.manifest.as_bytes())),
            ("weights", self.weights.as_deref()),
            ("state", self.state.as_deref()),
        ];
        for (extension, bytes) in files {
            let Some(bytes) = bytes else { continue };
            let path = folder.join(format!("{}.{extension}", self.name));
            atomic_file::write(&path, |file| file.write_all(bytes)).map_err(failed(&path))?;
        }
        Ok(())
    }
}

impl<N: AnyNetwork> Model<N> {
    /// The network with the model's present parameters as an object file for C programs.
    ///
    /// ```no_run
    /// # use windlass::{Dynamic, Model};
    /// # use windlass::object::ObjectOptions;
    /// # fn example(model: Model<Dynamic>) -> Result<(), windlass::Error> {
    /// model.object(&ObjectOptions::default().name("net"))?.write("target/net")?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Object`] for options outside their range, [`Error::Compile`], [`Error::OutOfMemory`]; [`Error::Autodiff`] and
    /// [`Error::Graph`] for a network that cannot be trained as the options say.
    pub fn object(&self, options: &ObjectOptions) -> Result<ObjectFiles, Error> {
        build::build(self, options)
    }
}
