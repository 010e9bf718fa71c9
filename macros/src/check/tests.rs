//! Checking terminates without panics on unusual programs; `tests/ui` has the messages for realistic mistakes.

use super::check;
use crate::ast::Program;
use crate::diagnostics::Diagnostics;

/// The number of mistakes in a program, and of networks without any.
fn checked(text: &str) -> (usize, usize) {
    let program: Program = syn::parse_str(text).expect("mistakes stay in the tree");
    let mut errors = Diagnostics::default();
    let findings = check(&program, &mut errors);
    let sound = findings.networks.iter().filter(|finding| finding.checked.is_some()).count();
    (errors.to_compile_errors().into_iter().count() / TOKENS_OF_AN_ERROR, sound)
}

/// `::core::compile_error!{…}`.
const TOKENS_OF_AN_ERROR: usize = 8;

#[test]
fn blocks_that_double_forty_times_end() {
    let doubling: String =
        (0..40).map(|depth| format!("block b{depth} {{ b{}; b{} }} ", depth + 1, depth + 1)).collect();
    let text = format!("{doubling} block b40 {{ relu }} network A(x: [4]) -> [4] {{ b0 }}");
    assert_eq!(checked(&text), (1, 0));
}

#[test]
fn long_chains_of_blocks_end() {
    let chain: String = (0..3000).map(|link| format!("block b{link} {{ b{} }} ", link + 1)).collect();
    let text = format!("{chain} block b3000 {{ relu }} network A(x: [4]) -> [4] {{ b0 }}");
    assert_eq!(checked(&text), (1, 0));
}

#[test]
fn repeats_without_layers_end() {
    let text = "network A(x: [4]) -> [4] { repeat 4000000000 { repeat 4000000000 { it } } }";
    assert_eq!(checked(text), (1, 0));
}

#[test]
fn a_mistake_of_one_network_leaves_the_others_alone() {
    let text = "block b(n) { linear(n, bias = 1) }
        network A(x: [4]) -> [4] { b(4) }
        network B(x: [4]) -> [4] { relu }
        network C(x: [4]) -> [4] { b(4) }";
    assert_eq!(checked(text), (1, 1));
}

/// A partial program, as an editor sends it: cut off anywhere, with its brackets closed.
fn cut_off(text: &str, end: usize) -> String {
    let mut open = Vec::new();
    for character in text[..end].chars() {
        match character {
            '(' => open.push(')'),
            '[' => open.push(']'),
            '{' => open.push('}'),
            ')' | ']' | '}' => {
                open.pop();
            }
            _ => {}
        }
    }
    text[..end].chars().chain(open.into_iter().rev()).collect()
}

#[test]
fn a_program_cut_off_or_missing_a_letter_is_sound_or_has_mistakes() {
    let text = "block b(n, (k, _w)) { let s = it; f: conv2d(n, kernel_size = k / 2); add(s) }
        pub network A(x: [4, 8, 8], y: [4]) -> (p: [4], q: [4, 8, 8]) {
            from(x); g: b(4, (2, 3)); repeat 2 { dropout(0.5) } q = it;
            concat { { it } { from(x) } x }; global_avg_pool2d; flatten; linear(4, init = uniform(-1, 1));
            add(y); p = it;
        }";
    assert_eq!(checked(text), (0, 1));
    let mut read = 0;
    for (position, character) in text.char_indices() {
        let (before, after) = (&text[..position], &text[position + character.len_utf8()..]);
        for variant in [cut_off(text, position), format!("{before}{after}")] {
            // Text that is not Rust tokens never reaches the macro.
            let Ok(program) = syn::parse_str::<Program>(&variant) else { continue };
            read += 1;
            let mut errors = Diagnostics::default();
            let findings = check(&program, &mut errors);
            let all_sound = findings.networks.iter().all(|finding| finding.checked.is_some());
            assert!(all_sound || errors.count() > 0, "{variant}");
        }
    }
    assert!(read > text.len(), "only {read} variants could be read");
}
