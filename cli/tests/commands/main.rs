//! Every command as a user runs it: its output, its files and its errors.

mod gradients;
mod report;
mod tuning;

use std::path::Path;
use std::process::{Command, Output};

use ndarray::{ArrayD, IxDyn};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};
use tempfile::TempDir;
use windlass::{Dynamic, Trainer, TrainerOptions};

const NETWORK: &str = r#"graph tagger {
  %t = input {name = "tokens", type = "i32[N, T]"}
  %e = parameter {name = "e.weight", shape = "[7, 5]", init = "xavier_uniform"}
  %x = gather(%e, %t) {rows = 7}
  %f = reshape(%x) {shape = "[N*T, 5]"}
  %w = parameter {name = "f.weight", shape = "[3, 5]", init = "xavier_uniform"}
  %y = linear(%f, %w)
  %u = reshape(%y) {shape = "[N, T, 3]"}
  output "tags" = %u
}"#;

/// A folder with a network, and the command line run in it.
struct Fixture(TempDir);

impl Fixture {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("tagger.graph"), NETWORK).unwrap();
        Fixture(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, arguments: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_windlass"))
            .args(arguments.split(' '))
            .current_dir(self.path())
            .output()
            .unwrap()
    }

    /// What a command prints, which must succeed.
    #[track_caller]
    fn prints(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    #[track_caller]
    fn refuses(&self, arguments: &str, message: &str) {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(message), "{errors}");
        assert!(!errors.contains("panicked"), "{errors}");
    }

    fn write_tokens(&self, tokens: &[i32]) {
        let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::I32, vec![1, tokens.len()], &bytes).unwrap();
        std::fs::write(self.path().join("in.safetensors"), serialize([("tokens", view)], None).unwrap())
            .unwrap();
    }

    fn tags(&self) -> ArrayD<f32> {
        let bytes = std::fs::read(self.path().join("out.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensor = file.tensor("tags").unwrap();
        let numbers = tensor.data().chunks(4).map(|word| f32::from_le_bytes(word.try_into().unwrap()));
        ArrayD::from_shape_vec(IxDyn(tensor.shape()), numbers.collect()).unwrap()
    }
}

#[test]
fn networks_are_described() {
    let fixture = Fixture::new();
    let text = fixture.prints("summary tagger.graph --details");
    assert!(text.contains("receptive field") && text.contains("[N, T, 5]"), "{text}");
    for (stage, words) in
        [("graph", "gather"), ("plan", "memory (bytes)"), ("kernels", "a row for each index")]
    {
        let text = fixture.prints(&format!("dump tagger.graph --stage {stage}"));
        assert!(text.contains(words), "{stage}: {text}");
    }
    assert!(fixture.prints("--help").contains("windlass verify lenet.graph"));
}

#[test]
fn both_engines_run() {
    let fixture = Fixture::new();
    fixture.write_tokens(&[0, 6, 3, 3]);
    let results = ["compiled", "interpreter"].map(|engine| {
        let printed = fixture.prints(&format!(
            "run tagger.graph --inputs in.safetensors --outputs out.safetensors --seed 4 --engine {engine}"
        ));
        assert_eq!(printed, "tags [1, 4, 3]\n");
        fixture.tags()
    });
    assert!((&results[0] - &results[1]).iter().all(|difference| difference.abs() < 1e-6));
    assert_eq!(results[0].index_axis(ndarray::Axis(1), 2), results[0].index_axis(ndarray::Axis(1), 3));
    assert!(fixture.prints("run tagger.graph --inputs in.safetensors").starts_with("tags [1, 4, 3]\n[[["));
}

/// A checkpoint holds its network: nothing else is needed.
#[test]
fn checkpoints_run_alone() {
    let fixture = Fixture::new();
    fixture.write_tokens(&[0, 6, 3]);
    let network = Dynamic::new(NETWORK.parse().unwrap()).unwrap();
    let model = network.model(4).unwrap();
    model.save(fixture.path().join("model.safetensors")).unwrap();
    let options = TrainerOptions::default();
    Trainer::new(model, options).unwrap().save(fixture.path().join("training.safetensors")).unwrap();
    fixture.prints("run tagger.graph --seed 4 --inputs in.safetensors --outputs out.safetensors");
    let expected = fixture.tags();
    for file in ["model", "training"] {
        for engine in ["compiled", "interpreter"] {
            fixture.prints(&format!(
                "run {file}.safetensors --inputs in.safetensors --outputs out.safetensors --engine {engine}"
            ));
            assert!((fixture.tags() - &expected).iter().all(|difference| difference.abs() < 1e-6));
        }
    }
    assert!(fixture.prints("summary training.safetensors").contains("[N, T, 3]"));
    fixture.refuses("summary in.safetensors", "no graph of their network");
}

#[test]
fn compiled_code_is_verified_and_timed() {
    let fixture = Fixture::new();
    let text = fixture.prints("verify tagger.graph --batch 3 --size T=11");
    assert!(text.contains("128 bits, baseline: `tags` differs by "), "{text}");
    fixture.refuses("verify tagger.graph --tolerance=-1", "compiled code differs from the interpreter");
    assert!(fixture.prints("bench tagger.graph --seconds 0.01 --threads 1").contains("median"));
    assert!(fixture.prints("profile tagger.graph --seconds 0.01").contains("linear"));
}

#[test]
fn shells_complete() {
    let fixture = Fixture::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = fixture.prints(&format!("completions {shell}"));
        assert!(script.contains("vector-bits") && script.contains("profile"), "{shell}: {script}");
    }
    fixture.refuses("completions cobol", "bash");
}

/// The texts of an image, which must be well-formed.
fn texts_of(image: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(image).unwrap_or_else(|error| panic!("{error}\n{image}"));
    assert!(document.root_element().has_tag_name(("http://www.w3.org/2000/svg", "svg")));
    document
        .descendants()
        .filter(|node| node.has_tag_name("text"))
        .filter_map(|node| Some(node.text()?.to_owned()))
        .collect()
}

#[test]
fn layers_are_drawn() {
    let fixture = Fixture::new();
    let draw = |arguments: &str| {
        fixture.prints(&format!("plot {arguments} -o net.svg"));
        texts_of(&std::fs::read_to_string(fixture.path().join("net.svg")).unwrap())
    };
    let shares = |texts: &[String]| -> f64 {
        let shares = texts.iter().filter_map(|text| text.strip_suffix(" %")?.parse::<f64>().ok());
        shares.sum()
    };
    let texts = draw("tagger.graph --runs 3 --batch 2 --size T=40");
    for expected in ["tagger", "tokens", "gather", "linear", "reshape", "tags", "i32[N, T]", "[N, T, 3]"] {
        assert!(texts.iter().any(|text| text.contains(expected)), "{expected}: {texts:?}");
    }
    // Rounded to a tenth of a percent each.
    assert!((shares(&texts) - 100.0).abs() < 1.0, "{texts:?}");
    assert_eq!(shares(&draw("tagger.graph --no-profile")), 0.0);

    let awkward = NETWORK.replace("%y = linear(%f, %w)", r#"%y = linear(%f, %w) @"a < \"b\" & c\u0001""#);
    std::fs::write(fixture.path().join("awkward.graph"), awkward).unwrap();
    let texts = draw("awkward.graph --runs 1");
    assert!(texts.iter().any(|text| text == "a < \"b\" & c\u{fffd}"), "{texts:?}");
    fixture.refuses("plot tagger.graph -o absent/net.svg", "could not write absent/net.svg");
    fixture.refuses("plot tagger.graph -o net.svg --runs 0", "--runs");
}

/// Every layer of imported models is drawn, with its label.
#[test]
fn imported_models_are_drawn() {
    let fixture = Fixture::new();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/onnx");
    for name in ["cnn", "gru", "lstm", "transformer", "upsampling"] {
        let model = models.join(format!("{name}.onnx"));
        fixture.prints(&format!("plot {} --no-profile -o net.svg", model.display()));
        let texts = texts_of(&std::fs::read_to_string(fixture.path().join("net.svg")).unwrap());
        let model = windlass::onnx::OnnxModel::load(&model, &windlass::onnx::ImportOptions::new()).unwrap();
        for row in model.network().summary().rows {
            assert!(
                texts.iter().any(|text| text.contains(&row.label) && !row.operators.is_empty()),
                "{name}: {}",
                row.label
            );
        }
    }
}

#[test]
fn inputs_of_models_get_sizes_and_values() {
    let fixture = Fixture::new();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/onnx/cnn.onnx");
    let summary = |options: &str| format!("summary {} {options}", model.display());
    assert!(fixture.prints(&summary("--shape input=1x3x17x15")).contains("[N, "));
    fixture.refuses(&summary("--shape input=1x3"), "has the sizes [1, 3], but the input has [batch, ");
    fixture.refuses(&summary("--shape image=1x3"), "names no input of the model; they are input");
    fixture.refuses(&summary("--shape input=1x0"), "`input=1x0` has no sizes; write `image=1x3x224x224`");
    fixture.refuses(&summary("--value rate=fast"), "`rate=fast` has no numbers; write `sr=16000`");
    fixture.refuses(&summary("--value rate=16000"), "the option for `rate` names no input of the model");
    fixture.refuses("summary tagger.graph --value rate=1", "`--value rate` is for ONNX models");
    fixture.refuses("summary tagger.graph --shape tokens=1x2", "`--shape tokens` is for ONNX models");
}

#[test]
fn networks_are_converted() {
    let fixture = Fixture::new();
    let text = fixture.prints("convert tagger.graph -o tagger.onnx --seed 3");
    assert!(text.contains("tagger.onnx"), "{text}");
    let summaries = ["graph", "onnx"].map(|kind| fixture.prints(&format!("summary tagger.{kind}")));
    let total = |text: &str| text.lines().last().map(str::to_owned);
    assert_eq!(total(&summaries[0]), total(&summaries[1]), "{summaries:?}");
    fixture.refuses("convert tagger.graph -o absent/tagger.onnx", "could not write absent/tagger.onnx");
}

#[test]
fn objects_are_built() {
    let fixture = Fixture::new();
    let text = fixture.prints("build tagger.graph -o built --name tags --vector-bits 128");
    assert_eq!(text.lines().count(), 5, "{text}");
    for file in ["tags.o", "tags.h", "tags.rs", "tags.weights", "tags.json"] {
        assert!(fixture.path().join("built").join(file).exists(), "{file}");
    }
    fixture.prints("build tagger.graph -o inside --embed --platform x86_64-apple-darwin");
    assert!(!fixture.path().join("inside/tagger.weights").exists());
    fixture.prints("build tagger.graph -o arm --platform aarch64-unknown-linux-gnu");
}

#[test]
fn objects_train() {
    let fixture = Fixture::new();
    let text = fixture.prints("build tagger.graph -o built --name tags --train adam --clip-norm 1");
    assert!(text.contains("tags.state") && !text.contains("tags.weights"), "{text}");
    let export = "export tagger.graph --state built/tags.state --train adam";
    let text = fixture.prints(&format!("{export} --clip-norm 1 -o first.safetensors"));
    assert!(text.contains("parameters after 0 steps"), "{text}");
    fixture.prints("build tagger.graph -o again --weights first.safetensors");
    fixture.refuses(&format!("{export} -o first.safetensors"), "another network, loss or optimiser");
    fixture.refuses("export tagger.graph --state built/tags.state -o x", "say how the object trains");
    fixture.refuses("build tagger.graph -o built --loss huber", "--train");
    fixture.prints("build tagger.graph -o shared --threads 2 --train sgd");
    fixture.refuses("build tagger.graph -o shared --threads 0", "threads");
}

#[test]
fn mistakes_are_explained() {
    let fixture = Fixture::new();
    fixture.refuses("summary absent.graph", "could not read absent.graph");
    std::fs::write(fixture.path().join("broken.graph"), "graph {").unwrap();
    fixture.refuses("summary broken.graph", "could not read a graph from broken.graph");
    fixture.refuses("bench tagger.graph --size S=3", "no input of `tagger` has the size S");
    fixture.refuses("bench tagger.graph --size T=0", "write `T=35`");
    fixture.refuses("bench tagger.graph --batch 100000 --size T=2000000000", "more than 2^28");
    fixture.refuses("bench tagger.graph --size T=99999999999", "write `T=35`");
    fixture.refuses("bench tagger.graph --vector-bits 99", "128, 256, 512");
    fixture.refuses("build tagger.graph -o built --name 9", "no C identifier");
    fixture.refuses("build tagger.graph -o built --platform pdp11", "pdp11");
    fixture.refuses("run tagger.graph --inputs tagger.graph", "could not read tagger.graph");
    fixture.refuses("summary tagger.graph --weights x", "unexpected argument");
    fixture.write_tokens(&[0, 7]);
    fixture.refuses("run tagger.graph --inputs in.safetensors", "7");
    fixture
        .refuses("run tagger.graph --inputs in.safetensors --engine interpreter", "has 7, but takes 0 to 6");
    fixture.refuses("run tagger.graph --inputs in.safetensors --weights in.safetensors", "e.weight");
}
