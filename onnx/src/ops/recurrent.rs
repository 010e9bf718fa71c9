//! Recurrent layers: RNN, GRU and LSTM, whose parameters get the names and the order of gates of Windlass.

use windlass_compiler::graph::{Cell, GruReset, Recurrent, RecurrentOperands, RnnActivation};
use windlass_compiler::shape::Dim;

use super::Rule;
use crate::error::{Reason, unsupported};
use crate::importer::Importer;
use crate::known::Known;
use crate::node::Node;
use crate::value::{Batch, Data, Meaning, Value};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("RNN", |importer, node| recurrent(importer, node, Kind::Rnn)),
    ("GRU", |importer, node| recurrent(importer, node, Kind::Gru)),
    ("LSTM", |importer, node| recurrent(importer, node, Kind::Lstm)),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rnn,
    Gru,
    Lstm,
}

impl Kind {
    /// The gate of ONNX for each gate of Windlass.
    fn gates(self) -> &'static [usize] {
        match self {
            Kind::Rnn => &[0],
            // Update, reset, new → reset, update, new.
            Kind::Gru => &[1, 0, 2],
            // Input, output, forget, cell → input, forget, cell, output.
            Kind::Lstm => &[0, 2, 3, 1],
        }
    }

    /// The usual activations.
    fn activations(self) -> &'static [&'static str] {
        match self {
            Kind::Rnn => &["Tanh"],
            Kind::Gru => &["Sigmoid", "Tanh"],
            Kind::Lstm => &["Sigmoid", "Tanh", "Tanh"],
        }
    }
}

fn activation(node: &Node<'_>, kind: Kind, directions: usize) -> Result<RnnActivation, Reason> {
    let given = match node.texts("activations") {
        Some(given) => given,
        None => return Ok(RnnActivation::Tanh),
    };
    let is = |expected: &[&str]| {
        given.len() == directions * expected.len()
            && given
                .chunks(expected.len())
                .all(|own| own.iter().zip(expected).all(|(a, b)| a.eq_ignore_ascii_case(b)))
    };
    if is(kind.activations()) {
        Ok(RnnActivation::Tanh)
    } else if kind == Kind::Rnn && is(&["Relu"]) {
        Ok(RnnActivation::Relu)
    } else {
        let needed = format!("the activations must be {:?}", kind.activations());
        Err(Reason::AttributeValue { name: "activations", value: format!("{given:?}"), needed })
    }
}

/// Rows of a tensor `[directions, gates · units, …]` in the order of Windlass.
fn reordered(values: &[f32], direction: usize, gates: &[usize], [units, columns]: [usize; 2]) -> Vec<f32> {
    let each = units * columns;
    let start = direction * gates.len() * each;
    gates
        .iter()
        .flat_map(|gate| values[start + gate * each..start + (gate + 1) * each].iter().copied())
        .collect()
}

fn floats(node: &Node<'_>, index: usize, dims: &[usize]) -> Result<Option<Vec<f32>>, Reason> {
    let Some(value) = node.optional(index) else { return Ok(None) };
    let Some(known) = value.stored_elements() else {
        return Err(Reason::NeedsParameter { index, input: value.input() });
    };
    match known.to_floats() {
        Some(values) if known.dims == dims => Ok(Some(values)),
        _ => Err(Reason::Operand {
            index,
            problem: format!("has the sizes {:?}, but {dims:?} fit", known.dims),
        }),
    }
}

fn recurrent<'m>(importer: &mut Importer<'m>, node: &Node<'m>, kind: Kind) -> Result<Vec<Value>, Reason> {
    let batch_first = node.flag("layout", false);
    let directions = match node.text("direction").unwrap_or("forward") {
        "bidirectional" => 2,
        "forward" | "reverse" => 1,
        other => {
            let needed = "`forward`, `reverse` or `bidirectional`".to_owned();
            return Err(Reason::AttributeValue { name: "direction", value: other.to_owned(), needed });
        }
    };
    let is_reverse = node.text("direction") == Some("reverse");
    if node.has("clip") {
        return unsupported("clipping is not supported");
    }
    if node.flag("input_forget", false) {
        return unsupported("coupled input and forget gates are not supported");
    }
    node.ignore(&["hidden_size", "output_sequence"]);
    let activation = activation(node, kind, directions)?;

    // The weights.
    let gates = kind.gates();
    let hidden = node.operand(2)?;
    let Some(hidden) = hidden.stored_elements() else {
        return Err(Reason::NeedsParameter { index: 2, input: hidden.input() });
    };
    let [own, rows, units] = hidden.dims[..] else {
        return unsupported("its recurrent weight must have 3 axes");
    };
    if own != directions || rows != gates.len() * units || units == 0 {
        return unsupported(format!("its recurrent weight has the sizes {:?}", hidden.dims));
    }
    let features = node.operand(1)?.fixed(2)?;
    let input = floats(node, 1, &[directions, rows, features])?.ok_or(Reason::Missing { index: 1 })?;
    let hidden = hidden.to_floats().unwrap_or_default();
    let biases = floats(node, 3, &[directions, 2 * rows])?;
    let peepholes = match kind {
        Kind::Lstm => floats(node, 7, &[directions, 3 * units])?,
        Kind::Rnn | Kind::Gru => None,
    };
    let cell = match kind {
        Kind::Rnn => Cell::Rnn { activation },
        Kind::Gru if node.flag("linear_before_reset", false) => Cell::Gru { reset: GruReset::After },
        Kind::Gru => Cell::Gru { reset: GruReset::Before },
        Kind::Lstm => Cell::Lstm { projection: 0, peepholes: peepholes.is_some() },
    };
    let layer =
        Recurrent { bidirectional: directions == 2, bias: biases.is_some(), ..Recurrent::new(cell, units) };

    // The sequences.
    let x = node.operand(0)?.clone();
    if x.rank() != 3 {
        return unsupported(format!("it needs sequences of vectors, but receives {} axes", x.rank()));
    }
    let mut x = if batch_first { x } else { importer.transpose(&x, &[1, 0, 2])? };
    if is_reverse {
        x = importer.reversed(&x, 1)?;
    }
    let data = importer.data(&x)?;
    let data = importer.folded(&data)?;
    if data.batch != Batch::Axis(0) {
        return unsupported("the axis of its samples is not the batch");
    }
    let (samples, steps) = (data.dims[0].clone(), data.dims[1].clone());
    let lengths = lengths(importer, node, &steps)?;
    if lengths.is_some() && is_reverse {
        return unsupported("sequences of different lengths cannot be read backwards only");
    }
    let mut initial = Vec::new();
    let states = if kind == Kind::Lstm { 2 } else { 1 };
    let given: Vec<Option<Value>> = (5..5 + states).map(|index| node.optional(index).cloned()).collect();
    let is_zero = |value: &Option<Value>| match value {
        None => true,
        Some(Value::Known(known)) => {
            known.to_floats().is_some_and(|values| values.iter().all(|&value| value == 0.0))
        }
        Some(_) => false,
    };
    if !given.iter().all(is_zero) {
        for direction in 0..directions {
            for state in &given {
                let dims = vec![samples.clone(), Dim::Fixed(units)];
                let state = match state {
                    Some(state) => {
                        let axis = usize::from(batch_first);
                        let part = importer.slice(state, axis, direction, 1usize)?;
                        importer.reshape(&part, &dims)?
                    }
                    None => {
                        let zeros = data.with(data.value, dims);
                        let value = importer.number_like(&zeros, 0.0)?;
                        Value::from(Data { value, ..zeros })
                    }
                };
                let state = importer.data(&state)?;
                initial.push(importer.folded(&state)?.value);
            }
        }
    }
    let label = importer.label.clone();
    let operands = RecurrentOperands { initial: &initial, lengths };
    let result = importer.builder.recurrent(&label, &layer, data.value, &operands)?;
    for direction in 0..directions {
        let suffix = if direction == 1 { "_reverse" } else { "" };
        let mut set = |kind: &str, dims: &[usize], values: Vec<f32>| {
            importer.set(format!("{label}.{kind}_l0{suffix}"), dims.to_vec(), values);
        };
        set("weight_ih", &[rows, features], reordered(&input, direction, gates, [units, features]));
        set("weight_hh", &[rows, units], reordered(&hidden, direction, gates, [units, units]));
        if let Some(biases) = &biases {
            let (of_input, of_state) = biases[direction * 2 * rows..][..2 * rows].split_at(rows);
            set("bias_ih", &[rows], reordered(of_input, 0, gates, [units, 1]));
            set("bias_hh", &[rows], reordered(of_state, 0, gates, [units, 1]));
        }
        if let Some(peepholes) = &peepholes {
            // Input, output, forget.
            for (gate, place) in [("i", 0), ("f", 2), ("o", 1)] {
                let own = &peepholes[direction * 3 * units + place * units..][..units];
                set(&format!("weight_c{gate}"), &[units], own.to_vec());
            }
        }
    }

    // The results: all states, and the last ones.
    let dims = vec![samples.clone(), steps, Dim::Fixed(directions), Dim::Fixed(units)];
    let all = Data { dims, meaning: Meaning::Float, input: None, ..data.clone() };
    let value = importer.shaped(result.sequence, all.shape())?;
    let mut all = Value::from(Data { value, ..all });
    if is_reverse {
        all = importer.reversed(&all, 1)?;
    }
    if !batch_first {
        all = importer.transpose(&all, &[1, 2, 0, 3])?;
    }
    let mut results = vec![all];
    for state in 0..states {
        let mut parts = Vec::new();
        for direction in 0..directions {
            let value = result.last[direction * states + state];
            let last = Value::from(data.with(value, vec![samples.clone(), Dim::Fixed(units)]));
            let one = Dim::Fixed(1);
            let dims = match batch_first {
                true => vec![samples.clone(), one, Dim::Fixed(units)],
                false => vec![one, samples.clone(), Dim::Fixed(units)],
            };
            parts.push(importer.reshape(&last, &dims)?);
        }
        results.push(importer.concat(&parts, usize::from(batch_first))?);
    }
    Ok(results)
}

/// The number of steps of each sequence, if they differ.
fn lengths(
    importer: &mut Importer<'_>,
    node: &Node<'_>,
    steps: &Dim,
) -> Result<Option<windlass_compiler::entity::ValueId>, Reason> {
    match node.optional(4) {
        None => Ok(None),
        Some(Value::Known(known)) => match (known_lengths(known), steps.fixed()) {
            (Some(lengths), Some(steps)) if lengths.iter().all(|&length| length == steps as i64) => Ok(None),
            _ => unsupported("lengths that are known, and other than the number of steps, are not supported"),
        },
        Some(Value::Data(data)) if data.meaning == Meaning::Index => Ok(Some(importer.folded(data)?.value)),
        Some(_) => unsupported("its lengths must be an input of integers"),
    }
}

fn known_lengths(known: &Known) -> Option<Vec<i64>> {
    known.to_integers()
}
