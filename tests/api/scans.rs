//! Recurrences written in `network!`: `scan`, states and lengths by name.

use ndarray::{Array1, Array2, Array3, s};
use windlass::{
    Builder, Cell, DType, Dim, Loss, Model, Network, Optimizer, Options, Recurrent, RecurrentOperands,
    Schedule, Symbol, Trainer, TrainerOptions, network,
};

use crate::support::numbers::noise;

network! {
    /// The cell of `rnn(5)`.
    network Plain(x: [T, 6]) -> [T, 5] {
        r: scan (h: [5]) {
            x: linear(5); let of_x = it;
            from(h); h: linear(5);
            add(of_x); tanh;
            h = it;
        }
    }

    network BuiltIn(x: [T, 6]) -> [T, 5] { r: rnn(5) }

    /// The same backwards, with its last state.
    network Backwards(x: [T, 6]) -> (y: [T, 5], last: [5]) {
        r: scan reverse (h: [5]) {
            x: linear(5); let of_x = it;
            from(h); h: linear(5);
            add(of_x); tanh;
            h = it;
        }
        y = it;
        last = h;
    }

    /// A gated recurrent unit in the form of Cho et al.: h' = n + z·(h − n).
    network Gru(x: [T, 6]) -> [T, 5] {
        r: scan (h: [5]) {
            let x = it;
            xz: linear(5); let xz = it; from(h); hz: linear(5); add(xz); sigmoid; let z = it;
            from(x); xr: linear(5); let xr = it; from(h); hr: linear(5); add(xr); sigmoid; let r = it;
            from(x); xn: linear(5); let xn = it; from(h); multiply(r); hn: linear(5); add(xn); tanh; let n = it;
            from(h); subtract(n); multiply(z); add(n);
            h = it;
        }
    }

    network BuiltInGru(x: [T, 6]) -> [T, 5] { r: gru(5, reset = before) }
}

fn frames(batch: usize, steps: usize) -> Array3<f32> {
    Array3::from_shape_vec((batch, steps, 6), noise(batch * steps * 6, 3)).unwrap()
}

fn close<D: ndarray::Dimension>(left: &ndarray::Array<f32, D>, right: &ndarray::Array<f32, D>, bound: f32) {
    let most = (left - right).iter().fold(0.0, |most: f32, difference| most.max(difference.abs()));
    assert!(most < bound, "{most}");
}

/// Gives one model the parameters of another, under other names.
fn rename<A: Network, B: Network>(from: &Model<A>, to: &mut Model<B>, names: &[(&str, &str)]) {
    assert_eq!(names.len(), B::graph().parameters().count());
    for (of, name) in names {
        let value = from.parameter(&format!("r.{of}")).unwrap().to_owned();
        to.set_parameter(&format!("r.{name}"), &value).unwrap();
    }
}

const PLAIN: [(&str, &str); 4] = [
    ("weight_ih_l0", "x.weight"),
    ("weight_hh_l0", "h.weight"),
    ("bias_ih_l0", "x.bias"),
    ("bias_hh_l0", "h.bias"),
];

#[test]
fn a_cell_by_hand_is_the_built_in_one() {
    let built_in = BuiltIn::model(1).unwrap();
    let mut by_hand = Plain::model(2).unwrap();
    rename(&built_in, &mut by_hand, &PLAIN);
    for (batch, steps) in [(1, 1), (3, 8), (20, 17)] {
        let x = frames(batch, steps);
        close(&by_hand.forward(&x).unwrap(), &built_in.forward(&x).unwrap(), 1e-6);
    }
}

#[test]
fn reverse_begins_with_the_last_step() {
    let built_in = BuiltIn::model(1).unwrap();
    let mut backwards = Backwards::model(2).unwrap();
    rename(&built_in, &mut backwards, &PLAIN);
    let x = frames(3, 8);
    let turned = x.slice(s![.., ..;-1, ..]).to_owned();
    let expected = built_in.forward(&turned).unwrap();
    let found = backwards.forward(&x).unwrap();
    close(&found.y.slice(s![.., ..;-1, ..]).to_owned().into_dyn(), &expected, 1e-6);
    assert_eq!(found.last, found.y.index_axis(ndarray::Axis(1), 0).to_owned().into_dyn());
}

#[test]
fn a_gru_by_hand_learns_like_the_built_in_one() {
    let names = |model: &mut Model<Gru>, built_in: &Model<BuiltInGru>| {
        for (index, gate) in ["r", "z", "n"].into_iter().enumerate() {
            for (of, name) in [
                ("weight_ih_l0", format!("x{gate}.weight")),
                ("weight_hh_l0", format!("h{gate}.weight")),
                ("bias_ih_l0", format!("x{gate}.bias")),
                ("bias_hh_l0", format!("h{gate}.bias")),
            ] {
                let value = built_in.parameter(&format!("r.{of}")).unwrap();
                let part = value.slice_axis(ndarray::Axis(0), (5 * index..5 * (index + 1)).into()).to_owned();
                model.set_parameter(&format!("r.{name}"), &part).unwrap();
            }
        }
    };
    let built_in = BuiltInGru::model(4).unwrap();
    let mut by_hand = Gru::model(5).unwrap();
    names(&mut by_hand, &built_in);
    let x = frames(4, 9);
    close(&by_hand.forward(&x).unwrap(), &built_in.forward(&x).unwrap(), 1e-6);
    let options = TrainerOptions::default()
        .loss(Loss::MeanSquaredError)
        .optimizer(Optimizer::sgd())
        .schedule(Schedule::constant(0.5).unwrap());
    let target = Array3::from_shape_vec((4, 9, 5), noise(4 * 9 * 5, 8)).unwrap();
    let mut trainers =
        (Trainer::new(by_hand, options.clone()).unwrap(), Trainer::new(built_in, options).unwrap());
    for _ in 0..5 {
        let own = trainers.0.step(&x, &target).unwrap().loss;
        let theirs = trainers.1.step(&x, &target).unwrap().loss;
        assert!((own - theirs).abs() < 1e-5, "{own} and {theirs}");
    }
}

network! {
    /// Every step of the decoder attends to the whole memory.
    network Decoder(memory: [S, 8], words: [T] of index) -> (scores: [T, 10], context: [8]) {
        from(memory); keys: linear(8); let keys = it;
        last_step; start: linear(8); tanh; let start = it;
        from(words); embedding(10, 6);
        decoder: scan (h = start, seen: [8]) {
            let word = it;
            from(h); query: reshape((1, 8)); attention(keys, keys); flatten;
            seen = it;
            concat { { from(word) } { from(seen) } { from(h) } }
            cell: linear(8); tanh;
            h = it;
            concat { h seen }
        }
        scores: linear(10);
        scores = it;
        context = seen;
    }
}

#[test]
fn a_body_uses_values_around_it() {
    let names: Vec<&str> = Decoder::PARAMETERS.iter().map(|(name, _)| *name).collect();
    let expected = [
        "keys.weight",
        "keys.bias",
        "start.weight",
        "start.bias",
        "embedding1.weight",
        "decoder.cell.weight",
        "decoder.cell.bias",
        "scores.weight",
        "scores.bias",
    ];
    assert_eq!(names, expected);
    let models = [1, 2]
        .map(|threads| Model::<Decoder>::with_options(3, &Options::default().threads(threads)).unwrap());
    for (batch, memory, words) in [(1, 1, 1), (3, 7, 4), (2, 33, 12)] {
        let memory = Array3::from_shape_vec((batch, memory, 8), noise(batch * memory * 8, 5)).unwrap();
        let words = Array2::from_shape_fn((batch, words), |(row, column)| ((3 * row + column) % 10) as i32);
        let results =
            models.each_ref().map(|model| model.forward(DecoderInputs::new(&memory, &words)).unwrap());
        close(&results[0].scores, &results[1].scores, 1e-5);
        close(&results[0].context, &results[1].context, 1e-5);
        // A sample alone is the sample in its batch.
        let last = s![batch - 1..batch, .., ..];
        let (memory, words) =
            (memory.slice(last).to_owned(), words.slice(s![batch - 1..batch, ..]).to_owned());
        let alone = models[0].forward(DecoderInputs::new(&memory, &words)).unwrap();
        close(
            &alone.scores,
            &results[0].scores.slice_axis(ndarray::Axis(0), (batch - 1..batch).into()).to_owned(),
            1e-5,
        );
    }
}

network! {
    network Attending(x: [T, 6]) -> [2] {
        let frames = it;
        scan (h: [6]) {
            step: linear(6); add(h);
            let query = it;
            reshape((1, 6)); attention(frames, frames); flatten;
            add(query); layer_norm;
            h = it;
        }
        from(h);
        linear(2)
    }
}

/// Whether the sum of the first feature is positive.
#[test]
fn attention_in_a_scan_is_trained() {
    let options = TrainerOptions::default()
        .seed(5)
        .optimizer(Optimizer::adam())
        .schedule(Schedule::constant(0.02).unwrap());
    let mut trainer = Trainer::new(Attending::model(1).unwrap(), options).unwrap();
    let x = frames(64, 7);
    let labels: Vec<i32> = x.outer_iter().map(|sample| i32::from(sample.column(0).sum() > 0.0)).collect();
    let first = trainer.step(&x, &labels).unwrap().loss;
    let mut last = first;
    for _ in 0..200 {
        last = trainer.step(&x, &labels).unwrap().loss;
    }
    assert!(last < 0.25 * first, "{first} to {last}");
}

network! {
    /// States and lengths are values of the network.
    network Carrying(x: [T, 6], steps: [] of index, h: [5], c: [5]) -> (y: [T, 5], h1: [5], c1: [5]) {
        from(x);
        r: lstm(5, initial = (h, c), lengths = steps);
        y = it;
        let (last, cell) = r.states;
        h1 = last; c1 = cell;
    }

    network Deep(x: [T, 6]) -> [20] {
        r: gru(5, layers = 2, bidirectional = true);
        let (first, first_back, second, second_back) = r.states;
        concat { first first_back second second_back }
    }
}

#[test]
fn states_and_lengths_are_values() {
    let model = Carrying::model(3).unwrap();
    let mut builder = Builder::new("net");
    let steps: Symbol = "T".parse().unwrap();
    let x = builder.input_of("x", DType::F32, [Dim::from(steps), Dim::from(6)]).unwrap();
    let lengths = builder.input_of("steps", DType::I32, []).unwrap();
    let initial = ["h", "c"].map(|name| builder.input(name, &[5]).unwrap());
    let layer = Recurrent::new(Cell::Lstm { projection: 0, peepholes: false }, 5);
    let operands = RecurrentOperands { initial: &initial, lengths: Some(lengths) };
    let results = builder.recurrent("r", &layer, x, &operands).unwrap();
    builder.output("y", results.sequence).unwrap();
    builder.output("h1", results.last[0]).unwrap();
    builder.output("c1", results.last[1]).unwrap();
    let graph = builder.finish().unwrap();
    assert_eq!(graph.to_string().replace("net", "Carrying"), Carrying::graph().to_string());

    // A sequence in two pieces is the whole sequence.
    let x = frames(2, 9);
    let zeros = Array2::<f32>::zeros((2, 5));
    let run = |x: &Array3<f32>, h: &Array2<f32>, c: &Array2<f32>| {
        let steps = Array1::from_elem(2, x.shape()[1] as i32);
        model.forward(CarryingInputs::new(x, &steps, h, c)).unwrap()
    };
    let whole = run(&x, &zeros, &zeros);
    let first = run(&x.slice(s![.., ..4, ..]).to_owned(), &zeros, &zeros);
    let [h, c] = [first.h1, first.c1].map(|state| state.into_dimensionality().unwrap());
    let second = run(&x.slice(s![.., 4.., ..]).to_owned(), &h, &c);
    close(&second.h1, &whole.h1, 1e-6);
    close(&second.c1, &whole.c1, 1e-6);
    // A length ends a sequence.
    let short = model.forward(CarryingInputs::new(&x, &Array1::from(vec![4, 9]), &zeros, &zeros)).unwrap();
    assert_eq!(short.h1.index_axis(ndarray::Axis(0), 0), h.index_axis(ndarray::Axis(0), 0).into_dyn());
    assert!(short.y.slice(s![0, 4.., ..]).iter().all(|y| *y == 0.0));
}

#[test]
fn every_layer_and_direction_has_states() {
    let model = Deep::model(3).unwrap();
    assert_eq!(model.forward(&frames(3, 4)).unwrap().shape(), [3, 20]);
}

network! {
    network Masked(x: [T, 8], steps: [] of index) -> (own: [T, 8], other: [T, 8], sum: [T, 8]) {
        from(x); a: multi_head_attention(2, lengths = steps); own = it;
        from(x); attention(x, x, lengths = steps); other = it;
        from(x); b: additive_attention(x, x, 4, lengths = steps); sum = it;
    }
}

#[test]
fn attention_ends_at_lengths() {
    let model = Masked::model(3).unwrap();
    let x = Array3::from_shape_vec((1, 6, 8), noise(48, 3)).unwrap();
    let padded = model.forward(MaskedInputs::new(&x, &Array1::from(vec![4]))).unwrap();
    let short = x.slice(s![.., ..4, ..]).to_owned();
    let short = model.forward(MaskedInputs::new(&short, &Array1::from(vec![4]))).unwrap();
    for (padded, short) in [(padded.own, short.own), (padded.other, short.other), (padded.sum, short.sum)] {
        close(&padded.slice(s![.., ..4, ..]).to_owned().into_dyn(), &short, 1e-6);
    }
}

/// A recurrence in a recurrence: over rows, and over the pixels of each row.
#[test]
fn scans_nest() {
    network! {
        network Rows(image: [9, 4, 1]) -> [6] {
            rows: scan (row: [6]) {
                pixels: scan (pixel: [3]) {
                    concat { it { from(pixel) } { from(row) } }
                    step: linear(3); tanh;
                    pixel = it;
                }
                from(pixel);
                concat { it { from(row) } }
                step: linear(6); tanh;
                row = it;
            }
            from(row);
        }
    }
    let names: Vec<&str> = Rows::PARAMETERS.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        ["rows.pixels.step.weight", "rows.pixels.step.bias", "rows.step.weight", "rows.step.bias"]
    );
    let model = Rows::model(3).unwrap();
    let image = ndarray::Array4::from_shape_vec((2, 9, 4, 1), noise(72, 3)).unwrap();
    assert_eq!(model.forward(&image).unwrap().shape(), [2, 6]);
}

/// A running mean, h' = 0.75·h + 0.25·x, and numbers in other places.
#[test]
fn numbers_are_values() {
    network! {
        block halves(part) { multiply(part); add(1 - part, 3) }

        network Mean(x: [T, 6]) -> (y: [T, 6], ones: [T, 6]) {
            scan (h: [6]) { multiply(0.25); let new = it; from(h); multiply(1 - 0.25); add(new); h = it; }
            y = it;
            let y = it;
            from(y); subtract(y); halves(1 / 2); subtract(2.5);
            ones = it;
        }
    }
    let model = Mean::model(1).unwrap();
    let x = frames(2, 4);
    let results = model.forward(&x).unwrap();
    assert!(results.ones.iter().all(|one| *one == 1.0));
    let mut expected = Array3::<f32>::zeros((2, 4, 6));
    for sample in 0..2 {
        for feature in 0..6 {
            let mut mean = 0.0;
            for step in 0..4 {
                mean = 0.75 * mean + 0.25 * x[(sample, step, feature)];
                expected[(sample, step, feature)] = mean;
            }
        }
    }
    close(&results.y, &expected.into_dyn(), 1e-6);
}

/// Numbers behind layers, whose epilogues add values.
#[test]
fn numbers_follow_layers() {
    network! {
        network Shifted(image: [3, 9, 9], x: [20]) -> (map: [4, 9, 9], y: [33]) {
            from(image); c: conv2d(4, kernel_size = 3, padding = 1); add(1.5); multiply(2); map = it;
            from(x); f: linear(33); subtract(0.5); relu; multiply(-1); add(2); y = it;
        }

        network Plain2(image: [3, 9, 9], x: [20]) -> (map: [4, 9, 9], y: [33]) {
            from(image); c: conv2d(4, kernel_size = 3, padding = 1); map = it;
            from(x); f: linear(33); y = it;
        }
    }
    let (shifted, plain) = (Shifted::model(7).unwrap(), Plain2::model(7).unwrap());
    for batch in [1, 3, 17] {
        let image = ndarray::Array4::from_shape_vec((batch, 3, 9, 9), noise(batch * 243, 3)).unwrap();
        let x = Array2::from_shape_vec((batch, 20), noise(batch * 20, 4)).unwrap();
        let own = shifted.forward(ShiftedInputs::new(&image, &x)).unwrap();
        let other = plain.forward(Plain2Inputs::new(&image, &x)).unwrap();
        close(&own.map, &other.map.mapv(|x| (x + 1.5) * 2.0), 1e-5);
        close(&own.y, &other.y.mapv(|x| 2.0 - (x - 0.5).max(0.0)), 1e-5);
    }
}
