//! Gradients of convolution. It is linear in each operand, and so are its gradients: each of the three operators is a
//! gradient of the other two. If ⟨a, b⟩ is the sum of the products of elements, then
//! `⟨g, conv(x, w)⟩ = ⟨conv_grad_input(g, w), x⟩ = ⟨conv_grad_weight(g, x), w⟩`.

use super::{Conv, ConvGradInput, ConvGradWeight};
use crate::autodiff::{AutodiffError, Backward, Differentiate};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::ops::epilogue::EpilogueStep;
use crate::ops::window::Window;
use crate::shape::Dim;

/// A convolution whose gradients are being added. Each of input, weight and output gradient is computed from the other
/// two.
struct Rules<'r> {
    window: &'r Window,
    groups: usize,
}

impl Rules<'_> {
    fn output(&self, backward: &mut Backward, [x, weight]: [ValueId; 2]) -> Result<ValueId, AutodiffError> {
        let op = Conv { window: self.window.clone(), groups: self.groups, epilogue: Vec::new() };
        backward.single(op, &[x, weight])
    }

    fn input(
        &self,
        backward: &mut Backward,
        [g, weight]: [ValueId; 2],
        x: ValueId,
    ) -> Result<ValueId, AutodiffError> {
        let input_sizes = backward.ty(x).shape.dims()[2..].iter().map(Dim::polynomial).collect();
        let op = ConvGradInput {
            window: self.window.clone(),
            groups: self.groups,
            input_sizes,
            epilogue: Vec::new(),
        };
        backward.single(op, &[g, weight])
    }

    fn weight(&self, backward: &mut Backward, [g, x]: [ValueId; 2]) -> Result<ValueId, AutodiffError> {
        let op = ConvGradWeight { window: self.window.clone(), groups: self.groups };
        backward.single(op, &[g, x])
    }
}

impl Differentiate for Conv {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        EpilogueStep::refuse(&self.epilogue, node)?;
        let (x, weight) = (node.operands[0], node.operands[1]);
        let rules = Rules { window: &self.window, groups: self.groups };
        Ok(vec![
            backward.towards(x, |backward| rules.input(backward, [g, weight], x))?,
            backward.towards(weight, |backward| rules.weight(backward, [g, x]))?,
        ])
    }
}

impl Differentiate for ConvGradInput {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(of_dx) = gradients[0] else { return Ok(Vec::new()) };
        EpilogueStep::refuse(&self.epilogue, node)?;
        let (g, weight) = (node.operands[0], node.operands[1]);
        let rules = Rules { window: &self.window, groups: self.groups };
        Ok(vec![
            backward.towards(g, |backward| rules.output(backward, [of_dx, weight]))?,
            backward.towards(weight, |backward| rules.weight(backward, [g, of_dx]))?,
        ])
    }
}

impl Differentiate for ConvGradWeight {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(of_weight) = gradients[0] else { return Ok(Vec::new()) };
        let (g, x) = (node.operands[0], node.operands[1]);
        let rules = Rules { window: &self.window, groups: self.groups };
        Ok(vec![
            backward.towards(g, |backward| rules.output(backward, [x, of_weight]))?,
            backward.towards(x, |backward| rules.input(backward, [g, of_weight], x))?,
        ])
    }
}
