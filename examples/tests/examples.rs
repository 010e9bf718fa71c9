//! Runs the examples as users do: their output, files and pictures, and their errors.

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

fn lenet(output: &Path, arguments: &[&str]) -> Output {
    example("lenet").arg("--output").arg(output).args(arguments).output().expect("the example can be started")
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

/// A data set of a few images: class 0 is dark, class 1 light, and both have some pattern.
fn small_data_set() -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (part, count) in [("train", 40u8), ("t10k", 20)] {
        let header = |magic: u32, sizes: &[u32]| -> Vec<u8> {
            [magic].iter().chain(sizes).flat_map(|number| number.to_be_bytes()).collect()
        };
        let mut images = header(0x0803, &[u32::from(count), 28, 28]);
        let mut labels = header(0x0801, &[u32::from(count)]);
        for index in 0..count {
            images.extend((0..28 * 28).map(|pixel| (index % 2) * 150 + (pixel % 28) as u8 + index));
            labels.push(index % 2);
        }
        write(&directory, &format!("{part}-images-idx3-ubyte"), &images);
        write(&directory, &format!("{part}-labels-idx1-ubyte"), &labels);
    }
    directory
}

fn write(directory: &TempDir, name: &str, bytes: &[u8]) {
    fs::write(directory.path().join(name), bytes).expect("the temporary directory can be written");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

#[test]
fn lenet_learns_the_images_of_the_repository() {
    let directory = tempfile::tempdir().unwrap();
    let output = lenet(directory.path(), &[]);
    let text = printed(&output);
    assert!(text.starts_with("8000 training and 1500 test images"), "{text}");
    let said = text.lines().find(|line| line.starts_with("memory for batches of 64 on "));
    assert!(
        said.is_some_and(|line| line.contains(": at most ") && line.contains(" MiB (parameters ")),
        "{text}"
    );
    assert!(accuracy(&text) >= 0.8, "{text}");
    for class in windlass::data::fashion_mnist::CLASS_NAMES {
        assert!(text.lines().any(|line| line.contains(class)), "no {class}: {text}");
    }

    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors.lines().filter(|line| line.starts_with("epoch ")).count(), 12, "{errors}");
    check_picture(&directory.path().join("curves.png"), (1000, 420));
    check_picture(&directory.path().join("filters.png"), (964, 400));
    check_picture(&directory.path().join("predictions.png"), (1016, 794));
    assert!(directory.path().join("lenet.safetensors").is_file());
}

#[test]
fn lenet_trains_as_the_book_does_on_a_given_set() {
    let (data, directory) = (small_data_set(), tempfile::tempdir().unwrap());
    let output = lenet(
        directory.path(),
        &["--data", text(data.path()), "--epochs", "1", "--threads", "1", "--batch", "16"],
    );
    let text = printed(&output);
    assert!(text.starts_with("40 training and 20 test images"), "{text}");
    assert!((0.0..=1.0).contains(&accuracy(&text)), "{text}");
    check_picture(&directory.path().join("predictions.png"), (1016, 794));
}

#[test]
fn lenet_is_the_same_for_the_same_seed() {
    let (data, directory) = (small_data_set(), tempfile::tempdir().unwrap());
    let weights = |seed| {
        let arguments = ["--data", text(data.path()), "--epochs", "2", "--batch", "16", "--seed", seed];
        printed(&lenet(directory.path(), &arguments));
        fs::read(directory.path().join("lenet.safetensors")).unwrap()
    };
    let first = weights("1");
    assert_eq!(first, weights("1"));
    assert_ne!(first, weights("2"));
}

#[test]
fn lenet_refuses_what_cannot_be_done() {
    let directory = tempfile::tempdir().unwrap();
    let data = small_data_set();
    let data = text(data.path());
    for (arguments, message) in [
        (&["--threads", "0"][..], "`threads` is 0 but must be between 1 and 1024"),
        (&["--batch", "0"], "`batch_size` is 0 but must be at least 1"),
        (&["--epochs", "0"], "`epochs` is 0 but must be at least 1"),
        (&["--learning-rate=-1"], "`one_cycle.peak_rate` is -1 but must be at least 0, and finite as an f32"),
        (
            &["--learning-rate", "nan"],
            "`one_cycle.peak_rate` is NaN but must be at least 0, and finite as an f32",
        ),
        (&["--learning-rate", "1e38", "--data", data], "at a learning rate of 1e38"),
        (&["--epochs", "many"], "invalid value 'many' for '--epochs <COUNT>'"),
        (&["--full", "--data", data], "cannot be used with"),
        (&["--data", "/no/such/directory"], "found no Fashion-MNIST"),
        (&["--batches", "3"], "unexpected argument '--batches'"),
    ] {
        check_refused(&lenet(directory.path(), arguments), message);
    }
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    check_refused(&lenet(&file, &[]), "could not make the directory");
    assert!(printed(&lenet(directory.path(), &["--help"])).contains("--learning-rate <RATE>"));
}

#[test]
fn lenet_refuses_corrupt_data() {
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes, message) in [
        ("train-images-idx3-ubyte", &b"no images"[..], "is not an IDX file"),
        ("train-images-idx3-ubyte", b"\0\0\x08\x03\0\0\0\x28\0\0\0\x1c\0\0\0\x1cfew", "is truncated"),
        ("t10k-labels-idx1-ubyte", b"\0\0\x08\x01\0\0\0\x02\0\x01", "there are 2 labels"),
        ("t10k-labels-idx1-ubyte.gz", b"\x1f\x8b\x08\0zip", "corrupt gzip file"),
    ] {
        let data = small_data_set();
        write(&data, name, bytes);
        check_refused(&lenet(directory.path(), &["--data", text(data.path())]), message);
    }
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

/// The network leaves Rust: a C program classifies with it.
#[cfg(unix)]
#[test]
fn lenet_runs_in_c() {
    let folder = TempDir::new().unwrap();
    let output =
        example("lenet_in_c").args(["--epochs", "1", "--output"]).arg(folder.path()).output().unwrap();
    assert!(accuracy(&printed(&output)) > 0.6);
    // What the Makefile does.
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/lenet_in_c/classify.c");
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
    let images: Vec<String> = (0..10).map(|index| format!("garment{index}.pgm")).collect();
    let arguments: Vec<&str> =
        ["lenet.weights"].into_iter().chain(images.iter().map(String::as_str)).collect();
    let text = printed(&classify(&arguments));
    assert_eq!(
        text.lines().filter(|line| line.contains(".pgm: ") && line.ends_with(" %)")).count(),
        10,
        "{text}"
    );
    check_refused(&classify(&["lenet.weights", "data.h"]), "data.h is no binary PGM image of 28x28 pixels");
    check_refused(&classify(&["data.h", "garment0.pgm"]), "data.h is no file of weights");
    // Weights of another build are refused.
    let path = folder.path().join("lenet.weights");
    let mut weights = fs::read(&path).unwrap();
    weights[12] ^= 1;
    fs::write(&path, weights).unwrap();
    check_refused(&classify(&["lenet.weights", "garment0.pgm"]), "the network returns the status 2");
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
