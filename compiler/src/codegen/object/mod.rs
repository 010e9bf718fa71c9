//! Object files: the kernels of plans, and C functions that run them in memory of the caller. They import nothing.

mod code;
mod cpu;
mod driver;
mod layout;
mod prediction;
mod training;
mod writer;

pub use layout::{StateHeader, StateLayout, StateTensor, WeightLayout};

use target_lexicon::{Aarch64Architecture, Architecture, BinaryFormat, Triple};

use self::layout::{HEADER_BYTES, PackArena, StreamLayout, VERSION};
use self::writer::Writer;
use super::CodegenError;
use super::isa::Isas;
use crate::plan::Plan;
use crate::shape::{Polynomial, Sizes, Symbol, Type};
use crate::target::Target;

/// An input or output of a network, in the order of the C function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectPort {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// The least of its elements, if they are whole numbers with limits: 0 for indices, 1 for lengths of sequences.
    pub least: usize,
    /// Its elements must be at most each of these.
    pub most: Vec<Polynomial>,
}

/// What an object file is made from. The functions that it defines are, for the name `net`:
///
/// - `int net_supported(void)`: the vector width in bits that runs use on this CPU, or 0 if there is none;
/// - `size_t net_arena_bytes(size_t batch, …)`: the bytes of the arena of a run, or `SIZE_MAX` if they overflow;
/// - `int net_run(const void *weights, void *arena, size_t batch, …, const float *input, …, float *output, …)`: a run. It
///   returns a [`RunStatus`].
///
/// The other open sizes follow the batch in the order of [`Object::symbols`].
///
/// With [`Object::states`] runs continue sequences. Their second parameter is `void *stream`, memory of
/// `size_t net_stream_bytes(size_t batch)` bytes, which holds the states after the last run; zeros begin new sequences.
///
/// If plans are for several threads, `const net_pool *pool` follows the arena of runs and steps: the address of a function
/// `void each(void *context, void (*part)(void *argument, size_t i), void *argument, size_t count)`, which calls `part` for
/// every `i` below `count`, on any threads, and returns when all calls have; and the context. `NULL` is for this thread only.
///
/// With [`Object::training`] it has these too. The state of the training is memory of the caller: see [`StateLayout`].
///
/// - `int net_init(void *state)`: writes the initial state, if the object holds it;
/// - `size_t net_step_arena_bytes(size_t batch, …)`: the bytes of the arena of a step;
/// - `int net_step(void *state, void *arena, size_t batch, …, const float *input, …, float learning_rate, float *output, …)`: a
///   step, which updates the state;
/// - `int net_pack(const void *state, void *weights, void *arena)`: makes the weights of runs from a state.
#[derive(Clone, Debug)]
pub struct Object<'p> {
    /// The prefix of the functions: a C identifier.
    pub name: &'p str,
    /// The same network planned for the same number of threads and different vector widths, narrowest first.
    pub plans: &'p [Plan],
    /// The inputs, in order.
    pub inputs: &'p [ObjectPort],
    /// The outputs, in order.
    pub outputs: &'p [ObjectPort],
    /// Identifies the layout of the weights: a run refuses those of another build.
    pub id: u32,
    /// The platform.
    pub triple: Triple,
    /// The states that runs keep in memory of the caller, the stream: inputs and outputs of the plans beside the others.
    pub states: &'p [ObjectPort],
    /// Weights in the object, for runs whose `weights` are `NULL`.
    pub embedded: Option<&'p [u8]>,
    /// The training step.
    pub training: Option<Training<'p>>,
}

/// The training step of an object.
#[derive(Clone, Debug)]
pub struct Training<'p> {
    /// The step planned for the threads and vector widths of [`Object::plans`], in their order.
    pub plans: &'p [Plan],
    /// The inputs of the network and of its loss, in order.
    pub inputs: &'p [ObjectPort],
    /// The outputs, in order.
    pub outputs: &'p [ObjectPort],
    /// The layout of the state.
    pub layout: StateLayout,
    /// Identifies the step: it refuses the state of another one.
    pub id: u32,
    /// β₁ and β₂ of Adam.
    pub betas: Option<[f64; 2]>,
    /// The least batch: 2 if a batch normalisation has a single value per channel and sample.
    pub least_batch: usize,
    /// The initial state, if it is in the object.
    pub embedded: Option<&'p [u8]>,
}

impl Training<'_> {
    /// The open sizes of a step, in the order of the C functions: the batch first.
    pub fn symbols(&self) -> Vec<Symbol> {
        symbols_of(self.inputs, self.outputs)
    }
}

/// The batch, and the other open sizes of inputs and outputs.
fn symbols_of(inputs: &[ObjectPort], outputs: &[ObjectPort]) -> Vec<Symbol> {
    let mut symbols = vec![Symbol::BATCH];
    for symbol in inputs.iter().chain(outputs).flat_map(|port| port.ty.shape.symbols()) {
        if !symbols.contains(&symbol) {
            symbols.push(symbol);
        }
    }
    symbols
}

/// The result of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunStatus {
    /// The outputs are written.
    Done = 0,
    /// The CPU has none of the instruction sets of the object.
    UnsupportedCpu = 1,
    /// The weights or the state are those of another build.
    OtherWeights = 2,
    /// The batch or another size is 0.
    ZeroSize = 3,
    /// The weights, the state or the arena are `NULL`, or not aligned to 64 bytes.
    Memory = 4,
    /// An index or a length is outside its limits.
    Index = 5,
    /// A step on a single sample, of a network whose batch normalisation then has a single value per channel.
    SingleValue = 6,
}

/// Checks that there is code for a platform, in its format of object files.
///
/// ```
/// use windlass_compiler::codegen::object::check_platform;
/// assert!(check_platform(&"x86_64-apple-darwin".parse()?).is_ok());
/// assert!(check_platform(&"aarch64-pc-windows-msvc".parse()?).is_err());
/// # Ok::<(), target_lexicon::ParseError>(())
/// ```
///
/// # Errors
/// [`CodegenError::Target`].
pub fn check_platform(triple: &Triple) -> Result<(), CodegenError> {
    let refused = |reason: &str| Err(CodegenError::Target { reason: reason.to_owned() });
    let target = match (triple.architecture, triple.binary_format) {
        (Architecture::X86_64, BinaryFormat::Elf | BinaryFormat::Macho | BinaryFormat::Coff) => {
            Target::x86_64(128)
        }
        (Architecture::Aarch64(Aarch64Architecture::Aarch64), BinaryFormat::Elf | BinaryFormat::Macho) => {
            Target::aarch64()
        }
        (Architecture::Aarch64(_), _) => {
            return refused("objects for aarch64 are little-endian, for Linux or macOS");
        }
        _ => return refused("objects are for x86-64 and aarch64, as ELF, Mach-O or COFF"),
    };
    Isas::portable(&target, triple).map(|_| ())
}

impl Object<'_> {
    /// The open sizes of a run, in the order of the C functions: the batch first.
    pub fn symbols(&self) -> Vec<Symbol> {
        symbols_of(self.inputs, self.outputs)
    }

    /// The start of the weights of each plan in a file of weights, in bytes, and the size of the file.
    pub fn weight_starts(&self) -> (Vec<usize>, usize) {
        let mut next = HEADER_BYTES;
        let starts = self.plans.iter().map(|plan| {
            let start = next;
            next += WeightLayout::of(plan).bytes;
            start
        });
        (starts.collect(), next)
    }

    /// The bytes before the weights of the first plan: `windlass`, a version, the identification of the build, and a
    /// checksum of what follows.
    pub fn weights_header(&self, checksum: u32) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(b"windlass");
        for (place, number) in [VERSION, self.id, checksum, self.plans.len() as u32].into_iter().enumerate() {
            header[8 + 4 * place..12 + 4 * place].copy_from_slice(&number.to_le_bytes());
        }
        header
    }

    /// The object file.
    ///
    /// # Errors
    /// [`CodegenError`] for a target that is not supported.
    pub fn emit(&self) -> Result<Vec<u8>, CodegenError> {
        let [first, ..] = self.plans else {
            return Err(CodegenError::Target { reason: "no instruction set is given".to_owned() });
        };
        Writer::new(self, Isas::portable(&first.target, &self.triple)?)?.write()
    }

    /// The bytes of the arena of a run at some sizes, for every vector width; `None` if they overflow.
    pub fn arena_bytes(&self, sizes: &Sizes) -> Option<usize> {
        self.plans.iter().map(|plan| layout::arena_bytes(plan, sizes)).max()?
    }

    /// The number of threads that share a run.
    pub fn threads(&self) -> usize {
        self.plans.first().map_or(1, |plan| plan.threads)
    }

    /// The bytes of the stream of some samples; `None` if they overflow.
    pub fn stream_bytes(&self, samples: usize) -> Option<usize> {
        let set = StreamLayout::of(self.states).set();
        set.checked_mul(2)?.checked_mul(samples)?.checked_add(HEADER_BYTES)
    }

    /// The bytes of the arena that makes weights from a state.
    pub fn pack_arena_bytes(&self) -> usize {
        self.plans.iter().map(|plan| PackArena::of(plan).bytes).max().unwrap_or_default()
    }
}
