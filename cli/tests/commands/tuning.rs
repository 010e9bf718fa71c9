//! `windlass tune`.

use super::Fixture;

const IMAGES: &str = r#"graph images {
  %x = input {name = "x", type = "f32[N, 8, 12, 12]"}
  %w = parameter {name = "c.weight", shape = "[16, 8, 3, 3]", init = "xavier_uniform"}
  %y = conv(%x, %w) {kernel_size = [3, 3], stride = [1, 1], padding = [1, 1], dilation = [1, 1], groups = 1}
  output "y" = %y
}"#;

#[test]
fn algorithms_are_measured_and_used() {
    let fixture = Fixture::new();
    std::fs::write(fixture.path().join("images.graph"), IMAGES).unwrap();
    let text = fixture.prints("tune images.graph --batch 2 --threads 1 --budget 200ms -o tuning.json");
    assert!(text.starts_with("conv") && text.ends_with("tuning.json\n"), "{text}");
    let text = fixture.prints("tune images.graph --batch 2 --threads 1 --budget 0s -o tuning.json");
    assert!(!text.contains("µs"), "measured again: {text}");
    let run = "images.graph --batch 2 --threads 1 --seconds 0.01 --tuned tuning.json";
    assert!(fixture.prints(&format!("bench {run}")).contains("median"));
    assert!(fixture.prints(&format!("profile {run}")).contains("conv"));
    let note = "tuning.json has no results for this network, batch of 7";
    assert!(!fixture.prints(&format!("bench {run}")).contains("has no results"));
    for command in ["report", "plot"] {
        let page =
            format!("{command} images.graph --runs 1 --batch 2 --threads 1 --tuned tuning.json -o page");
        assert_eq!(fixture.prints(&page), "page\n");
    }
    fixture.write("x.safetensors", &[("x", &[2, 8, 12, 12], &[0.5; 2304])]);
    let predicted =
        "run images.graph --threads 1 --inputs x.safetensors --outputs y.safetensors --tuned tuning.json";
    assert_eq!(fixture.prints(predicted), "y [2, 16, 12, 12]\n");
    // Measured for one thread, as objects have.
    let built = fixture.prints("build images.graph --batch 2 --tuned tuning.json -o object");
    assert!(built.contains("images.o") && !built.contains("has no results"), "{built}");
    let built = fixture.prints("build images.graph --tuned tuning.json -o object");
    assert!(built.contains("tuning.json has no results for this network, batch of 1"), "{built}");
    let other = run.replace("--batch 2", "--batch 7");
    assert!(fixture.prints(&format!("bench {other}")).contains(note));
}

#[test]
fn mistakes_in_tuning_are_explained() {
    let fixture = Fixture::new();
    let text = fixture.prints("tune tagger.graph -o tuning.json");
    assert!(text.contains("no convolution with a choice"), "{text}");
    fixture.refuses("tune tagger.graph --budget soon", "write `2s` or `500ms`");
    for command in ["bench", "plot -o page", "report -o page", "build -o object"] {
        let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
        let command = format!("{name} tagger.graph {rest} --tuned absent.json").replace("  ", " ");
        fixture.refuses(&command, "windlass tune NETWORK -o absent.json");
    }
    std::fs::write(fixture.path().join("images.graph"), IMAGES).unwrap();
    std::fs::write(fixture.path().join("broken.json"), "{").unwrap();
    fixture.refuses("bench images.graph --tuned broken.json", "holds no measurements");
}
