//! Recurrent layers in declared networks and in graphs built at run time.

use ndarray::{Array3, s};
use windlass::{
    Binding, Builder, Cell, Combination, DType, Dim, Dynamic, Input, Layer, Loss, Model, Optimizer, Options,
    ScanOperands, ScanOutputs, Schedule, Symbol, Trainer, TrainerOptions, network,
};

use crate::support::numbers::noise;

network! {
    network Tagger(frames: [T, 6]) -> [T, 4] {
        r: lstm(12, layers = 2, bidirectional = true, dropout = 0.25);
        f: linear(4)
    }
}

network! {
    network Classifier(frames: [T, 6]) -> [3] {
        g: gru(8, reset = before);
        e: rnn(5, activation = relu);
        last_step;
        f: linear(3)
    }
}

network! {
    network Fixed(frames: [7, 6]) -> [3] {
        g: gru(8, reset = before);
        e: rnn(5, activation = relu);
        last_step;
        f: linear(3)
    }
}

fn frames(batch: usize, steps: usize) -> Array3<f32> {
    Array3::from_shape_vec((batch, steps, 6), noise(batch * steps * 6, 3)).unwrap()
}

#[test]
fn declared_networks_have_the_parameters_of_pytorch() {
    let names: Vec<String> =
        Tagger::graph().parameters().map(|(_, parameter)| parameter.name.clone()).collect();
    assert_eq!(names.len(), 2 * 2 * 4 + 2);
    for name in ["r.weight_ih_l0", "r.weight_hh_l1_reverse", "r.bias_hh_l0", "f.weight"] {
        assert!(names.iter().any(|known| known == name), "{name} in {names:?}");
    }
}

#[test]
fn any_length_runs_and_samples_do_not_mix() {
    for threads in [1, 2] {
        let model = Model::<Tagger>::with_options(3, &Options::default().threads(threads)).unwrap();
        let x = frames(5, 9);
        let all = model.forward(&x).unwrap();
        assert_eq!(all.shape(), [5, 9, 4]);
        for sample in 0..5 {
            let own = x.slice(s![sample..=sample, .., ..]).to_owned();
            let alone = model.forward(&own).unwrap();
            let difference = (&alone - &all.slice(s![sample..=sample, .., ..])).mapv(f32::abs);
            assert!(difference.iter().all(|x| *x < 1e-5), "{difference}");
        }
        for steps in [1, 2, 65] {
            assert_eq!(model.forward(&frames(1, steps)).unwrap().shape(), [1, steps, 4]);
        }
    }
}

#[test]
fn a_fixed_length_gives_the_bits_of_an_open_one() {
    let open = Classifier::model(4).unwrap();
    let fixed = Fixed::model(4).unwrap();
    for batch in [1, 3, 20] {
        let x = frames(batch, 7);
        assert_eq!(open.forward(&x).unwrap(), fixed.forward(&x).unwrap());
    }
}

/// Whether the sum of a sequence's first feature is positive: only a state can know.
#[test]
fn training_learns_what_only_a_state_can_know() {
    let options = TrainerOptions::default()
        .seed(5)
        .optimizer(Optimizer::adam())
        .schedule(Schedule::constant(0.02).unwrap());
    let model = Classifier::model(1).unwrap();
    let mut trainer = Trainer::new(model, options).unwrap();
    let x = frames(64, 7);
    let labels: Vec<i32> = x.outer_iter().map(|sample| i32::from(sample.column(0).sum() > 0.0)).collect();
    let first = trainer.step(&x, &labels).unwrap().loss;
    let mut last = first;
    for _ in 0..300 {
        last = trainer.step(&x, &labels).unwrap().loss;
    }
    assert!(last < 0.25 * first, "{first} to {last}");
}

/// A recurrence written by hand, with the parameters and results of the built-in one.
#[test]
fn a_recurrence_by_hand_is_the_built_in_one() {
    let steps: Symbol = "T".parse().unwrap();
    let build = |by_hand: bool| {
        let mut builder = Builder::new("net");
        let x = builder.input_of("x", DType::F32, [Dim::from(steps), Dim::from(6)]).unwrap();
        let y = if by_hand {
            let h = builder.initial_state(x, &[5]).unwrap();
            let operands = ScanOperands { sequences: &[x], initial: &[h], ..ScanOperands::default() };
            let scanned = builder.scan("r", operands, |body, inputs| {
                let of_x = body.layer("x", &Layer::linear(5), inputs.steps[0])?;
                let of_h = body.layer("h", &Layer::linear(5), inputs.carried[0])?;
                let sum = body.combine("", Combination::Add, of_x, of_h)?;
                let h = body.layer("", &Layer::Tanh, sum)?;
                Ok(ScanOutputs { carried: vec![h], collected: vec![h] })
            });
            scanned.unwrap().sequences[0]
        } else {
            let cell = Cell::Rnn { activation: windlass::RnnActivation::Tanh };
            let layer = windlass::Recurrent::new(cell, 5);
            builder.layer("r", &Layer::Recurrent(layer), x).unwrap()
        };
        builder.output("y", y).unwrap();
        Dynamic::new(builder.finish().unwrap()).unwrap().model(2).unwrap()
    };
    let (built_in, mut by_hand) = (build(false), build(true));
    for (from, to) in [
        ("weight_ih_l0", "x.weight"),
        ("weight_hh_l0", "h.weight"),
        ("bias_ih_l0", "x.bias"),
        ("bias_hh_l0", "h.bias"),
    ] {
        let value = built_in.parameter(&format!("r.{from}")).unwrap().to_owned();
        by_hand.set_parameter(&format!("r.{to}"), &value).unwrap();
    }
    let x = frames(3, 8);
    let [own, theirs] =
        [&by_hand, &built_in].map(|model| model.forward([("x", Input::from(&x))]).unwrap().single().unwrap());
    assert!((own - theirs).iter().all(|difference| difference.abs() < 1e-6));
    let options = TrainerOptions::default().loss(Loss::MeanSquaredError);
    assert!(Trainer::new(by_hand, options).is_ok());
}

/// For 256 steps in segments of 16: what a step keeps falls to a fraction, and the training is the same.
#[test]
fn recomputation_takes_less_memory() {
    network! {
        network Long(frames: [256, 6]) -> [4] { r: lstm(32, layers = 2); last_step; f: linear(4) }
    }
    let trainer = |recompute| {
        let options = TrainerOptions::default().recompute(recompute);
        Trainer::new(Long::model(3).unwrap(), options).unwrap()
    };
    let (mut kept, mut recomputed) = (trainer(None), trainer(Some(16)));
    let bytes = [&kept, &recomputed].map(|trainer| trainer.memory(8).batched);
    assert!(4 * bytes[1] < bytes[0], "{bytes:?}");
    let x = frames(8, 256);
    let labels: Vec<i32> = (0..8).map(|sample| sample % 4).collect();
    for step in 0..3 {
        let losses = [&mut kept, &mut recomputed].map(|trainer| trainer.step(&x, &labels).unwrap().loss);
        assert!((losses[0] - losses[1]).abs() < 1e-5, "step {step}: {losses:?}");
    }
    let [kept, recomputed] = [kept, recomputed].map(|trainer| trainer.into_model().parameters().to_named());
    for (name, values) in &kept {
        let difference = (values - &recomputed[name]).mapv(f32::abs);
        assert!(difference.iter().all(|difference| *difference < 1e-5), "{name}: {difference}");
    }
}

#[test]
fn mistakes_are_explained() {
    let steps: Symbol = "T".parse().unwrap();
    let error = |layer: &Layer, item: Vec<Dim>| {
        let mut builder = Builder::new("net");
        let x = builder.input_of("x", DType::F32, item).unwrap();
        builder.layer("r", layer, x).unwrap_err().to_string()
    };
    let lstm = |units, projection| {
        let cell = Cell::Lstm { projection, peepholes: false };
        Layer::Recurrent(windlass::Recurrent::new(cell, units))
    };
    let sequence = || vec![Dim::from(steps), Dim::from(6)];
    assert_eq!(
        error(&lstm(8, 0), vec![Dim::from(6)]),
        "`lstm` needs a sequence [steps, features] but receives [6]"
    );
    assert_eq!(error(&lstm(0, 0), sequence()), "`lstm` has `units` 0, which must be at least 1");
    assert_eq!(
        error(&lstm(8, 8), sequence()),
        "`lstm` has `projection` 8, which must be below the number of units, or 0 for no projection"
    );
    let mut builder = Builder::new("net");
    let x = builder.input_of("x", DType::F32, sequence()).unwrap();
    let h = builder.initial_state(x, &[4]).unwrap();
    let operands = ScanOperands { sequences: &[x], initial: &[h], ..ScanOperands::default() };
    let result = builder.scan("r", operands, |_, inputs| {
        Ok(ScanOutputs { carried: vec![inputs.steps[0]], collected: vec![] })
    });
    assert_eq!(
        result.unwrap_err().to_string(),
        "`r: scan` needs f32[N, 4] for its new carried value but receives f32[N, 6]"
    );
}

#[test]
fn streams_continue_where_they_ended() {
    network! {
        network Online(frames: [T, 6]) -> [T, 4] {
            g: gru(9);
            l: lstm(7, layers = 2, projection = 3);
            f: linear(4)
        }
    }
    let model = Online::model(8).unwrap();
    let streaming = model.streaming().unwrap();
    let x = frames(2, 10);
    let whole = model.forward(&x).unwrap();
    let (mut stream, mut other) = (streaming.stream(2).unwrap(), streaming.stream(2).unwrap());
    for pass in 0..2 {
        let mut start = 0;
        for steps in [1, 3, 1, 5] {
            let piece = x.slice(s![.., start..start + steps, ..]).as_standard_layout().to_owned();
            let mut y = vec![0.0; 2 * steps * 4];
            let frames = Binding::Floats(piece.as_slice().unwrap());
            stream.run(&[frames], &mut [&mut y]).unwrap();
            let expected = whole.slice(s![.., start..start + steps, ..]);
            let close = y.iter().zip(expected.iter()).all(|(a, b)| (a - b).abs() < 1e-5);
            assert!(close, "pass {pass}, steps {start} to {}", start + steps);
            start += steps;
            // Streams are independent.
            other.run(&[Binding::Floats(&[0.5; 12])], &mut [&mut [0.0; 8]]).unwrap();
        }
        stream.reset();
    }
    // States: gru 9; lstm 3 and 7, twice.
    let lengths: Vec<usize> = stream.states().iter().map(Vec::len).collect();
    assert_eq!(lengths, [18, 6, 14, 6, 14]);
    let states = other.states().to_vec();
    stream.set_states(&states).unwrap();
    assert!(stream.set_states(&states[1..]).is_err());
    let error = stream.run(&[Binding::Floats(&[0.0; 7])], &mut [&mut [0.0; 8]]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`frames` needs a multiple of 12 elements, [N, T, 6] for 2 samples but was given 7 elements"
    );
    assert!(stream.run(&[], &mut [&mut [0.0; 8]]).is_err());
    assert!(Tagger::model(0).unwrap().streaming().unwrap_err().to_string().contains("backwards"));
    assert!(Fixed::model(0).unwrap().streaming().unwrap_err().to_string().contains("T in [T, 40]"));
}
