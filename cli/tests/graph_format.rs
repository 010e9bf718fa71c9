//! The document on the text form of graphs agrees with the code.

use windlass::{Dynamic, Graph};
use windlass_compiler::ops::Op;

const DOCUMENT: &str = include_str!("../../docs/graph-format.md");

/// The text of every graph in the document.
fn graphs() -> impl Iterator<Item = &'static str> {
    DOCUMENT.match_indices("\ngraph ").map(|(start, _)| {
        let text = &DOCUMENT[start..];
        &text[..text.find("\n}").expect("a closing brace") + 2]
    })
}

#[test]
fn examples_are_networks() {
    let read: Vec<Graph> =
        graphs().map(|text| text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"))).collect();
    assert_eq!(read.len(), 2);
    for graph in read {
        assert_eq!(graph.to_string().parse::<Graph>().unwrap(), graph);
        Dynamic::new(graph).unwrap();
    }
}

#[test]
fn every_operator_is_in_a_table() {
    let first_cells: String =
        DOCUMENT.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()).collect();
    for name in Op::NAMES {
        assert!(first_cells.contains(&format!("`{name}`")), "{name}");
    }
}
