//! Compiles neural networks in build scripts. The program then has the network as machine code and a small Rust module without
//! the standard library; it does not depend on the compiler.
//!
//! `Cargo.toml` has `windlass-build` in `[build-dependencies]` only, and `windlass-include`, which is one macro, in `[dependencies]`. `build.rs` compiles a network whose graph is in a file, as
//! `print!("{}", Net::graph())` writes it:
//!
//! ```no_run
//! fn main() -> Result<(), windlass_build::Error> {
//!     windlass_build::Build::file("digits.graph")?.weights("digits.safetensors")?.sizes(1).compile()
//! }
//! ```
//!
//! or a network of a [`Builder`], or one that `network!` of the crate `windlass` declares in the build script:
//!
//! ```no_run
//! use windlass_build::{Build, Builder, Dynamic, Layer, Model, Options};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut builder = Builder::new("digits");
//!     let image = builder.input("image", &[784])?;
//!     let scores = builder.layer("f1", &Layer::linear(10), image)?;
//!     builder.output("scores", scores)?;
//!     let model = Model::of(Dynamic::new(builder.finish()?)?, 42, &Options::default())?;
//!     Ok(Build::of(model).sizes(1).compile()?)
//! }
//! ```
//!
//! The program includes the module by the name of the network, and runs it. All memory is its own:
//!
//! ```text
//! windlass_include::include_network!(digits);
//!
//! static NETWORK: Mutex<digits::Network> = Mutex::new(digits::Network::new());
//!
//! fn scores(image: &[f32; 784]) -> Result<[f32; 10], digits::Refused> {
//!     let mut scores = [0.0; 10];
//!     NETWORK.lock().unwrap_or_else(PoisonError::into_inner).run(image, &mut scores)?;
//!     Ok(scores)
//! }
//! ```

mod archive;

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};

pub use ndarray;
use thiserror::Error;
pub use windlass_compiler::autodiff::{Loss, Optimizer};
pub use windlass_compiler::graph::{Builder, Graph, Layer};
pub use windlass_compiler::ops::window::Window;
pub use windlass_compiler::shape::{Sizes, Symbol};
use windlass_runtime::network::AnyNetwork;
pub use windlass_runtime::object::{ObjectFiles, ObjectOptions};
pub use windlass_runtime::{Dynamic, LoadOptions, Model, Options, Parameters, TrainerOptions};

/// Why a network cannot be compiled into a program.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that cannot be read or written.
    #[error("could not {action} {}: {reason}", path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: std::io::Error,
    },
    /// A file that holds no graph.
    #[error("could not read a graph from {}: {reason}", path.display())]
    Graph {
        /// The file.
        path: PathBuf,
        /// The line, and what is wrong with it.
        reason: String,
    },
    /// A variable that Cargo gives build scripts.
    #[error("the variable {name} is not set; call `compile` in a build script, or `compile_to` elsewhere")]
    Variable {
        /// The variable.
        name: &'static str,
    },
    /// A network that cannot become an object.
    #[error(transparent)]
    Network(Box<windlass_runtime::Error>),
}

impl From<windlass_runtime::Error> for Error {
    fn from(error: windlass_runtime::Error) -> Self {
        Error::Network(Box::new(error))
    }
}

/// A network to compile into a program. Weights are part of the program.
pub struct Build<N> {
    model: Model<N>,
    options: ObjectOptions,
    files: Vec<PathBuf>,
}

impl<N: AnyNetwork> fmt::Debug for Build<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Build {{ network: {}, files: {:?} }}", self.model.network().name(), self.files)
    }
}

impl Build<Dynamic> {
    /// The network of a graph as text, with initial values drawn from the seed 0.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Graph`], and [`Error::Network`] for a graph that is not a network.
    pub fn file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|reason| Error::Io {
            action: "read",
            path: path.to_owned(),
            reason,
        })?;
        let graph: Graph = text
            .parse()
            .map_err(|reason| Error::Graph { path: path.to_owned(), reason: format!("{reason}") })?;
        let model = Model::of(Dynamic::new(graph)?, 0, &Options::default().threads(1))?;
        Ok(Build { files: vec![path.to_owned()], ..Build::of(model) })
    }
}

impl<N: AnyNetwork + Clone> Build<N> {
    /// A model, with its present parameters.
    pub fn of(model: Model<N>) -> Self {
        Build { model, options: ObjectOptions::default(), files: Vec::new() }
    }

    /// Takes the parameters of a safetensors file.
    ///
    /// # Errors
    /// [`Error::Network`] for a file that cannot be read or does not fit.
    pub fn weights(mut self, path: impl AsRef<Path>) -> Result<Self, Error> {
        let parameters = Parameters::load_of(self.model.network(), &path, &LoadOptions::default())?;
        let network = self.model.network().clone();
        self.model = Model::of_parameters(network, parameters, &Options::default().threads(1))?;
        self.files.push(path.as_ref().to_owned());
        Ok(self)
    }

    /// Sets the name of the module, an identifier; by default that of the network in lower case.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options = self.options.name(name);
        self
    }

    /// Gives the module a type `Network` with the memory of runs of these sizes.
    #[must_use]
    pub fn sizes(mut self, sizes: impl Into<Sizes>) -> Self {
        self.options = self.options.sizes(sizes);
        self
    }

    /// Gives the module a training step.
    #[must_use]
    pub fn train(mut self, options: TrainerOptions) -> Self {
        self.options = self.options.train(options);
        self
    }

    /// Sets other options of the object. Weights are in the object, and the platform is that of the program, whatever they say.
    #[must_use]
    pub fn options(mut self, options: ObjectOptions) -> Self {
        self.options = options;
        self
    }

    /// Writes `NAME.rs` and a library to Cargo's `OUT_DIR`, and tells Cargo to link with it, and to run the build script again when
    /// files change.
    ///
    /// # Errors
    /// Those of [`Build::compile_to`], and [`Error::Variable`] outside of build scripts.
    pub fn compile(self) -> Result<(), Error> {
        let variable = |name: &'static str| env::var(name).map_err(|_| Error::Variable { name });
        let (folder, target) = (variable("OUT_DIR")?, variable("TARGET")?);
        for path in &self.files {
            println!("cargo::rerun-if-changed={}", path.display());
        }
        if self.files.is_empty() {
            println!("cargo::rerun-if-changed=build.rs");
        }
        let library = self.compile_to(&folder, &target)?;
        println!("cargo::rustc-link-search=native={folder}");
        println!("cargo::rustc-link-lib=static={library}");
        Ok(())
    }

    /// Writes `NAME.rs` and a static library for a platform to a folder. Returns the name of the library.
    ///
    /// # Errors
    /// [`Error::Network`] for a network that cannot become an object, [`Error::Io`].
    pub fn compile_to(&self, folder: impl AsRef<Path>, target: &str) -> Result<String, Error> {
        let options = self.options.clone().embed(true).platform(target);
        let files = self.model.object(&options)?;
        let folder = folder.as_ref();
        let library = format!("windlass_{}", files.name);
        let module =
            format!("/// The network {}.\npub mod {} {{\n{}}}\n", files.name, files.name, files.rust);
        write(&folder.join(format!("{}.rs", files.name)), module.as_bytes())?;
        let path = folder.join(archive::file_name(&library, target));
        let archive = archive::of(&files, target).map_err(|reason| Error::Io {
            action: "write",
            path: path.clone(),
            reason,
        })?;
        write(&path, &archive)?;
        Ok(library)
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    std::fs::write(path, bytes).map_err(|reason| Error::Io { action: "write", path: path.to_owned(), reason })
}
