//! Models whose outputs are results of layers.

use windlass::{Dynamic, Feed, Model, network};

use crate::support::numbers::{Outcome, bits, noise};
use crate::support::serial;

network! {
    block residual(channels) {
        let skip = it;
        conv2d(channels, kernel_size = 3, padding = 1); n: batch_norm; relu;
        add(skip)
    }

    network Declared(image: [2, 6, 6], hint: [3]) -> (class: [3], place: [2]) {
        from(image); c1: conv2d(4, kernel_size = 3, padding = 1); a1: relu;
        body: repeat 2 { residual(4) }
        p1: max_pool2d(2); flatten; h1: linear(3); add(hint); let seen = it;
        class = it;
        from(seen); linear(2); place = it;
    }

    network Recurrent(frames: [T, 2]) -> [3] { r1: lstm(4); last_step; f1: linear(3) }
}

#[test]
fn they_are_what_the_layers_compute() -> Outcome {
    let model = Model::<Declared>::with_options(4, &serial())?;
    let (image, hint) = (noise(144, 1), noise(6, 2));
    let labels = ["a1", "c1", "body", "body.1", "body.0.residual1.n", "p1", "class", "place"];
    let layers = model.with_outputs(labels)?;
    let inputs = [("image", Feed::from(&image)), ("hint", Feed::from(&hint))];
    let outputs = layers.forward(inputs)?;
    let own = model.forward(DeclaredInputs::new(&image, &hint))?;
    assert_eq!(bits(outputs.get("class")?), bits(&own.class));
    assert_eq!(bits(outputs.get("place")?), bits(&own.place));
    assert_eq!(outputs.get("a1")?, &outputs.get("c1")?.mapv(|x| x.max(0.0)));
    assert_eq!(outputs.get("body")?, outputs.get("body.1")?);
    assert_eq!(outputs.get("body.0.residual1.n")?.shape(), [2, 4, 6, 6]);
    assert_ne!(outputs.get("body.0.residual1.n")?, outputs.get("body")?);
    let body = outputs.get("body")?;
    for (place, pooled) in outputs.get("p1")?.indexed_iter() {
        let (sample, channel, row, column) = (place[0], place[1], 2 * place[2], 2 * place[3]);
        let window =
            [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(y, x)| body[[sample, channel, row + y, column + x]]);
        assert_eq!(*pooled, window.into_iter().fold(f32::MIN, f32::max));
    }
    // A copy: what the model learns later does not change it.
    assert_eq!(layers.parameters(), model.parameters());
    Ok(())
}

#[test]
fn layers_behind_the_outputs_do_not_run() -> Outcome {
    let model = Model::<Declared>::with_options(4, &serial())?;
    let first = model.with_outputs(["c1"])?;
    assert!(first.program().run_steps().len() < model.program().run_steps().len());
    let (image, hint) = (noise(72, 1), noise(3, 2));
    let outputs = first.forward([("image", Feed::from(&image)), ("hint", Feed::from(&hint))])?;
    assert_eq!(outputs.single()?.shape(), [1, 4, 6, 6]);
    Ok(())
}

#[test]
fn of_recurrent_layers_and_of_models_of_dynamic_networks() -> Outcome {
    let model = Model::<Recurrent>::with_options(4, &serial())?;
    let dynamic = Model::of_parameters(
        Dynamic::new(Recurrent::graph().clone())?,
        model.parameters().clone(),
        &serial(),
    )?;
    let frames = ndarray::Array3::from_shape_vec((2, 5, 2), noise(20, 3))?;
    let layers = dynamic.with_outputs(["r1", "last_step1", "output"])?;
    let outputs = layers.forward(&frames)?;
    let (states, last) = (outputs.get("r1")?, outputs.get("last_step1")?);
    assert_eq!(states.shape(), [2, 5, 4]);
    assert_eq!(states.index_axis(ndarray::Axis(1), 4), last.view());
    assert_eq!(bits(outputs.get("output")?), bits(&model.forward(&frames)?));
    Ok(())
}

#[test]
fn names_that_there_are_not() -> Outcome {
    let model = Model::<Recurrent>::with_options(4, &serial())?;
    let error = |names: &[&str]| model.with_outputs(names).unwrap_err().to_string();
    assert_eq!(
        error(&["r2"]),
        "`Recurrent` has no layer or output `r2` (did you mean `r1`?); it has `r1`, `last_step1`, `f1`, `output`"
    );
    assert_eq!(
        error(&["classes"]),
        "`Recurrent` has no layer or output `classes`; it has `r1`, `last_step1`, `f1`, `output`"
    );
    assert!(error(&["f1", "f1"]).contains("f1"));
    assert!(error(&[]).contains("no output"), "{}", error(&[]));
    Ok(())
}
