//! Networks on sequences and texts, which together have most operators, and drawn inputs of networks.

use ndarray::{ArrayD, IxDyn};
use windlass::{
    AttentionMask, Builder, Cell, DType, Dim, Graph, GraphError, Layer, Recurrent, RecurrentOperands, Sizes,
    Symbol, network,
};

network! {
    /// Attention and a feed-forward network, each with a residual sum and a normalisation.
    block encoder(features, heads, hidden, causal = false) {
        let input = it;
        attention: multi_head_attention(heads, causal = causal);
        add(input);
        norm1: layer_norm;
        let seen = it;
        up: linear(hidden); gelu; down: linear(features);
        add(seen);
        norm2: layer_norm
    }

    network Encoder(x: [T, 6]) -> [T, 6] {
        embed: linear(16); positional_encoding;
        blocks: repeat 2 { encoder(16, 4, 32) }
        linear(6)
    }

    network Causal(x: [9, 8]) -> [9, 8] { positional_encoding; encoder(8, 2, 8, causal = true) }

    network CausalOpen(x: [T, 8]) -> [T, 8] { encoder(8, 2, 8, causal = true) }

    network Cross(queries: [T, 8], memory: [S, 6]) -> (context: [T, 8], additive: [T, 6]) {
        from(queries); cross_attention(memory, 2, bias = false); context = it;
        from(queries); additive_attention(memory, memory, 5); additive = it;
    }

    network Tagger(frames: [T, 6]) -> [T, 4] {
        r: lstm(12, layers = 2, bidirectional = true, dropout = 0.25);
        f: linear(4)
    }

    network Classifier(frames: [T, 6]) -> [3] {
        g: gru(8, reset = before);
        h: gru(8);
        e: rnn(5, activation = relu);
        last_step;
        f: linear(3)
    }

    network Projected(frames: [7, 6]) -> [3] { l: lstm(9, projection = 4); last_step; f: linear(3) }

    /// A recurrence by hand that attends to all parts of an image in every step.
    network Captions(image: [9, 8], words: [T] of index) -> (scores: [T, 20], summary: [8]) {
        from(image); mean((0)); let start = it;
        from(words); embedding(20, 8);
        cell: scan (h = start, context: [8]) {
            let word = it;
            from(h); reshape((1, 8)); attention(image, image); flatten;
            context = it;
            concat { { from(word) } { from(context) } { from(h) } }
            step: linear(8); tanh;
            h = it;
        }
        linear(20);
        scores = it;
        summary = h;
    }

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

    /// Convolutions along a sequence of any length.
    network Waves(x: [3, T]) -> [4, T] {
        c1: conv1d(8, kernel_size = 5, padding = 2); batch_norm; relu;
        c2: conv1d(4, kernel_size = 3, padding = same, dilation = 2); softplus
    }
}

/// Sequences that are padded: their lengths are an input.
fn padded() -> Result<Graph, GraphError> {
    let mut builder = Builder::new("Padded");
    let steps: Symbol = "T".parse().unwrap();
    let x = builder.input_of("x", DType::F32, [Dim::from(steps), Dim::from(4)])?;
    let lengths = builder.input_of("lengths", DType::I32, [])?;
    let operands = RecurrentOperands { initial: &[], lengths: Some(lengths) };
    let lstm = Recurrent::new(Cell::Lstm { projection: 0, peepholes: true }, 4);
    let y = builder.recurrent("r", &lstm, x, &operands)?.sequence;
    let mask = AttentionMask { causal: true, lengths: Some(lengths) };
    let y = builder.attention("a", [y, y, y], &mask)?;
    let y = builder.layer("f", &Layer::linear(2), y)?;
    builder.output("y", y)?;
    builder.finish()
}

/// Names and graphs.
pub(crate) fn networks() -> Vec<(&'static str, Graph)> {
    vec![
        ("encoder", Encoder::graph().clone()),
        ("causal", Causal::graph().clone()),
        ("causal_open", CausalOpen::graph().clone()),
        ("cross", Cross::graph().clone()),
        ("tagger", Tagger::graph().clone()),
        ("classifier", Classifier::graph().clone()),
        ("projected", Projected::graph().clone()),
        ("captions", Captions::graph().clone()),
        ("backwards", Backwards::graph().clone()),
        ("waves", Waves::graph().clone()),
        ("padded", padded().unwrap()),
    ]
}

/// Values of an input.
#[derive(Clone, Debug)]
pub(crate) enum Drawn {
    /// Numbers.
    Numbers(ArrayD<f32>),
    /// Indices below 5 and above 0, which are also lengths.
    Indices(ArrayD<i32>),
}

/// The sizes of runs: 3 samples, and 5 to 7 of other open sizes.
pub(crate) fn sizes_of(graph: &Graph) -> Sizes {
    let mut sizes = Sizes::from(3);
    let symbols = graph.inputs().flat_map(|(_, input)| input.ty.shape.symbols());
    for (index, symbol) in symbols.filter(|symbol| *symbol != Symbol::BATCH).enumerate() {
        sizes.set(symbol, 5 + index % 3);
    }
    sizes
}

/// Inputs by name.
pub(crate) fn drawn(
    graph: &Graph,
    sizes: &Sizes,
    noise: impl Fn(usize, u32) -> Vec<f32>,
) -> Vec<(String, Drawn)> {
    let draw = |(index, (_, input)): (usize, (_, &windlass_compiler::ops::source::Input))| {
        let shape = input.ty.shape.concrete(sizes.clone());
        let numbers = noise(shape.iter().product(), index as u32 + 1);
        let numbers = ArrayD::from_shape_vec(IxDyn(&shape), numbers).unwrap();
        let drawn = match input.ty.dtype {
            DType::F32 => Drawn::Numbers(numbers),
            DType::I32 => Drawn::Indices(numbers.mapv(|number| 1 + ((number + 1.0) * 2.0) as i32)),
        };
        (input.name.clone(), drawn)
    };
    graph.inputs().enumerate().map(draw).collect()
}

/// The outputs of a model, by name.
pub(crate) fn outputs_of(
    model: &windlass::Model<windlass::Dynamic>,
    inputs: &[(String, Drawn)],
) -> Result<Vec<(String, ArrayD<f32>)>, windlass::Error> {
    let feeds = inputs.iter().map(|(name, drawn)| match drawn {
        Drawn::Numbers(numbers) => (name.as_str(), windlass::Feed::from(numbers)),
        Drawn::Indices(indices) => (name.as_str(), windlass::Feed::from(indices)),
    });
    let outputs = model.forward(feeds.collect::<windlass::DynamicInputs<'_>>())?;
    Ok(outputs.iter().map(|(name, array)| (name.to_owned(), array.clone())).collect())
}

/// The largest difference of elements, as a part of the largest element.
pub(crate) fn difference(left: &ArrayD<f32>, right: &ArrayD<f32>) -> f32 {
    assert_eq!(left.shape(), right.shape());
    let largest = left.iter().fold(f32::MIN_POSITIVE, |most, number| most.max(number.abs()));
    left.iter().zip(right).fold(0f32, |most, (a, b)| most.max((a - b).abs())) / largest
}
