//! The `network!` macro: `nesting` rejects programs that are nested too deeply, `parse` turns tokens into the syntax
//! tree of `ast`, `check` turns that into a graph, and `expand` turns the graph into Rust. After any mistake,
//! `fallback` replaces `expand`. `root` is for programs that know this library by another name. `library` gets the blocks of other `network!`s, and makes those of this one available.
//!
//! Shapes are not checked here: `check` builds the graph with the compiler's own builder.

mod ast;
mod check;
mod diagnostics;
mod expand;
mod fallback;
mod layers;
mod library;
mod nesting;
mod parse;
mod root;

#[cfg(test)]
mod tests;

use ast::Program;
use check::names;
use diagnostics::Diagnostics;
use quote::quote;

/// Declares neural networks and checks their shapes; the facade describes the language at its re-export.
#[proc_macro]
pub fn network(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expanded(input.into()).into()
}

/// The expansion: Rust, or errors.
fn expanded(input: proc_macro2::TokenStream) -> proc_macro2::TokenStream {
    if let Some(place) = nesting::too_deep(&input) {
        return fallback::too_deep(place, input);
    }
    match root::given(&input) {
        Ok(None) => checked(&input, &input),
        Ok(Some((root, program))) => root::replace(checked(&program, &input), &root),
        Err(error) => error.to_compile_error(),
    }
}

/// The expansion of a program. `input` is the whole text, which a library's macro gets again.
fn checked(
    program_text: &proc_macro2::TokenStream,
    input: &proc_macro2::TokenStream,
) -> proc_macro2::TokenStream {
    let program: Program = match syn::parse2(program_text.clone()) {
        Ok(program) => program,
        Err(error) => return error.to_compile_error(),
    };
    if let Some(item) = names::first_unknown(&program) {
        return library::request(item, input);
    }
    let mut errors = Diagnostics::default();
    let findings = check::check(&program, &mut errors);
    // The mistakes of a library are reported where it is declared.
    let is_sound = names::are_sound(&program.libraries);
    let library =
        findings.library.map(|own| library::declaration(own, program_text, is_sound && errors.count() == 0));
    let items = if !is_sound {
        fallback::program(&program, &findings, &Diagnostics::default())
    } else if errors.count() == 0 {
        expand::program(&findings)
    } else {
        fallback::program(&program, &findings, &errors)
    };
    quote! { #items #library }
}
