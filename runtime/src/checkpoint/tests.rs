//! Checkpoints within one process. `tests/checkpoint_kill.rs` tests what a killed process leaves.

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

struct Fixture {
    directory: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Fixture { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("net.safetensors")
    }

    fn file_names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn saved(&self, checkpoint: &Checkpoint) -> Vec<u8> {
        checkpoint.save(&self.path(), NonFinite::Allow).unwrap();
        fs::read(self.path()).unwrap()
    }

    fn load_bytes(&self, content: &[u8]) -> Result<Checkpoint, Error> {
        fs::write(self.path(), content).unwrap();
        Checkpoint::load(&self.path(), NonFinite::Refuse)
    }

    /// The message of the error, without the directory.
    fn message(&self, result: Result<impl std::fmt::Debug, Error>) -> String {
        result.unwrap_err().to_string().replace(self.directory.path().to_str().unwrap(), "…")
    }
}

fn tensor(sizes: &[usize], elements: &[f32]) -> ArrayD<f32> {
    ArrayD::from_shape_vec(sizes, elements.to_vec()).unwrap()
}

fn checkpoint() -> Checkpoint {
    Checkpoint {
        tensors: [
            (
                "c1.weight".to_owned(),
                tensor(&[2, 3], &[0.0, -0.0, 1.5, f32::MIN_POSITIVE / 4.0, f32::MAX, -7.25]),
            ),
            ("c1.bias".to_owned(), tensor(&[2], &[1.0, 2.0])),
            ("rate \"ü\"".to_owned(), tensor(&[], &[0.1])),
            ("none".to_owned(), tensor(&[0, 4], &[])),
        ]
        .into(),
        metadata: Some(Metadata {
            network: "LeNet".to_owned(),
            graph: Some("graph net {}".to_owned()),
            step: u64::MAX,
            optimizer: serde_json::json!({ "adam": { "rate": 0.001, "betas": [0.9, 0.999] } }),
            notes: [("accuracy".to_owned(), "0.89".to_owned())].into(),
        }),
    }
}

/// A file with this header before the given bytes.
fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn shapes(list: &[(&str, &[usize])]) -> NamedShapes {
    list.iter().map(|(name, shape)| (name.to_string(), shape.to_vec())).collect()
}

#[test]
fn what_is_saved_is_loaded_bit_for_bit() {
    let fixture = Fixture::new();
    let bytes = fixture.saved(&checkpoint());
    let loaded = fixture.load_bytes(&bytes).unwrap();
    assert_eq!(loaded, checkpoint());
    for (name, tensor) in &loaded.tensors {
        let bits = |tensor: &ArrayD<f32>| tensor.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(tensor), bits(&checkpoint().tensors[name]), "{name}");
    }
    assert_eq!(fixture.saved(&loaded), bytes, "the same checkpoint gives the same bytes");
    assert_eq!(fixture.file_names(), ["net.safetensors"]);
}

#[test]
fn another_implementation_reads_what_is_saved() {
    let bytes = Fixture::new().saved(&checkpoint());
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let bias = file.tensor("c1.bias").unwrap();
    assert_eq!((bias.dtype(), bias.shape()), (Dtype::F32, &[2][..]));
    assert_eq!(bias.data(), [1f32.to_le_bytes(), 2f32.to_le_bytes()].concat());
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let text = &header.metadata().as_ref().unwrap()["windlass"];
    assert!(text.starts_with(r#"{"format":1,"network":"LeNet","step":18446744073709551615,"#), "{text}");
}

#[test]
fn arrays_of_any_layout_are_saved_in_order() {
    let fixture = Fixture::new();
    let transposed = tensor(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).reversed_axes();
    let checkpoint = Checkpoint { tensors: [("w".to_owned(), transposed.clone())].into(), metadata: None };
    let loaded = fixture.load_bytes(&fixture.saved(&checkpoint)).unwrap();
    assert_eq!(loaded.tensors["w"], transposed);
}

#[test]
fn files_of_python_are_read() {
    // import numpy as np; from safetensors.numpy import save_file
    // save_file({"f1.weight": np.arange(6, dtype=np.float32).reshape(2, 3) / 4, "f1.bias": np.array([-1, 1e-40], np.float32),
    //            "scale": np.array(2.5, np.float32)}, "python.safetensors", metadata={"format": "np"})
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/python.safetensors");
    let loaded = Checkpoint::load(&path, NonFinite::Refuse).unwrap();
    assert_eq!(loaded.metadata, None);
    let expected: NamedTensors = [
        ("f1.weight".to_owned(), tensor(&[2, 3], &[0.0, 0.25, 0.5, 0.75, 1.0, 1.25])),
        ("f1.bias".to_owned(), tensor(&[2], &[-1.0, 1e-40])),
        ("scale".to_owned(), tensor(&[], &[2.5])),
    ]
    .into();
    assert_eq!(loaded.tensors, expected);
}

#[test]
fn other_element_types_are_refused_by_name() {
    // save_file({"half": np.zeros(3, np.float16), "whole": np.ones((2, 2), np.int64), "single": np.ones(1, np.float32)},
    //           "python_types.safetensors")
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/python_types.safetensors");
    let message = Checkpoint::load(&path, NonFinite::Refuse).unwrap_err().to_string();
    assert!(message.contains("`half` has elements of type F16 where F32 is needed"), "{message}");
    assert!(message.contains("`whole` has elements of type I64"), "{message}");
    assert!(!message.contains("`single`"), "{message}");
    // Ignored tensors may have any type.
    let expected = shapes(&[("single", &[1])]);
    let loaded = Checkpoint::load_for(&path, &expected, Unexpected::Ignore, NonFinite::Refuse).unwrap();
    assert_eq!(loaded.tensors["single"], tensor(&[1], &[1.0]));
}

#[test]
fn every_tensor_that_does_not_fit_is_listed() {
    let fixture = Fixture::new();
    fixture.saved(&checkpoint());
    let expected = shapes(&[("c1.weight", &[3, 2]), ("c1.bias", &[2]), ("c2.bias", &[4]), ("none", &[0, 4])]);
    let load = |unexpected| Checkpoint::load_for(&fixture.path(), &expected, unexpected, NonFinite::Refuse);
    assert_eq!(
        fixture.message(load(Unexpected::Refuse)),
        "…/net.safetensors does not fit the network:\n  \
         - `c1.weight` is [2, 3] in the file but [3, 2] in the network\n  \
         - `c2.bias` [4] is missing from the file\n  \
         - `rate \"ü\"` [] is not in the network"
    );
    assert!(!fixture.message(load(Unexpected::Ignore)).contains("rate"));

    let expected = shapes(&[("c1.bias", &[2])]);
    let loaded =
        Checkpoint::load_for(&fixture.path(), &expected, Unexpected::Ignore, NonFinite::Refuse).unwrap();
    assert_eq!(loaded.tensors, [("c1.bias".to_owned(), tensor(&[2], &[1.0, 2.0]))].into());
    assert_eq!(loaded.metadata, checkpoint().metadata);
}

#[test]
fn non_finite_elements_are_refused_unless_allowed() {
    let fixture = Fixture::new();
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let checkpoint = Checkpoint {
            tensors: [("w".to_owned(), tensor(&[2, 2], &[0.0, 0.0, value, value]))].into(),
            metadata: None,
        };
        let refused = format!(
            "`w` has the value {value} at [1, 0] (…/net.safetensors); train again with a smaller learning rate, or \
             allow non-finite values explicitly"
        );
        let _ = fs::remove_file(fixture.path());
        assert_eq!(fixture.message(checkpoint.save(&fixture.path(), NonFinite::Refuse)), refused);
        assert!(!fixture.path().exists());
        fixture.saved(&checkpoint);
        assert_eq!(fixture.message(Checkpoint::load(&fixture.path(), NonFinite::Refuse)), refused);
        let loaded = Checkpoint::load(&fixture.path(), NonFinite::Allow).unwrap();
        assert_eq!(loaded.tensors["w"][[1, 0]].to_bits(), value.to_bits());
    }
}

#[test]
fn a_write_that_fails_leaves_the_old_file() {
    let fixture = Fixture::new();
    let before = fixture.saved(&checkpoint());
    let result = atomic_file::write(&fixture.path(), |writer| {
        writer.write_all(&[0; 100_000])?;
        Err(io::Error::other("the disk is full"))
    });
    assert_eq!(result.unwrap_err().to_string(), "the disk is full");
    assert_eq!(fs::read(fixture.path()).unwrap(), before);
    assert_eq!(fixture.file_names(), ["net.safetensors"]);
}

#[test]
fn places_that_cannot_be_written_or_read_are_named() {
    let fixture = Fixture::new();
    let absent = fixture.directory.path().join("absent/net.safetensors");
    for path in [&absent, fixture.directory.path(), Path::new("/"), Path::new("")] {
        let result = checkpoint().save(path, NonFinite::Refuse);
        assert!(matches!(result, Err(Error::Io { .. })), "{path:?}: {result:?}");
        let result = Checkpoint::load(path, NonFinite::Refuse);
        assert!(result.is_err(), "{path:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_saved_file_has_ordinary_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = Fixture::new();
    fixture.saved(&checkpoint());
    let ordinary = fixture.directory.path().join("ordinary");
    fs::write(&ordinary, "").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&fixture.path()), mode(&ordinary));
}

#[test]
fn the_reserved_name_is_refused() {
    let checkpoint =
        Checkpoint { tensors: [("__metadata__".to_owned(), tensor(&[], &[0.0]))].into(), metadata: None };
    let result = checkpoint.save(&Fixture::new().path(), NonFinite::Refuse);
    assert!(matches!(result, Err(Error::Setting { .. })), "{result:?}");
}

#[test]
fn corrupt_headers_are_refused() {
    let fixture = Fixture::new();
    let f32_info = |name: &str, shape: &str, from: u64, to: u64| {
        format!(r#""{name}":{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}"#)
    };
    let cases = [
        (vec![], "truncated to 0 bytes"),
        (vec![1, 2, 3], "truncated to 3 bytes"),
        (u64::MAX.to_le_bytes().to_vec(), "18446744073709551615 bytes long, but 0 bytes follow"),
        ([&1_000_000u64.to_le_bytes()[..], b"{}"].concat(), "1000000 bytes long, but 2 bytes follow"),
        (with_header("", &[]), "its header: EOF"),
        (with_header("\u{0}\u{0}", &[]), "its header: expected value"),
        (with_header("[]", &[]), "its header: invalid type"),
        (with_header(r#"{"a":1}"#, &[]), "its header: invalid type"),
        (with_header(&format!("{{{}}}", f32_info("a", "[2]", 0, 8)), &[0; 7]), "8 bytes of tensors but 7"),
        (with_header(&format!("{{{}}}", f32_info("a", "[2]", 0, 8)), &[0; 9]), "8 bytes of tensors but 9"),
        (with_header(&format!("{{{}}}", f32_info("a", "[3]", 0, 8)), &[0; 8]), "its header: invalid shape"),
        (
            with_header(&format!("{{{}}}", f32_info("a", "[2]", 4, 12)), &[0; 12]),
            "invalid offset for tensor `a`",
        ),
        (with_header(&format!("{{{}}}", f32_info("a", "[2]", 8, 0)), &[0; 8]), "invalid offset"),
        (
            with_header(
                &format!("{{{},{}}}", f32_info("a", "[2]", 0, 8), f32_info("b", "[2]", 0, 8)),
                &[0; 8],
            ),
            "invalid offset",
        ),
        (with_header(&format!("{{{}}}", f32_info("a", "[4294967296,4294967296]", 0, 0)), &[]), "overflow"),
        (
            with_header(
                &format!("{{{}}}", f32_info("a", "[0,18446744073709551615,18446744073709551615]", 0, 0)),
                &[],
            ),
            "`a` [0, 18446744073709551615, 18446744073709551615]",
        ),
    ];
    for (content, expected) in cases {
        let message = fixture.message(fixture.load_bytes(&content));
        assert!(message.starts_with("…/net.safetensors is not a valid safetensors file: "), "{message}");
        assert!(message.contains(expected), "{message} should tell: {expected}");
    }
}

#[test]
fn metadata_of_other_versions() {
    let fixture = Fixture::new();
    let load = |metadata: &str| {
        let text = serde_json::to_string(metadata).unwrap();
        fixture.load_bytes(&with_header(&format!(r#"{{"__metadata__":{{"windlass":{text}}}}}"#), &[]))
    };
    let loaded = load(r#"{"format":1,"network":"n","step":3}"#).unwrap();
    let expected = Metadata { network: "n".to_owned(), step: 3, ..Metadata::default() };
    assert_eq!(loaded.metadata, Some(expected));
    assert_eq!(
        fixture.message(load(r#"{"format":2,"shape":"unknown"}"#)),
        "…/net.safetensors has the format version 2 but this version reads up to 1; update Windlass"
    );
    for broken in ["", "{}", r#"{"format":1}"#, r#"{"format":-1}"#, r#"{"format":1,"network":"n","step":-1}"#]
    {
        let message = fixture.message(load(broken));
        assert!(message.contains("its `windlass` metadata: "), "{broken}: {message}");
    }
}

#[test]
fn every_truncation_is_refused() {
    let fixture = Fixture::new();
    let bytes = fixture.saved(&checkpoint());
    for length in 0..bytes.len() {
        let result = fixture.load_bytes(&bytes[..length]);
        assert!(
            matches!(result, Err(Error::Checkpoint(CheckpointError::Format { .. }))),
            "{length}: {result:?}"
        );
    }
}

proptest! {
    #[test]
    fn a_spoiled_file_is_never_a_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4),
        length in any::<prop::sample::Index>(),
        truncate: bool,
    ) {
        let fixture = Fixture::new();
        let mut bytes = fixture.saved(&checkpoint());
        for (position, flip) in flips {
            let position = position.index(bytes.len());
            bytes[position] ^= flip;
        }
        if truncate {
            bytes.truncate(length.index(bytes.len()));
        }
        // A flipped bit may be in an element or a name and go unnoticed; the result is still a checkpoint.
        if let Ok(read) = fixture.load_bytes(&bytes) {
            prop_assert!(read.tensors.values().flatten().all(|x| x.is_finite()));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(content: Vec<u8>, header_length in 0u64..64) {
        let fixture = Fixture::new();
        let _ = fixture.load_bytes(&content);
        let _ = fixture.load_bytes(&[&header_length.to_le_bytes()[..], &content].concat());
    }

    #[test]
    fn any_tensors_come_back(
        tensors in prop::collection::btree_map(
            "[a-z._]{1,12}",
            prop::collection::vec(0usize..4, 0..4).prop_flat_map(|sizes| {
                let count: usize = sizes.iter().product();
                (Just(sizes), prop::collection::vec(-1e30f32..1e30, count))
            }),
            0..6,
        ),
        step: u64,
    ) {
        let fixture = Fixture::new();
        let tensors: NamedTensors =
            tensors.into_iter().map(|(name, (sizes, elements))| (name, tensor(&sizes, &elements))).collect();
        let metadata = Some(Metadata { step, ..Metadata::default() });
        let checkpoint = Checkpoint { tensors, metadata };
        let bytes = fixture.saved(&checkpoint);
        prop_assert_eq!(fixture.load_bytes(&bytes).unwrap(), checkpoint);
    }
}
