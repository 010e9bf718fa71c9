//! LeNet: what it learns, and what it refuses.

use std::fs;
use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use super::{accuracy, check_picture, check_refused, example, printed, text, write};

fn lenet(output: &Path, arguments: &[&str]) -> Output {
    example("lenet").arg("--output").arg(output).args(arguments).output().expect("the example can be started")
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
