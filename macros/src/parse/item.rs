//! Parses items: blocks, networks, libraries, constants and imports.

use proc_macro2::{TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::discouraged::Speculative;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{
    Attribute, Expr, Ident, Result, Token, UseTree, Visibility, braced, bracketed, parenthesized, token,
};

use super::{at_next_token, body, error, skip_item};
use crate::ast::{
    Argument, Block, Constant, Import, Imported, Instance, Item, Library, Loss, Malformed, Network, Outputs,
    Parameter, Pattern, Port, Program, Provided, Sizes, Use, plain, source,
};
use crate::diagnostics::did_you_mean;

mod keyword {
    syn::custom_keyword!(block);
    syn::custom_keyword!(broken);
    syn::custom_keyword!(library);
    syn::custom_keyword!(loss);
    syn::custom_keyword!(network);
    syn::custom_keyword!(of);
    syn::custom_keyword!(sound);
}

impl Parse for Program {
    fn parse(input: ParseStream) -> Result<Self> {
        let mut libraries = Vec::new();
        while input.peek(Token![@]) {
            libraries.push(provided(input)?);
        }
        // Each library's macro puts its text before that of the earlier ones.
        libraries.reverse();
        let mut items = Vec::new();
        while !input.is_empty() {
            items.push(item(input));
        }
        Ok(Program { libraries, items })
    }
}

/// `@library sound { … }`, which the macro of a library writes.
fn provided(input: ParseStream) -> Result<Provided> {
    input.parse::<Token![@]>()?;
    input.parse::<keyword::library>()?;
    let is_sound = input.peek(keyword::sound);
    if is_sound {
        input.parse::<keyword::sound>()?;
    } else {
        input.parse::<keyword::broken>()?;
    }
    let content;
    braced!(content in input);
    Ok(Provided { is_sound, program: content.parse()? })
}

/// Parses a fork of the input: tokens left after a failed attempt would otherwise fail the whole parse.
fn item(input: ParseStream) -> Item {
    let mut network = None;
    let ahead = input.fork();
    match item_or_error(&ahead, &mut network) {
        Ok(item) => {
            input.advance_to(&ahead);
            item
        }
        Err(error) => {
            skip_item(input);
            Item::Malformed(Malformed { error, network })
        }
    }
}

/// On an error, `name` holds the network's visibility and name, if these were parsed.
fn item_or_error(input: ParseStream, name: &mut Option<(Visibility, Ident)>) -> Result<Item> {
    let attributes = Attribute::parse_outer(input)?;
    let visibility: Visibility = input.parse()?;
    let is_private = matches!(visibility, Visibility::Inherited);
    if input.peek(keyword::block) {
        if !is_private {
            let help = "remove `pub`: a `library name;` in this `network!` lets others use all of its blocks";
            return Err(error(&visibility, "a block has no visibility of its own", help));
        }
        return block(input, attributes).map(Item::Block);
    }
    if input.peek(Token![use]) {
        if !is_private {
            let help = "remove `pub`, and name the other library where its blocks are used";
            return Err(error(&visibility, "imports are visible only in their own `network!`", help));
        }
        if let Some(attribute) = attributes.first() {
            let help = "leave it out: names that are not used are errors";
            return Err(error(attribute, "a `use` takes no attributes", help));
        }
        return import(input).map(Item::Use);
    }
    if input.peek(keyword::library) && input.peek2(Ident) {
        input.parse::<keyword::library>()?;
        let name: Ident = input.parse()?;
        end_of_item(input, &format!("library {name};"))?;
        return Ok(Item::Library(Library { attributes, visibility, name }));
    }
    if input.peek(Token![const]) {
        return constant(input, attributes, visibility).map(Item::Constant);
    }
    if !input.peek(keyword::network) {
        return Err(item_keyword_missing(input, visibility, name));
    }
    input.parse::<keyword::network>()?;
    let ident: Ident = input.parse()?;
    *name = Some((visibility.clone(), ident.clone()));
    if input.peek(Token![=]) {
        return instance(input, attributes, visibility, ident).map(Item::Instance);
    }
    network(input, attributes, visibility, ident).map(Item::Network)
}

fn end_of_item(input: ParseStream, example: &str) -> Result<()> {
    if !input.peek(Token![;]) {
        return Err(at_next_token(input, "expected `;`", &format!("write `{example}`")));
    }
    input.parse::<Token![;]>().map(|_| ())
}

/// `const NAME = 64;`
fn constant(input: ParseStream, attributes: Vec<Attribute>, visibility: Visibility) -> Result<Constant> {
    input.parse::<Token![const]>()?;
    let name: Ident = input.parse()?;
    if input.peek(Token![:]) {
        let ahead = input.fork();
        ahead.parse::<Token![:]>()?;
        ahead.parse::<syn::Type>()?;
        let value = match ahead.parse::<Token![=]>().and_then(|_| ahead.parse::<Expr>()) {
            Ok(value) => source(&value),
            Err(_) => "64".to_owned(),
        };
        let help = format!("write `const {name} = {value};`");
        return Err(at_next_token(input, "constants of a `network!` have no type", &help));
    }
    if !input.peek(Token![=]) {
        return Err(at_next_token(input, "expected `=`", &format!("write `const {name} = 64;`")));
    }
    input.parse::<Token![=]>()?;
    let value: Expr = input.parse()?;
    end_of_item(input, &format!("const {name} = {};", source(&value)))?;
    Ok(Constant { attributes, visibility, name, value })
}

const IMPORT_EXAMPLE: &str = "write the library and its blocks: `use path::library::{block, other as name};`";

/// `use path::library::{block, other as name};`
fn import(input: ParseStream) -> Result<Use> {
    let keyword: Token![use] = input.parse()?;
    let leading_colon = input.parse::<Option<Token![::]>>()?;
    let mut tree: UseTree = input.parse()?;
    let mut path = syn::Path { leading_colon, segments: Punctuated::new() };
    while let UseTree::Path(part) = tree {
        path.segments.push(part.ident.into());
        tree = *part.tree;
    }
    if path.segments.is_empty() {
        return Err(error(&keyword, "this `use` names no library", IMPORT_EXAMPLE));
    }
    let names = match tree {
        UseTree::Glob(_) => Imported::All,
        UseTree::Group(group) => {
            Imported::Names(group.items.into_iter().map(imported_name).collect::<Result<_>>()?)
        }
        single => Imported::Names(vec![imported_name(single)?]),
    };
    end_of_item(input, "use path::library::{block, other as name};")?;
    Ok(Use { path, names })
}

fn imported_name(tree: UseTree) -> Result<Import> {
    match tree {
        UseTree::Name(name) => Ok(Import { name: name.ident, alias: None }),
        UseTree::Rename(rename) => Ok(Import { name: rename.ident, alias: Some(rename.rename) }),
        other => Err(error(&other, "expected the name of a block, network or constant", IMPORT_EXAMPLE)),
    }
}

/// `= Other<size = 96>;`, behind the name of a network.
fn instance(
    input: ParseStream,
    attributes: Vec<Attribute>,
    visibility: Visibility,
    name: Ident,
) -> Result<Instance> {
    let example = format!("network {name} = Other<size = 96>;");
    input.parse::<Token![=]>()?;
    if !input.peek(Ident) {
        let help = format!("write `{example}`");
        return Err(at_next_token(input, "expected the name of a network with parameters", &help));
    }
    let base: Ident = input.parse()?;
    if input.peek(Token![::]) {
        let help = "import it first: `use path::library::Other;`";
        return Err(at_next_token(input, "a network is named without a path here", help));
    }
    let (mut arguments, mut end) = (Vec::new(), None);
    if input.peek(Token![<]) {
        let (parameters, closing) = angle_brackets(input)?;
        end = Some(closing);
        for (name, value) in parameters {
            let Some(value) = value else {
                let help = format!("write `{name} = 96`");
                return Err(error(&name, &format!("`{name}` needs a value"), &help));
            };
            arguments.push(Argument { name: Some(name), value });
        }
    }
    end_of_item(input, &example)?;
    Ok(Instance { attributes, visibility, name, base, arguments, end })
}

/// A name, and perhaps a value for it.
type NamedValue = (Ident, Option<Expr>);

/// `<size = 224, classes = 1000>`; comparisons in values need parentheses.
fn angle_brackets(input: ParseStream) -> Result<(Vec<NamedValue>, Token![>])> {
    input.parse::<Token![<]>()?;
    let mut parameters = Vec::new();
    while !input.peek(Token![>]) {
        if !input.peek(Ident::peek_any) {
            return Err(at_next_token(input, "expected the name of a parameter", "write `<classes = 10>`"));
        }
        let name: Ident = input.parse()?;
        let mut value = None;
        if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            let mut tokens = TokenStream::new();
            while !input.is_empty() && !input.peek(Token![,]) && !input.peek(Token![>]) {
                tokens.extend([input.parse::<TokenTree>()?]);
            }
            if tokens.is_empty() {
                return Err(at_next_token(input, "expected a value", &format!("for example `{name} = 10`")));
            }
            value = Some(syn::parse2(tokens)?);
        }
        parameters.push((name, value));
        if input.peek(Token![,]) {
            input.parse::<Token![,]>()?;
        } else if !input.peek(Token![>]) {
            let help = "write `<size = 224, classes = 1000>`";
            return Err(at_next_token(input, "expected `,` or `>`", help));
        }
    }
    Ok((parameters, input.parse()?))
}

/// The error where neither `block` nor `network` begins an item. `name` is set if it is probably a network.
fn item_keyword_missing(
    input: ParseStream,
    visibility: Visibility,
    name: &mut Option<(Visibility, Ident)>,
) -> syn::Error {
    let text = "expected `block` or `network`";
    let ahead = input.fork();
    let Ok(found) = ahead.parse::<Ident>() else { return at_next_token(input, text, NETWORK_EXAMPLE) };
    if ahead.peek(token::Paren) {
        let ports = ahead.fork().parse::<TokenTree>().map(|ports| ports.to_string()).unwrap_or_default();
        if ports.contains(':') {
            *name = Some((visibility, found.clone()));
            return error(&found, text, &format!("write `network {found}{}`", ports.replace(" :", ":")));
        }
        return error(
            &found,
            text,
            &format!("write `block {found}{ports} {{ … }}`, or `network` for a network"),
        );
    }
    match did_you_mean(&plain(&found), ["block", "network"]) {
        Some(meant) => {
            if let ("network", Ok(ident)) = (meant, ahead.parse::<Ident>()) {
                *name = Some((visibility, ident));
            }
            error(&found, text, &format!("did you mean `{meant}`?"))
        }
        None => error(&found, text, NETWORK_EXAMPLE),
    }
}

const NETWORK_EXAMPLE: &str = "a network reads `network Name(input: [1, 28, 28]) -> [10] { … }`";

fn block(input: ParseStream, attributes: Vec<Attribute>) -> Result<Block> {
    input.parse::<keyword::block>()?;
    let name: Ident = input.parse()?;
    let parameters = if input.peek(token::Paren) { parameters(input)? } else { Vec::new() };
    Ok(Block { attributes, name, parameters, body: body(input)? })
}

fn parameters(input: ParseStream) -> Result<Vec<Parameter>> {
    let content;
    parenthesized!(content in input);
    Ok(content.parse_terminated(parameter, Token![,])?.into_iter().collect())
}

fn parameter(input: ParseStream) -> Result<Parameter> {
    let pattern = pattern(input)?;
    let default = if input.peek(Token![=]) {
        input.parse::<Token![=]>()?;
        Some(input.parse()?)
    } else {
        None
    };
    Ok(Parameter { pattern, default })
}

fn patterns(input: ParseStream) -> Result<Vec<Pattern>> {
    let content;
    parenthesized!(content in input);
    Ok(content.parse_terminated(pattern, Token![,])?.into_iter().collect())
}

fn pattern(input: ParseStream) -> Result<Pattern> {
    if input.peek(token::Paren) {
        patterns(input).map(Pattern::Tuple)
    } else {
        input.parse().map(Pattern::Name)
    }
}

fn network(
    input: ParseStream,
    attributes: Vec<Attribute>,
    visibility: Visibility,
    name: Ident,
) -> Result<Network> {
    let parameters = match input.peek(Token![<]) {
        true => angle_brackets(input)?.0,
        false => Vec::new(),
    };
    let parameters = parameters
        .into_iter()
        .map(|(name, default)| Parameter { pattern: Pattern::Name(name), default })
        .collect();
    if !input.peek(token::Paren) {
        return Err(error(&name, &format!("`{name}` needs its inputs in parentheses"), NETWORK_EXAMPLE));
    }
    let inputs = ports(input)?;
    let outputs = if input.peek(token::Brace) {
        Outputs::Missing
    } else if !input.peek(Token![->]) {
        return Err(at_next_token(input, "expected `->` and the shape of the output", NETWORK_EXAMPLE));
    } else {
        input.parse::<Token![->]>()?;
        if input.peek(token::Paren) {
            Outputs::Named(ports(input)?)
        } else if input.peek(token::Bracket) {
            let sizes = sizes(input)?;
            if let Some(word) = elements(input)? {
                return Err(error(&word, "an output cannot be of `index`", OUTPUTS_HELP));
            }
            Outputs::Single(sizes)
        } else {
            return Err(at_next_token(
                input,
                "expected the shape of the output",
                "write `-> [10]`, or `-> (class: [10], size: [2])` for several outputs",
            ));
        }
    };
    let body = body(input)?;
    let loss = if begins_loss(input) { Some(loss(input)?) } else { None };
    Ok(Network { attributes, visibility, name, parameters, inputs, outputs, body, loss })
}

/// Whether a `loss` follows.
pub(super) fn begins_loss(input: ParseStream) -> bool {
    input.peek(keyword::loss) && (input.peek2(token::Paren) || input.peek2(token::Brace))
}

/// `loss(label: [] of index) { … }`
fn loss(input: ParseStream) -> Result<Loss> {
    let keyword: Ident = input.parse()?;
    if !input.peek(token::Paren) {
        let help = "write `loss(label: [] of index) { cross_entropy(label) }`";
        return Err(error(&keyword, "a loss needs its targets in parentheses", help));
    }
    Ok(Loss { keyword, targets: ports(input)?, body: body(input)? })
}

fn ports(input: ParseStream) -> Result<Vec<Port>> {
    let content;
    parenthesized!(content in input);
    Ok(content.parse_terminated(port, Token![,])?.into_iter().collect())
}

fn port(input: ParseStream) -> Result<Port> {
    let name: Ident = input.parse()?;
    if !input.peek(Token![:]) {
        return Err(error(
            &name,
            &format!("`{name}` needs a shape"),
            &format!("write `{name}: [1, 28, 28]`"),
        ));
    }
    input.parse::<Token![:]>()?;
    let sizes = sizes(input)?;
    Ok(Port { name, sizes, of_index: elements(input)? })
}

/// `of index`, or nothing for numbers.
fn elements(input: ParseStream) -> Result<Option<Ident>> {
    if !input.peek(keyword::of) {
        return Ok(None);
    }
    input.parse::<keyword::of>()?;
    let word: Ident = match input.peek(Ident) {
        true => input.parse()?,
        false => return Err(at_next_token(input, "expected `index` after `of`", ELEMENTS_HELP)),
    };
    match plain(&word).as_str() {
        "index" => Ok(Some(word)),
        _ => Err(error(&word, &format!("inputs cannot be of `{word}`"), ELEMENTS_HELP)),
    }
}

/// What to declare instead of an output of indices.
pub(crate) const OUTPUTS_HELP: &str =
    "outputs are numbers: for a class or token, give a score for each, `[256]`";

const ELEMENTS_HELP: &str =
    "write `[T] of index` for indices, such as tokens; inputs of numbers need no word: `[T]`";

pub(super) fn sizes(input: ParseStream) -> Result<Sizes> {
    if !input.peek(token::Bracket) {
        return Err(at_next_token(input, "expected a shape", "write its sizes in brackets: `[1, 28, 28]`"));
    }
    let content;
    let bracket = bracketed!(content in input);
    let sizes: Punctuated<Expr, Token![,]> = content.parse_terminated(Expr::parse, Token![,])?;
    Ok(Sizes { bracket, sizes: sizes.into_iter().collect() })
}
