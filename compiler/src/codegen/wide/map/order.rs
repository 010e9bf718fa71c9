//! The instruction schedule of a body: each result as early as possible, everything else right before its use, so that
//! few values live at once. Every value is computed once.

use super::super::operands::Binary;
use super::span::{Node, Span};
use crate::kernel::Element;

/// One step of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Computes a node.
    Evaluate(usize),
    /// Stores a result.
    Store(usize),
    /// Adds a window step to a reduction.
    Reduce(usize),
}

impl Step {
    /// The nodes it needs.
    pub(super) fn operands(self, span: &Span) -> Vec<usize> {
        match self {
            Step::Evaluate(node) => span.nodes[node].operands(),
            Step::Store(store) => vec![span.stores[store].value],
            Step::Reduce(reducer) => vec![span.reducers[reducer].value().0],
        }
    }
}

/// The steps of a body.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) steps: Vec<Step>,
    /// Operands that are never evaluated, because their only user takes them from memory.
    pub(super) folded: Vec<bool>,
}

impl Order {
    /// Schedules what `roots` need. Nodes in `ready` need no evaluation; without `fold` no operand stays in memory.
    pub(super) fn new(span: &Span, roots: &[Step], ready: &[bool], fold: bool) -> Order {
        let count = span.nodes.len();
        let mut uses = vec![0; count];
        let mut seen = ready.to_vec();
        for root in roots {
            count_uses(span, *root, &mut uses, &mut seen);
        }
        let mut orderer = Orderer {
            span,
            uses,
            needs: needs(span),
            fold,
            done: ready.to_vec(),
            order: Order { steps: Vec::new(), folded: vec![false; count] },
        };
        for root in roots {
            orderer.root(*root);
        }
        orderer.order
    }

    /// The maximum number of live values.
    pub(super) fn pressure(&self, span: &Span) -> usize {
        let mut last = vec![None; span.nodes.len()];
        for (position, step) in self.steps.iter().enumerate() {
            for operand in step.operands(span) {
                last[operand] = Some(position);
            }
        }
        let (mut living, mut most) = (0usize, 0);
        for (position, step) in self.steps.iter().enumerate() {
            living += usize::from(matches!(step, Step::Evaluate(_)));
            most = most.max(living);
            let mut operands = step.operands(span);
            operands.sort_unstable();
            operands.dedup();
            let ends = |&operand: &usize| {
                last[operand] == Some(position) && self.steps[..position].contains(&Step::Evaluate(operand))
            };
            living -= operands.iter().filter(|operand| ends(operand)).count();
        }
        most
    }
}

fn count_uses(span: &Span, step: Step, uses: &mut [usize], seen: &mut [bool]) {
    for operand in step.operands(span) {
        uses[operand] += 1;
        if !seen[operand] {
            seen[operand] = true;
            count_uses(span, Step::Evaluate(operand), uses, seen);
        }
    }
}

/// The registers that each node's evaluation needs if no value is shared (Sethi and Ullman 1970).
fn needs(span: &Span) -> Vec<usize> {
    let mut needs: Vec<usize> = Vec::with_capacity(span.nodes.len());
    for node in &span.nodes {
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
    span: &'s Span,
    uses: Vec<usize>,
    needs: Vec<usize>,
    fold: bool,
    done: Vec<bool>,
    order: Order,
}

impl Orderer<'_> {
    fn root(&mut self, step: Step) {
        if let (Step::Reduce(reducer), [value]) = (step, &step.operands(self.span)[..])
            && matches!(self.span.reducers[reducer], crate::kernel::Reducer::Sum(_))
            && self.may_fold(*value)
        {
            self.order.folded[*value] = true;
        }
        for operand in step.operands(self.span) {
            self.evaluate(operand);
        }
        if let Step::Store(store) = step {
            self.load_before(store);
        }
        self.order.steps.push(step);
    }

    /// Loads the values that a store may overwrite but that are needed later.
    fn load_before(&mut self, store: usize) {
        let buffer = self.span.buffer(&self.span.stores[store].place);
        for (node, expr) in self.span.nodes.iter().enumerate() {
            if let Node::Load(load) = expr
                && self.uses[node] > 0
                && self.span.buffer(&self.span.loads[*load]) == buffer
            {
                self.evaluate(node);
            }
        }
    }

    fn evaluate(&mut self, node: usize) {
        // Constants are loaded where they are needed, or used from memory.
        if self.done[node] || self.order.folded[node] || matches!(self.span.nodes[node], Node::Bits(_)) {
            return;
        }
        self.done[node] = true;
        if let Node::Binary(op, a, b) = self.span.nodes[node] {
            let in_memory = |node: usize| matches!(self.span.nodes[node], Node::Bits(_)) && !self.done[node];
            if a != b && self.may_fold(b) && !in_memory(a) {
                self.order.folded[b] = true;
            } else if a != b && commutes(op) && self.may_fold(a) && !in_memory(b) {
                self.order.folded[a] = true;
            }
        }
        let mut operands = self.span.nodes[node].operands();
        operands.sort_by_key(|&operand| std::cmp::Reverse(self.needs[operand]));
        for operand in operands {
            self.evaluate(operand);
        }
        self.order.steps.push(Step::Evaluate(node));
    }

    /// Whether a node is an operand whose only user may take it from memory.
    fn may_fold(&self, node: usize) -> bool {
        let Node::Load(load) = self.span.nodes[node] else { return false };
        let place = &self.span.loads[load];
        self.fold
            && self.uses[node] == 1
            && !self.done[node]
            && place.element != Element::U8
            && place.lane == 1
            && place.repeat == 1
            && !self.span.is_stored(place)
    }
}
