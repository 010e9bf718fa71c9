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

/// One letter for each statement, `!` for one that does not parse.
#[track_caller]
fn reads_as(body: &str, expected: &str) {
    let letters: String = statements(body)
        .iter()
        .map(|statement| match statement {
            Statement::Let { .. } => 'l',
            Statement::Split { .. } => 's',
            Statement::Output { .. } => 'o',
            Statement::It(_) => 'i',
            Statement::Call { label: None, .. } => 'c',
            Statement::Call { label: Some(_), .. } => 'C',
            Statement::Repeat { .. } => 'r',
            Statement::If { .. } => 'f',
            Statement::Concat { .. } => 'p',
            Statement::Scan(_) => 'S',
            Statement::States { .. } => 't',
            Statement::Slip(_) => '?',
            Statement::Malformed(_) => '!',
        })
        .collect();
    assert_eq!(letters, expected, "{body}");
}

#[test]
fn statements_are_told_apart() {
    reads_as("relu; f: linear(4); let a = it; y = a; it;", "cCloi");
    reads_as("if a > 1 { relu } else if a == 1 { tanh } else { relu } relu", "fc");
    reads_as("repeat i in 3 { relu } concat { {} it }", "rp");
    reads_as("repeat 3 { relu } concat { {} it }; repeat (n + 1) { relu }; relu", "rprc");
    reads_as(";;relu;;", "c");
    reads_as(
        "let (a, b) = it; let (a: 2, b: n - 2,) = a; relu; let (a b) = it; let (a, 2) = it; tanh",
        "ssc!!c",
    );
}

#[test]
fn scans_are_read() {
    reads_as(
        "scan { relu } r: scan reverse (h: [2 * n], c = start, x in frames,) { relu; h = it } relu",
        "SSc",
    );
    reads_as("let h = r.states; let (h, c) = r.states; relu", "ttc");
    reads_as("scan (h: 4) { relu } tanh; scan (h) { relu } scan (h: [4]); scan (3) {} relu", "!c!!!c");
    reads_as("let (h: 3, c) = r.states; let h = r.state; scan (h [4]) { relu } relu", "!?cl!c");
}

#[test]
fn a_mistake_costs_one_statement() {
    reads_as("linear(=); relu; 42 + 1; tanh", "!c!c");
    reads_as("linear(4) relu; tanh", "c?cc");
    reads_as("linear(4) 4; tanh", "c!c");
    reads_as("repeat { relu } tanh", "!c");
    reads_as("concat { relu; tanh } tanh; let b = 3; relu", "!c!c");
}

#[test]
fn slips_are_read_as_meant() {
    reads_as("linear(4), relu, tanh", "c?cc");
    reads_as("linear(4).relu().tanh", "c?cc");
    reads_as("let h = linear(4); f = linear(4)", "?cl?C");
    reads_as("softmax(linear(4, relu)); relu(tanh())", "?cc?cc");
    reads_as("nn.Linear(4); nn.Mish; torch::nn.ReLU()", "?cc?c");
    reads_as("relu(f: linear(4)); linear(4; bias = false)", "?Cc?c");
    reads_as("conv2d(8, kernel_size: 3); conv2d(8 kernel_size = 3)", "?c?c");
    reads_as("let y = a + b; relu", "!c");
}

/// One letter for each item.
fn kinds(text: &str) -> String {
    let kinds: String = program(text)
        .iter()
        .map(|item| match item {
            Item::Block(_) => 'b',
            Item::Network(_) => 'n',
            Item::Malformed(malformed) if malformed.network.is_some() => 'N',
            Item::Malformed(_) => '!',
            Item::Use(_) => 'u',
            Item::Library(_) => 'l',
            Item::Constant(_) => 'c',
            Item::Instance(_) => 'i',
        })
        .collect();
    kinds
}

#[test]
fn a_mistake_costs_one_item() {
    let text = "network A(x) { relu } oops! { } block b { relu } pub network C(x: [4]) -> 4 { relu }";
    assert_eq!(kinds(text), "N!bN");
    assert_eq!(
        kinds("const A; network B = C<; use x; library 3; const A: usize = 4; block b { relu }"),
        "!N!!!b"
    );
}

#[test]
fn items_are_told_apart() {
    let text = "pub(crate) library name; use a::b::{c, d as e}; use ::a::*; const N = (1, 2);
        network A<n = (2 > 1), m = N>(x: [4]) -> [4] { relu } pub network B = A<n = 2>; network C = A;";
    assert_eq!(kinds(text), "luucnii");
    // A library's text comes before the program, that of the first `use` last.
    let program =
        syn::parse_str::<Program>("@library broken { block b { relu } } @library sound {} use a::b;");
    let program = program.expect("a program");
    let found: Vec<(bool, usize)> =
        program.libraries.iter().map(|library| (library.is_sound, library.program.items.len())).collect();
    assert_eq!(found, [(true, 0), (false, 1)]);
}

#[test]
fn a_missing_output_is_left_to_the_checker() {
    let items = program("network A(x: [4]) { relu }");
    assert!(matches!(&items[..], [Item::Network(network)] if matches!(network.outputs, Outputs::Missing)));
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
