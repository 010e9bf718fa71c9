//! What is known of every value of a graph: whether it is exact, and the maximum error of its operator. Scans are known step
//! by step, so that errors grow from step to step as those of compiled code do.

use std::collections::BTreeMap;
use std::convert::Infallible;

use fastrand::Rng;
use windlass_compiler::entity::ValueId;
use windlass_compiler::graph::{Graph, Node};
use windlass_compiler::interp::{Array, Data, Evaluate, InterpError, run};
use windlass_compiler::ops::elementwise::BinaryKind;
use windlass_compiler::ops::scan::Scan;
use windlass_compiler::ops::{Op, Rewrite};
use windlass_compiler::pass::Mode;
use windlass_compiler::plan::Accuracy;
use windlass_compiler::shape::Sizes;

use super::{bounds, exact};

/// How a graph is compiled and run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'c> {
    pub(super) mode: Mode,
    pub(super) accuracy: Accuracy,
    pub(super) sizes: &'c Sizes,
}

/// How a sample differs from the exact values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Changes {
    /// Every element is changed by its maximum error, up or down at random.
    pub(super) moves: bool,
    /// Every element is rounded to single precision: numbers that are equal in f32 are then equal, which decides argmax
    /// indices.
    pub(super) rounds: bool,
}

/// What is known of the values of a graph.
#[derive(Debug)]
pub(super) struct Analysis {
    /// Every value in double precision.
    pub(super) values: Vec<Array<f64>>,
    pub(super) exact: Vec<bool>,
    /// For each value, the maximum error of its operator; for a scan, what is added to the errors of its steps.
    errors: Vec<Option<Vec<f64>>>,
    /// The steps of each scan in the order in which they run, by its first result.
    steps: BTreeMap<usize, Vec<Analysis>>,
}

impl Analysis {
    /// Analyses a graph with these values. `given` tells which inputs of a body are exact; those of a whole graph all are.
    pub(super) fn new(
        graph: &Graph,
        values: Vec<Array<f64>>,
        given: Option<&[bool]>,
        context: Context<'_>,
    ) -> Result<Self, InterpError> {
        let mut analysis = Analysis {
            exact: vec![true; values.len()],
            errors: vec![None; values.len()],
            steps: BTreeMap::new(),
            values,
        };
        let folded = folded(graph, context.mode);
        let mut given = given.unwrap_or_default().iter();
        for node in graph.nodes() {
            let Some(first) = node.results.first().map(|result| result.index()) else { continue };
            let own = first..first + node.results.len();
            if let Op::Input(_) = node.op {
                analysis.exact[first] = given.next().copied().unwrap_or(true);
                continue;
            }
            let operands: Vec<&Array<f64>> =
                node.operands.iter().map(|value| &analysis.values[value.index()]).collect();
            let are_exact: Vec<bool> =
                node.operands.iter().map(|value| analysis.exact[value.index()]).collect();
            let (is_exact, errors, steps) = if let Op::Scan(scan) = &node.op {
                let steps = of_steps(scan, &operands, &are_exact, context)?;
                let sums = Sums::of(scan, &operands, &steps, context.accuracy);
                let is_exact =
                    steps.iter().all(|step| step.exact.iter().all(|exact| *exact)) && sums.are_exact;
                let mut errors = sums.errors;
                errors.resize(own.len(), None);
                (is_exact, errors, Some(steps))
            } else {
                let results = &analysis.values[own.clone()];
                let is_exact = are_exact.into_iter().all(|exact| exact)
                    && !bounds::may_be_winograd(&node.op, context.accuracy)
                    && !folded[first]
                    && exact::is_exact(&node.op, &operands, results);
                let errors = match is_exact {
                    true => vec![None; own.len()],
                    false => bounds::local_errors(&node.op, &operands, results, context.accuracy),
                };
                (is_exact, errors, None)
            };
            analysis.exact[own.clone()].fill(is_exact);
            if !is_exact {
                analysis.errors[own].clone_from_slice(&errors);
            }
            if let Some(steps) = steps {
                analysis.steps.insert(first, steps);
            }
        }
        Ok(analysis)
    }

    /// The graph's values with changes. `inputs` are those of a body.
    pub(super) fn sample(
        &self,
        graph: &Graph,
        sizes: &Sizes,
        inputs: Option<Vec<Array<f64>>>,
        changes: Changes,
        numbers: &mut Rng,
    ) -> Vec<Array<f64>> {
        let mut values: Vec<Array<f64>> = Vec::with_capacity(self.values.len());
        let mut inputs = inputs.map(Vec::into_iter);
        for node in graph.nodes() {
            let Some(first) = node.results.first().map(|result| result.index()) else { continue };
            let own = first..first + node.results.len();
            if let (Op::Input(_), Some(input)) = (&node.op, inputs.as_mut().and_then(Iterator::next)) {
                values.push(input);
                continue;
            }
            if self.exact[first] || node.operands.is_empty() {
                values.extend_from_slice(&self.values[own]);
                continue;
            }
            let operands: Vec<&Array<f64>> =
                node.operands.iter().map(|value| &values[value.index()]).collect();
            let mut results = match (&node.op, self.steps.get(&first)) {
                (Op::Scan(scan), Some(steps)) => {
                    let mut steps = steps.iter();
                    let Ok(results) = scan.run_by(&operands, sizes, |inputs| {
                        let step = steps.next().expect("a scan has as many steps in every sample");
                        let values = step.sample(&scan.body, sizes, Some(inputs), changes, numbers);
                        Ok::<_, Infallible>(outputs_of(&scan.body, &values))
                    });
                    results
                }
                (op, _) => {
                    let concrete: Vec<Vec<usize>> =
                        self.values[own.clone()].iter().map(|value| value.sizes.clone()).collect();
                    op.at(sizes).evaluate(&operands, &concrete)
                }
            };
            for (result, errors) in results.iter_mut().zip(&self.errors[own]) {
                if let (Data::Real(values), Some(errors)) = (&mut result.data, errors) {
                    for (value, error) in values.iter_mut().zip(errors) {
                        if changes.moves {
                            // Sums of numbers that overflow may be NaN, which a limit of values does not hide.
                            let error = if error.is_finite() { *error } else { f64::NAN };
                            *value += if numbers.bool() { error } else { -error };
                        }
                        if changes.rounds {
                            *value = f64::from(*value as f32);
                        }
                    }
                }
            }
            values.extend(results);
        }
        values
    }
}

fn outputs_of(body: &Graph, values: &[Array<f64>]) -> Vec<Array<f64>> {
    body.outputs().iter().map(|output| values[output.value.index()].clone()).collect()
}

/// Analyses every step of a scan.
fn of_steps(
    scan: &Scan,
    operands: &[&Array<f64>],
    are_exact: &[bool],
    context: Context<'_>,
) -> Result<Vec<Analysis>, InterpError> {
    let body = &scan.body;
    let mut given = are_exact.to_vec();
    let first = scan.constants() + scan.slices;
    let mut steps = Vec::new();
    scan.run_by(operands, context.sizes, |inputs| {
        let values = run(body, context.sizes.clone(), &scan.bindings(inputs))?.values;
        let outputs = outputs_of(body, &values);
        let step = Analysis::new(body, values, Some(&given), context)?;
        for (given, output) in given[first..].iter_mut().zip(body.outputs()) {
            *given = step.exact[output.value.index()];
        }
        steps.push(step);
        Ok(outputs)
    })?;
    Ok(steps)
}

/// Carried values that only grow by terms: `move_out_of_scans` may sum the terms of all steps in another order, and as one
/// product.
struct Sums {
    are_exact: bool,
    /// For each carried value that is such a sum, the error of any order.
    errors: Vec<Option<Vec<f64>>>,
}

impl Sums {
    fn of(scan: &Scan, operands: &[&Array<f64>], steps: &[Analysis], accuracy: Accuracy) -> Self {
        let body = &scan.body;
        let first = scan.constants() + scan.slices;
        let inputs = body.inputs().map(|(value, _)| value).skip(first);
        let mut sums = Sums { are_exact: true, errors: Vec::new() };
        for ((input, output), initial) in inputs.zip(body.outputs()).zip(&operands[first..]) {
            let (Some(terms), Data::Real(initial)) = (terms(body, output.value, input), &initial.data) else {
                sums.errors.push(None);
                continue;
            };
            let mut magnitudes: Vec<f64> = initial.iter().map(|x| x.abs()).collect();
            let mut of_terms = vec![0.0; magnitudes.len()];
            let mut exactly = exact::Total::of(initial);
            for step in steps {
                for &term in &terms {
                    let values = step.values[term.index()].real();
                    magnitudes.iter_mut().zip(values).for_each(|(sum, x)| *sum += x.abs());
                    let producer = body.producer(term);
                    let (operands, results) = step.around(producer);
                    if let Op::Scan(_) | Op::Input(_) = producer.op {
                        exactly.add_values(values);
                        continue;
                    }
                    exactly.add(&producer.op, &operands, results);
                    let errors = bounds::local_errors(&producer.op, &operands, results, accuracy);
                    if let Some(Some(errors)) = errors.first() {
                        of_terms.iter_mut().zip(errors).for_each(|(sum, error)| *sum += error);
                    }
                }
            }
            let count = steps.len() * terms.len() + 1;
            let errors = magnitudes.iter().zip(&of_terms);
            let part = bounds::sum_part(count);
            sums.errors.push(Some(
                errors.map(|(magnitude, error)| part * magnitude + steps.len() as f64 * error).collect(),
            ));
            sums.are_exact &= exactly.is_exact();
        }
        sums
    }
}

impl Analysis {
    /// The operands and results of a node.
    fn around(&self, node: &Node) -> (Vec<&Array<f64>>, &[Array<f64>]) {
        let operands = node.operands.iter().map(|value| &self.values[value.index()]).collect();
        let first = node.results[0].index();
        (operands, &self.values[first..first + node.results.len()])
    }
}

/// The terms by which a carried value grows in each step, if it is only a sum.
fn terms(body: &Graph, output: ValueId, input: ValueId) -> Option<Vec<ValueId>> {
    let (mut terms, mut found, mut pending) = (Vec::new(), false, vec![output]);
    while let Some(value) = pending.pop() {
        let producer = body.producer(value);
        match &producer.op {
            _ if value == input => found = true,
            Op::Binary(binary)
                if binary.kind == BinaryKind::Add
                    && producer.operands.iter().all(|&operand| body.ty(operand) == body.ty(output)) =>
            {
                pending.extend(&producer.operands);
            }
            _ => terms.push(value),
        }
    }
    (found && !terms.is_empty()).then_some(terms)
}

/// The products whose weights batch normalisation may be folded into, so that their sums have other terms.
fn folded(graph: &Graph, mode: Mode) -> Vec<bool> {
    let mut folded = vec![false; graph.value_count()];
    if mode == Mode::Training {
        return folded;
    }
    for node in graph.nodes().iter().rev() {
        let is_passed_on = matches!(node.op, Op::Bias(_) | Op::Dropout(_)) && folded[node.results[0].index()];
        if is_passed_on || matches!(node.op, Op::BatchNorm(_)) {
            folded[node.operands[0].index()] = true;
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use windlass_compiler::graph::Graph;
    use windlass_compiler::pass::Mode;
    use windlass_compiler::plan::Accuracy;
    use windlass_compiler::shape::Sizes;

    use super::super::{Reference, interpret_single};
    use crate::values::{Values, sources};

    /// A scan over 20 steps, whose new state is this function of the state `%h` and the slice `%x`.
    fn scan(step: &str) -> Graph {
        let body = format!(
            r#"body step {{
                %w = input {{name = "w", type = "f32[4, 4]"}}
                %x = input {{name = "x", type = "f32[N, 4]"}}
                %h = input {{name = "h", type = "f32[N, 4]"}}
                {step}
                output "h" = %y
                output "all" = %y
            }}"#
        );
        let text = format!(
            r#"graph net {{
                %w = parameter {{name = "w", shape = "[4, 4]", init = {{constant = 0.0}}}}
                %x = input {{name = "x", type = "f32[N*20, 4]"}}
                %h = input {{name = "h", type = "f32[N, 4]"}}
                %last, %all = scan(%w, %x, %h) {{steps = 20, slices = 1, carried = 1}} {body}
                output "last" = %last
                output "all" = %all
            }}"#
        );
        text.parse().unwrap()
    }

    /// Judges the results in single precision, and these with one element changed by a part of it.
    fn judged(graph: &Graph, values: Values, element: usize, part: f32) -> (bool, bool) {
        let sizes = Sizes::from(2);
        let bound = sources(graph, &sizes, values, 5);
        let mut reference =
            Reference::new(graph, Mode::Training, &sizes, &bound, Accuracy::Default, 3).unwrap();
        let mut results = interpret_single(graph, &sizes, &bound).unwrap();
        let right = reference.judge(&results).is_ok();
        let all = results.get_mut("all").unwrap();
        all[element] += part * all[element].abs().max(1.0);
        (right, reference.judge(&results).is_ok())
    }

    #[test]
    fn sums_of_integers_are_exact_in_every_step() {
        let graph = scan(r#"%y = binary(%h, %x) {kind = "add"}"#);
        for element in [0, 159] {
            assert_eq!(judged(&graph, Values::Integers, element, f32::EPSILON), (true, false));
        }
    }

    #[test]
    fn errors_grow_from_step_to_step() {
        let graph = scan(
            r#"%p = linear(%h, %w)
               %s = binary(%p, %x) {kind = "add"}
               %t = unary(%s) {kind = "tanh"}
               %y = binary(%h, %t) {kind = "add"}"#,
        );
        // The first step, and the last: a wrong result is found in both.
        for element in [0, 159] {
            assert_eq!(judged(&graph, Values::Reals, element, 0.0), (true, true));
            assert_eq!(judged(&graph, Values::Reals, element, 1e-2), (true, false));
        }
        // What may be rounding in the last step is wrong in the first.
        assert_eq!(judged(&graph, Values::Reals, 0, 1e-5), (true, false));
    }
}
