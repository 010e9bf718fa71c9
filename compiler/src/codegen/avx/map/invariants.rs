//! Loop-invariant code motion of an assembled map: values that are equal for all lanes and steps are computed once,
//! before the loops.

use super::super::operands::{Lanes, Width};
use super::body::{Site, WindowIndex};
use super::key::{Entry, MapNode};
use super::registers::Held;
use super::schedule::{BodyStep, Schedule, commutes};
use super::walk::{Walk, Written};
use crate::codegen::fallback::Failure;

impl Walk<'_> {
    /// Computes loop-invariant values, as long as registers are left to hold them.
    pub(super) fn hoist(&mut self) -> Written {
        let mut invariants = self.unchanging();
        let key = self.key;
        let is_load = |node: &usize| !matches!(key.nodes[*node], MapNode::Bits(_));
        invariants.sort_by_key(|node| !is_load(node));
        let masks = usize::from(self.width == Width::Bits256);
        let copies = self.copies();
        // Registers that the bodies with the highest pressure leave free, minus the temporaries of a step.
        let room = |walk: &Self, held: &[usize]| {
            let mut ready = vec![false; key.nodes.len()];
            for &node in held {
                ready[node] = true;
            }
            let pressure = walk
                .roots()
                .iter()
                .map(|roots| Schedule::new(key, roots, &ready, true).pressure(key))
                .max()
                .unwrap_or(0);
            let accumulators = copies * walk.accumulators_per_copy();
            walk.width.registers().saturating_sub(pressure + 5 + masks + accumulators)
        };
        let mut held = Vec::new();
        for node in invariants {
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
            step: vec![0; key.window.len()],
            window_index: WindowIndex::Known(0),
        };
        // The mask of the last lanes also takes a register.
        let reserved: &[Held] = match self.width {
            Width::Bits256 => &[Held { node: None, register: self.mask() }],
            Width::Bits512 => &[],
        };
        for node in held {
            let registers = self.body(&[], reserved, &site, &[BodyStep::Evaluate(node)])?;
            let register =
                registers.of(node).ok_or_else(|| Failure::Fault("a value that is nowhere".to_owned()))?;
            self.held.push(Held { node: Some(node), register });
        }
        Ok(())
    }

    /// The roots of every kind of body.
    pub(super) fn roots(&self) -> Vec<Vec<BodyStep>> {
        let stores = (0..self.key.stores.len()).map(BodyStep::Store).collect();
        let reductions = (0..self.key.reducers.len()).map(BodyStep::Reduce).collect();
        vec![reductions, stores]
    }

    /// Nodes that are equal for all lanes and steps and have users, and constants that must be in registers.
    fn unchanging(&self) -> Vec<usize> {
        let key = self.key;
        let mut invariants: Vec<bool> = Vec::with_capacity(key.nodes.len());
        for node in &key.nodes {
            invariants.push(match node {
                MapNode::Load(load) => {
                    let place = &key.loads[*load];
                    let moves = match &key.entries[place.entry] {
                        Entry::Pointer { window, .. } => window.iter().any(|&stride| stride > 0),
                        Entry::Index { .. } | Entry::Number => true,
                    };
                    place.lane == 0 && !moves && !key.is_stored(place)
                }
                MapNode::Bits(_) | MapNode::Entry(_) => true,
                MapNode::Index(_)
                | MapNode::Phase(_)
                | MapNode::WindowIndex
                | MapNode::Reduced(_)
                | MapNode::Argmax(_) => false,
                _ if node.is_mask() => false,
                _ => node.operands().iter().all(|&operand| invariants[operand]),
            });
        }
        let is_bits = |node: usize| matches!(key.nodes[node], MapNode::Bits(_));
        let ready = vec![false; key.nodes.len()];
        let mut wanted = Vec::new();
        let mut want = |node: usize| {
            if invariants[node] && !wanted.contains(&node) {
                wanted.push(node);
            }
        };
        for roots in self.roots() {
            for step in Schedule::new(key, &roots, &ready, false).steps {
                let changes = !matches!(step, BodyStep::Evaluate(node) if invariants[node]);
                if !changes {
                    continue;
                }
                let operands = step.operands(key);
                for (index, &operand) in operands.iter().enumerate() {
                    // A constant may stay in memory as the second operand.
                    let second = match step {
                        BodyStep::Evaluate(node) => match key.nodes[node] {
                            MapNode::Binary(op, a, b) => {
                                a != b && (index == 1 || commutes(op) && !is_bits(b))
                            }
                            MapNode::Less(..)
                            | MapNode::AtMost(..)
                            | MapNode::SameInteger(..)
                            | MapNode::Select(..) => index == 1,
                            _ => false,
                        },
                        BodyStep::Store(_) | BodyStep::Reduce(_) => false,
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
