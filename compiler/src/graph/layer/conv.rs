//! Convolution layers.

use super::add_bias;
use crate::entity::ValueId;
use crate::error::{GraphError, ShapeError};
use crate::graph::Builder;
use crate::graph::initializer::Initializer;
use crate::ops::conv::Conv;
use crate::ops::window::Window;

/// The arguments of a convolution layer.
pub(super) struct ConvLayer<'a> {
    pub(super) name: &'static str,
    pub(super) out_channels: usize,
    pub(super) window: &'a Window,
    pub(super) groups: usize,
    pub(super) bias: bool,
    pub(super) init: Initializer,
}

impl ConvLayer<'_> {
    /// Adds the layer.
    pub(super) fn build(
        &self,
        builder: &mut Builder,
        label: &str,
        x: ValueId,
    ) -> Result<ValueId, GraphError> {
        let at = |error| GraphError::Shape { at: self.name.to_owned(), error };
        let conv = Conv { window: self.window.clone(), groups: self.groups, epilogue: Vec::new() };
        let shape = builder.graph().ty(x).shape.clone();
        if self.out_channels == 0 {
            return Err(at(ShapeError::ZeroArgument { argument: "out_channels" }));
        }
        let weight = conv.weight_type(&shape, self.out_channels).map_err(at)?;
        let weight = builder.parameter(label, "weight", &weight.shape.item(), self.init)?;
        let y = builder.op(conv, &[x, weight], label)?;
        add_bias(builder, label, y, self.bias, self.out_channels)
    }
}
