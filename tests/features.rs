//! What features bring in, and what a package for a registry has: as Cargo says.

use std::process::Command;

/// The lines that a command of Cargo prints.
fn cargo(arguments: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// The names of the packages that this one is built from, with some features.
fn packages(features: &[&str]) -> Vec<String> {
    let tree =
        ["tree", "--package", "windlass", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"];
    let arguments: Vec<&str> =
        tree.into_iter().chain(["--no-default-features"]).chain(features.iter().copied()).collect();
    let lines = cargo(&arguments);
    lines.iter().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// The packages that each feature is for.
const OF_FEATURES: [(&str, &str); 5] = [
    ("data", "flate2"),
    ("image", "image"),
    ("plot", "plotters"),
    ("onnx", "prost"),
    ("progress", "indicatif"),
];

#[test]
fn a_bare_library_has_none_of_the_optional_packages() {
    let bare = packages(&[]);
    assert!(bare.contains(&"cranelift-codegen".to_owned()));
    for (_, package) in OF_FEATURES {
        assert!(!bare.contains(&package.to_owned()), "{package}");
    }
    assert!(bare.len() > 50, "{bare:?}");
}

#[test]
fn each_feature_brings_its_package_and_none_of_the_others() {
    for (feature, package) in OF_FEATURES {
        let found = packages(&["--features", feature]);
        for (other, its) in OF_FEATURES {
            // Images are data.
            let expected = other == feature || (feature, other) == ("image", "data");
            // The decoder of PNG inflates with the package that reads gzip.
            if (feature, its) != ("image", "flate2") {
                assert_eq!(found.contains(&its.to_owned()), expected, "{feature}: {its}");
            }
        }
        assert!(found.contains(&package.to_owned()), "{feature}");
    }
}

#[test]
fn a_package_has_no_data_and_no_tests() {
    let files = cargo(&["package", "--package", "windlass", "--list", "--allow-dirty", "--offline"]);
    assert!(files.contains(&"src/lib.rs".to_owned()) && files.contains(&"docs/training.md".to_owned()));
    for file in &files {
        let folder = file.split('/').next().unwrap_or_default();
        assert!(!["data", "tests", "benches", "examples"].contains(&folder), "{file}");
    }
}
