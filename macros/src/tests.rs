//! The macro terminates without a panic, and with valid Rust, for any input: declarations from the repository with
//! tokens deleted, duplicated, swapped, replaced and inserted.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::{env, fs};

use fastrand::Rng;
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use super::expanded;

/// The number of mutations, unless `WINDLASS_RANDOM_CASES` gives another.
const CASES: u64 = 20_000;

/// Longer programs are left out: they repeat the same syntax, and take long.
const MAX_TOKENS: usize = 120;

/// Tokens that are rare in declarations, including extreme numbers.
const ODD_TOKENS: &str = "; , . : :: = == -> => + - * / % << ! # ? _ & 'a it let repeat concat scan reverse states in add from block network pub fn \
    self Self r#type true false 0 1 2 7 64 1.5 0.0 1e308 1e-300 1e999 9223372036854775807 18446744073709551615 3u8 \"same\" 'c' \
    b\"x\" () [] {} (1, 2) (1 / 0) (1 / 3) [64, 3, 8, 8] {relu} {{}{}} #[cfg(any())] #[derive(Clone)] gelu nn Conv2d N";

/// The contents of the braces of every `network!` in Rust code.
fn declarations(tokens: TokenStream, found: &mut Vec<TokenStream>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else { continue };
        let before =
            index.checked_sub(2).map(|start| (tokens[start].to_string(), tokens[start + 1].to_string()));
        if before == Some(("network".to_owned(), "!".to_owned())) {
            found.push(group.stream());
        } else {
            declarations(group.stream(), found);
        }
    }
}

/// The programs of a declaration: each network with the blocks that it uses.
fn programs(declaration: TokenStream) -> Vec<TokenStream> {
    let mut items: Vec<Vec<TokenTree>> = vec![Vec::new()];
    for token in declaration {
        let ends = matches!(&token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
        items.last_mut().expect("never empty").push(token);
        if ends {
            items.push(Vec::new());
        }
    }
    let named = |item: &[TokenTree]| {
        let words: Vec<String> = item.iter().map(TokenTree::to_string).collect();
        words.windows(2).find(|pair| pair[0] == "block").map(|pair| pair[1].clone())
    };
    let (blocks, networks): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| named(item).is_some());
    let program = |network: Vec<TokenTree>| {
        let mut tokens = network;
        let mut taken = HashSet::new();
        loop {
            let mut words = HashSet::new();
            collect_words(&tokens, &mut words);
            let missing = blocks
                .iter()
                .find(|block| named(block).is_some_and(|name| words.contains(&name) && taken.insert(name)));
            let Some(block) = missing else { return tokens.into_iter().collect() };
            tokens.extend(block.iter().cloned());
        }
    };
    networks.into_iter().filter(|network| !network.is_empty()).map(program).collect()
}

fn collect_words(tokens: &[TokenTree], words: &mut HashSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => collect_words(&group.stream().into_iter().collect::<Vec<_>>(), words),
            other => {
                words.insert(other.to_string());
            }
        }
    }
}

/// Every program of the repository that is not too long.
fn corpus() -> Vec<TokenStream> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = vec![root.join("README.md"), root.join("src/language.md")];
    for folder in
        ["examples", "examples/lenet", "examples/zoo", "tests", "tests/api", "tests/api/support", "tests/ui"]
    {
        let entries = fs::read_dir(root.join(folder)).expect("a folder of the repository");
        files.extend(entries.map(|entry| entry.expect("a readable folder").path()));
    }
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let extension = file.extension().and_then(|extension| extension.to_str());
        let pieces: Vec<String> = match (extension, fs::read_to_string(&file)) {
            (Some("rs"), Ok(text)) => vec![text],
            // Every other piece between fences is code.
            (Some("md"), Ok(text)) => text.split("```").skip(1).step_by(2).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        for piece in pieces {
            declarations(piece.parse().unwrap_or_default(), &mut found);
        }
    }
    let shared = SHARED.iter().map(|program| program.parse().expect("tokens"));
    let programs = found.into_iter().flat_map(programs).chain(shared);
    programs.filter(|program| length(program) <= MAX_TOKENS).collect()
}

/// Programs that use libraries, after their macros have provided the text.
const SHARED: [&str; 3] = [
    "@library sound { library l; const W = 4; block b(n, act = relu) { linear(n * W); act } }
        use a::l::{W, b as c}; network A(x: [W]) -> [8] { c(2, act = leaky_relu(slope = 0.1)) }",
    "@library sound { library l; network N<n = 3, on = true>(x: [n]) -> [n] { if on { f: linear(n); share(f) } } }
        use l::*; const M = 7; pub network A = N<n = M, on = 2 < 3>;",
    "@library broken { block b { conv2d(3, 3, ,) } } use l::b; library m; network A(x: [4]) -> [4] { b }",
];

/// The number of tokens, including those inside brackets.
fn length(tokens: &TokenStream) -> usize {
    let count = |token: TokenTree| match token {
        TokenTree::Group(group) => 1 + length(&group.stream()),
        _ => 1,
    };
    tokens.clone().into_iter().map(count).sum()
}

/// Changes the token at a position, counted as by [`length`].
fn mutated(tokens: TokenStream, position: &mut usize, rng: &mut Rng, others: &[TokenTree]) -> TokenStream {
    let mut result: Vec<TokenTree> = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        if *position == 0 {
            // Past every other token.
            *position = usize::MAX;
            let other = rng.choice(others).expect("there are tokens").clone();
            match rng.u8(0..6) {
                0 => {}
                1 => result.extend([token.clone(), token]),
                2 => {
                    let next = tokens.next();
                    result.extend(next.into_iter().chain([token]));
                }
                3 => result.push(other),
                4 => result.extend([other, token]),
                _ => match token {
                    // The contents without their brackets.
                    TokenTree::Group(group) => result.extend(group.stream()),
                    token => result.extend([token, other]),
                },
            }
            continue;
        }
        *position -= 1;
        result.push(match token {
            TokenTree::Group(group) => {
                let mut changed =
                    Group::new(group.delimiter(), mutated(group.stream(), position, rng, others));
                changed.set_span(group.span());
                TokenTree::Group(changed)
            }
            token => token,
        });
    }
    result.into_iter().collect()
}

#[test]
fn no_input_makes_the_macro_panic() {
    let programs = corpus();
    assert!(programs.len() > 100, "only {} programs were found", programs.len());
    let mut others: Vec<TokenTree> = ODD_TOKENS.parse::<TokenStream>().expect("tokens").into_iter().collect();
    let words: HashSet<String> = programs
        .iter()
        .flat_map(|program| {
            let mut words = HashSet::new();
            collect_words(&program.clone().into_iter().collect::<Vec<_>>(), &mut words);
            words
        })
        .collect();
    let mut words: Vec<String> = words.into_iter().collect();
    words.sort();
    others.extend(words.iter().filter_map(|word| word.parse::<TokenStream>().ok()).flatten());

    let cases = env::var("WINDLASS_RANDOM_CASES").map_or(CASES, |cases| cases.parse().expect("a number"));
    let mut sound = 0;
    for seed in 0..cases {
        let mut rng = Rng::with_seed(seed);
        let mut program = rng.choice(&programs).expect("there are programs").clone();
        for _ in 0..rng.usize(1..=3) {
            let mut position = rng.usize(..length(&program).max(1));
            program = mutated(program, &mut position, &mut rng, &others);
        }
        let result = catch_unwind(AssertUnwindSafe(|| expanded(program.clone())));
        let rust = result.unwrap_or_else(|_| panic!("case {seed} panics: {program}"));
        // Errors are separate items, before all others.
        if !rust
            .clone()
            .into_iter()
            .any(|token| matches!(token, TokenTree::Ident(word) if word == "compile_error"))
        {
            sound += 1;
        }
        if let Err(error) = syn::parse2::<syn::File>(rust) {
            panic!("case {seed} gives no Rust, {error}: {program}");
        }
    }
    assert!(cases < CASES || sound > cases / 200, "only {sound} of {cases} cases are without mistakes");
}
