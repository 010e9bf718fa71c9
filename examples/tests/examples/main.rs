//! Runs the examples as users do: their output, files and pictures, and their errors.

mod c;
mod lenet;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use image::RgbImage;
use tempfile::TempDir;

/// The compiled example with a name, built with the profile of this test.
fn example(name: &str) -> Command {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        let test = std::env::current_exe().expect("a test runs from a file");
        // The test is <target>/<profile>/deps/examples-<hash>, an example <target>/<profile>/examples/<name>.
        let profile = test.ancestors().nth(2).expect("the directory of the profile");
        let target = profile.parent().expect("the target directory");
        let profile_name = match profile.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(name) => name,
        };
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--workspace", "--examples", "--profile", profile_name])
            .arg("--target-dir")
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo can be started");
        assert!(built.success(), "the examples can be built");
        profile.join("examples")
    });
    Command::new(directory.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
}

/// The output of a run that must succeed.
fn printed(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout.clone()).expect("examples print text")
}

/// Checks that a run failed with a message and the expected exit code.
fn check_refused(output: &Output, message: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.lines().any(|line| line.starts_with("error: ")), "no error in: {errors}");
    assert!(errors.contains(message), "no \"{message}\" in: {errors}");
    assert!(!errors.contains("panicked"), "{errors}");
}

/// Reads a picture and checks its size, and that something with smooth edges is drawn on white.
fn check_picture(path: &Path, size: (u32, u32)) {
    let picture: RgbImage =
        image::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into_rgb8();
    assert_eq!(picture.dimensions(), size, "{}", path.display());
    let colors: HashSet<[u8; 3]> = picture.pixels().map(|pixel| pixel.0).collect();
    assert!(colors.len() > 50, "{} has {} colours", path.display(), colors.len());
    assert_eq!(picture.get_pixel(0, 0).0, [255; 3], "{}", path.display());
}

/// The accuracy in the last line.
fn accuracy(text: &str) -> f64 {
    let digits = text.lines().last().and_then(|line| line.strip_prefix("test accuracy: "));
    let digits = digits.unwrap_or_else(|| panic!("the last line tells the accuracy: {text}"));
    assert_eq!(digits.len(), "0.8387".len(), "{text}");
    digits.parse().unwrap_or_else(|error| panic!("{digits}: {error}"))
}

fn write(directory: &TempDir, name: &str, bytes: &[u8]) {
    fs::write(directory.path().join(name), bytes).expect("the temporary directory can be written");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

#[test]
fn a_kernel_is_learned() {
    let output = example("learn_a_kernel").output().expect("the example can be started");
    let text = printed(&output);
    let last = text.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("learned the kernel [") && last.ends_with("the edges were made with [1, -1]"),
        "{text}"
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/learn_a_kernel/edges.png");
    check_picture(&path, (776, 320));
}

#[test]
fn a_network_from_json_is_trained() {
    let output = example("from_json").output().expect("the example can be started");
    let text = printed(&output);
    for expected in [
        "c1",
        "61,706",
        "step 125: loss ",
        "reloaded, they predict the same",
        "the first test image is taken for",
    ] {
        assert!(text.contains(expected), "no \"{expected}\" in: {text}");
    }
    assert!(accuracy(&text) > 0.7, "{text}");
}

#[test]
fn bad_descriptions_of_networks_are_refused() {
    let directory = TempDir::new().expect("a directory for the files");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("from_json/lenet.json");
    let whole = fs::read_to_string(path).expect("the description is there");
    for (from, to, message) in [
        ("\"output\": \"class\"\n}", "\"output\": \"class\"", "EOF while parsing an object at line"),
        ("\"flatten\"", "\"flat\"", "there is no layer `flat`; did you mean `flatten`?"),
        (
            "\"out_features\": 120",
            "\"units\": 120",
            "`linear` has no argument `units`; it takes `out_features`, `bias`, `init`",
        ),
        ("\"out_channels\": 6, ", "", "`out_channels` of `conv2d` is missing"),
        (
            "\"kernel_size\": 2",
            "\"kernel_size\": \"2\"",
            "`kernel_size` of `max_pool2d` takes a size such as 3, or a pair (height, width), not \"2\"",
        ),
        ("\"out_features\": 120", "\"out_features\": 0", "layer 8 of `LeNet`, f5: `linear`"),
        ("    { \"layer\": \"flatten\" },\n", "", "`linear` needs a vector but receives [16, 5, 5]"),
        ("\"f6\"", "\"f5\"", "the name `f5.weight` is used twice"),
        ("[1, 28, 28]", "[1, 0, 28]", "input `image` of `LeNet`: "),
        ("[1, 28, 28]", "[1, 32, 32]", "`LeNet` needs an array of shape [1, 32, 32]"),
        ("\"out_features\": 10 ", "\"out_features\": 5 ", "is outside the 5 classes of `LeNet`"),
    ] {
        assert!(whole.contains(from), "no {from} in the description");
        let file = directory.path().join("network.json");
        fs::write(&file, whole.replace(from, to)).expect("the file can be written");
        check_refused(
            &example("from_json").arg(&file).output().expect("the example can be started"),
            message,
        );
    }
    let absent = directory.path().join("absent.json");
    let output = example("from_json").arg(&absent).output().expect("the example can be started");
    check_refused(&output, "absent.json: ");
}

/// Runs an example with a directory for its pictures, and checks one of them; returns what the example printed.
fn drawn(name: &str, arguments: &[&str], picture: (&str, (u32, u32))) -> String {
    let directory = tempfile::tempdir().unwrap();
    let output = example(name).arg("--output").arg(directory.path()).args(arguments).output();
    let text = printed(&output.expect("the example can be started"));
    check_picture(&directory.path().join(picture.0), picture.1);
    text
}

/// The number behind a text in a line of its own.
fn number_behind(text: &str, name: &str) -> f64 {
    let digits =
        text.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim_end_matches(" dB"));
    let digits = digits.unwrap_or_else(|| panic!("no \"{name}\" in: {text}"));
    digits.parse().unwrap_or_else(|error| panic!("{digits}: {error}"))
}

#[test]
fn the_networks_of_the_zoo_are_listed_and_shown() {
    let list = printed(&example("zoo").output().expect("the example can be started"));
    assert!(
        list.lines().any(|line| line.split_whitespace().eq(["resnet18", "11689512", "1814073344"])),
        "{list}"
    );
    let output = example("zoo").args(["lenet", "--seconds", "0.01", "--batch", "2"]).output().unwrap();
    let text = printed(&output);
    for expected in ["multiply-adds  416,520 per item", "16×16      4       6", "prediction of 2: "] {
        assert!(text.contains(expected), "no \"{expected}\" in: {text}");
    }
    let output = example("zoo").arg("lenet6").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("possible values: lenet, "));
}

#[test]
fn a_photograph_is_filtered() {
    drawn("filters", &[], ("filters.png", (1240, 516)));
}

#[test]
fn the_maps_of_each_layer_are_shown() {
    let text = drawn("feature_maps", &["--epochs", "1", "--image", "7"], ("feature_maps.png", (992, 560)));
    assert!((0.1..=1.0).contains(&accuracy(&text)), "{text}");
    let output = example("feature_maps").args(["--epochs", "0", "--image", "1500"]).output().unwrap();
    check_refused(&output, "`--image` is 1500, but there are 1500 test images");
}

#[test]
fn interpolation_is_beaten_by_what_is_learned() {
    let text = drawn("super_resolution", &["--steps", "300"], ("super_resolution.png", (1272, 672)));
    let [nearest, bilinear, learned] = ["pixels repeated", "bilinear", "learned"]
        .map(|name| number_behind(&text, &format!("{name}: PSNR ")));
    assert!(learned > nearest.max(bilinear) + 0.2, "{text}");
}

#[test]
fn shapes_are_found_pixel_by_pixel() {
    let text = drawn("segmentation", &["--steps", "40"], ("segmentation.png", (984, 544)));
    assert!(number_behind(&text, "mean intersection over union: ") > 0.5, "{text}");
}

#[test]
fn two_networks_train_against_each_other() {
    let text = drawn("gan", &["--epochs", "2", "--steps", "3"], ("samples.png", (664, 568)));
    assert_eq!(
        text.lines().filter(|line| line.contains("  loss of the discriminator ")).count(),
        2,
        "{text}"
    );
}

/// The perplexities of the epochs on text that was trained on, or held out.
fn perplexities(text: &str, part: &str) -> Vec<f64> {
    let behind = format!("{part} perplexity ");
    let values = text.lines().filter_map(|line| line.split_once(&behind)?.1.split_whitespace().next());
    values.map(|digits| digits.parse().unwrap_or_else(|error| panic!("{digits}: {error}"))).collect()
}

#[test]
fn characters_of_a_book_are_learned() {
    for cell in ["rnn", "gru", "lstm"] {
        for partition in ["random", "sequential"] {
            let arguments = ["--cell", cell, "--partition", partition, "--units", "48", "--length", "35"];
            let run =
                ["--epochs", "2", "--steps", "25", "--sample", "20", "--prompt", "The Sun", "--top-k", "5"];
            let output = example("char_lm").args(arguments).args(run).output().unwrap();
            let text = printed(&output);
            assert!(text.starts_with("510334 characters to train on, 56704 held out"), "{text}");
            let (training, held_out) = (perplexities(&text, "training"), perplexities(&text, "held-out"));
            assert_eq!((training.len(), held_out.len()), (2, 2), "{text}");
            assert!(training[1] < training[0] && held_out[1] < held_out[0], "{text}");
            // All that a model without a memory could say is how frequent characters are, a perplexity of 22.8.
            assert!(held_out[1] < 19.0, "{text}");
            assert_eq!(text.lines().filter(|line| line.starts_with("  The Sun")).count(), 2, "{text}");
        }
    }
}

#[test]
fn bad_requests_of_a_character_model_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory, "short", b"too short a text");
    write(&directory, "rather-short", &b"some words, ".repeat(500));
    let [short, rather_short] = ["short", "rather-short"].map(|name| directory.path().join(name));
    for (arguments, message) in [
        (&["--text", "/no/such/file"][..], "/no/such/file: "),
        (&["--text", text(&short)], "a text of 14 tokens is too short"),
        (&["--text", text(&rather_short)], "a text of 600 tokens is too short"),
        (&["--units", "0"], "`lstm` has `units` 0, which must be at least 1"),
        (&["--batch", "0"], "`batch_size` is 0 but must be at least 1"),
        (&["--temperature=-1"], "`temperature` is -1 but must be at least 0"),
        (&["--prompt", ""], "`--prompt` is empty"),
    ] {
        check_refused(&example("char_lm").args(arguments).args(["--steps", "1"]).output().unwrap(), message);
    }
}

/// The noise, of deviation 0.2, is what nothing can forecast.
#[test]
fn a_recurrent_network_forecasts_better_than_lines() {
    for cell in ["gru", "lstm"] {
        let text = drawn("time_series", &["--cell", cell], ("forecasts.png", (1000, 680)));
        let errors = |name: &str| -> Vec<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let numbers = line.unwrap_or_else(|| panic!("no {name}: {text}")).split_whitespace();
            numbers.map(|digits| digits.parse().unwrap_or_else(|error| panic!("{digits}: {error}"))).collect()
        };
        let [last, linear, recurrent] =
            ["last value repeated", "linear autoregression", "recurrent network"].map(errors);
        for step in 0..2 {
            assert!(last[step] > linear[step] && linear[step] > recurrent[step], "{text}");
            assert!((0.18..0.27).contains(&recurrent[step]), "{text}");
        }
    }
}

#[test]
fn dates_are_rewritten() {
    let text = drawn("seq2seq", &["--steps", "300"], ("attention.png", (1080, 412)));
    assert!(accuracy(&text) > 0.9, "{text}");
    assert_eq!(text.lines().filter(|line| line.contains(" → ")).count(), 6, "{text}");
}

#[test]
fn speakers_are_told_apart() {
    let output = example("japanese_vowels").output().unwrap();
    let text = printed(&output);
    assert!(text.starts_with("270 utterances to train on, 370 to test"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("epoch ")).count(), 60, "{text}");
    assert!(accuracy(&text) >= 0.97, "{text}");
    let text = printed(&example("japanese_vowels").args(["--epochs", "1", "--seed", "3"]).output().unwrap());
    assert!(accuracy(&text) < 0.97, "{text}");
}

/// Garments are found without their places: by chance, one of ten would be right.
#[test]
fn garments_are_read_in_rows() {
    let text = drawn("read_garments", &["--steps", "250"], ("strips.png", (1080, 664)));
    assert!(number_behind(&text, "garments read at their place: ") > 0.6, "{text}");
    assert!((0.0..=1.0).contains(&accuracy(&text)), "{text}");
}

/// A few steps on a few images: the mean loss falls.
#[test]
fn networks_of_the_book_learn() {
    for name in ["alexnet", "vgg", "nin", "googlenet", "resnet"] {
        let arguments = ["--images", "64", "--batch", "16", "--epochs", "6", "--learning-rate", "0.002"];
        let text = drawn(name, &arguments, ("predictions.png", (984, 512)));
        let losses: Vec<f64> = text
            .lines()
            .filter_map(|line| line.split_once("  loss ")?.1.split_whitespace().next()?.parse().ok())
            .collect();
        assert_eq!(losses.len(), 6 * 4, "{name}: {text}");
        let [first, last] = [&losses[..4], &losses[20..]].map(|epoch| epoch.iter().sum::<f64>() / 4.0);
        assert!(last < first - 0.03, "{name}: {first} {last}\n{text}");
        assert!((0.0..=1.0).contains(&accuracy(&text)), "{text}");
    }
    let output = example("resnet").args(["--batch", "0"]).output().unwrap();
    check_refused(&output, "`batch_size` is 0 but must be at least 1");
}
