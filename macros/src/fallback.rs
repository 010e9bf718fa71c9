//! What a program with mistakes expands to: the errors, and the types of its networks all the same, so that the rest of
//! the user's program resolves and one mistake stays one error.

use proc_macro2::TokenStream;
use quote::quote;

use crate::ast::{Item, Program};
use crate::check::Findings;
use crate::diagnostics::Diagnostics;
use crate::expand::{self, Ports};

pub(crate) fn program(program: &Program, findings: &Findings, errors: &Diagnostics) -> TokenStream {
    let errors = errors.to_compile_errors();
    let networks = findings.networks.iter().map(expand::network);
    let malformed = program.items.iter().filter_map(|item| match item {
        Item::Malformed(malformed) => malformed.network.as_ref(),
        Item::Block(_) | Item::Network(_) => None,
    });
    let malformed = malformed
        .map(|(visibility, name)| expand::declaration(visibility, name, &[], &Ports::default(), None));
    quote! { #errors #(#networks)* #(#malformed)* }
}
