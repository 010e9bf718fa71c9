//! Lowers the steps of an epilogue: to steps of a tile, or to expressions of a map.

use super::EpilogueStep;
use crate::graph::Node;
use crate::kernel::{Address, Affine, BufferId, ExprId, MapBuilder, TileStep};
use crate::plan::{Layout, Lowering, View};

/// Fused steps, and the locations of their operands: one value per channel, or values in the result's layout.
#[derive(Clone, Debug, Default)]
pub(crate) struct FusedSteps<'a> {
    steps: &'a [EpilogueStep],
    operands: Vec<View>,
}

/// The operands that results may overwrite, of a node with `own` operands besides those of its epilogue. These are the
/// addends: the kernel reads each one at the address where it stores the sum.
pub(crate) fn sums_over(own: usize, steps: &[EpilogueStep]) -> Vec<(usize, usize)> {
    let taking = steps.iter().filter(|step| step.takes_operand()).enumerate();
    let sums = taking.filter(|(_, step)| **step == EpilogueStep::Add);
    sums.map(|(index, _)| (own + index, 0)).collect()
}

impl<'a> FusedSteps<'a> {
    /// The steps of a node whose last operands belong to them, for a result stored in a layout.
    pub(crate) fn new(
        lowering: &mut Lowering<'_>,
        node: &Node,
        steps: &'a [EpilogueStep],
        layout: &Layout,
    ) -> Self {
        let own = node.operands.len() - steps.iter().filter(|step| step.takes_operand()).count();
        let operands = node.operands[own..]
            .iter()
            .map(|&value| {
                let of_shape = lowering.channels_first(value);
                let is_image = lowering.ty(value).shape.is_batched();
                lowering.in_layout(node, value, if is_image { layout } else { &of_shape })
            })
            .collect();
        FusedSteps { steps, operands }
    }

    /// Whether there are no steps.
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether some step adds a value in the result's layout.
    pub(crate) fn adds_elements(&self) -> bool {
        self.steps.contains(&EpilogueStep::Add)
    }

    /// Whether some step reads a buffer.
    pub(crate) fn reads(&self, buffer: BufferId) -> bool {
        self.operands.iter().any(|operand| operand.address.buffer == buffer)
    }

    /// Converts the steps to steps of a tile, with the addresses of their operands. Channels run along the tile's rows
    /// or columns, according to `bias`, starting with `channel`. `element` returns the address of the tile's first
    /// element in a value with the result's layout, and the stride of the tile's rows.
    pub(crate) fn of_tile(
        &self,
        bias: TileStep,
        channel: &Affine,
        element: impl Fn(&View) -> (Address, usize),
    ) -> (Vec<TileStep>, Vec<Address>) {
        let mut taken = self.operands.iter();
        let mut addresses = Vec::new();
        let steps = self
            .steps
            .iter()
            .filter_map(|step| match step {
                EpilogueStep::Bias => {
                    addresses.push(taken.next()?.address.clone().at(channel, 1));
                    Some(bias)
                }
                EpilogueStep::Add => {
                    let (address, row) = element(taken.next()?);
                    addresses.push(address);
                    Some(TileStep::AddElement { row })
                }
                step => step.unary().map(TileStep::Apply),
            })
            .collect();
        (steps, addresses)
    }

    /// The steps in a map. Its lanes are consecutive channels starting with `channel`, or, if `lane` is 0, pixels of
    /// that one channel.
    pub(crate) fn in_map(&self, channel: &Affine, lane: usize) -> MapSteps<'_> {
        let biases = vec![None; self.operands.len()];
        MapSteps { fused: self, channel: channel.clone(), lane, biases }
    }
}

/// The steps of an epilogue in a map, which loads a bias once for all elements.
pub(crate) struct MapSteps<'f> {
    fused: &'f FusedSteps<'f>,
    channel: Affine,
    lane: usize,
    biases: Vec<Option<ExprId>>,
}

impl MapSteps<'_> {
    /// Applies the steps to a result. `element` returns the address of the element in a value with the results' layout.
    pub(crate) fn apply(
        &mut self,
        map: &mut MapBuilder,
        result: ExprId,
        element: impl Fn(&View) -> Address,
    ) -> ExprId {
        let mut taken = self.fused.operands.iter().zip(&mut self.biases);
        self.fused.steps.iter().fold(result, |value, step| {
            if let Some(kind) = step.unary() {
                return map.unary(kind, value);
            }
            let Some((view, bias)) = taken.next() else { return value };
            let addend = match step {
                EpilogueStep::Bias => *bias
                    .get_or_insert_with(|| map.load(view.address.clone().at(&self.channel, 1), self.lane)),
                _ => map.load(element(view), 1),
            };
            map.add(value, addend)
        })
    }
}
