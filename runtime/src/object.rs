//! Networks as object files: C functions that need no library, beside their weights.

mod header;
mod manifest;
mod rust;

use std::path::Path;

use flate2::Crc;
use target_lexicon::{Architecture, Triple};
use thiserror::Error as ThisError;
use windlass_compiler::codegen::CodegenError;
use windlass_compiler::codegen::object::{Object, ObjectPort, WeightLayout, check_platform};
use windlass_compiler::graph::Graph;
use windlass_compiler::ops::source::InputRole;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileError, CompileOptions, assemble, plan_for};
use windlass_compiler::plan::{EvaluatePlanError, Features, Plan, Slot, SlotKind};
use windlass_compiler::shape::{Dim, Polynomial, Type};
use windlass_compiler::target::{Target, VECTOR_BITS, available_vector_bits};

use crate::atomic_file;
use crate::error::Error;
use crate::executor::Executor;
use crate::model::Model;
use crate::network::AnyNetwork;
use crate::parameters::Parameters;

/// How a network becomes an object file.
///
/// ```
/// use windlass_runtime::object::ObjectOptions;
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
    /// Whether the object holds the weights; otherwise they are a file of their own.
    pub embed: bool,
    /// The platform, such as `x86_64-unknown-linux-gnu`, `x86_64-apple-darwin`, `x86_64-pc-windows-msvc`,
    /// `aarch64-unknown-linux-gnu` or `aarch64-apple-darwin`; by default this one. Code for a machine of another
    /// architecture needs the feature `arm64`.
    pub platform: Option<String>,
    /// Passes and algorithms. Threads, instructions and the vector width are those of the object.
    pub compile: CompileOptions,
}

impl ObjectOptions {
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
#[derive(Clone, Debug)]
pub struct ObjectFiles {
    /// The prefix of the functions and files.
    pub name: String,
    /// The object file.
    pub object: Vec<u8>,
    /// Prepacked weights for every vector width, unless the object holds them.
    pub weights: Option<Vec<u8>>,
    /// The C header.
    pub header: String,
    /// A Rust module that calls the functions, without the standard library.
    pub rust: String,
    /// Shapes, sizes, checksums and algorithms, as JSON.
    pub manifest: String,
}

impl ObjectFiles {
    /// Writes `net.o`, `net.h`, `net.rs`, `net.json` and, unless the object holds them, `net.weights` to a folder, which is created
    /// if it does not exist. Each file is written atomically.
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
    /// The network with the model's present parameters as an object file for C programs, compiled for one thread.
    ///
    /// ```no_run
    /// # use windlass_runtime::{Dynamic, Model, object::ObjectOptions};
    /// # fn example(model: Model<Dynamic>) -> Result<(), windlass_runtime::Error> {
    /// model.object(&ObjectOptions::default().name("net"))?.write("target/net")?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Object`] for options outside their range, [`Error::Compile`], [`Error::OutOfMemory`].
    pub fn object(&self, options: &ObjectOptions) -> Result<ObjectFiles, Error> {
        build(self.network().graph(), self.parameters(), options)
    }
}

fn build(graph: &Graph, parameters: &Parameters, options: &ObjectOptions) -> Result<ObjectFiles, Error> {
    let network = || graph.name().to_owned();
    let refused = |reason| Error::Object { network: network(), reason };
    let failed = |reason: CompileError| Error::Compile { network: network(), reason: Box::new(reason) };
    let name = name_of(graph, options).map_err(refused)?;
    let (triple, targets) = targets(options).map_err(refused)?;
    let mut compile = options.compile.clone();
    compile.plan.threads = 1;
    let mut plans = Vec::new();
    for target in &targets {
        let plan = plan_for(graph, Mode::Inference, &compile, target).map_err(failed)?;
        // Kernels of different widths have different names.
        plans.push(Plan { name: format!("{name}_{}", target.vectors.bits), ..plan });
    }
    let (inputs, outputs) = ports(graph);
    let mut identity = Crc::new();
    identity.update(graph.to_string().as_bytes());
    plans.iter().for_each(|plan| identity.update(plan.to_string().as_bytes()));
    let mut object = Object {
        name: &name,
        plans: &plans,
        inputs: &inputs,
        outputs: &outputs,
        id: identity.sum(),
        triple,
        embedded: None,
    };
    let weights = weights(&object, parameters).map_err(|error| match error {
        WeightsError::Compile(reason) => failed(reason),
        WeightsError::Other(error) => error,
    })?;
    if options.embed {
        object.embedded = Some(&weights);
    }
    let bytes = object.emit().map_err(|reason| failed(reason.into()))?;
    let (header, rust) = (header::text(&object), rust::text(&object));
    let manifest = manifest::text(&object, graph, &bytes, &weights);
    let weights = (!options.embed).then(|| weights.clone());
    Ok(ObjectFiles { object: bytes, weights, header, rust, manifest, name: name.clone() })
}

fn name_of(graph: &Graph, options: &ObjectOptions) -> Result<String, ObjectError> {
    let is_identifier = |name: &str| {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if let Some(name) = &options.name {
        return match is_identifier(name) {
            true => Ok(name.clone()),
            false => Err(ObjectError::Name { name: name.clone() }),
        };
    }
    let plain = |character: char| {
        if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '_' }
    };
    let name: String = graph.name().chars().map(plain).collect();
    match is_identifier(&name) {
        true => Ok(name),
        false => Err(ObjectError::Name { name: graph.name().to_owned() }),
    }
}

/// The platform, and a target for each vector width, narrowest first.
fn targets(options: &ObjectOptions) -> Result<(Triple, Vec<Target>), ObjectError> {
    let triple = match &options.platform {
        None => Triple::host(),
        Some(text) => text.parse().map_err(|reason: target_lexicon::ParseError| ObjectError::Platform {
            platform: text.clone(),
            reason: reason.to_string(),
        })?,
    };
    let platform = triple.to_string();
    check_platform(&triple).map_err(|error| ObjectError::Platform {
        platform: platform.clone(),
        reason: match error {
            CodegenError::Target { reason } => reason,
            other => other.to_string(),
        },
    })?;
    let known = match triple.architecture {
        Architecture::X86_64 => VECTOR_BITS.to_vec(),
        _ => vec![128],
    };
    let mut widths = if options.vector_bits.is_empty() { known.clone() } else { options.vector_bits.clone() };
    widths.sort_unstable();
    let mut targets = Vec::new();
    for (index, &bits) in widths.iter().enumerate() {
        if !known.contains(&bits) || widths[..index].contains(&bits) {
            return Err(ObjectError::VectorWidth { platform, bits, known });
        }
        targets.push(match (triple.architecture, bits) {
            (Architecture::Aarch64(_), _) => Target::aarch64(),
            (_, 128) => Target { fma: false, features: Features::Baseline, ..Target::x86_64(128) },
            _ => Target::x86_64(bits),
        });
    }
    Ok((triple, targets))
}

/// The inputs and outputs of a network, in order.
fn ports(graph: &Graph) -> (Vec<ObjectPort>, Vec<ObjectPort>) {
    let (indices, lengths) = (graph.index_limits(), graph.length_limits());
    let data = graph.inputs().filter(|(_, input)| input.role == InputRole::Data);
    let port = |name: &str, ty: &Type| ObjectPort {
        name: name.to_owned(),
        ty: ty.clone(),
        least: 0,
        most: Vec::new(),
    };
    let inputs = data.map(|(value, input)| {
        let own = port(&input.name, &input.ty);
        match (&lengths[value.index()][..], indices[value.index()]) {
            ([], limit) => {
                let most = limit.map(|limit| Polynomial::from(limit.saturating_sub(1)));
                ObjectPort { most: most.into_iter().collect(), ..own }
            }
            (lengths, _) => {
                ObjectPort { least: 1, most: lengths.iter().map(Dim::polynomial).collect(), ..own }
            }
        }
    });
    let outputs = graph.outputs().iter().map(|output| port(&output.name, graph.ty(output.value)));
    (inputs.collect(), outputs.collect())
}

/// Why weights could not be prepacked.
enum WeightsError {
    Compile(CompileError),
    Other(Error),
}

impl From<Error> for WeightsError {
    fn from(error: Error) -> Self {
        WeightsError::Other(error)
    }
}

/// The weights of all plans, with their header.
fn weights(object: &Object<'_>, parameters: &Parameters) -> Result<Vec<u8>, WeightsError> {
    let (starts, bytes) = object.weight_starts();
    let mut weights = vec![0; bytes];
    for (plan, start) in object.plans.iter().zip(starts) {
        let mut place = |at: usize, words: &[f32]| {
            let bytes: &[u8] = bytemuck::cast_slice(words);
            weights[start + at..start + at + bytes.len()].copy_from_slice(bytes);
        };
        place(0, &prepacked(plan, parameters)?);
        for (slot, at) in WeightLayout::of(plan).parameters {
            if let Some(values) = parameters.get(&plan.slots[slot].name) {
                place(at, &values.iter().copied().collect::<Vec<f32>>());
            }
        }
    }
    let mut checksum = Crc::new();
    checksum.update(&weights[object.weights_header(0).len()..]);
    let header = object.weights_header(checksum.sum());
    weights[..header.len()].copy_from_slice(&header);
    Ok(weights)
}

/// The prepacked memory of a plan: computed by its own kernels if this machine can run them, and without code otherwise.
fn prepacked(plan: &Plan, parameters: &Parameters) -> Result<Vec<f32>, WeightsError> {
    let is_here = plan.target.architecture == windlass_compiler::target::Architecture::HOST
        && available_vector_bits().contains(&plan.target.vectors.bits);
    if is_here {
        let program = assemble(plan.clone()).map_err(WeightsError::Compile)?;
        return Ok(Executor::new(program)?.prepacked(parameters)?);
    }
    let words = without_code(plan, parameters).map_err(|error| Error::Object {
        network: plan.name.clone(),
        reason: ObjectError::Weights { reason: error.to_string() },
    })?;
    Ok(words.into_iter().map(f32::from_bits).collect())
}

/// The prepacked memory of a plan, computed element by element: this machine may lack the plan's instructions.
fn without_code(plan: &Plan, parameters: &Parameters) -> Result<Vec<u32>, EvaluatePlanError> {
    let words = |slot: &Slot| match slot.kind {
        SlotKind::Parameter => parameters
            .get(&slot.name)
            .map_or_else(Vec::new, |values| values.iter().map(|value| value.to_bits()).collect()),
        SlotKind::Input | SlotKind::Output => Vec::new(),
    };
    plan.prepacked(&plan.slots.iter().map(words).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use windlass_compiler::graph::{Builder, Layer};
    use windlass_compiler::ops::window::Window;

    use super::*;

    fn network() -> Graph {
        let mut builder = Builder::new("net");
        let mut x = builder.input("0.in\n", &[8, 12, 12]).unwrap();
        for (label, layer) in [
            ("c", Layer::conv(16, Window::square(3, 1, 1))),
            ("b", Layer::BatchNorm { epsilon: 1e-5, momentum: 0.1 }),
            ("p", Layer::conv(24, Window::square(1, 1, 0))),
            ("flat", Layer::Flatten),
            ("f", Layer::linear(10)),
        ] {
            x = builder.layer(label, &layer, x).unwrap();
        }
        builder.output("0-in ", x).unwrap();
        builder.finish().unwrap()
    }

    /// Weights for other CPUs are computed without their instructions: here they are computed in both ways.
    #[test]
    fn weights_are_those_of_compiled_code() {
        let graph = network();
        let parameters = Parameters::initialized(&graph, 3).unwrap();
        let (_, targets) = targets(&ObjectOptions::default()).unwrap();
        let available = available_vector_bits();
        for target in targets.iter().filter(|target| available.contains(&target.vectors.bits)) {
            let mut options = CompileOptions::default();
            options.plan.threads = 1;
            let plan = plan_for(&graph, Mode::Inference, &options, target).unwrap();
            assert!(!plan.prepack.is_empty());
            let compiled =
                Executor::new(assemble(plan.clone()).unwrap()).unwrap().prepacked(&parameters).unwrap();
            let evaluated = without_code(&plan, &parameters).unwrap();
            let numbers = evaluated.into_iter().map(f32::from_bits);
            // Memory between buffers is not written.
            let written: Vec<(f32, f32)> =
                compiled.into_iter().zip(numbers).filter(|(_, y)| !y.is_nan()).collect();
            assert!(written.len() >= 16 * 8 * 9 + 24 * 16, "{} words", written.len());
            assert!(written.iter().all(|(x, y)| (x - y).abs() < 1e-6), "{target:?}");
        }
    }

    /// Names of graphs are any text; parameters are identifiers, each with one of its own.
    #[test]
    fn parameters_have_names() {
        let (inputs, outputs) = ports(&network());
        let object = Object {
            name: "net",
            plans: &[],
            inputs: &inputs,
            outputs: &outputs,
            id: 0,
            triple: Triple::host(),
            embedded: None,
        };
        let header = header::text(&object);
        assert!(header.contains("const float *x0_in__, float *x0_in__2_);"), "{header}");
        assert!(rust::text(&object).contains("the input `0.in\\n`"));
    }
}
