//! Checks `scan`: a loop over the steps of sequences, whose body may use all values around it.

use std::collections::HashMap;

use proc_macro2::Ident;
use windlass_compiler::entity::ValueId;
use windlass_compiler::error::{GraphError, ShapeError};
use windlass_compiler::graph::{Builder, ScanInputs, ScanOperands, ScanOutputs};
use windlass_compiler::shape::Dim;

use super::scope::{Environment, Flow, Labels, NotAssigned};
use super::{Checker, LayerRow, Made};
use crate::ast::{Carried, Initial, Scan, Sizes, plain};
use crate::diagnostics::{Mistake, did_you_mean};

/// What a scan reads.
#[derive(Default)]
struct Operands {
    /// The sequences: that of `it` first, if there is one.
    sequences: Vec<ValueId>,
    initial: Vec<ValueId>,
    /// The values around the scan, each with the position of its name.
    constants: Vec<(usize, ValueId)>,
}

impl<'a> Checker<'_, 'a> {
    /// `scan (h: [64]) { … h = it; }`: the result is the sequence of what the body ends with; the names of carried values mean
    /// those of the last step from here on.
    pub(super) fn scan(
        &mut self,
        scan: &'a Scan,
        environment: &mut Environment,
        labels: &mut Labels,
        it: Flow,
    ) -> Flow {
        let name = labels.name(scan.label.as_ref(), "scan");
        let before = self.errors.count();
        let it = if scan.sequences.is_empty() { self.flowing(it, &scan.keyword, environment) } else { it };
        self.expect_distinct_names(scan);
        let flows = match self.operands(scan, environment, it) {
            Some(operands) => self.scan_of((scan, &name), &operands, environment, labels, it),
            None => {
                self.body_alone(scan, environment, labels);
                None
            }
        };
        if flows.is_none() && self.errors.count() == before {
            environment.forgiving = true;
        }
        let (result, last) = flows.unwrap_or((Flow::Unknown, vec![Flow::Unknown; scan.carried.len()]));
        for (carried, flow) in scan.carried.iter().zip(last) {
            environment.define_free_flow(&carried.name, flow);
        }
        result
    }

    fn expect_distinct_names(&mut self, scan: &Scan) {
        let names = scan.carried.iter().map(|carried| &carried.name);
        let names: Vec<&Ident> = names.chain(scan.sequences.iter().map(|(name, _)| name)).collect();
        for (index, name) in names.iter().enumerate() {
            self.expect_free_name(name);
            if names[..index].contains(name) {
                self.errors.report(name, Mistake::new(format!("`{name}` is declared twice in this `scan`")));
            }
        }
    }

    /// The values that a scan reads; `None` if some are unknown.
    fn operands(&mut self, scan: &Scan, environment: &Environment, it: Flow) -> Option<Operands> {
        let mut operands = Operands::default();
        let mut complete = true;
        let mut sequences = Vec::new();
        if it != Flow::Nothing {
            sequences.push((&scan.keyword, "the current value".to_owned(), it));
        }
        for (_, sequence) in &scan.sequences {
            let flow = self.named_flow(sequence, environment, it);
            sequences.push((sequence, format!("`{sequence}`"), flow));
        }
        let mut first: Option<(Dim, String, Vec<Dim>)> = None;
        for (at, words, flow) in sequences {
            let Flow::Value(value) = flow else {
                complete = false;
                continue;
            };
            let dims = self.builder.item_dims(value).to_vec();
            let Some(steps) = dims.first().cloned() else {
                let mistake = Mistake::new(format!(
                    "`scan` runs over the steps of a sequence, but {words} is {dims:?}"
                ));
                self.report_here(at, mistake.help("a sequence is `[T, …]`, with its steps first".to_owned()));
                complete = false;
                continue;
            };
            match &first {
                None => first = Some((steps, words, dims)),
                Some((expected, ..)) if *expected == steps => {}
                Some((_, other, others)) => {
                    let mistake = Mistake::new(format!(
                        "`scan` runs over sequences of equal length, but {other} is {others:?} and {words} is {dims:?}"
                    ));
                    let help = "a value that is the same in every step is used by its name in the body";
                    self.report_here(at, mistake.help(help.to_owned()));
                    complete = false;
                }
            }
            operands.sequences.push(value);
        }
        for Carried { name, initial } in &scan.carried {
            let flow = match (initial, operands.sequences.first()) {
                (Initial::Value(value), _) => self.named_flow(value, environment, it),
                (Initial::Zeros(sizes), of) => self.zeros(name, sizes, of.copied(), environment),
            };
            match flow {
                Flow::Value(value) => operands.initial.push(value),
                Flow::Unknown | Flow::Nothing => complete = false,
            }
        }
        let flows = environment.flows().into_iter().enumerate();
        operands.constants = flows
            .filter_map(|(position, flow)| match flow {
                Flow::Value(value) => Some((position, value)),
                Flow::Unknown | Flow::Nothing => None,
            })
            .collect();
        complete.then_some(operands)
    }

    /// Zeros for each sample of a sequence.
    fn zeros(&mut self, name: &Ident, sizes: &Sizes, of: Option<ValueId>, environment: &Environment) -> Flow {
        let mut known = Vec::new();
        for expr in &sizes.sizes {
            let what = format!("a size of `{name}`");
            if self.open_size(expr, environment).is_some() {
                let mistake = Mistake::new(format!("{what} is open, but carried values have fixed sizes"))
                    .help(format!("write numbers, or begin with a value: `{name} = start`"));
                self.report_here(expr, mistake);
                return Flow::Unknown;
            }
            let value = self.evaluate(expr, environment);
            match self.size(expr, &what, &value) {
                Some(0) => {
                    self.report_here(expr, Mistake::new(format!("{what} is 0")));
                    return Flow::Unknown;
                }
                Some(size) => known.push(size),
                None => return Flow::Unknown,
            }
        }
        let Some(of) = of else { return Flow::Unknown };
        match self.builder.initial_state(of, &known) {
            Ok(value) => Flow::Value(value),
            Err(error) => {
                self.errors.report(sizes, Mistake::new(error.to_string()));
                Flow::Unknown
            }
        }
    }

    /// Checks the body of a scan whose operands are not known.
    fn body_alone(&mut self, scan: &'a Scan, environment: &mut Environment, labels: &Labels) {
        let assignments = environment.assignments();
        let mark = environment.enter();
        environment.enter_scan(self.errors.count());
        for carried in &scan.carried {
            environment.define_carried(&carried.name, Flow::Unknown);
        }
        for (name, _) in &scan.sequences {
            environment.define_flow(name, Flow::Unknown);
        }
        let mut labels = labels.nested(String::new(), [&scan.body], self.errors);
        self.discarded(&scan.body, environment, &mut labels);
        environment.leave(mark);
        environment.restore(assignments);
    }

    /// Adds a scan; returns its sequence and its last carried values, or `None` after a mistake.
    fn scan_of(
        &mut self,
        (scan, name): (&'a Scan, &str),
        operands: &Operands,
        environment: &mut Environment,
        labels: &Labels,
        it: Flow,
    ) -> Option<(Flow, Vec<Flow>)> {
        let before = self.errors.count();
        let constants: Vec<ValueId> = operands.constants.iter().map(|(_, value)| *value).collect();
        let has_current = it != Flow::Nothing;
        let mut around = std::mem::replace(&mut self.builder, Builder::new("step"));
        let states = std::mem::take(&mut self.states);
        self.applied_outside.push(std::mem::take(&mut self.applied));
        let marks = (self.layers.len(), self.results.len());
        let scanned = around.scan(
            name,
            ScanOperands {
                sequences: &operands.sequences,
                initial: &operands.initial,
                constants: &constants,
                reverse: scan.reverse.is_some(),
            },
            |inner, inputs| {
                std::mem::swap(&mut self.builder, inner);
                let outputs = self.step_of(scan, (inputs, has_current), operands, environment, labels);
                // Uses of values are known once the results are.
                let uses = self.builder.graph().use_counts();
                let results =
                    outputs.iter().flat_map(|outputs| outputs.carried.iter().chain(&outputs.collected));
                let results: Vec<ValueId> = results.copied().collect();
                for made in self.results.split_off(marks.1) {
                    if made.is_unused(&uses) && !made.values.iter().any(|value| results.contains(value)) {
                        self.unused.push(made);
                    }
                }
                std::mem::swap(&mut self.builder, inner);
                // After a reported mistake, the error ends the scan.
                let reason = String::new();
                outputs.ok_or(GraphError::Shape { at: String::new(), error: ShapeError::Scan { reason } })
            },
        );
        self.builder = around;
        (self.applied, self.states) = (self.applied_outside.pop().unwrap_or_default(), states);
        for row in &mut self.layers[marks.0..] {
            row.label = format!("{name}.{}", row.label);
        }
        let scanned = match scanned {
            Ok(scanned) => scanned,
            Err(_) if self.errors.count() > before => return None,
            Err(GraphError::Shape { error, .. }) => {
                let mistake = Mistake::new(format!("`scan` {error}")).help(error.help());
                self.report_here(&scan.keyword, mistake);
                return None;
            }
            Err(error) => {
                self.errors.report(&scan.keyword, Mistake::new(format!("`scan`: {error}")));
                return None;
            }
        };
        let sequence = *scanned.sequences.first()?;
        let result = self.builder.item_dims(sequence).to_vec();
        self.layers.push(LayerRow { label: name.to_owned(), kind: "scan", result, parameters: 0 });
        let values = std::iter::once(sequence).chain(scanned.last.iter().copied()).collect();
        self.results.push(Made { values, text: "scan { … }".to_owned(), span: scan.keyword.span() });
        Some((Flow::Value(sequence), scanned.last.into_iter().map(Flow::Value).collect()))
    }

    /// Checks the body of a scan on the values of one step; `None` after a mistake.
    fn step_of(
        &mut self,
        scan: &'a Scan,
        (inputs, has_current): (&ScanInputs, bool),
        operands: &Operands,
        environment: &mut Environment,
        labels: &Labels,
    ) -> Option<ScanOutputs> {
        let before = self.errors.count();
        let assignments = environment.assignments();
        let inside: HashMap<usize, ValueId> = operands
            .constants
            .iter()
            .map(|(position, _)| *position)
            .zip(inputs.constants.iter().copied())
            .collect();
        let flows: Vec<Flow> = (0..environment.flows().len())
            .map(|position| inside.get(&position).map_or(Flow::Unknown, |value| Flow::Value(*value)))
            .collect();
        environment.set_flows(&flows);
        environment.enter_scan(self.errors.count());
        let mark = environment.enter();
        for (carried, value) in scan.carried.iter().zip(&inputs.carried) {
            environment.define_carried(&carried.name, Flow::Value(*value));
        }
        let mut steps = inputs.steps.iter().copied().map(Flow::Value);
        let it = if has_current { steps.next().unwrap_or(Flow::Unknown) } else { Flow::Nothing };
        for ((name, _), flow) in scan.sequences.iter().zip(steps) {
            environment.define_flow(name, flow);
        }
        let mut labels = labels.nested(String::new(), [&scan.body], self.errors);
        let result = self.body(&scan.body, environment, &mut labels, it);
        let result = self.flowing(result, &scan.keyword, environment);
        let state = self.builder.graph().states().next().map(|(_, state)| state.name.clone());
        if let Some(state) = state {
            let layer = state.rsplit_once('.').map_or(&*state, |(layer, _)| layer);
            let text = format!("`{layer}` in the body of a `scan` would change `{state}` in every step");
            let mistake = Mistake::new(text).help(
                "use `layer_norm`, which has no statistics, or put the layer before the `scan`".to_owned(),
            );
            self.report_here(&scan.keyword, mistake);
        }
        let carried = environment.carried_flows();
        for name in environment.leave(mark) {
            let mistake = Mistake::new(format!("`{name}` is never used in this `scan`"))
                .help(format!("use it, as in `add({name})`, or leave it out"));
            self.errors.report(&name, mistake);
        }
        for (Carried { name, .. }, (_, is_assigned)) in scan.carried.iter().zip(&carried) {
            if !is_assigned && !environment.forgiving && self.errors.count() == before {
                let mistake = Mistake::new(format!("the carried value `{name}` is never assigned"))
                    .help(format!("write `{name} = it;` where the current value is its new value"));
                self.errors.report(name, mistake);
            }
        }
        environment.restore(assignments);
        if self.errors.count() > before {
            return None;
        }
        let known = |flow: Flow| match flow {
            Flow::Value(value) => Some(value),
            Flow::Unknown | Flow::Nothing => None,
        };
        let carried = carried.into_iter().map(|(flow, _)| known(flow)).collect::<Option<_>>()?;
        Some(ScanOutputs { carried, collected: vec![known(result)?] })
    }

    /// `h = it;` in the body of a scan.
    pub(super) fn assign_carried(&mut self, name: &Ident, flow: Flow, environment: &mut Environment) {
        let text = plain(name);
        if let (Some(Flow::Value(old)), Flow::Value(new)) = (environment.carried_flow(&text), flow) {
            let [old, new] = [old, new].map(|value| self.builder.graph().ty(value).clone());
            if old != new {
                environment.forgiving = true;
                if self.errors.count() > environment.mistakes {
                    // Probably the shape of a layer before it is wrong.
                    return;
                }
                let [was, is] = [old, new].map(|ty| ty.shape.display_item().to_string());
                let mistake =
                    Mistake::new(format!("the carried value `{name}` is {was}, but its new value is {is}"))
                        .help("let the body compute the same shape, or begin with the new one".to_owned());
                self.report_here(name, mistake);
                return;
            }
        }
        match environment.assign_carried(&text, flow) {
            Ok(()) => {}
            Err(NotAssigned::Twice) => {
                let mistake = Mistake::new(format!("the carried value `{name}` is assigned twice"));
                self.errors.report(name, mistake);
            }
            Err(NotAssigned::Unknown) => {
                let names = environment.carried_names();
                let mistake = Mistake::new(format!("this `scan` carries no `{name}`"));
                let mistake = match did_you_mean(&text, names.iter().copied()) {
                    Some(meant) => mistake.help(format!("did you mean `{meant}`?")),
                    None => mistake.help(format!(
                        "declare it, `scan ({name}: [64]) {{ … }}`, or write `let {name} = it;` to name a value; outputs \
                         are assigned after the `scan`"
                    )),
                };
                self.errors.report(name, mistake);
            }
        }
    }

    /// Reports a `let` of a carried value.
    pub(super) fn expect_not_carried(&mut self, name: &Ident, environment: &Environment) {
        if environment.carries(&plain(name)) {
            let mistake = Mistake::new(format!("`{name}` is carried by this `scan`"))
                .help(format!("to give it its new value write `{name} = it;`"));
            self.errors.report(name, mistake);
        }
    }
}
