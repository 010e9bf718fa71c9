//! The argument `crate = path;`: where a program finds Windlass, if it has it by another name or through another crate.

use proc_macro2::{Group, Spacing, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::{Path, Token};

/// `crate = path;` and what follows it.
struct Given {
    root: Path,
    rest: TokenStream,
}

impl Parse for Given {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        input.parse::<Token![crate]>()?;
        input.parse::<Token![=]>()?;
        let root = input.call(Path::parse_mod_style)?;
        input.parse::<Token![;]>()?;
        Ok(Given { root, rest: input.parse()? })
    }
}

/// The path that a program begins with, and the program without it. The text of libraries, `@library name { … }`, may come
/// before.
pub(crate) fn given(input: &TokenStream) -> syn::Result<Option<(TokenStream, TokenStream)>> {
    let tokens: Vec<TokenTree> = input.clone().into_iter().collect();
    let mut start = 0;
    while matches!(&tokens[start..], [TokenTree::Punct(at), TokenTree::Ident(word), ..] if at.as_char() == '@' && word == "library")
    {
        start = (start + 4).min(tokens.len());
    }
    if !matches!(&tokens[start..], [TokenTree::Ident(word), ..] if word == "crate") {
        return Ok(None);
    }
    let Given { root, rest } = syn::parse2(tokens[start..].iter().cloned().collect())?;
    let program = tokens[..start].iter().cloned().chain(rest).collect();
    Ok(Some((root.into_token_stream(), program)))
}

/// An expansion with another path in the place of `::windlass`.
pub(crate) fn replace(expansion: TokenStream, root: &TokenStream) -> TokenStream {
    let tokens: Vec<TokenTree> = expansion.into_iter().collect();
    let mut replaced = TokenStream::new();
    let mut place = 0;
    while let Some(token) = tokens.get(place) {
        match &tokens[place..] {
            [TokenTree::Punct(first), TokenTree::Punct(second), TokenTree::Ident(name), ..]
                if first.as_char() == ':'
                    && first.spacing() == Spacing::Joint
                    && second.as_char() == ':'
                    && name == "windlass" =>
            {
                replaced.extend(root.clone());
                place += 3;
                continue;
            }
            [TokenTree::Group(group), ..] => {
                let mut inner = Group::new(group.delimiter(), replace(group.stream(), root));
                inner.set_span(group.span());
                replaced.extend([TokenTree::Group(inner)]);
            }
            _ => replaced.extend([token.clone()]),
        }
        place += 1;
    }
    replaced
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    #[test]
    fn a_path_is_taken_from_the_beginning_and_behind_libraries() {
        let text = |tokens: TokenStream| tokens.to_string();
        let (root, rest) =
            given(&quote! { crate = ::nn; network A(x: [2]) -> [2] { relu } }).unwrap().unwrap();
        assert_eq!(
            (text(root), text(rest)),
            (text(quote!(::nn)), text(quote! { network A(x: [2]) -> [2] { relu } }))
        );
        let (root, rest) =
            given(&quote! { @library sound { block b {} } crate = nn::facade; use b; }).unwrap().unwrap();
        assert_eq!(text(root), text(quote!(nn::facade)));
        assert_eq!(text(rest), text(quote! { @library sound { block b {} } use b; }));
        assert!(given(&quote! { network A(x: [2]) -> [2] { relu } }).unwrap().is_none());
        assert!(given(&quote! { crate = 3; }).is_err());
        assert!(given(&quote! {}).unwrap().is_none());
    }

    #[test]
    fn only_the_name_of_this_library_is_replaced() {
        let expansion =
            quote! { impl ::windlass::Network for A { fn f() -> ::core::Option<::windlass::Graph> {} } };
        let expected = quote! { impl ::nn::Network for A { fn f() -> ::core::Option<::nn::Graph> {} } };
        assert_eq!(replace(expansion, &quote!(::nn)).to_string(), expected.to_string());
    }
}
