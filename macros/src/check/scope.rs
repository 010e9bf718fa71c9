//! Scopes during checking: values, block parameters, and the labels that name parameters.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use proc_macro2::Ident;
use windlass_compiler::entity::ValueId;
use windlass_compiler::shape::Dim;

use super::values::Value;
use crate::ast::{Body, Path, Statement, plain};
use crate::diagnostics::{Diagnostics, Mistake, did_you_mean};

/// The value between two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// A value of known shape.
    Value(ValueId),
    /// Unknown, because of a mistake that was already reported.
    Unknown,
    /// Nothing yet: the network has several inputs and none was chosen.
    Nothing,
}

/// A name, its value, and whether it was used.
#[derive(Clone)]
struct Binding<T> {
    name: Ident,
    meaning: T,
    used: Cell<bool>,
}

/// A carried value of a scan.
#[derive(Clone)]
struct Carried {
    name: String,
    /// The position of its binding among the flows.
    position: usize,
    is_assigned: bool,
}

/// What assignments change: to be restored where a body was only checked, and its layers discarded.
pub(super) struct Assignments {
    outputs: Option<Vec<(Ident, Flow)>>,
    carried: Option<Vec<Carried>>,
    flows: Vec<Flow>,
}

/// An assignment that is not possible.
pub(super) enum NotAssigned {
    /// No output or carried value has the name.
    Unknown,
    Twice,
}

/// Names in scope. Later ones shadow earlier ones.
#[derive(Clone, Default)]
pub(super) struct Environment {
    flows: Vec<Binding<Flow>>,
    values: Vec<Binding<Value>>,
    /// The values assigned to outputs; `None` in a block or scan, which has no outputs.
    pub(super) outputs: Option<Vec<(Ident, Flow)>>,
    /// The carried values of the scan whose body this is, in order; `None` outside of scans.
    carried: Option<Vec<Carried>>,
    /// The number of mistakes before the body of that scan.
    pub(super) mistakes: usize,
    /// The sizes of the current value, if they are known.
    pub(super) it: Option<Vec<Dim>>,
    /// Set where a mistake hides uses of names, so that they are not reported as unused.
    pub(super) forgiving: bool,
}

impl Environment {
    /// The environment of a network's body, where outputs can be assigned; a block has the default one.
    pub(super) fn of_network() -> Self {
        Environment { outputs: Some(Vec::new()), ..Environment::default() }
    }

    /// The parameters alone, for arguments that are evaluated later.
    pub(super) fn values_alone(&self) -> Self {
        Environment { values: self.values.clone(), it: self.it.clone(), ..Environment::default() }
    }

    /// These parameters with the values of another environment.
    pub(super) fn with_flows_of(&self, other: &Environment) -> Self {
        Environment { flows: other.flows.clone(), ..self.clone() }
    }

    /// Names a value: an input or a `let`.
    pub(super) fn define_flow(&mut self, name: &Ident, flow: Flow) {
        self.flows.push(Binding { name: name.clone(), meaning: flow, used: Cell::new(false) });
    }

    /// Begins a loss: the parameters stay, and the values are those of outputs and targets.
    pub(super) fn enter_loss(&mut self) {
        self.flows.clear();
        (self.outputs, self.it) = (None, None);
    }

    /// Names an argument of a block.
    pub(super) fn define_value(&mut self, name: &Ident, value: Value) {
        self.values.push(Binding { name: name.clone(), meaning: value, used: Cell::new(false) });
    }

    /// The value of a name, which counts as used.
    pub(super) fn flow(&self, name: &str) -> Option<Flow> {
        find(&self.flows, name).copied()
    }

    /// The argument of a name, which counts as used.
    pub(super) fn value(&self, name: &str) -> Option<Value> {
        find(&self.values, name).cloned()
    }

    pub(super) fn has_value(&self, name: &str) -> bool {
        self.values.iter().any(|binding| plain(&binding.name) == name)
    }

    pub(super) fn has_flow(&self, name: &str) -> bool {
        self.flows.iter().any(|binding| plain(&binding.name) == name)
    }

    /// The value that a misspelt name most likely means, which counts as used.
    pub(super) fn similar_flow(&self, name: &str) -> Option<String> {
        similar(&self.flows, name)
    }

    /// The argument that a misspelt name most likely means, which counts as used.
    pub(super) fn similar_value(&self, name: &str) -> Option<String> {
        similar(&self.values, name)
    }

    pub(super) fn flow_names(&self) -> Vec<String> {
        self.flows.iter().map(|binding| plain(&binding.name)).collect()
    }

    /// The values of all names, by position.
    pub(super) fn flows(&self) -> Vec<Flow> {
        self.flows.iter().map(|binding| binding.meaning).collect()
    }

    /// Gives the names other values, by position.
    pub(super) fn set_flows(&mut self, flows: &[Flow]) {
        for (binding, flow) in self.flows.iter_mut().zip(flows) {
            binding.meaning = *flow;
        }
    }

    /// What assignments change.
    pub(super) fn assignments(&self) -> Assignments {
        Assignments { outputs: self.outputs.clone(), carried: self.carried.clone(), flows: self.flows() }
    }

    /// Undoes the assignments since.
    pub(super) fn restore(&mut self, before: Assignments) {
        self.outputs = before.outputs;
        self.carried = before.carried;
        self.set_flows(&before.flows);
    }

    /// Enters the body of a scan, after this many mistakes: only its carried values can be assigned.
    pub(super) fn enter_scan(&mut self, mistakes: usize) {
        self.mistakes = mistakes;
        self.outputs = None;
        self.carried = Some(Vec::new());
    }

    /// Names a carried value of the scan that was entered.
    pub(super) fn define_carried(&mut self, name: &Ident, flow: Flow) {
        let carried = Carried { name: plain(name), position: self.flows.len(), is_assigned: false };
        self.carried.get_or_insert_default().push(carried);
        self.define_flow(name, flow);
    }

    /// Whether a name is that of a carried value of this scan.
    pub(super) fn carries(&self, name: &str) -> bool {
        self.carried_names().contains(&name)
    }

    /// The carried value of a name before its assignment.
    pub(super) fn carried_flow(&self, name: &str) -> Option<Flow> {
        let carried = self.carried.iter().flatten().find(|carried| carried.name == name)?;
        Some(self.flows[carried.position].meaning)
    }

    /// Assigns a carried value of this scan, whose name means the new value from here on.
    pub(super) fn assign_carried(&mut self, name: &str, flow: Flow) -> Result<(), NotAssigned> {
        let carried = self.carried.iter_mut().flatten().find(|carried| carried.name == name);
        let carried = carried.ok_or(NotAssigned::Unknown)?;
        if std::mem::replace(&mut carried.is_assigned, true) {
            return Err(NotAssigned::Twice);
        }
        self.flows[carried.position].meaning = flow;
        Ok(())
    }

    /// The carried values of the scan in order, each with whether it was assigned.
    pub(super) fn carried_flows(&self) -> Vec<(Flow, bool)> {
        let carried = self.carried.iter().flatten();
        carried.map(|carried| (self.flows[carried.position].meaning, carried.is_assigned)).collect()
    }

    /// The names of the carried values of the scan.
    pub(super) fn carried_names(&self) -> Vec<&str> {
        self.carried.iter().flatten().map(|carried| carried.name.as_str()).collect()
    }

    /// Whether the body of a scan is being checked.
    pub(super) fn in_scan(&self) -> bool {
        self.carried.is_some()
    }

    /// Names a value that need not be used.
    pub(super) fn define_free_flow(&mut self, name: &Ident, flow: Flow) {
        self.flows.push(Binding { name: name.clone(), meaning: flow, used: Cell::new(true) });
    }

    /// Marks the start of a nested body.
    pub(super) fn enter(&self) -> usize {
        self.flows.len()
    }

    /// Removes the names defined since, and returns the unused ones.
    pub(super) fn leave(&mut self, mark: usize) -> Vec<Ident> {
        let left = self.flows.split_off(mark.min(self.flows.len()));
        self.unused(left)
    }

    /// Removes the last named argument, and returns it if it was not used.
    pub(super) fn leave_value(&mut self) -> Option<Ident> {
        let last = self.values.pop().into_iter().collect();
        self.unused(last).pop()
    }

    /// The unused block parameters.
    pub(super) fn leave_block(&mut self) -> Vec<Ident> {
        let left = std::mem::take(&mut self.values);
        self.unused(left)
    }

    fn unused<T>(&self, bindings: Vec<Binding<T>>) -> Vec<Ident> {
        let exempt = |name: &Ident| self.forgiving || plain(name).starts_with('_');
        let unused = bindings.into_iter().filter(|binding| !binding.used.get());
        unused.map(|binding| binding.name).filter(|name| !exempt(name)).collect()
    }
}

fn find<'a, T>(bindings: &'a [Binding<T>], name: &str) -> Option<&'a T> {
    let binding = bindings.iter().rev().find(|binding| plain(&binding.name) == name)?;
    binding.used.set(true);
    Some(&binding.meaning)
}

fn similar<T>(bindings: &[Binding<T>], name: &str) -> Option<String> {
    let names: Vec<String> = bindings.iter().map(|binding| plain(&binding.name)).collect();
    let meant = did_you_mean(name, names.iter().map(String::as_str))?;
    find(bindings, meant);
    Some(meant.to_owned())
}

/// The labels of one scope: a network, a block, an iteration, or a labelled `concat`.
pub(super) struct Labels {
    prefix: String,
    /// The prefix of the network or block around it: labels outside are not visible.
    outermost: String,
    taken: HashSet<String>,
    /// The number of automatically named layers of each kind.
    counts: HashMap<String, usize>,
}

impl Labels {
    /// The labels of a block, or of a network with an empty prefix; two equal ones are reported.
    pub(super) fn of_block(prefix: String, body: &Body, errors: &mut Diagnostics) -> Self {
        Labels::new(prefix.clone(), prefix, [body], errors)
    }

    /// The labels of a scope inside this one; two equal ones are reported.
    pub(super) fn nested<'a>(
        &self,
        prefix: String,
        bodies: impl IntoIterator<Item = &'a Body>,
        errors: &mut Diagnostics,
    ) -> Self {
        Labels::new(prefix, self.outermost.clone(), bodies, errors)
    }

    fn new<'a>(
        prefix: String,
        outermost: String,
        bodies: impl IntoIterator<Item = &'a Body>,
        errors: &mut Diagnostics,
    ) -> Self {
        let mut taken = HashSet::new();
        for body in bodies {
            collect(body, &mut taken, errors);
        }
        Labels { prefix, outermost, taken, counts: HashMap::new() }
    }

    /// Whether a layer of this scope has the label.
    pub(super) fn has(&self, label: &str) -> bool {
        self.taken.contains(label)
    }

    /// The full names that a label may stand for: in this scope, and in those around it.
    pub(super) fn visible(&self, label: &str) -> Vec<String> {
        let mut names = Vec::new();
        let mut prefix = self.prefix.as_str();
        loop {
            names.push(if prefix.is_empty() { label.to_owned() } else { format!("{prefix}.{label}") });
            if prefix.len() <= self.outermost.len() {
                return names;
            }
            prefix = prefix.rsplit_once('.').map_or("", |(outer, _)| outer);
        }
    }

    /// The full name of a layer: its label, or its kind with a number, prefixed by the enclosing scopes.
    pub(super) fn name(&mut self, label: Option<&Ident>, kind: &str) -> String {
        let own = label.map_or_else(|| self.automatic(kind), plain);
        if self.prefix.is_empty() { own } else { format!("{}.{own}", self.prefix) }
    }

    fn automatic(&mut self, kind: &str) -> String {
        let count = self.counts.entry(kind.to_owned()).or_insert(0);
        loop {
            *count += 1;
            let name = format!("{kind}{count}");
            if !self.taken.contains(&name) {
                return name;
            }
        }
    }
}

fn collect(body: &Body, taken: &mut HashSet<String>, errors: &mut Diagnostics) {
    for statement in &body.statements {
        let (label, paths) = match statement {
            Statement::Call { label, .. } | Statement::Repeat { label, .. } => (label, &[][..]),
            Statement::Concat { label, paths, .. } => (label, &paths[..]),
            Statement::Scan(scan) => (&scan.label, &[][..]),
            Statement::If { then, otherwise, .. } => {
                // Only one of the bodies is used, so both may have the same labels.
                let mut other = taken.clone();
                collect(then, taken, errors);
                if let Some(body) = otherwise {
                    collect(body, &mut other, errors);
                }
                taken.extend(other);
                continue;
            }
            Statement::Let { .. }
            | Statement::Split { .. }
            | Statement::States { .. }
            | Statement::Output { .. }
            | Statement::It(_)
            | Statement::Slip(_)
            | Statement::Malformed(_) => {
                continue;
            }
        };
        match label {
            Some(label) if label == "it" => errors.report(
                label,
                Mistake::new("`it` is always the result of the previous layer")
                    .help("choose another label".to_owned()),
            ),
            Some(label) if !taken.insert(plain(label)) => errors.report(
                label,
                Mistake::new(format!("the label `{label}` is used twice"))
                    .help("parameters are named after labels: give each layer of a body another".to_owned()),
            ),
            Some(_) => {}
            // The paths of a `concat` without a label share the scope around it.
            None => {
                for path in paths {
                    if let Path::Body(body) = path {
                        collect(body, taken, errors);
                    }
                }
            }
        }
    }
}
