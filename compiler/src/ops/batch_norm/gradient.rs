//! Gradients of batch normalisation.

use super::{BatchNorm, BatchNormGrad, BatchNormTraining};
use crate::autodiff::{AutodiffError, Backward, Differentiate, no_gradient, not_differentiable};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::ops::elementwise::{Bias, BinaryKind, Scale, SumChannels, UnaryKind};
use crate::ops::epilogue::EpilogueStep;

no_gradient!(BatchNormGrad: "its operands: gradients of gradients are not supported");

impl Differentiate for BatchNorm {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        EpilogueStep::refuse(&self.epilogue, node)?;
        // With running statistics, normalisation is a scale and a shift per channel.
        let [x, gamma, beta, mean, variance] = node.operands[..] else { return Ok(Vec::new()) };
        if backward.needs(mean) || backward.needs(variance) {
            return Err(not_differentiable(node, "its running statistics"));
        }
        let epsilon = backward.constant(self.epsilon as f32)?;
        let variance = backward.binary(BinaryKind::Add, variance, epsilon)?;
        let inverse = backward.unary(UnaryKind::Rsqrt, variance)?;
        Ok(vec![
            backward.towards(x, |backward| {
                let scale = backward.binary(BinaryKind::Multiply, gamma, inverse)?;
                backward.single(Scale::along(1), &[g, scale])
            })?,
            backward.towards(gamma, |backward| {
                let shift = backward.unary(UnaryKind::Negate, mean)?;
                let centred = backward.single(Bias {}, &[x, shift])?;
                let normalised = backward.single(Scale::along(1), &[centred, inverse])?;
                let products = backward.binary(BinaryKind::Multiply, g, normalised)?;
                backward.single(SumChannels {}, &[products])
            })?,
            backward.towards(beta, |backward| backward.single(SumChannels {}, &[g]))?,
        ])
    }
}

impl Differentiate for BatchNormTraining {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        if gradients[1..].iter().any(Option::is_some) {
            return Err(not_differentiable(node, "its operands through the statistics it gives back"));
        }
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        EpilogueStep::refuse(&self.epilogue, node)?;
        let (x, gamma) = (node.operands[0], node.operands[1]);
        let (mean, inverse) = (node.results[1], node.results[2]);
        let results = backward.add(BatchNormGrad::default(), &[g, x, gamma, mean, inverse])?;
        Ok(results.into_iter().map(Some).collect())
    }
}
