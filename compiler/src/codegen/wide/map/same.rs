//! Loop-invariant code motion of an assembled map: values that are equal for all lanes and steps are computed once,
//! before the loops.

use super::super::operands::{Lanes, Width};
use super::body::{Site, WindowIndex};
use super::order::{Order, Step, commutes};
use super::registers::Held;
use super::span::{Entry, Node};
use super::walk::{Walk, Written};
use crate::codegen::narrow::Failure;

impl Walk<'_> {
    /// Computes loop-invariant values, as long as registers are left to hold them.
    pub(super) fn prepare(&mut self) -> Written {
        let mut same = self.unchanging();
        let span = self.span;
        let is_load = |node: &usize| !matches!(span.nodes[*node], Node::Bits(_));
        same.sort_by_key(|node| !is_load(node));
        let masks = usize::from(self.width == Width::Bits256);
        let copies = self.copies();
        // Registers that the bodies with the highest pressure leave free, minus the temporaries of a step.
        let room = |walk: &Self, held: &[usize]| {
            let mut ready = vec![false; span.nodes.len()];
            for &node in held {
                ready[node] = true;
            }
            let pressure = walk
                .roots()
                .iter()
                .map(|roots| Order::new(span, roots, &ready, true).pressure(span))
                .max()
                .unwrap_or(0);
            let accumulators = copies * walk.accumulators_per_copy();
            walk.width.registers().saturating_sub(pressure + 5 + masks + accumulators)
        };
        let mut held = Vec::new();
        for node in same {
            held.push(node);
            if held.len() > room(self, &held) {
                held.pop();
                break;
            }
        }
        let site = Site {
            lane: 0,
            is_known: true,
            lanes: Lanes::All,
            step: vec![0; span.window.len()],
            window_index: WindowIndex::Known(0),
        };
        // The mask of the last lanes also takes a register.
        let reserved: &[Held] = match self.width {
            Width::Bits256 => &[Held { node: None, register: self.mask() }],
            Width::Bits512 => &[],
        };
        for node in held {
            let registers = self.body(&[], reserved, &site, &[Step::Evaluate(node)])?;
            let register =
                registers.of(node).ok_or_else(|| Failure::Fault("a value that is nowhere".to_owned()))?;
            self.held.push(Held { node: Some(node), register });
        }
        Ok(())
    }

    /// The roots of every kind of body.
    pub(super) fn roots(&self) -> Vec<Vec<Step>> {
        let stores = (0..self.span.stores.len()).map(Step::Store).collect();
        let reductions = (0..self.span.reducers.len()).map(Step::Reduce).collect();
        vec![reductions, stores]
    }

    /// Nodes that are equal for all lanes and steps and have users, and constants that must be in registers.
    fn unchanging(&self) -> Vec<usize> {
        let span = self.span;
        let mut same: Vec<bool> = Vec::with_capacity(span.nodes.len());
        for node in &span.nodes {
            same.push(match node {
                Node::Load(load) => {
                    let place = &span.loads[*load];
                    let moves = match &span.entries[place.entry] {
                        Entry::Pointer { window, .. } => window.iter().any(|&stride| stride > 0),
                        Entry::Index { .. } | Entry::Number => true,
                    };
                    place.lane == 0 && !moves && !span.is_stored(place)
                }
                Node::Bits(_) | Node::Entry(_) => true,
                Node::Index(_) | Node::Phase(_) | Node::WindowIndex | Node::Reduced(_) | Node::Place(_) => {
                    false
                }
                _ if node.is_mask() => false,
                _ => node.operands().iter().all(|&operand| same[operand]),
            });
        }
        let is_bits = |node: usize| matches!(span.nodes[node], Node::Bits(_));
        let ready = vec![false; span.nodes.len()];
        let mut wanted = Vec::new();
        let mut want = |node: usize| {
            if same[node] && !wanted.contains(&node) {
                wanted.push(node);
            }
        };
        for roots in self.roots() {
            for step in Order::new(span, &roots, &ready, false).steps {
                let changes = !matches!(step, Step::Evaluate(node) if same[node]);
                if !changes {
                    continue;
                }
                let operands = step.operands(span);
                for (index, &operand) in operands.iter().enumerate() {
                    // A constant may stay in memory as the second operand.
                    let second = match step {
                        Step::Evaluate(node) => match span.nodes[node] {
                            Node::Binary(op, a, b) => a != b && (index == 1 || commutes(op) && !is_bits(b)),
                            Node::Less(..) | Node::AtMost(..) | Node::SameInteger(..) | Node::Select(..) => {
                                index == 1
                            }
                            _ => false,
                        },
                        Step::Store(_) | Step::Reduce(_) => false,
                    };
                    if !is_bits(operand) || !second {
                        want(operand);
                    }
                }
            }
        }
        wanted
    }
}
