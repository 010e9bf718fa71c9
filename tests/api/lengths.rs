//! Lengths of padded sequences: what models, predictors, trainers and streams refuse, and carried states that cannot begin
//! with zeros.

use ndarray::{Array3, Axis, array};
use windlass::text::pad;
use windlass::{
    AttentionMask, Binding, Builder, Cell, DType, Dim, Dynamic, DynamicInputs, Error, Feed, Graph,
    GraphError, Layer, Loss, OutsideSteps, Recurrent, RecurrentOperands, RnnActivation, ScanOperands,
    ScanOutputs, Symbol, Trainer, TrainerOptions, with_states,
};

use crate::support::numbers::{Outcome, all_bits, noise};

fn rnn(units: usize) -> Recurrent {
    Recurrent::new(Cell::Rnn { activation: RnnActivation::Tanh }, units)
}

/// A recurrent layer, and attention if asked for, on padded sequences of any or a fixed length.
fn padded(steps: Dim, attention: bool) -> Result<Graph, GraphError> {
    let mut builder = Builder::new("Padded");
    let x = builder.input_of("x", DType::F32, [steps, Dim::from(3)])?;
    let lengths = builder.input_of("lengths", DType::I32, [])?;
    let operands = RecurrentOperands { initial: &[], lengths: Some(lengths) };
    let mut y = builder.recurrent("r", &rnn(4), x, &operands)?.sequence;
    if attention {
        let mask = AttentionMask { causal: false, lengths: Some(lengths) };
        y = builder.attention("a", [y, y, y], &mask)?;
    }
    let y = builder.layer("f", &Layer::linear(2), y)?;
    builder.output("y", y)?;
    builder.finish()
}

fn open() -> Dim {
    Dim::from("T".parse::<Symbol>().unwrap())
}

fn frames(samples: usize, steps: usize) -> Array3<f32> {
    Array3::from_shape_vec((samples, steps, 3), noise(samples * steps * 3, 2)).unwrap()
}

fn inputs<'a>(x: &'a Array3<f32>, lengths: &'a [i32]) -> DynamicInputs<'a> {
    [("x", Feed::from(x)), ("lengths", Feed::from(lengths))].into_iter().collect()
}

#[test]
fn lengths_outside_the_steps_are_refused_before_anything_runs() -> Outcome {
    for (steps, attention) in [(open(), false), (open(), true), (Dim::from(7), true)] {
        let x = frames(3, 7);
        let model = Dynamic::new(padded(steps, attention)?)?.model(1)?;
        let good = model.forward(inputs(&x, &[7, 1, 4]))?.single()?;
        for (lengths, message) in [
            (
                [7, 8, 9],
                "length 8 at sample 1 of input `lengths` is outside 1 to 7, the steps of the sequences of `Padded`; pad the \
                 sequences to the longest",
            ),
            (
                [7, 7, 0],
                "length 0 at sample 2 of input `lengths` is outside 1 to 7, the steps of the sequences of `Padded`; leave out \
                 sequences without steps",
            ),
            (
                [i32::MIN, 7, 0],
                "length -2147483648 at sample 0 of input `lengths` is outside 1 to 7, the steps of the sequences of \
                 `Padded`; a length counts the steps before the padding",
            ),
        ] {
            let error = model.forward(inputs(&x, &lengths)).unwrap_err();
            assert_eq!(error.to_string(), message);
            assert!(matches!(error, Error::Length(OutsideSteps { least: 1, steps: 7, .. })));
            let mut y = vec![0.5; 42];
            assert!(matches!(model.forward_into(inputs(&x, &lengths), &mut [&mut y]), Err(Error::Length(_))));
            assert_eq!(y, [0.5; 42]);
            assert!(matches!(model.profile(inputs(&x, &lengths), 1), Err(Error::Length(_))));
        }
        let predictor = model.into_predictor()?;
        assert!(matches!(predictor.forward(inputs(&x, &[7, 8, 1])), Err(Error::Length(_))));
        assert_eq!(predictor.forward(inputs(&x, &[7, 1, 4]))?.single()?, good);
    }
    Ok(())
}

#[test]
fn a_refused_length_does_not_train() -> Outcome {
    let model = Dynamic::new(padded(open(), true)?)?.model(1)?;
    let options = TrainerOptions::default().loss(Loss::MeanSquaredError);
    let mut trainer = Trainer::new(model, options)?;
    let (x, target) = (frames(2, 5), Array3::<f32>::zeros((2, 5, 2)));
    let before = all_bits(trainer.model());
    for lengths in [[0, 5], [5, 6], [-1, 5]] {
        assert!(matches!(trainer.step(inputs(&x, &lengths), &target), Err(Error::Length(_))));
        assert!(matches!(trainer.find_non_finite(inputs(&x, &lengths), &target), Err(Error::Length(_))));
        assert!(matches!(trainer.profile(inputs(&x, &lengths), &target, 1), Err(Error::Length(_))));
    }
    assert_eq!((trainer.steps(), all_bits(trainer.model())), (0, before));
    assert!(trainer.step(inputs(&x, &[1, 5]), &target)?.loss.is_finite());
    Ok(())
}

#[test]
fn as_many_lengths_and_states_as_samples() -> Outcome {
    let model = Dynamic::new(padded(open(), false)?)?.model(1)?;
    let x = frames(3, 5);
    let told = |error: Error| error.to_string();
    assert_eq!(
        told(model.forward(inputs(&x, &[5, 5])).unwrap_err()),
        "the inputs of `Padded` differ in their batch size: `x` has 3, `lengths` has 2"
    );
    assert_eq!(
        told(model.forward([("x", Feed::from(&x)), ("lengths", Feed::from(&[5.0, 5.0, 5.0]))]).unwrap_err()),
        "the input `lengths` of `Padded` takes indices, of type i32, but receives numbers"
    );
    assert!(
        told(
            model.forward([("x", Feed::from(&x)), ("lengths", Feed::from(&array![[5, 5, 5]]))]).unwrap_err()
        )
        .starts_with("the input `lengths` of `Padded` needs an array of shape []")
    );

    let mut builder = Builder::new("Stateful");
    let sequence = builder.input_of("x", DType::F32, [open(), Dim::from(3)])?;
    let h = builder.input("h", &[4])?;
    let operands = RecurrentOperands { initial: &[h], lengths: None };
    let y = builder.recurrent("r", &rnn(4), sequence, &operands)?.sequence;
    builder.output("y", y)?;
    let model = Dynamic::new(builder.finish()?)?.model(1)?;
    let run = |h: &ndarray::Array2<f32>| model.forward([("x", Feed::from(&x)), ("h", Feed::from(h))]);
    assert!(run(&ndarray::Array2::zeros((3, 4))).is_ok());
    assert_eq!(
        told(run(&ndarray::Array2::zeros((3, 5))).unwrap_err()),
        "the input `h` of `Stateful` needs an array of shape [4], or a batch of these along a first axis, but receives [3, 5]"
    );
    assert_eq!(
        told(run(&ndarray::Array2::zeros((2, 4))).unwrap_err()),
        "the inputs of `Stateful` differ in their batch size: `x` has 3, `h` has 2"
    );

    // States of another size are refused where the layer is declared, and so are lengths of another kind.
    let mut builder = Builder::new("Wrong");
    let sequence = builder.input_of("x", DType::F32, [open(), Dim::from(3)])?;
    let h = builder.input("h", &[5])?;
    let operands = RecurrentOperands { initial: &[h], lengths: None };
    assert_eq!(
        builder.recurrent("r", &rnn(4), sequence, &operands).unwrap_err().to_string(),
        "`r` needs f32[N, 4] for its initial state but receives f32[N, 5]"
    );
    let operands = RecurrentOperands { initial: &[], lengths: Some(h) };
    assert_eq!(
        builder.recurrent("r", &rnn(4), sequence, &operands).unwrap_err().to_string(),
        "`r: mask` needs i32[N] for its lengths but receives f32[N, 5]"
    );
    Ok(())
}

/// The lengths of padded batches are those that layers take.
#[test]
fn padded_batches_have_the_lengths_that_layers_take() -> Outcome {
    let mut builder = Builder::new("Texts");
    let tokens = builder.input_of("tokens", DType::I32, [open()])?;
    let lengths = builder.input_of("lengths", DType::I32, [])?;
    let vectors = builder.layer("e", &Layer::embedding(9, 3), tokens)?;
    let operands = RecurrentOperands { initial: &[], lengths: Some(lengths) };
    let last = builder.recurrent("r", &rnn(4), vectors, &operands)?.last[0];
    builder.output("last", last)?;
    let model = Dynamic::new(builder.finish()?)?.model(3)?;
    let texts = [vec![4, 5, 6, 1], vec![7]];
    let batch = pad(&texts, 0)?;
    let both =
        model.forward([("tokens", Feed::from(&batch.tokens)), ("lengths", Feed::from(&batch.lengths))])?;
    for (index, text) in texts.iter().enumerate() {
        let own = pad(&[text], 0)?;
        let own =
            model.forward([("tokens", Feed::from(&own.tokens)), ("lengths", Feed::from(&own.lengths))])?;
        let difference =
            &own.single()?.index_axis(Axis(0), 0) - &both.get("last")?.index_axis(Axis(0), index);
        assert!(difference.iter().all(|difference| difference.abs() < 1e-6), "{difference}");
    }
    Ok(())
}

/// A sequence may end in a piece before the present one: then it has no steps in this piece, and keeps its state.
#[test]
fn pieces_of_a_stream_may_have_no_steps() -> Outcome {
    let model = Dynamic::new(padded(open(), false)?)?.model(1)?;
    let streaming = model.streaming()?;
    let mut stream = streaming.stream(2)?;
    let x = frames(2, 3);
    let x = Binding::Floats(x.as_slice().ok_or("contiguous")?);
    let mut y = [0.0; 12];
    let mut run = |lengths: &[i32]| {
        let Binding::Floats(x) = x else { return Err(Error::EmptyBatch { network: String::new() }) };
        let result = stream.run(&[Binding::Floats(x), Binding::Integers(lengths)], &mut [&mut y]);
        result.map(|()| stream.states()[0].clone())
    };
    let first = run(&[3, 2])?;
    let second = run(&[3, 0])?;
    assert_eq!(first[4..], second[4..]);
    assert_ne!(first[..4], second[..4]);
    for lengths in [[3, 4], [-1, 3]] {
        let error = run(&lengths).unwrap_err();
        assert!(matches!(error, Error::Length(OutsideSteps { least: 0, steps: 3, .. })), "{error}");
    }
    assert_eq!(run(&[0, 0])?, second);
    Ok(())
}

#[test]
fn streams_begin_with_zeros_only() -> Outcome {
    let graph = |value: f32| -> Result<Graph, GraphError> {
        let mut builder = Builder::new("Begun");
        let x = builder.input_of("x", DType::F32, [open(), Dim::from(3)])?;
        let h = builder.initial_state(x, &[3])?;
        let operands = ScanOperands { sequences: &[x], initial: &[h], ..ScanOperands::default() };
        let scanned = builder.scan("sum", operands, |body, inputs| {
            let h = body.add("", inputs.steps[0], inputs.carried[0])?;
            Ok(ScanOutputs { carried: vec![h], collected: vec![h] })
        })?;
        builder.output("y", scanned.sequences[0])?;
        builder.finish()?.to_string().replace("value = 0.0", &format!("value = {value:?}")).parse()
    };
    assert!(with_states(&graph(0.0)?).is_ok());
    let begun = graph(0.25)?;
    assert_eq!(
        with_states(&begun).unwrap_err().to_string(),
        "`sum` begins with 0.25, but streams begin with zeros: give the initial state as an input of the network"
    );
    let error = Dynamic::new(begun)?.model(0)?.streaming().unwrap_err();
    assert!(matches!(error, Error::Graph(GraphError::Shape { .. })), "{error}");
    Ok(())
}
