//! Reference evaluation of scans: the interpreter runs the body once for each step.

use super::Scan;
use crate::interp::{self, Array, Bindings, Data, Evaluate, InterpError, Real};
use crate::shape::Sizes;

impl Scan {
    /// The results for operands that satisfy the shape rule, at the open sizes of a run.
    ///
    /// # Errors
    /// Those of the body, as [`interp::run`].
    pub fn run<T: Real>(&self, operands: &[&Array<T>], sizes: &Sizes) -> Result<Vec<Array<T>>, InterpError> {
        self.run_by(operands, sizes, |inputs| {
            let outcome = interp::run(&self.body, sizes.clone(), &self.bindings(inputs))?;
            Ok(self.body.outputs().iter().map(|output| outcome.value(output.value).clone()).collect())
        })
    }

    /// The results if `step` computes the outputs of the body from its inputs, both in their order.
    ///
    /// # Errors
    /// Those of `step`.
    pub fn run_by<T: Real, E>(
        &self,
        operands: &[&Array<T>],
        sizes: &Sizes,
        mut step: impl FnMut(Vec<Array<T>>) -> Result<Vec<Array<T>>, E>,
    ) -> Result<Vec<Array<T>>, E> {
        let (constants, rest) = operands.split_at(self.constants());
        let (sequences, initial) = rest.split_at(self.slices);
        let mut carried: Vec<Array<T>> = initial.iter().map(|&array| array.clone()).collect();
        let steps = self.steps.at(sizes);
        let mut collected: Vec<Vec<Array<T>>> = vec![Vec::new(); self.collected()];
        for index in 0..steps {
            let place = if self.reverse { steps - 1 - index } else { index };
            let slices = sequences.iter().map(|sequence| slice(sequence, place, steps));
            let inputs = constants.iter().map(|&array| array.clone()).chain(slices).chain(carried);
            let mut outputs = step(inputs.collect())?.into_iter();
            carried = outputs.by_ref().take(self.carried).collect();
            collected.iter_mut().zip(outputs).for_each(|(sequence, value)| sequence.push(value));
        }
        for sequence in collected {
            let sequence = if self.reverse { sequence.into_iter().rev().collect() } else { sequence };
            carried.push(joined(sequence));
        }
        Ok(carried)
    }

    /// Values of the inputs of the body, by name.
    pub fn bindings<T: Real>(&self, inputs: Vec<Array<T>>) -> Bindings<T> {
        self.body.inputs().map(|(_, input)| input.name.clone()).zip(inputs).collect()
    }
}

/// One step of a sequence in time-major order.
fn slice<T: Real>(sequence: &Array<T>, step: usize, steps: usize) -> Array<T> {
    let mut sizes = sequence.sizes.clone();
    sizes[0] /= steps;
    let elements: usize = sizes.iter().product();
    let range = step * elements..(step + 1) * elements;
    let data = match &sequence.data {
        Data::Real(values) => Data::Real(values[range].to_vec()),
        Data::Int(values) => Data::Int(values[range].to_vec()),
    };
    Array { sizes, data }
}

/// The sequence of the values of all steps, of which there is at least one.
fn joined<T: Real>(steps: Vec<Array<T>>) -> Array<T> {
    let mut sizes = steps[0].sizes.clone();
    sizes[0] *= steps.len();
    let data = match &steps[0].data {
        Data::Real(_) => Data::Real(steps.iter().flat_map(|step| step.real().iter().copied()).collect()),
        Data::Int(_) => Data::Int(steps.iter().flat_map(|step| step.int().iter().copied()).collect()),
    };
    Array { sizes, data }
}

impl Evaluate for Scan {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], _: &[Vec<usize>]) -> Vec<Array<T>> {
        let sizes = self.sizes.clone().unwrap_or_else(|| Sizes::from(1));
        self.run(operands, &sizes).expect("the graph's own run has checked the operands")
    }
}
