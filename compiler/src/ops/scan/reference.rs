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
        let names: Vec<&str> = self.body.inputs().map(|(_, input)| input.name.as_str()).collect();
        let constants = self.constants();
        let mut bindings: Bindings<T> = Bindings::new();
        for (name, operand) in names.iter().zip(&operands[..constants]) {
            bindings.insert((*name).to_owned(), (*operand).clone());
        }
        let slices: Vec<(&str, &Array<T>)> =
            names.iter().copied().zip(operands.iter().copied()).skip(constants).take(self.slices).collect();
        let mut carried: Vec<Array<T>> =
            operands[constants + self.slices..].iter().map(|&array| array.clone()).collect();
        let steps = self.steps.at(sizes);
        let mut collected: Vec<Vec<Array<T>>> = vec![Vec::new(); self.collected()];
        for index in 0..steps {
            let step = if self.reverse { steps - 1 - index } else { index };
            for &(name, sequence) in &slices {
                bindings.insert(name.to_owned(), slice(sequence, step, steps));
            }
            for (name, value) in names[constants + self.slices..].iter().zip(&carried) {
                bindings.insert((*name).to_owned(), value.clone());
            }
            let outcome = interp::run(&self.body, sizes.clone(), &bindings)?;
            let mut outputs = self.body.outputs().iter().map(|output| outcome.value(output.value).clone());
            carried = outputs.by_ref().take(self.carried).collect();
            collected.iter_mut().zip(outputs).for_each(|(sequence, value)| sequence.push(value));
        }
        for sequence in collected {
            let sequence = if self.reverse { sequence.into_iter().rev().collect() } else { sequence };
            carried.push(joined(sequence));
        }
        Ok(carried)
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
