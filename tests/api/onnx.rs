//! ONNX models: their outputs against ONNX Runtime, training, files of weights, and what users are told.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use tempfile::TempDir;
use windlass::ndarray::{ArrayD, IxDyn};
use windlass::onnx::{ImportError, ImportOptions, OnnxModel, Output, Reason};
use windlass::{
    DType, Error, Feed, Model, Optimizer, Options, Schedule, Trainer, TrainerOptions, available_vector_bits,
};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx").join(name)
}

fn load(name: &str) -> OnnxModel {
    OnnxModel::load(path(&format!("{name}.onnx")), &ImportOptions::new()).unwrap()
}

/// The numbers of a tensor, those of integers as floats.
fn tensor(name: &str, tensor: &str) -> ArrayD<f32> {
    let bytes = std::fs::read(path(&format!("{name}.safetensors"))).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor(tensor).unwrap();
    let (words, _) = tensor.data().as_chunks::<4>();
    let is_float = tensor.dtype() == safetensors::Dtype::F32;
    let number =
        |word: &[u8; 4]| if is_float { f32::from_le_bytes(*word) } else { i32::from_le_bytes(*word) as f32 };
    ArrayD::from_shape_vec(IxDyn(tensor.shape()), words.iter().map(number).collect()).unwrap()
}

/// Bytes with others of the same length in all places.
fn replaced(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    while let Some(place) = bytes.windows(from.len()).position(|window| window == from) {
        bytes[place..place + to.len()].copy_from_slice(to);
    }
    bytes
}

/// Compares the output for the input in a file at every vector width.
#[track_caller]
fn check(name: &str) {
    let file = load(name);
    let (input, expected) = (tensor(name, "input"), tensor(name, "output"));
    let (port, shape) = file.network().inputs().next().unwrap();
    let graph = file.network().graph();
    let is_index = graph.ty(graph.source(port).unwrap()).dtype == DType::I32;
    // A first axis of size 1 is left out.
    let sizes = &input.shape()[input.ndim() - shape.rank() + usize::from(shape.rank() < input.ndim())..];
    let input = match shape.rank() < input.ndim() {
        true => input.to_shape([&[1], sizes].concat()).unwrap().to_owned(),
        false => input.clone(),
    };
    let indices = input.mapv(|number| number as i32);
    for bits in available_vector_bits() {
        let mut options = Options::default().threads(1);
        options.compile.plan.vector_bits = Some(bits);
        let model = file.clone().into_model(&options).unwrap();
        let feed = if is_index { Feed::from(&indices) } else { Feed::from(&input) };
        let output = model.forward([(port, feed)]).unwrap().single().unwrap();
        assert_eq!(output.len(), expected.len());
        let largest = expected.iter().fold(0f32, |most, number| most.max(number.abs()));
        for (got, expected) in output.iter().zip(&expected) {
            assert!((got - expected).abs() <= 2e-6 * largest, "{bits} bits: {got} instead of {expected}");
        }
    }
}

#[test]
fn convolutions_have_the_outputs_of_onnx_runtime() {
    check("cnn");
}

#[test]
fn images_of_fixed_size_are_upsampled() {
    check("upsampling");
}

#[test]
fn recurrent_layers_take_any_number_of_steps() {
    check("lstm");
    check("gru");
    let model = load("gru").into_model(&Options::default()).unwrap();
    for steps in [1, 9] {
        let input = ArrayD::from_elem(IxDyn(&[2, steps, 6]), 0.5f32);
        assert_eq!(model.forward(&input).unwrap().single().unwrap().shape(), [2, 3]);
    }
}

#[test]
fn attention_is_imported_with_the_batch_behind_the_steps() {
    check("transformer");
}

#[test]
fn weights_may_be_in_a_file_beside_the_model() {
    check("external");
    // Without its folder, the file is named.
    let bytes = std::fs::read(path("external.onnx")).unwrap();
    let error = OnnxModel::from_bytes(&bytes, &ImportOptions::new()).unwrap_err().to_string();
    assert!(error.contains("is in the file `external.weights`: import the model from its path"), "{error}");
    // A file that is too short is an error.
    let folder = TempDir::new().unwrap();
    let copy = folder.path().join("external.onnx");
    std::fs::write(&copy, &bytes).unwrap();
    let refused = || OnnxModel::load(&copy, &ImportOptions::new()).unwrap_err().to_string();
    assert!(refused().contains("external.weights"), "{}", refused());
    std::fs::write(folder.path().join("external.weights"), [0; 40]).unwrap();
    assert!(
        refused().contains("is beyond the end of the file `external.weights` of 40 bytes"),
        "{}",
        refused()
    );
    // Only files in the folder of the model are read.
    std::fs::write(&copy, replaced(bytes, b"external.weights", b"../tmp/a.weights")).unwrap();
    assert!(refused().contains("outside the folder of the model"), "{}", refused());
}

#[test]
fn ports_have_the_axes_of_the_file_and_of_the_network() {
    let file = load("lstm");
    assert_eq!(file.inputs()[0].shape.to_string(), "[N, Steps, 6]");
    let Output::Computed(output) = &file.outputs()[0] else { panic!("{:?}", file.outputs()) };
    assert_eq!(output.shape.to_string(), "[N, 3]");
    // A first axis of size 1 is left out: the network takes any number of images.
    let file = load("upsampling");
    let dims: Vec<String> = file.inputs()[0].dims.iter().map(ToString::to_string).collect();
    assert_eq!(
        (dims.join(" "), file.inputs()[0].shape.to_string()),
        ("1 1 6 5".into(), "[N, 1, 6, 5]".into())
    );
    // Sizes can be fixed.
    let options = ImportOptions::new().size("batch", 2).size("steps", 4);
    let file = OnnxModel::load(path("gru.onnx"), &options).unwrap();
    assert_eq!(file.inputs()[0].shape.to_string(), "[N, 2, 4, 6]");
    let expected = tensor("gru", "output");
    let model = file.into_model(&Options::default()).unwrap();
    let input = tensor("gru", "input").to_shape(IxDyn(&[1, 2, 4, 6])).unwrap().to_owned();
    let output = model.forward(&input).unwrap().single().unwrap();
    for (got, expected) in output.iter().zip(&expected) {
        assert!((got - expected).abs() < 1e-6, "{got} instead of {expected}");
    }
}

#[test]
fn imported_networks_train() {
    let file = load("cnn");
    let names = file.parameters().names();
    assert!(names.iter().any(|name| name.ends_with("running_mean")), "{names:?}");
    let input = tensor("cnn", "input");
    let model = file.into_model(&Options::default()).unwrap();
    let before = model.parameters().clone();
    let schedule = Some(Schedule::constant(0.02).unwrap());
    let options = TrainerOptions::default().optimizer(Optimizer::adam()).schedule(schedule);
    let mut trainer = Trainer::new(model, options).unwrap();
    let losses: Vec<f32> = (0..30).map(|_| trainer.step(&input, &[1, 3]).unwrap().loss).collect();
    assert!(losses[29] < 0.5 * losses[0], "{losses:?}");
    let after = trainer.model().parameters();
    assert!(
        before.names().iter().all(|name| before.get(name) != after.get(name)),
        "every parameter and state changes"
    );
}

#[test]
fn everything_that_is_not_supported_is_told_at_once() {
    let bytes = std::fs::read(path("transformer.onnx")).unwrap();
    let bytes = replaced(replaced(bytes, b"Gelu", b"Gely"), b"Transpose", b"Transpoze");
    let Err(Error::Onnx(error)) = OnnxModel::from_bytes(&bytes, &ImportOptions::new()) else {
        panic!("it is imported");
    };
    // What depends on these is left out.
    let problems = error.problems();
    assert!(problems.iter().all(|problem| problem.reason == Reason::Operator), "{problems:?}");
    assert!(problems.iter().any(|problem| problem.operator == "Transpoze"), "{problems:?}");
    assert!(error.to_string().contains("the operator is not supported"), "{error}");
}

#[test]
fn wrong_options_and_files_are_refused() {
    let told = |options: &ImportOptions| match OnnxModel::load(path("cnn.onnx"), options) {
        Err(Error::Onnx(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let error = told(&ImportOptions::new().value("y", &[1], vec![0.0]));
    assert!(error.contains("the option for `y` names no input of the model"), "{error}");
    let error = told(&ImportOptions::new().size("bach", 2));
    assert!(error.contains("the option for `bach` names no axis of an input; they are batch"), "{error}");
    let error = told(&ImportOptions::new().size("batch", 0));
    assert!(error.contains("the option for `batch` is 0, but sizes are at least 1"), "{error}");
    let error = told(&ImportOptions::new().shape("y", &[1]));
    assert!(error.contains("the option for `y` names no input of the model"), "{error}");
    let error = told(&ImportOptions::new().shape("input", &[0]));
    assert!(error.contains("the option for `input` has the sizes [0], but sizes are at least 1"), "{error}");
    let error = told(&ImportOptions::new().shape("input", &[2]));
    assert!(
        error.contains("the option for `input` has the sizes [2], but the input has [batch, "),
        "{error}"
    );
    let error = told(&ImportOptions::new().value("input", &[2, 3], vec![0.0]));
    assert!(error.contains("the option for `input` has 1 elements for the sizes [2, 3]"), "{error}");
    let error = told(&ImportOptions::new().value("input", &[1, 3, 2, 2], vec![0.0; 12]));
    assert!(error.contains("has the sizes [1, 3, 2, 2], but the input has [batch, 3, 17, 15]"), "{error}");
    let missing = OnnxModel::load(path("none.onnx"), &ImportOptions::new());
    assert!(matches!(missing, Err(Error::Onnx(error)) if matches!(*error, ImportError::Read { .. })));
    let text = OnnxModel::load(path("cnn.safetensors"), &ImportOptions::new());
    assert!(matches!(text, Err(Error::Onnx(error)) if matches!(*error, ImportError::Format { .. })));
}

#[test]
fn a_path_gives_a_model() {
    let model = Model::from_onnx(path("cnn.onnx")).unwrap();
    assert_eq!(model.forward(&tensor("cnn", "input")).unwrap().single().unwrap().shape(), [2, 5]);
}
