//! Transformer blocks in `network!`: on sequences of any length, with fixed and open lengths, and in training.

use crate::support::numbers::{Outcome, noise};
use ndarray::{Array3, ArrayD, Axis, Ix2};
use windlass::{
    AttentionMask, Builder, DType, Dim, Dynamic, DynamicInputs, Feed, Graph, Heads, Initializer, Input,
    Layer, Model, Network, Optimizer, Options, Symbol, Trainer, TrainerOptions, network,
};

network! {
    /// Attention and a feed-forward network, each with a residual sum and a normalisation (Vaswani et al. 2017).
    block encoder(features, heads, hidden, causal = false) {
        let input = it;
        attention: multi_head_attention(heads, causal = causal);
        add(input);
        norm1: layer_norm;
        let seen = it;
        up: linear(hidden); relu; down: linear(features);
        add(seen);
        norm2: layer_norm
    }

    network Encoder(x: [T, 6]) -> [T, 6] {
        embed: linear(16); positional_encoding;
        blocks: repeat 2 { encoder(16, 4, 32) }
        linear(6)
    }

    network Encoder9(x: [9, 6]) -> [9, 6] {
        embed: linear(16); positional_encoding;
        blocks: repeat 2 { encoder(16, 4, 32) }
        linear(6)
    }

    network Causal(x: [T, 8]) -> [T, 8] { encoder(8, 2, 8, causal = true) }

    network Two(queries: [T, 8], memory: [S, 6]) -> (context: [T, 8], plain: [T, 6], additive: [T, 6]) {
        from(memory); keys: linear(8); let keys = it;
        from(queries); cross_attention(memory, 2, bias = false); context = it;
        from(queries); attention(keys, memory); plain = it;
        from(queries); additive_attention(memory, memory, 5); additive = it;
    }
}

fn sequences(batch: usize, steps: usize, features: usize, seed: u32) -> Array3<f32> {
    Array3::from_shape_vec((batch, steps, features), noise(batch * steps * features, seed)).unwrap()
}

#[test]
fn parameters_have_the_names_of_pytorch() {
    let expected = [
        ("encoder1.attention.in_proj_weight", &[24usize, 8][..]),
        ("encoder1.attention.in_proj_bias", &[24]),
        ("encoder1.attention.out_proj.weight", &[8, 8]),
        ("encoder1.attention.out_proj.bias", &[8]),
        ("encoder1.norm1.weight", &[8]),
        ("encoder1.norm1.bias", &[8]),
    ];
    assert_eq!(Causal::PARAMETERS[..6], expected);
    let names: Vec<&str> = Two::PARAMETERS.iter().map(|(name, _)| *name).collect();
    let own = ["q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"];
    for name in own {
        assert!(names.contains(&format!("cross_attention1.{name}").as_str()), "{names:?}");
    }
    assert!(!names.contains(&"cross_attention1.in_proj_bias"));
    assert!(names.contains(&"additive_attention1.score.weight"));
}

#[test]
fn one_program_serves_every_length() {
    let model = Model::<Encoder>::new(3).unwrap();
    let whole = sequences(2, 65, 6, 5);
    for steps in 1..=65 {
        let x = whole.slice(ndarray::s![.., ..steps, ..]).to_owned();
        let y = model.forward(&x).unwrap();
        assert_eq!(y.shape(), [2, steps, 6]);
        assert!(y.iter().all(|number| number.is_finite()));
    }
}

fn predicted<N>(x: &Array3<f32>, options: &Options) -> ArrayD<f32>
where
    N: for<'a> Network<Inputs<'a> = Input<'a>, Outputs = ArrayD<f32>>,
{
    Model::<N>::with_options(3, options).unwrap().forward(x).unwrap()
}

#[test]
fn fixed_and_open_lengths_agree() {
    let x = sequences(3, 9, 6, 5);
    for threads in [1, 2] {
        let options = Options::default().threads(threads);
        let [open, fixed] = [predicted::<Encoder>(&x, &options), predicted::<Encoder9>(&x, &options)];
        assert_eq!(open.shape(), fixed.shape());
        for (open, fixed) in open.iter().zip(&fixed) {
            assert!((open - fixed).abs() <= 1e-5, "{open} for an open length, {fixed} for a fixed one");
        }
    }
}

#[test]
fn causal_attention_does_not_see_later_steps() {
    let model = Model::<Causal>::new(3).unwrap();
    let x = sequences(1, 12, 8, 5);
    let all = model.forward(&x).unwrap();
    for steps in 1..12 {
        let first = model.forward(&x.slice(ndarray::s![.., ..steps, ..]).to_owned()).unwrap();
        for (one, other) in first.iter().zip(all.iter()) {
            assert!((one - other).abs() < 1e-5, "{one} and {other} after {steps} steps");
        }
    }
}

#[test]
fn queries_attend_to_sequences_of_another_length() {
    let model = Model::<Two>::new(3).unwrap();
    for (steps, positions) in [(1, 4), (7, 1), (5, 30)] {
        let (queries, memory) = (sequences(2, steps, 8, 5), sequences(2, positions, 6, 7));
        let outputs = model.forward(TwoInputs::new(&queries, &memory)).unwrap();
        assert_eq!(outputs.context.shape(), [2, steps, 8]);
        assert_eq!(outputs.plain.shape(), [2, steps, 6]);
        assert_eq!(outputs.additive.shape(), [2, steps, 6]);
        // Weighted means lie between the values.
        let largest = memory.iter().fold(0f32, |largest, number| largest.max(number.abs()));
        for number in outputs.plain.iter().chain(outputs.additive.iter()) {
            assert!(number.abs() <= largest * 1.0001, "{number} is outside ±{largest}");
        }
    }
}

#[test]
fn graphs_are_the_same_after_serialisation() {
    let graph = Encoder::graph();
    assert_eq!(&graph.to_string().parse::<Graph>().unwrap(), graph);
    let json = serde_json::to_string(graph).unwrap();
    assert_eq!(serde_json::from_str::<Graph>(&json).unwrap(), *graph);
    assert_eq!(Dynamic::new(graph.clone()).unwrap().name(), "Encoder");
}

/// Every step has to name the class of the first one, which only attention can bring there.
#[test]
fn an_encoder_learns_to_look_at_another_step() {
    let examples = |steps: usize, seed: u32| {
        let batch = 16;
        let drawn = noise(batch * steps, seed);
        let classes: Vec<i32> = drawn.iter().map(|number| (number.abs() * 1e4) as i32 % 6).collect();
        let mut x = Array3::zeros((batch, steps, 6));
        let mut labels = Vec::new();
        for (index, &class) in classes.iter().enumerate() {
            x[[index / steps, index % steps, class as usize]] = 1.0;
            labels.push(classes[index / steps * steps]);
        }
        (x, labels)
    };
    let model = Model::<Encoder>::new(3).unwrap();
    let options = TrainerOptions::default().optimizer(Optimizer::adam());
    let mut trainer = Trainer::new(model, options).unwrap();
    let mut losses = Vec::new();
    for step in 0..300 {
        let (x, labels) = examples(2 + step % 9, step as u32);
        losses.push(trainer.step(&x, &labels).unwrap().loss);
    }
    let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
    let (first, last) = (mean(&losses[..20]), mean(&losses[280..]));
    assert!(first > 1.0 && last < 0.1, "the loss went from {first} to {last}");
    let (x, labels) = examples(11, 1000);
    let scores = trainer.model().forward(&x).unwrap();
    let rows = scores.as_slice().unwrap().chunks(6).zip(&labels);
    let right = rows.filter(|(row, label)| row.iter().all(|&score| score <= row[**label as usize])).count();
    assert!(right as f64 > 0.9 * labels.len() as f64, "{right} of {}", labels.len());
}

/// Weights of every kind of attention: a row for each query that sums to 1, zero where it is masked, and the result is the
/// values weighted by them.
#[test]
fn weights_of_attention_are_accessible() -> Outcome {
    let mut builder = Builder::new("Weights");
    let (t, s): (Symbol, Symbol) = ("T".parse()?, "S".parse()?);
    let x = builder.input_of("x", DType::F32, [Dim::from(t), Dim::from(6)])?;
    let memory = builder.input_of("memory", DType::F32, [Dim::from(s), Dim::from(6)])?;
    let lengths = builder.input_of("lengths", DType::I32, [])?;
    let mask = AttentionMask { causal: false, lengths: Some(lengths) };
    let operands = [x, memory, memory];
    let dot = builder.attention("dot", operands, &mask)?;
    let additive = builder.additive_attention("additive", operands, 5, &mask)?;
    let heads = builder.multi_head_attention("heads", operands, &Heads::new(3), &mask)?;
    let single = builder.multi_head_attention("single", operands, &Heads::new(1), &mask)?;
    let init = Initializer::XavierUniform;
    let causal = Layer::MultiHeadAttention { heads: 2, bias: true, causal: true, init };
    let causal = builder.layer("causal", &causal, x)?;
    for (name, value) in
        [("dot", dot), ("additive", additive), ("heads", heads), ("single", single), ("causal", causal)]
    {
        builder.output(name, value)?;
        let weights = builder.attention_weights(value)?;
        builder.output(&format!("{name}_weights"), weights)?;
    }
    assert_eq!(
        builder.attention_weights(x).unwrap_err().to_string(),
        "`attention_weights` needs a result of attention but receives [T, 6]"
    );
    let model = Dynamic::new(builder.finish()?)?.model(4)?;
    let (x, memory) = (noisy(2, 3), noisy(2, 5));
    let inputs: DynamicInputs<'_> =
        [("x", Feed::from(&x)), ("memory", Feed::from(&memory)), ("lengths", Feed::from(&[5, 2]))]
            .into_iter()
            .collect();
    let outputs = model.forward(inputs)?;
    for (name, shape) in [
        ("dot", &[2, 3, 5][..]),
        ("additive", &[2, 3, 5]),
        ("heads", &[2, 3, 3, 5]),
        ("single", &[2, 3, 5]),
        ("causal", &[2, 2, 3, 3]),
    ] {
        let weights = outputs.get(&format!("{name}_weights"))?;
        assert_eq!(weights.shape(), shape, "{name}");
        for row in weights.rows() {
            assert!(
                (row.sum() - 1.0).abs() < 1e-5 && row.iter().all(|weight| *weight >= 0.0),
                "{name}: {row}"
            );
        }
        for (index, weight) in weights.indexed_iter() {
            let position = index[shape.len() - 1];
            let masked = match name {
                "causal" => position > index[2],
                _ => index[0] == 1 && position >= 2,
            };
            assert!(!masked || *weight == 0.0, "{name} at {index:?}: {weight}");
        }
    }
    for name in ["dot", "additive"] {
        let (weights, context) = (outputs.get(&format!("{name}_weights"))?, outputs.get(name)?);
        for sample in 0..2 {
            let weights = weights.index_axis(Axis(0), sample).into_dimensionality::<Ix2>()?;
            let expected = weights.dot(&memory.index_axis(Axis(0), sample));
            let difference = (&expected - &context.index_axis(Axis(0), sample)).mapv(f32::abs);
            assert!(difference.iter().all(|difference| *difference < 1e-5), "{name}: {difference}");
        }
    }
    Ok(())
}

fn noisy(samples: usize, steps: usize) -> Array3<f32> {
    Array3::from_shape_vec((samples, steps, 6), noise(samples * steps * 6, 8)).unwrap()
}
