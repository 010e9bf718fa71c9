//! Libraries: blocks that several `network!`s share. A library is a macro that calls `network!` again, with its own text
//! before the caller's; so a `use` becomes a call of that macro.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::Visibility;

use crate::ast::{Library, Use};

/// The call that gets the text of the library which a program imports from.
pub(crate) fn request(item: &Use, program: &TokenStream) -> TokenStream {
    let path = &item.path;
    quote! { #path! { #program } }
}

/// The macro of a library with a text.
pub(crate) fn declaration(library: &Library, text: &TokenStream, is_sound: bool) -> TokenStream {
    let Library { attributes, visibility, name } = library;
    // Other crates reach an exported macro through the crate's root, where it needs a name of its own.
    let hidden = format_ident!("__windlass_library_{}", name);
    let export = matches!(visibility, Visibility::Public(_)).then(|| quote!(#[macro_export]));
    let state = format_ident!("{}", if is_sound { "sound" } else { "broken" });
    quote! {
        #[doc(hidden)]
        #[allow(unused_macros)]
        #export
        macro_rules! #hidden {
            ($($user:tt)*) => { ::windlass::network! { @library #state { #text } $($user)* } };
        }

        #(#attributes)*
        #[allow(unused_imports)]
        #visibility use #hidden as #name;
    }
}
