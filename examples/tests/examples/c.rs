//! Objects for C: the programs that use them.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use super::{accuracy, check_refused, example, printed};

/// The network leaves Rust: a C program classifies with it.
#[cfg(unix)]
#[test]
fn lenet_runs_in_c() {
    let folder = TempDir::new().unwrap();
    let output = example("c").args(["--epochs", "1", "--output"]).arg(folder.path()).output().unwrap();
    assert!(accuracy(&printed(&output)) > 0.6);
    // What the Makefile does.
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/c/classify.c");
    let compiled = Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".to_owned()))
        .args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-I.", source, "lenet.o", "-o", "classify"])
        .current_dir(folder.path())
        .output()
        .expect("the C compiler that Rust links with");
    printed(&compiled);
    let classify = |arguments: &[&str]| {
        let program = folder.path().join("classify");
        Command::new(program).args(arguments).current_dir(folder.path()).output().unwrap()
    };
    let garment = concat!(env!("CARGO_MANIFEST_DIR"), "/c/garment.pgm");
    // The same image with a comment, as editors write it.
    let image = fs::read(garment).unwrap();
    let pixels = image.strip_prefix(b"P5\n").unwrap();
    fs::write(folder.path().join("edited.pgm"), [b"P5\n# by an editor, 8 bits\n", pixels].concat()).unwrap();
    let text = printed(&classify(&["lenet.weights", garment, "edited.pgm"]));
    for path in [garment, "edited.pgm"] {
        assert!(text.contains(&format!("{path}: Trouser (")), "{text}");
    }
    fs::write(folder.path().join("short.pgm"), &image[..image.len() - 1]).unwrap();
    check_refused(&classify(&["lenet.weights", "short.pgm"]), "short.pgm is no binary PGM image");
    check_refused(&classify(&["lenet.weights", "data.h"]), "data.h is no binary PGM image of 28x28 pixels");
    check_refused(&classify(&["data.h", garment]), "data.h is no file of weights");
    // Weights of another build are refused.
    let path = folder.path().join("lenet.weights");
    let mut weights = fs::read(&path).unwrap();
    weights[12] ^= 1;
    fs::write(&path, weights).unwrap();
    check_refused(&classify(&["lenet.weights", garment]), "the network returns the status 2");
}

#[test]
fn lenet_learns_in_c() {
    let folder = TempDir::new().unwrap();
    let run = |arguments: &[&str]| {
        let mut example = example("train_in_c");
        example.args(arguments).arg("--output").arg(folder.path()).output().unwrap()
    };
    printed(&run(&[]));
    // What the Makefile does.
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/train_in_c/train.c");
    let compiled = Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".to_owned()))
        .args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-I.", source, "lenet.o", "-o", "train"])
        .current_dir(folder.path())
        .output()
        .expect("the C compiler that Rust links with");
    printed(&compiled);
    check_refused(&run(&["--read"]), "could not read");
    let train = |epochs: &str| {
        Command::new(folder.path().join("train")).arg(epochs).current_dir(folder.path()).output().unwrap()
    };
    let trained = accuracy(&printed(&train("2")));
    assert!(trained > 0.8, "{trained}");
    assert_eq!(accuracy(&printed(&run(&["--read"]))), trained);
    check_refused(&train("no"), "usage: train [epochs]");
}
