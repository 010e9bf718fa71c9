//! The `network!` macro: `parse` turns tokens into the syntax tree of `ast`, `check` turns that into a graph, and
//! `expand` turns the graph into Rust. With a mistake anywhere, `fallback` takes the place of `expand`.
//!
//! Shapes are not checked here: `check` builds the graph with the compiler's own builder.

mod ast;
mod check;
mod diagnostics;
mod expand;
mod fallback;
mod layers;
mod parse;

use proc_macro::TokenStream;
use syn::parse_macro_input;

use ast::Program;
use diagnostics::Diagnostics;

/// Declares neural networks and checks their shapes; the facade describes the language at its re-export.
#[proc_macro]
pub fn network(input: TokenStream) -> TokenStream {
    let program = parse_macro_input!(input as Program);
    let mut errors = Diagnostics::default();
    let findings = check::check(&program, &mut errors);
    if errors.count() == 0 {
        expand::program(&findings).into()
    } else {
        fallback::program(&program, &findings, &errors).into()
    }
}
