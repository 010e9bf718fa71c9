//! Connections of some input channels with each output channel of a convolution (LeCun et al. 1998, table I).

use super::pool::at;
use crate::entity::ValueId;
use crate::error::{GraphError, ShapeError};
use crate::graph::Builder;
use crate::graph::initializer::Initializer;
use crate::ops::source::Constant;
use crate::shape::Shape;

/// The maximum number of input and of output channels with lists of connections.
pub const MAX_CONNECTED: usize = 64;

/// The input channels with which each output channel is connected, as an argument of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// A bit for each input channel.
    rows: [u64; MAX_CONNECTED],
    count: usize,
}

impl Connections {
    /// Every output channel is connected with every input channel.
    pub const ALL: Connections = Connections { rows: [0; MAX_CONNECTED], count: 0 };

    /// A list of input channels for each output channel; `None` for no list, equal channels in a list, or channels from
    /// [`MAX_CONNECTED`] on.
    pub fn of(lists: &[Vec<usize>]) -> Option<Self> {
        let mut connections = Connections { count: lists.len(), ..Connections::ALL };
        for (row, list) in lists.iter().enumerate() {
            let bits = connections.rows.get_mut(row)?;
            for &channel in list {
                let bit = 1u64.checked_shl(u32::try_from(channel).ok()?)?;
                if *bits & bit != 0 {
                    return None;
                }
                *bits |= bit;
            }
        }
        (!lists.is_empty()).then_some(connections)
    }

    /// The lists, each in ascending order; none if all channels are connected.
    pub fn lists(&self) -> Vec<Vec<usize>> {
        let channels = |bits: u64| (0..MAX_CONNECTED).filter(|channel| bits >> channel & 1 == 1).collect();
        self.rows[..self.count].iter().map(|&bits| channels(bits)).collect()
    }
}

/// Checks lists of connections with the numbers of channels.
pub(super) fn check(
    lists: &[Vec<usize>],
    inputs: usize,
    outputs: usize,
    groups: usize,
) -> Result<(), ShapeError> {
    if groups != 1 {
        let (value, range) = (groups as f64, "1 if it has `connections`");
        return Err(ShapeError::NumberOutOfRange { argument: "groups", value, range });
    }
    if lists.len() != outputs {
        return Err(ShapeError::ConnectionCount { lists: lists.len(), outputs });
    }
    for (output, list) in lists.iter().enumerate() {
        if list.is_empty() {
            return Err(ShapeError::Unconnected { output });
        }
        let is_ascending = list.windows(2).all(|pair| pair[0] < pair[1]);
        if let Some(&input) = list.iter().find(|&&input| input >= inputs || !is_ascending) {
            return Err(ShapeError::ConnectionOutOfRange { output, input, inputs });
        }
    }
    Ok(())
}

/// The weight `[outputs, inputs, kernel…]` with zeros where there is no connection, from a parameter with the others.
pub(super) fn weight(
    builder: &mut Builder,
    label: &str,
    lists: &[Vec<usize>],
    sizes: &[usize],
    init: Initializer,
) -> Result<ValueId, GraphError> {
    let [outputs, inputs, kernel @ ..] = sizes else { return Err(at(label, ShapeError::NoAxes)) };
    let of_kernels = |count: usize| [&[count, 1], kernel].concat();
    let places: Vec<usize> = lists
        .iter()
        .enumerate()
        .flat_map(|(output, list)| list.iter().map(move |input| output * inputs + input))
        .collect();
    let init = scaled(init, places.len(), sizes);
    let own = builder.parameter(label, "weight", &of_kernels(places.len()), init)?;
    // Kernels of neighbouring places are a slice of the parameter; the places between them have zeros.
    let (mut parts, mut place, mut first) = (Vec::new(), 0, 0);
    for run in places.chunk_by(|left, right| left + 1 == *right) {
        if run[0] > place {
            parts.push(zeros(builder, label, &of_kernels(run[0] - place))?);
        }
        parts.push(builder.slice(label, own, 0, first, run.len())?);
        (place, first) = (run[0] + run.len(), first + run.len());
    }
    if place < outputs * inputs {
        parts.push(zeros(builder, label, &of_kernels(outputs * inputs - place))?);
    }
    let dense = builder.concat_along(label, 0, &parts)?;
    builder.reshape(label, dense, Shape::fixed(sizes))
}

fn zeros(builder: &mut Builder, label: &str, sizes: &[usize]) -> Result<ValueId, GraphError> {
    let shape = Shape::fixed(sizes);
    let values = vec![0.0; sizes.iter().product()];
    builder.op(Constant { shape, values }, &[], label)
}

/// The distribution with the mean numbers of connections of an output and of an input as fan-in and fan-out, which differ
/// from those of the parameter's own shape.
fn scaled(init: Initializer, connections: usize, sizes: &[usize]) -> Initializer {
    let weights = (connections * sizes[2..].iter().product::<usize>()) as f64;
    let (fan_in, fan_out) = (weights / sizes[0] as f64, weights / sizes[1] as f64);
    let uniform = |variance: f64| Initializer::Uniform(-(3.0 * variance).sqrt(), (3.0 * variance).sqrt());
    match init {
        Initializer::XavierUniform => uniform(2.0 / (fan_in + fan_out)),
        Initializer::XavierNormal => Initializer::Normal(0.0, (2.0 / (fan_in + fan_out)).sqrt()),
        Initializer::KaimingUniform => uniform(2.0 / fan_in),
        Initializer::KaimingNormal => Initializer::Normal(0.0, (2.0 / fan_in).sqrt()),
        Initializer::Constant(_)
        | Initializer::Uniform(..)
        | Initializer::Normal(..)
        | Initializer::Signs => init,
    }
}
