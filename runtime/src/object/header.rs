//! The C header of an object file.

use std::fmt::Write as _;

use windlass_compiler::codegen::object::{Object, ObjectPort, Training};
use windlass_compiler::shape::{DType, Symbol};

use super::build::Fixed;

/// The name of an open size in C.
pub(super) fn size_name(symbol: Symbol) -> String {
    if symbol == Symbol::BATCH { "batch".to_owned() } else { symbol.to_string() }
}

/// The parameters for some open sizes: `size_t batch, size_t T`.
fn size_parameters(symbols: Vec<Symbol>) -> String {
    let sizes = symbols.into_iter().map(|symbol| format!("size_t {}", size_name(symbol)));
    sizes.collect::<Vec<_>>().join(", ")
}

/// A shape in C, `[batch][3][224]`.
fn shape(port: &ObjectPort) -> String {
    let dims = port.ty.shape.dims().iter().map(|dim| match dim.polynomial().as_symbol() {
        Some(symbol) => format!("[{}]", size_name(symbol)),
        None => format!("[{}]", dim.polynomial()),
    });
    dims.collect()
}

/// An input or output, and the name of its parameter.
pub(super) struct Named<'o> {
    pub(super) port: &'o ObjectPort,
    pub(super) is_input: bool,
    /// An identifier of C and Rust that is no word of either, and that no other parameter has.
    pub(super) name: String,
}

/// The inputs, followed by the outputs.
pub(super) fn ports<'o>(inputs: &'o [ObjectPort], outputs: &'o [ObjectPort]) -> Vec<Named<'o>> {
    let plain = |character: char| if character.is_ascii_alphanumeric() { character } else { '_' };
    let inputs = inputs.iter().map(|port| (port, true));
    let mut named: Vec<Named<'o>> = Vec::new();
    for (port, is_input) in inputs.chain(outputs.iter().map(|port| (port, false))) {
        let text: String = port.name.chars().map(plain).collect();
        // Names of graphs may begin with a digit, or differ only in other characters.
        let text = if text.starts_with(|first: char| first.is_ascii_alphabetic()) {
            text
        } else {
            format!("x{text}")
        };
        let numbered = (2..).map(|number| format!("{text}_{number}_"));
        let mut names = std::iter::once(format!("{text}_")).chain(numbered);
        let name = names.find(|name| named.iter().all(|other| other.name != *name)).unwrap_or_default();
        named.push(Named { port, is_input, name });
    }
    named
}

fn memory(Named { port, is_input, name }: &Named<'_>) -> String {
    let element = match port.ty.dtype {
        DType::F32 => "float",
        DType::I32 => "int32_t",
    };
    format!("{}{element} *{name}", if *is_input { "const " } else { "" })
}

/// A line for each input and output.
fn rows(ports: &[Named<'_>]) -> String {
    let mut rows = String::new();
    for Named { port, is_input, name } in ports {
        let kind = if *is_input { "input" } else { "output" };
        let most = port.most.iter().map(|most| format!(", each from {} to {most}", port.least));
        let shape = if port.ty.shape.rank() == 0 { "[1]".to_owned() } else { shape(port) };
        let limits: String = most.collect();
        let _ = writeln!(rows, " * {kind} {name}{shape}{limits}");
    }
    rows
}

/// The parameter for the threads of the caller, if they share runs.
fn pool_parameter(object: &Object<'_>) -> String {
    if object.threads() == 1 { String::new() } else { format!("const {}_pool *pool, ", object.name) }
}

/// The type of a pool, if threads share runs.
fn pool_text(object: &Object<'_>) -> String {
    let (name, threads) = (object.name, object.threads());
    if threads == 1 {
        return String::new();
    }
    format!(
        "/* Threads of the caller, which share runs in {threads} parts. A NULL pool is for this thread only. */
typedef struct {name}_pool {{
    /* Calls part(argument, i) for every i below count, on any threads, and returns when all calls have. */
    void (*each)(void *context, void (*part)(void *argument, size_t i), void *argument, size_t count);
    void *context;
}} {name}_pool;

"
    )
}

/// The header.
pub(super) fn text(object: &Object<'_>, fixed: Option<&Fixed>) -> String {
    let name = object.name;
    let upper = name.to_uppercase();
    let sizes = size_parameters(object.symbols());
    let ports = ports(object.inputs, object.outputs);
    let memories: Vec<String> = ports.iter().map(memory).collect();
    let (_, bytes) = object.weight_starts();
    let widths: Vec<String> = object.plans.iter().map(|plan| plan.target.vectors.bits.to_string()).collect();
    let whose = match (&object.training, object.embedded) {
        (Some(_), _) => format!("memory that {name}_pack has filled"),
        (None, Some(_)) => "NULL for those in the object".to_owned(),
        (None, None) => "the content of the file of weights".to_owned(),
    };
    let (pool, pool_parameter) = (pool_text(object), pool_parameter(object));
    let training = object.training.as_ref().map(|training| training_text(object, training));
    let (stream, stream_parameter) = match object.states {
        [] => (String::new(), ""),
        _ => (
            format!(
                "/* The bytes of a stream: memory that holds the states of sequences between runs, aligned like the weights. Zeros begin
 * new sequences. */
size_t {name}_stream_bytes(size_t batch);

"
            ),
            "void *stream, ",
        ),
    };
    let fixed = fixed.map(|Fixed { sizes, arena_bytes, .. }| {
        let equal =
            object.symbols().into_iter().map(|size| format!("{} = {}", size_name(size), sizes.of(size)));
        let equal = equal.collect::<Vec<_>>().join(", ");
        format!("/* The same, at {equal}. */\n#define {upper}_ARENA_BYTES {arena_bytes}\n\n")
    });
    format!(
        "/* The network {name}, compiled by Windlass for vectors of {} bits. The functions need no library, allocate
 * nothing, and may run on several threads at once, each with an arena of its own. */
#ifndef WINDLASS_{upper}_H
#define WINDLASS_{upper}_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern \"C\" {{
#endif

/* The alignment of weights and arena. */
#define {upper}_ALIGNMENT 64
#define {upper}_WEIGHT_BYTES {bytes}

enum {upper}_STATUS {{
    {upper}_DONE = 0,
    {upper}_UNSUPPORTED_CPU = 1,
    {upper}_OTHER_WEIGHTS = 2, /* the weights or the state are those of another build */
    {upper}_ZERO_SIZE = 3,
    {upper}_MEMORY = 4, /* weights, state or arena are NULL or not aligned */
    {upper}_INDEX = 5, /* an index or length is outside its limits */
    {upper}_SINGLE_VALUE = 6 /* a training step on one sample, of which a batch normalisation has one value per channel */
}};

/* The bits of the vectors that runs use on this CPU, 0 if it has none of them. */
int {name}_supported(void);

/* The bytes of the arena of a run: memory whose content does not matter. SIZE_MAX if they overflow. */
size_t {name}_arena_bytes({sizes});

{}{stream}{pool}/* Runs the network on a batch; returns a status. Outputs must not overlap other memory. Weights: {whose}.
{} */
int {name}_run(const void *weights, {stream_parameter}void *arena, {pool_parameter}{sizes}, {});

{}#ifdef __cplusplus
}}
#endif

#endif
",
        widths.join(", "),
        fixed.unwrap_or_default(),
        rows(&ports),
        memories.join(", "),
        training.unwrap_or_default()
    )
}

/// The functions of the training.
fn training_text(object: &Object<'_>, training: &Training<'_>) -> String {
    let name = object.name;
    let upper = name.to_uppercase();
    let (sizes, pool_parameter) = (size_parameters(training.symbols()), pool_parameter(object));
    let ports = ports(training.inputs, training.outputs);
    let of = |is_input: bool| {
        let own = ports.iter().filter(|port| port.is_input == is_input);
        own.map(memory).collect::<Vec<_>>().join(", ")
    };
    let (init, begins) = match training.embedded {
        Some(_) => (
            format!("/* Writes the initial state; returns a status. */\nint {name}_init(void *state);\n\n"),
            format!("{name}_init writes it"),
        ),
        None => (String::new(), "it begins as the content of the file of the state".to_owned()),
    };
    format!(
        "/* The state of the training: parameters, running statistics, the optimiser's state, and the number of steps. It is
 * aligned like the weights; {begins}. */
#define {upper}_STATE_BYTES {}
/* The bytes of the arena of {name}_pack. */
#define {upper}_PACK_ARENA_BYTES {}

{init}/* The bytes of the arena of a training step. */
size_t {name}_step_arena_bytes({sizes});

/* Takes a step of training on a batch, which updates the state; returns a status. If that is not {upper}_DONE, the state is
 * unchanged. Outputs must not overlap other memory.
{} */
int {name}_step(void *state, void *arena, {pool_parameter}{sizes}, {}, float learning_rate, {});

/* Makes the weights of {name}_run from a state; returns a status. Both may then be used at the same time. */
int {name}_pack(const void *state, void *weights, void *arena);

",
        training.layout.bytes,
        object.pack_arena_bytes(),
        rows(&ports),
        of(true),
        of(false)
    )
}
