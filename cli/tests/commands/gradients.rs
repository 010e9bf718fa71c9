//! `windlass grad`.

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};

use super::Fixture;

const POINTS: &str = r#"graph points {
  %x = input {name = "x", type = "f32[N, 2]"}
  %w = parameter {name = "f.weight", shape = "[1, 2]", init = "xavier_uniform"}
  %y = linear(%x, %w)
  output "y" = %y
}"#;

impl Fixture {
    pub(super) fn write(&self, file: &str, tensors: &[(&str, &[usize], &[f32])]) {
        let bytes: Vec<Vec<u8>> = tensors
            .iter()
            .map(|(_, _, numbers)| numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
            .collect();
        let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
            (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap())
        });
        std::fs::write(self.path().join(file), serialize(views, None).unwrap()).unwrap();
    }

    /// Integers in the file `integers.safetensors`.
    fn write_integers(&self, tensors: &[(&str, &[usize], &[i32])]) {
        let bytes: Vec<Vec<u8>> = tensors
            .iter()
            .map(|(_, _, numbers)| numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
            .collect();
        let views = tensors.iter().zip(&bytes).map(|((name, dims, _), bytes)| {
            (*name, TensorView::new(Dtype::I32, dims.to_vec(), bytes).unwrap())
        });
        std::fs::write(self.path().join("integers.safetensors"), serialize(views, None).unwrap()).unwrap();
    }

    fn read(&self, file: &str, name: &str) -> (Vec<usize>, Vec<f32>) {
        let bytes = std::fs::read(self.path().join(file)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensor = file.tensor(name).unwrap();
        let words = tensor.data().chunks(4).map(|word| f32::from_le_bytes(word.try_into().unwrap()));
        (tensor.shape().to_vec(), words.collect())
    }
}

/// The loss ½·Σ(y − t)² of two points, by hand.
#[test]
fn both_engines_have_the_gradients() {
    let fixture = Fixture::new();
    std::fs::write(fixture.path().join("points.graph"), POINTS).unwrap();
    fixture.write("w.safetensors", &[("f.weight", &[1, 2], &[2.0, -1.0])]);
    fixture.write("x.safetensors", &[("x", &[2, 2], &[1.0, 3.0, 0.0, 2.0])]);
    fixture.write("t.safetensors", &[("target", &[2, 1], &[0.0, 0.0])]);
    // The outputs are −1 and −2; the slope of their mean square is the output itself.
    for engine in ["compiled", "interpreter"] {
        let text = fixture.prints(&format!(
            "grad points.graph --weights w.safetensors --inputs x.safetensors --targets t.safetensors \
             --loss mean-squared-error --engine {engine} --check -o g.safetensors"
        ));
        assert!(text.starts_with("points: loss 2.500000\n"), "{text}");
        assert!(text.contains("agree with central differences"), "{text}");
        assert_eq!(fixture.read("g.safetensors", "f.weight"), (vec![1, 2], vec![-1.0, -7.0]));
        assert_eq!(fixture.read("g.safetensors", "x"), (vec![2, 2], vec![-2.0, 1.0, -4.0, 2.0]));
        assert_eq!(fixture.read("g.safetensors", "loss"), (vec![], vec![2.5]));
    }
}

#[test]
fn gradients_of_drawn_batches_are_checked() {
    let fixture = Fixture::new();
    let text = fixture.prints("grad tagger.graph --batch 2 --size T=5 --check --samples 9");
    assert!(text.contains("e.weight  ") && text.contains("[7, 5]"), "{text}");
    assert!(!text.contains("tokens"), "{text}");
    for loss in ["negative-log-likelihood", "huber", "kl-divergence"] {
        fixture.prints(&format!("grad tagger.graph --loss {loss} --engine interpreter"));
    }
    fixture.refuses("grad tagger.graph --check --tolerance=-1", "differs from central differences by");
}

/// The loss of sequences of labels: drawn ones agree with differences, and both engines agree for those in a file.
#[test]
fn gradients_of_the_ctc_loss_are_checked() {
    let fixture = Fixture::new();
    let drawn = "grad tagger.graph --loss ctc --batch 3 --size T=9 --engine interpreter --check";
    assert!(fixture.prints(drawn).contains("agree with central differences"));
    fixture.write_integers(&[
        ("labels", &[1, 2], &[1, 2]),
        ("label_lengths", &[1], &[2]),
        ("step_lengths", &[1], &[6]),
    ]);
    let losses = ["compiled", "interpreter"].map(|engine| {
        let text = fixture.prints(&format!(
            "grad tagger.graph --loss ctc --targets integers.safetensors --engine {engine} -o {engine}.safetensors"
        ));
        let loss = text.lines().next().unwrap().rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        assert!(loss.is_finite() && loss > 0.0, "{text}");
        loss
    });
    assert!((losses[0] - losses[1]).abs() < 1e-5, "{losses:?}");
}

#[test]
fn mistakes_in_targets_are_explained() {
    let fixture = Fixture::new();
    std::fs::write(fixture.path().join("points.graph"), POINTS).unwrap();
    fixture.write("x.safetensors", &[("x", &[2, 2], &[0.0; 4]), ("target", &[3, 1], &[0.0; 3])]);
    let grad = "grad points.graph --loss huber --inputs x.safetensors --targets";
    fixture.refuses(
        &format!("{grad} x.safetensors"),
        "`target` has the shape [3, 1], but the network takes [N, 1] with N = 2",
    );
    fixture.refuses(&format!("{grad} absent.safetensors"), "could not read absent.safetensors");
    fixture.write("t.safetensors", &[("labels", &[2], &[0.0; 2])]);
    fixture.refuses(&format!("{grad} t.safetensors"), "it has no `target` of shape [N, 1], but labels");
    fixture.write("t.safetensors", &[("labels", &[1, 8], &[0.0; 8])]);
    fixture
        .refuses("grad tagger.graph --targets t.safetensors", "`labels` has numbers of F32, but takes I32");
    fixture.refuses("grad points.graph --loss ctc", "logits for each step");
    fixture.write_integers(&[
        ("labels", &[1, 2], &[1, 3]),
        ("label_lengths", &[1], &[2]),
        ("step_lengths", &[1], &[8]),
    ]);
    let ctc = "grad tagger.graph --loss ctc --targets integers.safetensors";
    fixture.refuses(ctc, "`labels` has 3, but takes 0 to 2");
    fixture.write_integers(&[
        ("labels", &[1, 2], &[1, 2]),
        ("label_lengths", &[1], &[3]),
        ("step_lengths", &[1], &[8]),
    ]);
    fixture.refuses(ctc, "`label_lengths` has 3, but takes 0 to 2");
    fixture.write_integers(&[
        ("labels", &[1, 2], &[1, 0]),
        ("label_lengths", &[1], &[2]),
        ("step_lengths", &[1], &[8]),
    ]);
    fixture.refuses(ctc, "blank");
    fixture.refuses("grad points.graph --loss-output z", "z");
    fixture.refuses("grad points.graph --samples 3", "--check");
}
