//! Bodies of an assembled map for neighbouring vectors, and the accumulators of reductions.

use super::super::interleave::interleave;
use super::super::operands::{Lanes, Vector, Width};
use super::body::{ADDRESS, Accumulator, Body, HeldRegisters, Site, Whole, WindowIndex, combine};
use super::key::{Count, MapNode, Over};
use super::registers::{Held, Registers};
use super::schedule::{BodyStep, Schedule};
use super::walk::{Walk, Written};
use crate::codegen::fallback::{Failure, FallbackReason};
use crate::kernel::Reducer;

/// Independent accumulators of a reduction, which hide the latency of additions.
const STREAMS: usize = 4;
/// The maximum number of accumulators of several vectors.
const ACCUMULATORS: usize = 8;

/// Bodies of neighbouring vectors.
pub(super) struct Group {
    /// Lanes before the first of them, apart from those that pointers have moved over.
    pub(super) lane: usize,
    /// Whether pointers have not moved.
    pub(super) is_known: bool,
    pub(super) lanes: Lanes,
    /// Their number.
    pub(super) copies: usize,
}

impl Group {
    fn sites(&self, width: Width, step: &[usize], window_index: WindowIndex) -> Vec<Site> {
        let site = |copy| Site {
            lane: self.lane + copy * width.lanes(),
            is_known: self.is_known,
            lanes: self.lanes,
            step: step.to_vec(),
            window_index,
        };
        (0..self.copies).map(site).collect()
    }
}

impl Walk<'_> {
    /// A body that adds to some of the accumulators, with the results of reductions in registers.
    pub(super) fn body(
        &mut self,
        accumulators: &[Accumulator],
        results: &[Held],
        site: &Site,
        roots: &[BodyStep],
    ) -> Result<Registers, Failure> {
        let mut held = self.held.clone();
        held.extend(results);
        for register in self.reserved(site.lanes) {
            if held.iter().all(|held| held.register != register) {
                held.push(Held { node: None, register });
            }
        }
        let held_registers = HeldRegisters { pointers: &self.pointers, held: &held, accumulators };
        Body::write(&mut self.emitter, self.key, held_registers, site, roots)
    }

    /// Vector registers of accumulators and, at 256 bits, of the mask of the last lanes.
    pub(super) fn reserved(&self, lanes: Lanes) -> impl Iterator<Item = u8> + use<> {
        let best = self.accumulators.iter().map(|accumulator| accumulator.best);
        let argmaxes = self.accumulators.iter().filter_map(|accumulator| accumulator.argmax);
        let mut reserved: Vec<u8> = best.chain(argmaxes).map(|vector| vector.0).collect();
        if let (Lanes::Masked(mask), Width::Bits256) = (lanes, self.width) {
            reserved.push(mask);
        }
        reserved.into_iter()
    }

    /// The unroll factor of the loop over lanes, in vectors.
    pub(super) fn copies(&self) -> usize {
        let steps: usize = self.roots().iter().map(|roots| self.steps(roots)).sum();
        let groups = match self.key.lanes {
            Count::Fixed(lanes) => (lanes / self.width.lanes()).max(1),
            Count::Argument(_) => usize::MAX,
        };
        let wanted = match self.key.over {
            Over::Nothing => match steps {
                0..=8 => 4,
                // Several vectors hide the latency of functions.
                9..=40 if self.key.nodes.iter().any(MapNode::is_long) => 4,
                9..=20 => 2,
                _ => 1,
            },
            // Several vectors hide the latency of a loop over the window.
            Over::Window if self.unrolled_window(STREAMS).is_none() => STREAMS,
            Over::Window => 1,
            Over::Lanes => STREAMS,
        };
        let fitting = ACCUMULATORS / self.accumulators_per_copy().max(1);
        wanted.min(groups).min(fitting.max(1))
    }

    pub(super) fn accumulators_per_copy(&self) -> usize {
        let registers = self.key.reducers.iter().map(|reducer| match reducer {
            Reducer::MaxWithArgmax(_) => 2,
            Reducer::Sum(_) | Reducer::Max(_) => 1,
        });
        registers.sum()
    }

    pub(super) fn steps(&self, roots: &[BodyStep]) -> usize {
        let ready = vec![false; self.key.nodes.len()];
        Schedule::new(self.key, roots, &ready, true).steps.len()
    }

    /// Computes some vectors: the window reduction, if there is one, and the stores.
    pub(super) fn elements(&mut self, group: &Group) -> Written {
        let key = self.key;
        let stores: Vec<BodyStep> = (0..key.stores.len()).map(BodyStep::Store).collect();
        let still = vec![0; key.window.len()];
        if key.over == Over::Nothing {
            let sites = group.sites(self.width, &still, WindowIndex::Known(0));
            return self.interleaved(&sites, |walk, _, site| walk.body(&[], &[], site, &stores));
        }
        let streams = self.take_accumulators(group.copies, group.lanes)?;
        self.window(group, &mut |walk, step, index| {
            walk.accumulate(&streams, &group.sites(walk.width, step, index))
        })?;
        self.end_sums()?;
        let sites = group.sites(self.width, &still, WindowIndex::Known(0));
        self.interleaved(&sites, |walk, index, site| {
            let results = walk.results(&streams[index]);
            walk.body(&[], &results, site, &stores)
        })?;
        self.accumulators.clear();
        Ok(())
    }

    /// Adds one window step to every reduction.
    fn accumulate(&mut self, streams: &[Vec<Accumulator>], sites: &[Site]) -> Written {
        let roots: Vec<BodyStep> = (0..self.key.reducers.len()).map(BodyStep::Reduce).collect();
        self.interleaved(sites, |walk, index, site| walk.body(&streams[index], &[], site, &roots))
    }

    /// Bodies of several vectors, with their instructions side by side.
    fn interleaved(
        &mut self,
        sites: &[Site],
        mut body: impl FnMut(&mut Self, usize, &Site) -> Result<Registers, Failure>,
    ) -> Written {
        let mut bodies = Vec::with_capacity(sites.len());
        for (index, site) in sites.iter().enumerate() {
            self.emitter.record();
            body(self, index, site)?;
            bodies.push(self.emitter.recorded());
        }
        let lanes = sites.first().map_or(Lanes::All, |site| site.lanes);
        let held: Vec<u8> = self.held.iter().map(|held| held.register).chain(self.reserved(lanes)).collect();
        for instruction in interleave(bodies, self.width, &held) {
            self.emitter.put(Ok(instruction));
        }
        Ok(())
    }

    /// Nodes of `finish` that are accumulators.
    fn results(&self, stream: &[Accumulator]) -> Vec<Held> {
        let of = |(index, node): (usize, &MapNode)| match *node {
            MapNode::Reduced(reducer) => Some(Held { node: Some(index), register: stream[reducer].best.0 }),
            MapNode::Argmax(reducer) => {
                stream[reducer].argmax.map(|argmax| Held { node: Some(index), register: argmax.0 })
            }
            _ => None,
        };
        self.key.nodes.iter().enumerate().filter_map(of).collect()
    }

    /// Registers for accumulators, with their initial values.
    fn take_accumulators(&mut self, streams: usize, lanes: Lanes) -> Result<Vec<Vec<Accumulator>>, Failure> {
        let mut free: Vec<u8> = (0..self.width.registers() as u8)
            .rev()
            .filter(|&register| self.held.iter().all(|held| held.register != register))
            .filter(|&register| self.width == Width::Bits512 || lanes != Lanes::Masked(register))
            .filter(|&register| self.width == Width::Bits512 || register != self.mask())
            .collect();
        let mut next = || free.pop().map(Vector).ok_or(FallbackReason::Reductions);
        let (mut all, mut wholes) = (Vec::new(), 0);
        for _ in 0..streams {
            let mut stream = Vec::new();
            for reducer in &self.key.reducers {
                let best = next()?;
                let argmax = match reducer {
                    Reducer::MaxWithArgmax(_) => Some(next()?),
                    Reducer::Sum(_) | Reducer::Max(_) => None,
                };
                let whole = (self.blocks.is_some() && matches!(reducer, Reducer::Sum(_))).then(|| {
                    wholes += 1;
                    self.whole(wholes - 1)
                });
                stream.push(Accumulator { best, argmax, whole });
            }
            all.push(stream);
        }
        for stream in &all {
            for (accumulator, reducer) in stream.iter().zip(&self.key.reducers) {
                match reducer {
                    Reducer::Sum(_) => self.emitter.zero(accumulator.best),
                    Reducer::Max(_) | Reducer::MaxWithArgmax(_) => {
                        self.emitter.load_number(accumulator.best, f32::NEG_INFINITY);
                    }
                }
                if let Some(argmax) = accumulator.argmax {
                    self.emitter.zero(argmax);
                }
                if let Some(Whole { sum, lost }) = accumulator.whole {
                    self.emitter.store(accumulator.best, sum, Lanes::All);
                    self.emitter.store(accumulator.best, lost, Lanes::All);
                }
            }
        }
        self.accumulators = all.concat();
        Ok(all)
    }

    pub(super) fn fold_lanes(&mut self) -> Written {
        let copies = self.copies();
        let streams = self.take_accumulators(copies, Lanes::All)?;
        let all = Group { lane: 0, is_known: true, lanes: Lanes::All, copies: 1 };
        self.window(&all, &mut |walk, step, index| {
            walk.keep(walk.key.window.len(), &mut |walk| {
                walk.lanes(copies, &mut |walk, group| {
                    walk.accumulate(&streams, &group.sites(walk.width, step, index))
                })?;
                if walk.turns_in_span().is_some() { walk.end_blocks() } else { Ok(()) }
            })
        })?;
        self.end_sums()?;
        let [temporary, other] = self.free()?;
        for (index, &reducer) in self.key.reducers.iter().enumerate() {
            let best = streams[0][index].best;
            for stream in &streams[1..] {
                combine(&mut self.emitter, reducer, best, stream[index].best, temporary);
            }
            // Combines each lane with all others, starting with those half a vector away.
            let lanes = self.width.lanes();
            let mut distance = lanes / 2;
            while distance > 0 {
                let order = (0..lanes).map(|lane| ((lane + distance) % lanes) as u32).collect();
                let order = self.emitter.constant(order);
                self.emitter.load(temporary, order, Lanes::All);
                self.emitter.permute(other, temporary, best);
                combine(&mut self.emitter, reducer, best, other, temporary);
                distance /= 2;
            }
        }
        self.accumulators = streams[0].clone();
        let results = self.results(&streams[0]);
        let still = vec![0; self.key.window.len()];
        let stores: Vec<BodyStep> = (0..self.key.stores.len()).map(BodyStep::Store).collect();
        let lanes = Lanes::Masked(self.mask());
        let site = Site { lane: 0, is_known: true, lanes, step: still, window_index: WindowIndex::Known(0) };
        self.emitter.mask_of_first(self.mask(), 1, ADDRESS);
        self.body(&[], &results, &site, &stores)?;
        Ok(())
    }
}
