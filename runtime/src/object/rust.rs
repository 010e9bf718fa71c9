//! The Rust interface of an object file: a module without the standard library.

use std::fmt::Write as _;

use windlass_compiler::codegen::object::{Object, ObjectPort};
use windlass_compiler::shape::{DType, Polynomial, Symbol};

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

/// The module.
pub(super) fn text(object: &Object<'_>) -> String {
    let name = object.name;
    let sizes: Vec<String> = object.symbols().into_iter().map(size).collect();
    let (mut typed, mut pointers, mut slices) = (String::new(), String::new(), String::new());
    let (mut checks, mut addresses, mut shapes) = (String::new(), String::new(), String::new());
    for size in &sizes {
        let _ = write!(typed, "{size}: usize, ");
    }
    for Named { port, is_input, name: own } in ports(object) {
        let element = element(port);
        let (pointer, slice, address) = match is_input {
            true => ("*const", "&", "as_ptr"),
            false => ("*mut", "&mut ", "as_mut_ptr"),
        };
        let _ = write!(pointers, "{own}: {pointer} {element}, ");
        let _ = writeln!(slices, "    {own}: {slice}[{element}],");
        let _ = write!(checks, "\n        || {own}.len() as i128 != {}", expression(&port.ty.shape.count()));
        let _ = write!(addresses, ", {own}.{address}()");
        let kind = if is_input { "input" } else { "output" };
        let _ =
            writeln!(shapes, "/// - `{own}`: the {kind} `{}`, {}", port.name.escape_debug(), port.ty.shape);
    }
    let listed = sizes.join(", ");
    let (_, bytes) = object.weight_starts();
    let (weights, weights_check, weights_address, whose) = match object.embedded {
        None => (
            "    weights: &[u8],\n",
            "weights.len() < WEIGHT_BYTES || ",
            "weights.as_ptr()",
            "`weights` are the content of the file of weights; they and",
        ),
        Some(_) => ("", "", "core::ptr::null()", "The weights are in the object;"),
    };
    format!(
        "//! The network {name}, compiled by Windlass: functions of `{name}.o`, which the program must be linked with. They need no
//! library, allocate nothing, and may run on several threads at once, each with an arena of its own.
#![allow(dead_code, non_snake_case)]

unsafe extern \"C\" {{
    fn {name}_supported() -> i32;
    fn {name}_arena_bytes({typed}) -> usize;
    fn {name}_run(weights: *const u8, arena: *mut u8, {typed}{pointers}) -> i32;
}}

/// The alignment of weights and arena, in bytes.
pub const ALIGNMENT: usize = 64;
/// The bytes of the weights.
pub const WEIGHT_BYTES: usize = {bytes};

/// Why a run was refused. Nothing was written then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {{
    /// The CPU has none of the instruction sets of the object.
    UnsupportedCpu,
    /// The weights are those of another build.
    OtherWeights,
    /// A size is 0.
    ZeroSize,
    /// A slice has another length than the sizes say, or memory is too small or not aligned.
    Memory,
    /// An index or length is outside its limits.
    Index,
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

/// Runs the network. {whose} the arena must be aligned to [`ALIGNMENT`].
///
{shapes}///
/// # Errors
/// [`Refused`].
#[allow(clippy::too_many_arguments)]
pub fn run(
{weights}    arena: &mut [u8],
    {typed}
{slices}) -> Result<(), Refused> {{
    if {weights_check}arena.len() < arena_bytes({listed}){checks}
    {{
        return Err(Refused::Memory);
    }}
    // SAFETY: all memory has the sizes that the network takes; the function checks the alignment, the weights and indices.
    match unsafe {{ {name}_run({weights_address}, arena.as_mut_ptr(), {listed}{addresses}) }} {{
        0 => Ok(()),
        1 => Err(Refused::UnsupportedCpu),
        2 => Err(Refused::OtherWeights),
        3 => Err(Refused::ZeroSize),
        5 => Err(Refused::Index),
        _ => Err(Refused::Memory),
    }}
}}
"
    )
}
