//! Tokens to syntax tree. A mistake costs the statement or item it is in, and is kept in the tree: the rest is read on.

use proc_macro2::{Delimiter, TokenTree};
use syn::ext::IdentExt;
use syn::parse::discouraged::Speculative;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, Ident, Result, Token, Visibility, braced, bracketed, parenthesized, token};

use crate::ast::{
    Argument, Block, Body, Call, Item, Malformed, Network, Outputs, Path, Pattern, Port, Program, Sizes,
    Statement, plain,
};
use crate::diagnostics::{Mistake, did_you_mean};

mod keyword {
    syn::custom_keyword!(block);
    syn::custom_keyword!(network);
}

impl Parse for Program {
    fn parse(input: ParseStream) -> Result<Self> {
        let mut items = Vec::new();
        while !input.is_empty() {
            items.push(item(input));
        }
        Ok(Program { items })
    }
}

/// Reads ahead on a fork: tokens left behind by a failed attempt would otherwise fail the whole parse.
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

/// On an error `name` holds the network's visibility and name, if these were read.
fn item_or_error(input: ParseStream, name: &mut Option<(Visibility, Ident)>) -> Result<Item> {
    let attributes = Attribute::parse_outer(input)?;
    let visibility: Visibility = input.parse()?;
    if input.peek(keyword::block) {
        if !matches!(visibility, Visibility::Inherited) {
            return Err(error(
                &visibility,
                "a block is seen by the networks of its own `network!` only",
                "leave the `pub` out",
            ));
        }
        return block(input, attributes).map(Item::Block);
    }
    if !input.peek(keyword::network) {
        return Err(match input.fork().parse::<Ident>() {
            Ok(found) => match did_you_mean(&plain(&found), ["block", "network"]) {
                Some(meant) => {
                    error(&found, "expected `block` or `network`", &format!("did you mean `{meant}`?"))
                }
                None => error(&found, "expected `block` or `network`", NETWORK_EXAMPLE),
            },
            Err(_) => at_next_token(input, "expected `block` or `network`", NETWORK_EXAMPLE),
        });
    }
    input.parse::<keyword::network>()?;
    let ident: Ident = input.parse()?;
    *name = Some((visibility.clone(), ident.clone()));
    network(input, attributes, visibility, ident).map(Item::Network)
}

const NETWORK_EXAMPLE: &str = "a network reads `network Name(input: [1, 28, 28]) -> [10] { … }`";

fn block(input: ParseStream, attributes: Vec<Attribute>) -> Result<Block> {
    input.parse::<keyword::block>()?;
    let name: Ident = input.parse()?;
    let parameters = if input.peek(token::Paren) { patterns(input)? } else { Vec::new() };
    Ok(Block { attributes, name, parameters, body: body(input)? })
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
            Outputs::Single(sizes(input)?)
        } else {
            return Err(at_next_token(
                input,
                "expected the shape of the output",
                "write `-> [10]`, or `-> (class: [10], size: [2])` for several outputs",
            ));
        }
    };
    Ok(Network { attributes, visibility, name, inputs, outputs, body: body(input)? })
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
    Ok(Port { name, sizes: sizes(input)? })
}

fn sizes(input: ParseStream) -> Result<Sizes> {
    if !input.peek(token::Bracket) {
        return Err(at_next_token(input, "expected a shape", "write its sizes in brackets: `[1, 28, 28]`"));
    }
    let content;
    let bracket = bracketed!(content in input);
    let sizes: Punctuated<Expr, Token![,]> = content.parse_terminated(Expr::parse, Token![,])?;
    Ok(Sizes { bracket, sizes: sizes.into_iter().collect() })
}

fn body(input: ParseStream) -> Result<Body> {
    if !input.peek(token::Brace) {
        return Err(at_next_token(
            input,
            "expected a body",
            "write the layers in braces: `{ flatten; linear(10) }`",
        ));
    }
    let content;
    let brace = braced!(content in input);
    let mut statements = Vec::new();
    while !content.is_empty() {
        if content.peek(Token![;]) {
            // Nothing, or the `;` that may follow a closing brace.
            let _ = content.parse::<Token![;]>();
            continue;
        }
        let ahead = content.fork();
        match statement(&ahead) {
            Ok(statement) => {
                content.advance_to(&ahead);
                let ends_by_brace = matches!(statement, Statement::Repeat { .. } | Statement::Concat { .. });
                statements.push(statement);
                if !ends_by_brace && !content.is_empty() && !content.peek(Token![;]) {
                    statements.push(Statement::Malformed(separator_missing(&content)));
                    if !content.peek(Ident::peek_any) {
                        skip_statement(&content);
                    }
                }
            }
            Err(error) => {
                statements.push(Statement::Malformed(error));
                skip_statement(&content);
            }
        }
    }
    Ok(Body { brace, statements })
}

fn statement(input: ParseStream) -> Result<Statement> {
    if input.peek(Token![let]) {
        input.parse::<Token![let]>()?;
        let name: Ident = input.parse()?;
        input.parse::<Token![=]>()?;
        return Ok(Statement::Let { name, value: value(input)? });
    }
    if !input.peek(Ident::peek_any) {
        return Err(at_next_token(
            input,
            "expected a layer",
            "for example `conv2d(16, kernel_size = 3)` or `relu`",
        ));
    }
    if input.peek2(Token![=]) && !input.peek2(Token![==]) {
        let name: Ident = input.parse()?;
        input.parse::<Token![=]>()?;
        return Ok(Statement::Output { name, value: value(input)? });
    }
    let label = if input.peek2(Token![:]) && !input.peek2(Token![::]) {
        let label = input.parse()?;
        input.parse::<Token![:]>()?;
        Some(label)
    } else {
        None
    };
    let name: Ident = input.parse()?;
    match plain(&name).as_str() {
        "it" if label.is_none() => Ok(Statement::It(name)),
        "repeat" if input.peek(token::Brace) => {
            Err(error(&name, "`repeat` needs a count", "write `repeat 3 { … }`"))
        }
        "repeat" if !input.peek(token::Paren) || input.peek2(token::Brace) => {
            let count = Box::new(Expr::parse_without_eager_brace(input)?);
            Ok(Statement::Repeat { label, keyword: name, count, body: body(input)? })
        }
        "concat" if input.peek(token::Brace) => {
            Ok(Statement::Concat { label, keyword: name, paths: paths(input)? })
        }
        _ => Ok(Statement::Call { label, call: call(input, name)? }),
    }
}

/// `it` or the name of a value; a layer there is a frequent slip.
fn value(input: ParseStream) -> Result<Ident> {
    let help = "put the layers before it: `conv2d(16, kernel_size = 3); let name = it;`";
    if !input.peek(Ident) {
        return Err(at_next_token(input, "expected `it` or the name of a value", help));
    }
    let name: Ident = input.parse()?;
    if input.peek(token::Paren) || input.peek(token::Brace) {
        return Err(error(&name, "only `it` or the name of a value can be named", help));
    }
    Ok(name)
}

const PATH_EXAMPLE: &str =
    "write each path in braces of its own: `concat { { relu } { conv2d(16, kernel_size = 1) } }`";

fn paths(input: ParseStream) -> Result<Vec<Path>> {
    let content;
    braced!(content in input);
    let mut paths = Vec::new();
    while !content.is_empty() {
        if content.peek(token::Brace) {
            paths.push(Path::Body(body(&content)?));
        } else if content.peek(Ident) && !content.peek2(token::Paren) && !content.peek2(Token![:]) {
            let name: Ident = content.parse()?;
            if content.peek(Token![;]) {
                return Err(error(&name, "expected a path", PATH_EXAMPLE));
            }
            paths.push(Path::Value(name));
        } else {
            return Err(at_next_token(&content, "expected a path", PATH_EXAMPLE));
        }
        if content.peek(Token![,]) {
            content.parse::<Token![,]>()?;
        }
    }
    Ok(paths)
}

fn call(input: ParseStream, name: Ident) -> Result<Call> {
    if !input.peek(token::Paren) {
        return Ok(Call { name, arguments: None });
    }
    let content;
    let paren = parenthesized!(content in input);
    let arguments = content.parse_terminated(argument, Token![,])?.into_iter().collect();
    Ok(Call { name, arguments: Some((paren, arguments)) })
}

fn argument(input: ParseStream) -> Result<Argument> {
    let name = if input.peek(Ident) && input.peek2(Token![=]) && !input.peek2(Token![==]) {
        let name = input.parse()?;
        input.parse::<Token![=]>()?;
        Some(name)
    } else {
        None
    };
    if input.is_empty() || input.peek(Token![,]) {
        return Err(at_next_token(input, "expected a value", "for example `kernel_size = 3`"));
    }
    Ok(Argument { name, value: input.parse()? })
}

fn error(at: &dyn quote::ToTokens, text: &str, help: &str) -> syn::Error {
    syn::Error::new_spanned(at.to_token_stream(), Mistake::new(text).help(help.to_owned()))
}

fn at_next_token(input: ParseStream, text: &str, help: &str) -> syn::Error {
    syn::Error::new(input.span(), Mistake::new(text).help(help.to_owned()))
}

fn separator_missing(input: ParseStream) -> syn::Error {
    at_next_token(input, "expected `;` between two layers", "put a `;` before this")
}

/// Skips to behind the next `{ … }`, where an item ends.
fn skip_item(input: ParseStream) {
    skip_while(input, |_| true);
}

/// Skips to behind the next `{ … }` or up to the next `;`, where a statement ends.
fn skip_statement(input: ParseStream) {
    skip_while(input, |input| !input.peek(Token![;]));
}

fn skip_while(input: ParseStream, go_on: impl Fn(ParseStream) -> bool) {
    while !input.is_empty() && go_on(input) {
        if let Ok(TokenTree::Group(group)) = input.parse::<TokenTree>()
            && group.delimiter() == Delimiter::Brace
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ast::{Item, Outputs, Path, Program, Statement, source};

    fn program(text: &str) -> Vec<Item> {
        syn::parse_str::<Program>(text).expect("mistakes stay in the tree").items
    }

    #[track_caller]
    fn statements(body: &str) -> Vec<Statement> {
        let mut items = program(&format!("network A(x: [4]) -> [4] {{ {body} }}"));
        match items.pop() {
            Some(Item::Network(network)) if items.is_empty() => network.body.statements,
            _ => panic!("not one network"),
        }
    }

    /// One letter for each statement, `!` for one that could not be read.
    #[track_caller]
    fn reads_as(body: &str, expected: &str) {
        let letters: String = statements(body)
            .iter()
            .map(|statement| match statement {
                Statement::Let { .. } => 'l',
                Statement::Output { .. } => 'o',
                Statement::It(_) => 'i',
                Statement::Call { label: None, .. } => 'c',
                Statement::Call { label: Some(_), .. } => 'C',
                Statement::Repeat { .. } => 'r',
                Statement::Concat { .. } => 'p',
                Statement::Malformed(_) => '!',
            })
            .collect();
        assert_eq!(letters, expected, "{body}");
    }

    #[test]
    fn statements_are_told_apart() {
        reads_as("relu; f: linear(4); let a = it; y = a; it;", "cCloi");
        reads_as("repeat 3 { relu } concat { {} it }; repeat (n + 1) { relu }; relu", "rprc");
        reads_as(";;relu;;", "c");
    }

    #[test]
    fn a_mistake_costs_one_statement() {
        reads_as("linear(=); relu; 42 + 1; tanh", "!c!c");
        reads_as("linear(4) relu; tanh", "c!cc");
        reads_as("repeat { relu } tanh", "!c");
        reads_as("concat { relu; tanh } tanh; let b = linear(3); relu", "!c!c");
    }

    #[test]
    fn a_mistake_costs_one_item() {
        let items =
            program("network A(x) { relu } oops! { } block b { relu } pub network C(x: [4]) -> 4 { relu }");
        let kinds: String = items
            .iter()
            .map(|item| match item {
                Item::Block(_) => 'b',
                Item::Network(_) => 'n',
                Item::Malformed(malformed) if malformed.network.is_some() => 'N',
                Item::Malformed(_) => '!',
            })
            .collect();
        assert_eq!(kinds, "N!bN");
    }

    #[test]
    fn a_missing_output_is_left_to_the_checker() {
        let items = program("network A(x: [4]) { relu }");
        assert!(
            matches!(&items[..], [Item::Network(network)] if matches!(network.outputs, Outputs::Missing))
        );
    }

    #[test]
    fn calls_and_paths_keep_their_words() {
        let text = "conv2d(2 * (n - 1), kernel_size = (3, -1), init = normal(0, 0.1))";
        let statements = statements(&format!("{text}; concat {{ a, it {{ relu }} }}"));
        let [Statement::Call { call, .. }, Statement::Concat { paths, .. }] = &statements[..] else {
            panic!("not a call and a concat");
        };
        assert_eq!(call.to_string(), text);
        assert_eq!(source(&call.arguments()[0].value), "2 * (n - 1)");
        assert!(matches!(&paths[..], [Path::Value(_), Path::Value(_), Path::Body(_)]));
    }
}
