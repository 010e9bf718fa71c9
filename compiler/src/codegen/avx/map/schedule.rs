//! The instruction schedule of a body. Few values should live at once: either one result is computed after the other, or,
//! if results share many operands, all of them side by side. Every value is computed once, right before its use.

use super::super::operands::Binary;
use super::key::{MapKey, MapNode};
use crate::kernel::Element;

/// One step of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyStep {
    /// Computes a node.
    Evaluate(usize),
    /// Stores a result.
    Store(usize),
    /// Adds a window step to a reduction.
    Reduce(usize),
}

impl BodyStep {
    /// The nodes it needs.
    pub(super) fn operands(self, key: &MapKey) -> Vec<usize> {
        match self {
            BodyStep::Evaluate(node) => key.nodes[node].operands(),
            BodyStep::Store(store) => vec![key.stores[store].value],
            BodyStep::Reduce(reducer) => vec![key.reducers[reducer].value().0],
        }
    }
}

/// The steps of a body.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) steps: Vec<BodyStep>,
    /// Operands that are never evaluated, because their only user takes them from memory.
    pub(super) folded: Vec<bool>,
}

impl Schedule {
    /// Schedules what `roots` need. Nodes in `ready` need no evaluation; without `fold` no operand stays in memory.
    pub(super) fn new(key: &MapKey, roots: &[BodyStep], ready: &[bool], fold: bool) -> Schedule {
        let apart = Schedule::ordered(key, roots, ready, fold, false);
        if roots.len() < 2 {
            return apart;
        }
        let together = Schedule::ordered(key, roots, ready, fold, true);
        if together.pressure(key) < apart.pressure(key) { together } else { apart }
    }

    /// One root after the other or, if `together`, all operations in the order in which the map defines them.
    fn ordered(key: &MapKey, roots: &[BodyStep], ready: &[bool], fold: bool, together: bool) -> Schedule {
        let count = key.nodes.len();
        let mut uses = vec![0; count];
        let mut seen = ready.to_vec();
        for root in roots {
            count_uses(key, *root, &mut uses, &mut seen);
        }
        let is_operation =
            |&node: &usize| seen[node] && !ready[node] && !key.nodes[node].operands().is_empty();
        let operations: Vec<usize> = (0..count).filter(is_operation).collect();
        let mut orderer = Orderer {
            key,
            uses,
            needs: needs(key),
            fold,
            done: ready.to_vec(),
            order: Schedule { steps: Vec::new(), folded: vec![false; count] },
        };
        if together {
            operations.into_iter().for_each(|node| orderer.evaluate(node));
        }
        for root in roots {
            orderer.root(*root);
        }
        orderer.order
    }

    /// The maximum number of live values.
    pub(super) fn pressure(&self, key: &MapKey) -> usize {
        let mut last = vec![None; key.nodes.len()];
        let mut is_evaluated = vec![false; key.nodes.len()];
        for (position, step) in self.steps.iter().enumerate() {
            for operand in step.operands(key) {
                last[operand] = Some(position);
            }
            if let BodyStep::Evaluate(node) = step {
                is_evaluated[*node] = true;
            }
        }
        let (mut living, mut most) = (0usize, 0);
        for (position, step) in self.steps.iter().enumerate() {
            living += usize::from(matches!(step, BodyStep::Evaluate(_)));
            most = most.max(living);
            let mut operands = step.operands(key);
            operands.sort_unstable();
            operands.dedup();
            let ends = |&operand: &usize| last[operand] == Some(position) && is_evaluated[operand];
            living -= operands.iter().filter(|operand| ends(operand)).count();
        }
        most
    }
}

fn count_uses(key: &MapKey, step: BodyStep, uses: &mut [usize], seen: &mut [bool]) {
    for operand in step.operands(key) {
        uses[operand] += 1;
        if !seen[operand] {
            seen[operand] = true;
            count_uses(key, BodyStep::Evaluate(operand), uses, seen);
        }
    }
}

/// The registers that each node's evaluation needs if no value is shared (Sethi and Ullman 1970).
fn needs(key: &MapKey) -> Vec<usize> {
    let mut needs: Vec<usize> = Vec::with_capacity(key.nodes.len());
    for node in &key.nodes {
        let mut operands: Vec<usize> = node.operands().iter().map(|&operand| needs[operand]).collect();
        operands.sort_unstable_by(|a, b| b.cmp(a));
        let need = operands.iter().enumerate().map(|(held, need)| need + held).max().unwrap_or(1);
        needs.push(need.max(1));
    }
    needs
}

/// Whether the operands may be swapped.
pub(super) fn commutes(op: Binary) -> bool {
    matches!(op, Binary::Add | Binary::Multiply | Binary::AddIntegers | Binary::And | Binary::Xor)
}

struct Orderer<'s> {
    key: &'s MapKey,
    uses: Vec<usize>,
    needs: Vec<usize>,
    fold: bool,
    done: Vec<bool>,
    order: Schedule,
}

impl Orderer<'_> {
    fn root(&mut self, step: BodyStep) {
        if let (BodyStep::Reduce(reducer), [value]) = (step, &step.operands(self.key)[..])
            && matches!(self.key.reducers[reducer], crate::kernel::Reducer::Sum(_))
            && self.may_fold(*value)
        {
            self.order.folded[*value] = true;
        }
        for operand in step.operands(self.key) {
            self.evaluate(operand);
        }
        if let BodyStep::Store(store) = step {
            self.load_before(store);
        }
        self.order.steps.push(step);
    }

    /// Loads the values that a store may overwrite but that are needed later.
    fn load_before(&mut self, store: usize) {
        let buffer = self.key.buffer(&self.key.stores[store].place);
        for (node, expr) in self.key.nodes.iter().enumerate() {
            if let MapNode::Load(load) = expr
                && self.uses[node] > 0
                && self.key.buffer(&self.key.loads[*load]) == buffer
            {
                self.evaluate(node);
            }
        }
    }

    fn evaluate(&mut self, node: usize) {
        // Constants are loaded where they are needed, or used from memory.
        if self.done[node] || self.order.folded[node] || matches!(self.key.nodes[node], MapNode::Bits(_)) {
            return;
        }
        self.done[node] = true;
        if let MapNode::Binary(op, a, b) = self.key.nodes[node] {
            let in_memory =
                |node: usize| matches!(self.key.nodes[node], MapNode::Bits(_)) && !self.done[node];
            if a != b && self.may_fold(b) && !in_memory(a) {
                self.order.folded[b] = true;
            } else if a != b && commutes(op) && self.may_fold(a) && !in_memory(b) {
                self.order.folded[a] = true;
            }
        }
        if let MapNode::MultiplyAdd(a, b, c) = self.key.nodes[node] {
            let is_distinct = |x: usize, y: usize| x != y && x != c;
            if is_distinct(b, a) && self.may_fold(b) {
                self.order.folded[b] = true;
            } else if is_distinct(a, b) && self.may_fold(a) {
                self.order.folded[a] = true;
            }
        }
        let mut operands = self.key.nodes[node].operands();
        operands.sort_by_key(|&operand| std::cmp::Reverse(self.needs[operand]));
        for operand in operands {
            self.evaluate(operand);
        }
        self.order.steps.push(BodyStep::Evaluate(node));
    }

    /// Whether a node is an operand whose only user may take it from memory.
    fn may_fold(&self, node: usize) -> bool {
        let MapNode::Load(load) = self.key.nodes[node] else { return false };
        let place = &self.key.loads[load];
        self.fold
            && self.uses[node] == 1
            && !self.done[node]
            && place.element != Element::U8
            && place.lane == 1
            && place.repeat == 1
            && !self.key.is_stored(place)
    }
}
