//! Models that people use, if they have been downloaded: `onnx/suite/real.py FOLDER` writes them.

use std::path::PathBuf;

use windlass_onnx_suite::{Case, Outcome};

/// The tolerance as a part of the largest output, for sums of thousands of products in another order.
const PART: f32 = 2e-5;

/// Each model gives the results of ONNX Runtime, interpreted and compiled at every vector width. `WINDLASS_MODELS` is the folder.
#[test]
fn downloaded_models_have_the_results_of_onnx_runtime() {
    let Some(folder) = std::env::var_os("WINDLASS_MODELS").map(PathBuf::from) else {
        println!(
            "skipped: `python onnx/suite/real.py FOLDER` downloads the models, and WINDLASS_MODELS is their folder"
        );
        return;
    };
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(!names.is_empty());
    let mut failing = Vec::new();
    for path in names {
        match Case::read(&path).and_then(|case| case.within(PART).run()) {
            Ok(Outcome::Passes) => println!("{} passes", path.display()),
            other => failing.push(format!("{}: {other:?}", path.display())),
        }
    }
    assert!(failing.is_empty(), "{}", failing.join("\n"));
}
