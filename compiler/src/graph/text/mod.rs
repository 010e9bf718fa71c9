//! The text form of a graph. It parses back to the same graph, and is short enough to type by hand.
//!
//! ```text
//! graph net {
//!   %0 = input {name = "x", type = "f32[N, 4]"} : f32[N, 4]
//!   %1 = parameter {name = "f.weight", shape = "[2, 4]", init = "xavier_uniform"} : f32[2, 4]
//!   %2 = linear(%0, %1) : f32[N, 2] @f
//!   output "y" = %2
//! }
//! ```
//!
//! A line is `results = operator(operands) {attributes} : types @label`. Attributes are those of the operator's struct.
//! Operands, attributes, types and label may be omitted if there are none (given types are checked). A label or network
//! name that contains spaces, quotes or semicolons is quoted, with escapes as in JSON.

mod parse;
mod print;

#[cfg(feature = "codegen")]
pub(crate) use print::describe;

/// Whether a name needs no quotes: no character in it could end it.
fn is_plain(name: &str) -> bool {
    let ends = |character: char| {
        character.is_whitespace()
            || character.is_control()
            || matches!(character, '"' | '\\' | ';' | '{' | '}')
    };
    !name.is_empty() && !name.contains(ends)
}

#[cfg(test)]
mod tests;
