//! The expansion of a program with mistakes: the errors, and types for its networks, so that the rest of the user's
//! program resolves and one mistake gives one error.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::Visibility;

use crate::ast::{Item, Program};
use crate::check::Findings;
use crate::diagnostics::{Diagnostics, Mistake};
use crate::expand::{self, Declaration, Ports};
use crate::nesting;

pub(crate) fn program(program: &Program, findings: &Findings, errors: &Diagnostics) -> TokenStream {
    let errors = errors.to_compile_errors();
    let networks = findings.networks.iter().map(expand::network);
    let constants = findings.constants.iter().map(|(constant, value)| expand::rust_constant(constant, value));
    let nameless = findings.nameless.iter().map(|(visibility, name)| nameable(visibility, name));
    let malformed = program.items.iter().filter_map(|item| match item {
        Item::Malformed(malformed) => malformed.network.as_ref(),
        _ => None,
    });
    let malformed = malformed.map(|(visibility, name)| nameable(visibility, name));
    quote! { #errors #(#constants)* #(#networks)* #(#nameless)* #(#malformed)* }
}

/// The expansion of a program that is nested too deeply.
pub(crate) fn too_deep(place: Span, program: TokenStream) -> TokenStream {
    let mistake = Mistake::new("this is nested too deeply")
        .help("write inner layers as blocks, and long computations as their result".to_owned());
    let error = syn::Error::new(place, mistake).to_compile_error();
    let items =
        syn::parse2(nesting::outlines(program)).map_or_else(|_| Vec::new(), |program: Program| program.items);
    let networks = items.iter().filter_map(|item| match item {
        Item::Network(network) => Some(nameable(&network.visibility, &network.name)),
        Item::Malformed(malformed) => {
            malformed.network.as_ref().map(|(visibility, name)| nameable(visibility, name))
        }
        Item::Instance(instance) => Some(nameable(&instance.visibility, &instance.name)),
        Item::Use(_) | Item::Library(_) | Item::Constant(_) | Item::Block(_) => None,
    });
    quote! { #error #(#networks)* }
}

/// A network of which only the name is known.
fn nameable(visibility: &Visibility, name: &Ident) -> TokenStream {
    let network =
        Declaration { visibility, name, attributes: &[], parameters: None, loss: None, checked: None };
    expand::declaration(&network, &Ports::default())
}
