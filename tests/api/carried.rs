//! Trainers that carry the states of recurrent layers from one step to the next.

use ndarray::{Array2, Array3, Ix2, s};
use windlass::{
    Binding, Builder, Cell, DType, Dim, Dynamic, DynamicInputs, Error, Feed, Graph, GraphError, GruReset,
    Input, Layer, Loss, Model, Optimizer, Options, Recurrent, RecurrentOperands, RnnActivation, Sizes,
    Stateful, Symbol, Trainer, TrainerOptions, network, with_states,
};

use crate::support::numbers::{Outcome, all_bits, noise};

network! {
    network Online(frames: [T, 3]) -> [T, 2] {
        g: gru(5);
        l: lstm(4, layers = 2, dropout = 0.25);
        f: linear(2)
    }
}

const SAMPLES: usize = 4;
const STEPS: usize = 6;

/// Consecutive pieces of the same sequences, and their targets.
fn pieces() -> Vec<(Array3<f32>, Array3<f32>)> {
    let long = Array3::from_shape_vec((SAMPLES, 5 * STEPS, 3), noise(SAMPLES * 5 * STEPS * 3, 1)).unwrap();
    let piece = |index: usize| long.slice(s![.., index * STEPS..(index + 1) * STEPS, ..]).to_owned();
    (0..5).map(|index| (piece(index), piece(index).slice(s![.., .., ..2]).to_owned())).collect()
}

fn options(carry_states: bool) -> TrainerOptions {
    let loss = Loss::MeanSquaredError;
    TrainerOptions::default().loss(loss).optimizer(Optimizer::adam()).carry_states(carry_states).seed(3)
}

/// Training that carries states gives the bits of a network with inputs and outputs for its states, each of which is fed
/// with the other.
#[test]
fn carried_states_are_those_fed_by_hand() -> Outcome {
    for threads in [1, 2] {
        let run = Options::default().threads(threads);
        let mut trainer = Trainer::new(Model::<Online>::with_options(2, &run)?, options(true))?;
        let Stateful { graph, states } = with_states(Online::graph())?;
        let output = graph.outputs()[0].name.clone();
        let by_hand = Model::of(Dynamic::new(graph)?, 2, &run)?;
        let mut by_hand = Trainer::new(by_hand, options(false).output(output))?;
        let zeros = || -> Vec<Array2<f32>> {
            states.iter().map(|(_, sizes)| Array2::zeros((SAMPLES, sizes[0]))).collect()
        };
        let mut given = zeros();
        for (index, (x, target)) in pieces().iter().enumerate() {
            if index == 3 {
                trainer.reset_states();
                given = zeros();
            }
            let own = trainer.step(x, target)?;
            let named =
                states.iter().zip(&given).map(|((name, _), state)| (name.as_str(), Feed::from(state)));
            let inputs: DynamicInputs<'_> = named.chain([("frames", Feed::from(x))]).collect();
            let theirs = by_hand.step(inputs, target)?;
            assert_eq!(own.loss.to_bits(), theirs.loss.to_bits(), "piece {index}, {threads} threads");
            for ((name, _), state) in states.iter().zip(&mut given) {
                let last = by_hand.output(name).ok_or("the states are outputs")?;
                assert_eq!(trainer.output(name).ok_or("the states are outputs")?, last);
                state.assign(&last.into_dimensionality::<Ix2>()?);
            }
        }
        assert_eq!(all_bits(trainer.model()), all_bits(by_hand.model()), "{threads} threads");
        // What was learned depends on the states.
        let mut forgetful = Trainer::new(Model::<Online>::with_options(2, &run)?, options(false))?;
        for (x, target) in &pieces() {
            forgetful.step(x, target)?;
        }
        assert_ne!(all_bits(trainer.model()), all_bits(forgetful.model()));
    }
    Ok(())
}

/// The states of training are those of streams, and the trained network can be streamed, saved and resumed.
#[test]
fn what_carries_states_can_be_streamed() -> Outcome {
    let frozen = ["g", "l", "f"].map(str::to_owned);
    let mut training = options(true);
    training.frozen = frozen[..2].iter().cloned().collect();
    // Without dropout, training computes what a stream computes.
    let mut builder = Builder::new("Plain");
    let x = builder.input_of("frames", DType::F32, [Dim::from("T".parse::<Symbol>()?), Dim::from(3)])?;
    let g = Recurrent::new(Cell::Gru { reset: GruReset::Before }, 5);
    let y = builder.layer("g", &Layer::Recurrent(g), x)?;
    let l = Recurrent::new(Cell::Rnn { activation: RnnActivation::Tanh }, 4);
    let y = builder.layer("l", &Layer::Recurrent(l), y)?;
    let y = builder.layer("f", &Layer::linear(2), y)?;
    builder.output("y", y)?;
    let network = Dynamic::new(builder.finish()?)?;
    let mut trainer = Trainer::new(network.model(6)?, training.clone())?;
    let pieces = pieces();
    for (x, target) in &pieces {
        trainer.step(x, target)?;
    }
    // The recurrent layers are frozen, so that a stream has their states too.
    let streaming = trainer.model().streaming()?;
    let mut stream = streaming.stream(SAMPLES)?;
    for (x, _) in &pieces {
        let x = x.as_standard_layout();
        let mut y = vec![0.0; SAMPLES * STEPS * 2];
        stream.run(&[Binding::Floats(x.as_slice().ok_or("contiguous")?)], &mut [&mut y])?;
    }
    for (index, state) in stream.states().iter().enumerate() {
        let trained = trainer.output(&format!("state.{index}")).ok_or("a state")?;
        assert!(state.iter().zip(&trained).all(|(a, b)| (a - b).abs() < 1e-6), "{state:?} {trained}");
    }

    let directory = tempfile::tempdir()?;
    let path = directory.path().join("online.safetensors");
    trainer.save(&path)?;
    let run = Options::default();
    let mut resumed = Trainer::resume_of(network, &path, training, &run, &windlass::LoadOptions::default())?;
    // Both begin new sequences.
    trainer.reset_states();
    let (x, target) = &pieces[0];
    assert_eq!(trainer.step(x, target)?.loss.to_bits(), resumed.step(x, target)?.loss.to_bits());
    Ok(())
}

#[test]
fn another_batch_size_needs_new_sequences() -> Outcome {
    let mut trainer = Trainer::new(Online::model(1)?, options(true))?;
    let (x, target) = &pieces()[0];
    trainer.step(x, target)?;
    let (few, of_few) = (x.slice(s![..3, .., ..]), target.slice(s![..3, .., ..]));
    let before = all_bits(trainer.model());
    let error = trainer.step(few, of_few).unwrap_err();
    assert!(matches!(error, Error::CarriedStates { carried: 4, got: 3, .. }));
    assert_eq!(
        error.to_string(),
        "`Online` carries the states of 4 samples from the step before, but the batch has 3; give as many, or begin new \
         sequences with `Trainer::reset_states`"
    );
    assert!(matches!(trainer.find_non_finite(few, of_few), Err(Error::CarriedStates { .. })));
    assert_eq!((trainer.steps(), all_bits(trainer.model())), (1, before));
    trainer.reset_states();
    trainer.step(few, of_few)?;
    // Any number of steps may follow.
    trainer.step(&Array3::<f32>::zeros((3, 1, 3)), &Array3::<f32>::zeros((3, 1, 2)))?;
    // The states count as memory of a step.
    let plain = Trainer::new(Online::model(1)?, options(false))?;
    let sizes = || Ok::<_, Box<dyn std::error::Error>>(Sizes::from(4).with("T".parse()?, 6));
    assert!(trainer.memory(sizes()?).batched >= plain.memory(sizes()?).batched + 4 * 4 * (5 + 4 * 4));
    Ok(())
}

/// A step that is undone leaves the states as they were, and the search for its NaN begins with them.
#[test]
fn an_undone_step_keeps_the_states() -> Outcome {
    let train = |spoiled: bool| -> Result<_, Box<dyn std::error::Error>> {
        let training = options(true).check_finite(true);
        let mut trainer = Trainer::new(Online::model(1)?, training)?;
        let pieces = pieces();
        trainer.step(&pieces[0].0, &pieces[0].1)?;
        if spoiled {
            let mut x = pieces[1].0.clone();
            x[[1, 2, 0]] = f32::NAN;
            assert!(matches!(
                trainer.step(&x, &pieces[1].1),
                Err(Error::NonFiniteStep { origin: Some(_), .. })
            ));
            assert!(trainer.find_non_finite(&x, &pieces[1].1)?.is_some());
        }
        assert!(trainer.find_non_finite(&pieces[1].0, &pieces[1].1)?.is_none());
        trainer.step(&pieces[1].0, &pieces[1].1)?;
        Ok(all_bits(trainer.model()))
    };
    assert_eq!(train(false)?, train(true)?);
    Ok(())
}

/// Sequences of different lengths: one that has ended keeps its state, and takes no part.
#[test]
fn sequences_may_end_before_a_step() -> Outcome {
    let steps: Symbol = "T".parse()?;
    let build = || -> Result<Graph, GraphError> {
        let mut builder = Builder::new("Padded");
        let x = builder.input_of("x", DType::F32, [Dim::from(steps), Dim::from(3)])?;
        let lengths = builder.input_of("lengths", DType::I32, [])?;
        let operands = RecurrentOperands { initial: &[], lengths: Some(lengths) };
        let rnn = Recurrent::new(Cell::Rnn { activation: RnnActivation::Tanh }, 4);
        let y = builder.recurrent("r", &rnn, x, &operands)?.sequence;
        let y = builder.layer("f", &Layer::linear(2), y)?;
        builder.output("y", y)?;
        builder.finish()
    };
    let mut trainer = Trainer::new(Dynamic::new(build()?)?.model(1)?, options(true))?;
    let (x, target) = &pieces()[0];
    let mut step = |lengths: &[i32]| -> Result<_, Error> {
        let inputs: DynamicInputs<'_> =
            [("x", Feed::from(x)), ("lengths", Feed::from(lengths))].into_iter().collect();
        trainer.step(inputs, target)?;
        Ok(trainer.output("state.0").map(|state| state.to_owned()))
    };
    let first = step(&[6, 6, 2, 1])?.ok_or("a state")?;
    let second = step(&[6, 1, 0, 0])?.ok_or("a state")?;
    assert_eq!(first.slice(s![2.., ..]), second.slice(s![2.., ..]));
    assert_ne!(first.slice(s![..2, ..]), second.slice(s![..2, ..]));
    assert!(matches!(step(&[6, 7, 0, 0]), Err(Error::Length(_))));
    Ok(())
}

#[test]
fn states_that_cannot_be_carried_are_refused() -> Outcome {
    network! {
        network Both(frames: [T, 3]) -> [T, 4] { l: lstm(2, bidirectional = true) }
        network None(frames: [T, 3]) -> [T, 4] { f: linear(4) }
    }
    let error = Trainer::new(Both::model(0)?, options(true)).map(drop).unwrap_err();
    assert!(error.to_string().contains("reads its sequence backwards"), "{error}");
    let error = Trainer::new(None::model(0)?, options(true)).map(drop).unwrap_err();
    assert!(error.to_string().contains("has no recurrent layer whose state could be kept"), "{error}");
    // Without carried states, both are trained.
    let x = Array3::<f32>::zeros((1, 2, 3));
    let mut trainer = Trainer::new(Both::model(0)?, options(false))?;
    trainer.step(Input::from(&x), &Array3::<f32>::zeros((1, 2, 4)))?;
    trainer.reset_states();
    Ok(())
}
