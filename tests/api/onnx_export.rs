//! Models as ONNX files: imported again they have the same outputs; and what users are told.

use std::collections::BTreeSet;

use tempfile::TempDir;
use windlass::onnx::{ExportError, export};
use windlass::{Dynamic, Error, Graph, Model, Parameters};

use crate::support::numbers::{Outcome, noise};
use crate::support::sequences::{difference, drawn, networks, outputs_of, sizes_of};

fn parameters(graph: &Graph) -> BTreeSet<String> {
    graph.parameters().map(|(_, parameter)| parameter.name.clone()).collect()
}

#[test]
fn networks_on_sequences_return_from_onnx() -> Outcome {
    let folder = TempDir::new()?;
    let path = folder.path().join("net.onnx");
    for (name, graph) in networks() {
        let inputs = drawn(&graph, &sizes_of(&graph), noise);
        let model = Dynamic::new(graph)?.model(1)?;
        model.to_onnx(&path)?;
        let again = Model::from_onnx(&path)?;
        assert_eq!(parameters(model.network().graph()), parameters(again.network().graph()), "{name}");
        let outputs = outputs_of(&model, &inputs)?;
        for ((output, expected), (found, values)) in outputs.iter().zip(&outputs_of(&again, &inputs)?) {
            assert_eq!(output, found, "{name}");
            assert!(expected.iter().any(|number| *number != 0.0), "{name}");
            // Passes may order sums in another way.
            let most = difference(expected, values);
            assert!(most < 1e-6, "{name}: {output} differs by {most}");
        }
    }
    Ok(())
}

#[test]
fn graphs_that_cannot_be_exported_leave_no_file() -> Outcome {
    let folder = TempDir::new()?;
    let path = folder.path().join("net.onnx");
    let text = r#"graph net {
      %0 = input {name = "x", type = "f32[N, 4]"}
      %1 = binary(%0, %0) {kind = "sigmoid_grad"} @gate
      %2 = softmax_grad(%0, %0) @scores
      output "y" = %1
      output "z" = %2
    }"#;
    let graph: Graph = text.parse()?;
    let parameters = Parameters::initialized(&graph, 1)?;
    let Err(Error::OnnxExport(error)) = export(&graph, &parameters, &path) else { panic!("it was exported") };
    assert!(matches!(&*error, ExportError::Operators { problems } if problems.len() == 2));
    let text = error.to_string();
    assert!(text.contains("`binary` of the layer `gate`: it is a gradient"), "{text}");
    assert!(text.contains("`softmax_grad` of the layer `scores`: ONNX has no such operator"), "{text}");
    assert!(!path.exists());
    let absent = export(
        &"graph net {
      %0 = input {name = \"x\", type = \"f32[N, 4]\"}
      %1 = softmax(%0)
      output \"y\" = %1
    }"
        .parse()?,
        &parameters,
        folder.path().join("absent/net.onnx"),
    );
    assert!(matches!(absent, Err(Error::Io { action: "write", .. })));
    Ok(())
}
