//! The Rust interface of an object file: a module without the standard library.

use std::fmt::Write as _;

use windlass_compiler::codegen::object::{Object, ObjectPort, Training};
use windlass_compiler::shape::{DType, Polynomial, Symbol};

use super::build::Fixed;
use super::header::{Named, ports, size_name};

/// The name of an open size in Rust.
fn size(symbol: Symbol) -> String {
    match size_name(symbol) {
        name if symbol == Symbol::BATCH => name,
        name => format!("{name}_size"),
    }
}

/// A polynomial in numbers that do not overflow.
fn expression(polynomial: &Polynomial) -> String {
    let terms = polynomial.terms().map(|(monomial, coefficient)| {
        let factors = monomial.iter().map(|symbol| format!(" * {} as i128", size(*symbol)));
        format!("{coefficient}i128{}", factors.collect::<String>())
    });
    let terms: Vec<String> = terms.collect();
    if terms.is_empty() { "0i128".to_owned() } else { terms.join(" + ") }
}

fn element(port: &ObjectPort) -> &'static str {
    match port.ty.dtype {
        DType::F32 => "f32",
        DType::I32 => "i32",
    }
}

/// The parts of a function that takes a batch. `rate` is put between inputs and outputs.
struct Parts {
    /// `batch: usize, `
    typed: String,
    /// `batch, `
    listed: String,
    /// The parameters of the function of the object.
    pointers: String,
    /// The parameters of the function in Rust, one a line.
    slices: String,
    /// Conditions under which slices have other lengths.
    checks: String,
    /// Arguments of the function of the object.
    addresses: String,
    /// A line of documentation for each.
    shapes: String,
}

impl Parts {
    fn of(symbols: Vec<Symbol>, inputs: &[ObjectPort], outputs: &[ObjectPort], rate: bool) -> Self {
        let sizes: Vec<String> = symbols.into_iter().map(size).collect();
        let mut parts = Parts {
            typed: sizes.iter().map(|size| format!("{size}: usize, ")).collect(),
            listed: sizes.join(", "),
            pointers: String::new(),
            slices: String::new(),
            checks: String::new(),
            addresses: String::new(),
            shapes: String::new(),
        };
        let (inputs, outputs): (Vec<_>, Vec<_>) =
            ports(inputs, outputs).into_iter().partition(|named| named.is_input);
        inputs.iter().for_each(|named| parts.add(named));
        if rate {
            parts.pointers += "learning_rate: f32, ";
            parts.slices += "    learning_rate: f32,\n";
            parts.addresses += ", learning_rate";
        }
        outputs.iter().for_each(|named| parts.add(named));
        parts
    }

    fn add(&mut self, Named { port, is_input, name: own }: &Named<'_>) {
        let element = element(port);
        let (pointer, slice, address) = match is_input {
            true => ("*const", "&", "as_ptr"),
            false => ("*mut", "&mut ", "as_mut_ptr"),
        };
        let _ = write!(self.pointers, "{own}: {pointer} {element}, ");
        let _ = writeln!(self.slices, "    {own}: {slice}[{element}],");
        let count = expression(&port.ty.shape.count());
        let _ = write!(self.checks, "\n        || {own}.len() as i128 != {count}");
        let _ = write!(self.addresses, ", {own}.{address}()");
        let kind = if *is_input { "input" } else { "output" };
        let (name, shape) = (port.name.escape_debug(), &port.ty.shape);
        let _ = writeln!(self.shapes, "/// - `{own}`: the {kind} `{name}`, {shape}");
    }
}

/// The module.
pub(super) fn text(object: &Object<'_>, fixed: Option<&Fixed>) -> String {
    let name = object.name;
    let Parts { typed, listed, pointers, slices, checks, addresses, shapes } =
        Parts::of(object.symbols(), object.inputs, object.outputs, false);
    let (_, bytes) = object.weight_starts();
    let of_slice = ("    weights: &[u8],\n", "weights.len() < WEIGHT_BYTES || ", "weights.as_ptr()");
    let ((weights, weights_check, weights_address), whose) = match (&object.training, object.embedded) {
        (Some(_), _) => (of_slice, "`weights` are memory that [`pack`] has filled; they and"),
        (None, None) => (of_slice, "`weights` are the content of the file of weights; they and"),
        (None, Some(_)) => (("", "", "core::ptr::null()"), "The weights are in the object;"),
    };
    let (declared, training) =
        object.training.as_ref().map(|own| training_text(object, own)).unwrap_or_default();
    let fixed = fixed.map(|fixed| fixed_text(object, fixed)).unwrap_or_default();
    let (pool, [pool_pointer, pool_parameter, pool_address]) = (pool_text(object), pool_words(object));
    let (mut stream_declared, mut stream_function) = (String::new(), String::new());
    let [stream_pointer, stream_slice, stream_check, stream_address] = match object.states {
        [] => [""; 4],
        _ => {
            stream_declared = format!("    fn {name}_stream_bytes(batch: usize) -> usize;\n");
            stream_function = format!(
                "/// The bytes of a stream: memory that holds the states of sequences between runs, aligned to [`ALIGNMENT`]. Zeros begin
/// new sequences.
pub fn stream_bytes(batch: usize) -> usize {{
    // SAFETY: the function computes a number from a number.
    unsafe {{ {name}_stream_bytes(batch) }}
}}

"
            );
            [
                "stream: *mut u8, ",
                "    stream: &mut [u8],\n",
                "stream.len() < stream_bytes(batch) || ",
                "stream.as_mut_ptr(), ",
            ]
        }
    };
    format!(
        "//! The network {name}, compiled by Windlass: functions of `{name}.o`, which the program must be linked with. They need no
//! library, allocate nothing, and may run on several threads at once, each with an arena of its own.
#![allow(dead_code, non_snake_case)]

unsafe extern \"C\" {{
    fn {name}_supported() -> i32;
    fn {name}_arena_bytes({typed}) -> usize;
    fn {name}_run(weights: *const u8, {stream_pointer}arena: *mut u8, {pool_pointer}{typed}{pointers}) -> i32;
{stream_declared}{declared}}}

/// The alignment of weights and arena, in bytes.
pub const ALIGNMENT: usize = 64;
/// The bytes of the weights.
pub const WEIGHT_BYTES: usize = {bytes};

/// Why a run was refused. Nothing was written then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {{
    /// The CPU has none of the instruction sets of the object.
    UnsupportedCpu,
    /// The weights or the state are those of another build.
    OtherWeights,
    /// A size is 0.
    ZeroSize,
    /// A slice has another length than the sizes say, or memory is too small or not aligned.
    Memory,
    /// An index or length is outside its limits.
    Index,
    /// A training step on a single sample, of which a batch normalisation has one value per channel.
    SingleValue,
}}

fn checked(status: i32) -> Result<(), Refused> {{
    match status {{
        0 => Ok(()),
        1 => Err(Refused::UnsupportedCpu),
        2 => Err(Refused::OtherWeights),
        3 => Err(Refused::ZeroSize),
        5 => Err(Refused::Index),
        6 => Err(Refused::SingleValue),
        _ => Err(Refused::Memory),
    }}
}}

/// The bits of the vectors that runs use on this CPU, 0 if it has none of them.
pub fn vector_bits() -> i32 {{
    // SAFETY: the function reads nothing of the caller.
    unsafe {{ {name}_supported() }}
}}

/// The bytes of the arena of a run.
pub fn arena_bytes({typed}) -> usize {{
    // SAFETY: the function computes a number from numbers.
    unsafe {{ {name}_arena_bytes({listed}) }}
}}

{stream_function}{pool}/// Runs the network. {whose} the arena must be aligned to [`ALIGNMENT`].
///
{shapes}///
/// # Errors
/// [`Refused`].
#[allow(clippy::too_many_arguments)]
pub fn run(
{weights}{stream_slice}    arena: &mut [u8],
{pool_parameter}    {typed}
{slices}) -> Result<(), Refused> {{
    if {weights_check}{stream_check}arena.len() < arena_bytes({listed}){checks}
    {{
        return Err(Refused::Memory);
    }}
    // SAFETY: all memory has the sizes that the network takes; the function checks the alignment, the weights and indices.
    checked(unsafe {{ {name}_run({weights_address}, {stream_address}arena.as_mut_ptr(), {pool_address}{listed}{addresses}) }})
}}
{fixed}{training}"
    )
}

/// The parameter for the threads of the caller, if they share runs: as a pointer, as a parameter in Rust, and as an argument.
fn pool_words(object: &Object<'_>) -> [&'static str; 3] {
    match object.threads() {
        1 => [""; 3],
        _ => [
            "pool: *const Pool, ",
            "    pool: Option<&Pool>,\n",
            "pool.map_or(core::ptr::null(), core::ptr::from_ref), ",
        ],
    }
}

/// The type of a pool, if threads share runs.
fn pool_text(object: &Object<'_>) -> String {
    if object.threads() == 1 {
        return String::new();
    }
    format!(
        "/// A part of a run: a function of its argument and its number.
pub type Part = unsafe extern \"C\" fn(argument: *mut core::ffi::c_void, number: usize);

/// Calls a part with an argument for every number below a count.
pub type Each = unsafe extern \"C\" fn(
    context: *mut core::ffi::c_void,
    part: Part,
    argument: *mut core::ffi::c_void,
    count: usize,
);

/// Threads of the caller, which share runs in {} parts.
#[repr(C)]
pub struct Pool {{
    each: Each,
    context: *mut core::ffi::c_void,
}}

impl Pool {{
    /// A pool.
    ///
    /// # Safety
    /// `each` must accept the context as long as the pool exists, call the part exactly once for every number below the count, on any
    /// threads, and return when all of these calls have returned.
    pub const unsafe fn new(each: Each, context: *mut core::ffi::c_void) -> Self {{
        Pool {{ each, context }}
    }}
}}

",
        object.threads()
    )
}

/// A type with the memory of runs of some sizes.
fn fixed_text(object: &Object<'_>, Fixed { sizes, arena_bytes, stream_bytes }: &Fixed) -> String {
    let symbols = object.symbols();
    let equal = symbols.iter().map(|size| format!("{} of {}", size_name(*size), sizes.of(*size)));
    let equal = equal.collect::<Vec<_>>().join(", ");
    let values: String = symbols.iter().map(|size| format!("{}, ", sizes.of(*size))).collect();
    let (mut parameters, mut arguments) = (String::new(), String::new());
    let (weights, weights_argument) = match (&object.training, object.embedded) {
        (None, Some(_)) => ("", ""),
        _ => (", weights: &[u8]", "weights, "),
    };
    let (pool, pool_argument) = match object.threads() {
        1 => ("", ""),
        _ => (", pool: Option<&Pool>", "pool, "),
    };
    let (field, value, argument, reset) = match object.states {
        [] => (String::new(), String::new(), "", ""),
        _ => (
            format!("    stream: [u8; {stream_bytes}],\n"),
            format!(", stream: [0; {stream_bytes}]"),
            "&mut self.stream, ",
            "

    /// Begins new sequences.
    pub fn reset(&mut self) {
        self.stream.fill(0);
    }",
        ),
    };
    for Named { port, is_input, name } in ports(object.inputs, object.outputs) {
        let slice = if is_input { "&" } else { "&mut " };
        let _ = write!(parameters, ", {name}: {slice}[{}; {}]", element(port), port.ty.shape.elements(sizes));
        let _ = write!(arguments, ", {name}");
    }
    format!(
        "
/// The network with the memory of its runs, at a {equal}: {arena_bytes} bytes, for a `static` or the heap.
#[repr(C, align(64))]
pub struct Network {{
    arena: [u8; {arena_bytes}],
{field}}}

impl Network {{
    /// Memory for runs.
    pub const fn new() -> Self {{
        Network {{ arena: [0; {arena_bytes}]{value} }}
    }}

    /// Runs the network: see [`run`].
    ///
    /// # Errors
    /// [`Refused`].
    pub fn run(&mut self{weights}{pool}{parameters}) -> Result<(), Refused> {{
        run({weights_argument}{argument}&mut self.arena, {pool_argument}{values}{})
    }}{reset}
}}

impl Default for Network {{
    fn default() -> Self {{
        Self::new()
    }}
}}
",
        arguments.trim_start_matches(", ")
    )
}

/// The declarations of the functions that train, and the functions that call them.
fn training_text(object: &Object<'_>, training: &Training<'_>) -> (String, String) {
    let name = object.name;
    let Parts { typed, listed, pointers, slices, checks, addresses, shapes } =
        Parts::of(training.symbols(), training.inputs, training.outputs, true);
    let [pool_pointer, pool_parameter, pool_address] = pool_words(object);
    let mut declared = format!(
        "    fn {name}_step_arena_bytes({typed}) -> usize;
    fn {name}_step(state: *mut u8, arena: *mut u8, {pool_pointer}{typed}{pointers}) -> i32;
    fn {name}_pack(state: *const u8, weights: *mut u8, arena: *mut u8) -> i32;
"
    );
    let init = match training.embedded {
        None => String::new(),
        Some(_) => {
            let _ = writeln!(declared, "    fn {name}_init(state: *mut u8) -> i32;");
            format!(
                "
/// Writes the initial state.
///
/// # Errors
/// [`Refused`].
pub fn init(state: &mut [u8]) -> Result<(), Refused> {{
    if state.len() < STATE_BYTES {{
        return Err(Refused::Memory);
    }}
    // SAFETY: the state is large enough; the function checks its alignment.
    checked(unsafe {{ {name}_init(state.as_mut_ptr()) }})
}}
"
            )
        }
    };
    let begins = match training.embedded {
        Some(_) => "[`init`] writes it.",
        None => "It begins as the content of the file of the state.",
    };
    let functions = format!(
        "
/// The bytes of the state of the training: parameters, running statistics, the optimiser's state, and the number of steps.
/// {begins}
pub const STATE_BYTES: usize = {};
/// The bytes of the arena of [`pack`].
pub const PACK_ARENA_BYTES: usize = {};
{init}
/// The bytes of the arena of a step.
pub fn step_arena_bytes({typed}) -> usize {{
    // SAFETY: the function computes a number from numbers.
    unsafe {{ {name}_step_arena_bytes({listed}) }}
}}

/// Takes a step of training on a batch, which updates the state. State and arena must be aligned to [`ALIGNMENT`].
///
{shapes}///
/// # Errors
/// [`Refused`]; the state is then unchanged.
#[allow(clippy::too_many_arguments)]
pub fn step(
    state: &mut [u8],
    arena: &mut [u8],
{pool_parameter}    {typed}
{slices}) -> Result<(), Refused> {{
    if state.len() < STATE_BYTES || arena.len() < step_arena_bytes({listed}){checks}
    {{
        return Err(Refused::Memory);
    }}
    // SAFETY: all memory has the sizes that the step takes; the function checks the alignment, the state and indices.
    checked(unsafe {{ {name}_step(state.as_mut_ptr(), arena.as_mut_ptr(), {pool_address}{listed}{addresses}) }})
}}

/// Makes the weights of [`run`] from a state. All memory must be aligned to [`ALIGNMENT`].
///
/// # Errors
/// [`Refused`].
pub fn pack(state: &[u8], weights: &mut [u8], arena: &mut [u8]) -> Result<(), Refused> {{
    if state.len() < STATE_BYTES || weights.len() < WEIGHT_BYTES || arena.len() < PACK_ARENA_BYTES {{
        return Err(Refused::Memory);
    }}
    // SAFETY: all memory is large enough; the function checks its alignment and the state.
    checked(unsafe {{ {name}_pack(state.as_ptr(), weights.as_mut_ptr(), arena.as_mut_ptr()) }})
}}
",
        training.layout.bytes,
        object.pack_arena_bytes()
    );
    (declared, functions)
}
