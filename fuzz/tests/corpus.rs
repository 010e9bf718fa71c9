//! Runs every case of the corpus through every engine, and a few random graphs.

use std::path::{Path, PathBuf};

use windlass_fuzz::case::Setup;
use windlass_fuzz::corpus;
use windlass_fuzz::engines::{check, setups};
use windlass_fuzz::generate::Generator;

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let entries = std::fs::read_dir(folder).expect("the corpus is part of the crate");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    files.sort();
    files
}

#[test]
fn every_case_passes_in_every_engine() {
    let files = files();
    assert!(files.len() > 10);
    for file in files {
        let (case, own) = corpus::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let setups: Vec<Setup> = setups::fixed().into_iter().chain(own).collect();
        if let Err(found) = check(&case, &setups) {
            panic!("{}: {} under {:?}", file.display(), found.0, found.1);
        }
    }
}

#[test]
fn random_graphs_pass() {
    let generator = Generator::new(1, vec![]);
    for graph in 0..40 {
        let mut numbers = generator.numbers(graph);
        let case = generator.case(graph, &mut numbers);
        let setup = setups::draw(&case, &mut numbers);
        if let Err(found) = check(&case, &[setup]) {
            panic!("graph {graph}: {} under {:?}\n{}", found.0, found.1, case.graph);
        }
    }
}

#[test]
fn a_graph_depends_on_seed_and_index_alone() {
    let draw = |seed, index| {
        let generator = Generator::new(seed, vec![]);
        generator.case(index, &mut generator.numbers(index))
    };
    assert_eq!(draw(1, 7), draw(1, 7));
    assert_ne!(draw(1, 7), draw(1, 8));
    assert_ne!(draw(1, 7), draw(2, 7));
}
