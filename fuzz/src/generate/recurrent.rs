//! Random networks on sequences: recurrent layers, and recurrences written by hand.

use fastrand::Rng;
use windlass_compiler::entity::ValueId;
use windlass_compiler::error::GraphError;
use windlass_compiler::graph::{
    Builder, Cell, Combination, Graph, GruReset, Layer, Recurrent, RecurrentOperands, RnnActivation,
    ScanOperands, ScanOutputs, Scanned,
};
use windlass_compiler::shape::{DType, Dim, Symbol};

use super::sizes::{self, pick};

/// A network on sequences of fixed or open length.
pub(super) fn network(numbers: &mut Rng) -> Result<Graph, GraphError> {
    let mut builder = Builder::new("recurrent");
    let open = Dim::from("T".parse::<Symbol>().expect("a symbol"));
    let steps = if numbers.bool() { open } else { Dim::from(pick(numbers, &[1, 2, 3, 5])) };
    let features = sizes::channels(numbers).min(12);
    let x = builder.input_of("x", DType::F32, [steps, Dim::from(features)])?;
    let lengths = match numbers.u8(..4) {
        0 => Some(builder.input_of("lengths", DType::I32, [])?),
        _ => None,
    };
    let mut y = x;
    for index in 0..pick(numbers, &[1, 1, 2]) {
        let label = format!("r{index}");
        y = match numbers.bool() {
            true => {
                let layer = layer(numbers);
                let operands = RecurrentOperands { initial: &[], lengths };
                let recurrence = builder.recurrent(&label, &layer, y, &operands)?;
                if numbers.u8(..4) == 0 {
                    builder.output(&format!("last{index}"), pick(numbers, &recurrence.last))?;
                }
                recurrence.sequence
            }
            false => {
                let scanned = by_hand(&mut builder, &label, [x, y], numbers)?;
                if numbers.u8(..4) == 0 && !scanned.last.is_empty() {
                    builder.output(&format!("last{index}"), pick(numbers, &scanned.last))?;
                }
                pick(numbers, &scanned.sequences)
            }
        };
    }
    if numbers.bool() {
        y = builder.layer("last", &Layer::LastStep, y)?;
    }
    let y = builder.layer("f", &Layer::linear(sizes::channels(numbers).min(9)), y)?;
    builder.output("y", y)?;
    builder.finish()
}

fn layer(numbers: &mut Rng) -> Recurrent {
    let units = sizes::channels(numbers).min(17);
    let projection = if units > 1 && numbers.u8(..3) == 0 { units / 2 } else { 0 };
    let cell = match numbers.u8(..5) {
        0 => Cell::Rnn { activation: RnnActivation::Tanh },
        1 => Cell::Rnn { activation: RnnActivation::Relu },
        2 => Cell::Gru { reset: pick(numbers, &[GruReset::After, GruReset::Before]) },
        _ => Cell::Lstm { projection, peepholes: numbers.bool() },
    };
    Recurrent {
        layers: pick(numbers, &[1, 1, 2]),
        bidirectional: numbers.u8(..3) == 0,
        dropout: pick(numbers, &[0.0, 0.0, 0.3]),
        bias: numbers.u8(..4) > 0,
        ..Recurrent::new(cell, units)
    }
}

/// A recurrence over two sequences, of a few layers and sums, differences and products of states and inputs.
fn by_hand(
    builder: &mut Builder,
    label: &str,
    sequences: [ValueId; 2],
    numbers: &mut Rng,
) -> Result<Scanned, GraphError> {
    let units = sizes::channels(numbers).min(17);
    let count = pick(numbers, &[0, 1, 1, 1, 2, 2]);
    let initial: Vec<ValueId> =
        (0..count).map(|_| builder.initial_state(sequences[0], &[units])).collect::<Result<_, _>>()?;
    let sequences = if numbers.u8(..3) == 0 { &sequences[..] } else { &sequences[1..] };
    let operands =
        ScanOperands { sequences, initial: &initial, reverse: numbers.bool(), ..ScanOperands::default() };
    builder.scan(label, operands, |body, inputs| {
        let mut values = inputs.carried.clone();
        for (index, &step) in inputs.steps.iter().enumerate() {
            values.push(body.layer(&format!("x{index}"), &Layer::linear(units), step)?);
        }
        for index in 0..1 + numbers.usize(..5) {
            let (left, right) = (pick(numbers, &values), pick(numbers, &values));
            let value = match numbers.u8(..8) {
                0 => body.layer(&format!("h{index}"), &Layer::linear(units), left)?,
                1 => body.layer("", &Layer::Tanh, left)?,
                2 => body.layer("", &Layer::Sigmoid, left)?,
                3 => body.layer("", &Layer::Relu, left)?,
                4 => {
                    let half = body.number(0.5)?;
                    body.combine("", Combination::Multiply, left, half)?
                }
                5 => {
                    let part = body.slice("", left, 1, 0usize, units.div_ceil(2))?;
                    let rest = body.slice("", right, 1, 0usize, units / 2 + units % 2)?;
                    let both = body.concat("", &[part, rest])?;
                    body.slice("", both, 1, 0usize, units)?
                }
                kind => {
                    let kinds = [Combination::Add, Combination::Subtract, Combination::Multiply];
                    let which = if kind == 6 { 0 } else { numbers.usize(..3) };
                    body.combine("", kinds[which], left, right)?
                }
            };
            values.push(value);
        }
        let mut carried = Vec::new();
        for _ in 0..inputs.carried.len() {
            let value = pick(numbers, &values);
            let squashed = numbers.u8(..3) > 0;
            carried.push(if squashed { body.layer("", &Layer::Tanh, value)? } else { value });
        }
        let last = values[values.len() - 1];
        let mut collected = vec![last];
        if numbers.bool() {
            collected.push(pick(numbers, &values));
        }
        Ok(ScanOutputs { carried, collected })
    })
}
