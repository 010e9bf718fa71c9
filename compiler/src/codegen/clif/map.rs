//! The Map leaf: a call of its assembled function if there is one; otherwise inlined into its kernel as vectors of four
//! lanes, then single elements for the rest.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, I32, I64};
use cranelift_codegen::ir::{AbiParam, FuncRef, InstBuilder, Signature, StackSlotData, StackSlotKind, Value};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::Variable;

use super::expression::{Lane, Operands, Site, WindowStep, get};
use super::kernel::KernelEmitter;
use super::value::{LANES, VectorOrScalar};
use crate::codegen::avx::Argument;
use crate::kernel::{Expr, Extent, Fold, Map, Mode, Reducer, SumBlocks};

/// A span of at most this length is unrolled completely.
const UNROLLED: usize = 64;
/// A window of at most this many steps is unrolled completely.
const UNROLLED_WINDOW: usize = 16;
/// Independent accumulators of a reduction over lanes, which hide the latency of additions.
const STREAMS: usize = 4;

/// The parameter of an assembled map's function: the table of its arguments.
pub(in crate::codegen) fn signature() -> Signature {
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params = vec![AbiParam::new(I64)];
    signature
}

/// An accumulator of a reducer, with the argmax index or the sum of all blocks.
#[derive(Clone, Copy)]
struct Accumulator {
    best: Variable,
    argmax: Option<Variable>,
    whole: Option<Whole>,
    width: VectorOrScalar,
}

/// The sum of all blocks and its rounding error.
#[derive(Clone, Copy)]
struct Whole {
    sum: Variable,
    lost: Variable,
}

/// The blocks of sums in a window loop, and the accumulators they end.
struct Blocks<'b> {
    blocks: Option<SumBlocks>,
    accumulators: &'b [Accumulator],
}

impl KernelEmitter<'_, '_, '_> {
    pub(super) fn map(&mut self, map: &Map) {
        match self.leaves.map(map, self.emit.builder.func) {
            Some((function, arguments)) => self.call_map(function, &arguments),
            None => self.inline_map(map),
        }
    }

    /// Calls the assembled function of a map, which overwrites the table of its arguments.
    fn call_map(&mut self, function: FuncRef, arguments: &[Argument]) {
        let bytes = 8 * arguments.len() as u32;
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 3);
        let slot = self.emit.builder.create_sized_stack_slot(slot);
        for (index, argument) in arguments.iter().enumerate() {
            let value = match argument {
                Argument::Pointer(address, element) => self.pointer(address, *element),
                Argument::Count(extent) => self.extent(*extent),
                Argument::Integer(affine) => self.affine(affine),
                Argument::Size(size, times) => {
                    let size = self.extent(Extent::Open(*size, *times));
                    let size = self.emit.builder.ins().fcvt_from_sint(F32, size);
                    let bits = self.emit.bits(I32, size);
                    self.emit.builder.ins().uextend(I64, bits)
                }
            };
            self.emit.builder.ins().stack_store(I64, value, slot, 8 * index as i32);
        }
        let table = self.emit.builder.ins().stack_addr(I64, slot, 0);
        self.emit.builder.ins().call(function, &[table]);
    }

    fn inline_map(&mut self, map: &Map) {
        let mut operands = Operands {
            loads: map.loads.iter().map(|load| self.address(&load.address, load.element)).collect(),
            stores: map.stores.iter().map(|store| self.address(&store.address, store.element)).collect(),
            scalars: vec![None; map.loads.len()],
        };
        for (index, load) in map.loads.iter().enumerate() {
            let is_number = load.lane == 0 && load.window.iter().all(|&stride| stride == 0);
            if is_number && !map.stores.iter().any(|store| store.address.buffer == load.address.buffer) {
                let (pointer, offset) = operands.loads[index];
                operands.scalars[index] = Some(self.emit.load_element(load.element, pointer, offset));
            }
        }
        match &map.fold {
            Fold::None | Fold::Window(_) => {
                self.each_lane(map, may_overlap(map), |emitter, lane, width| {
                    emitter.element(map, &operands, lane, width);
                });
            }
            Fold::Lanes(reducers) => self.fold_lanes(map, &operands, reducers),
        }
    }

    /// Runs `body` for all lanes: first in vectors, then one by one for the rest.
    fn each_lane(&mut self, map: &Map, overlap: bool, mut body: impl FnMut(&mut Self, Lane, VectorOrScalar)) {
        match map.lanes {
            Extent::Fixed(lanes)
                if map.needs_known_lanes()
                    || lanes <= UNROLLED && lanes.div_ceil(LANES) * map.exprs.len() <= 256 =>
            {
                for vector in 0..lanes / LANES {
                    body(self, Lane::fixed(vector * LANES), VectorOrScalar::Vector);
                }
                self.rest(lanes, overlap, &mut body);
            }
            Extent::Fixed(lanes) => {
                let zero = self.emit.builder.ins().iconst(I64, 0);
                let end = self.emit.builder.ins().iconst(I64, (lanes / LANES * LANES) as i64);
                self.count(zero, end, LANES, |emitter, lane| {
                    body(emitter, Lane::at(lane), VectorOrScalar::Vector)
                });
                self.rest(lanes, overlap, &mut body);
            }
            lanes => {
                let lanes = self.extent(lanes);
                let zero = self.emit.builder.ins().iconst(I64, 0);
                let vectors = self.emit.builder.ins().band_imm_s(lanes, -(LANES as i64));
                self.count(zero, vectors, LANES, |emitter, lane| {
                    body(emitter, Lane::at(lane), VectorOrScalar::Vector)
                });
                self.count(vectors, lanes, 1, |emitter, lane| {
                    body(emitter, Lane::at(lane), VectorOrScalar::Scalar)
                });
            }
        }
    }

    /// The lanes after the last whole vector, if their number is known.
    fn rest(&mut self, lanes: usize, overlap: bool, body: &mut impl FnMut(&mut Self, Lane, VectorOrScalar)) {
        if !lanes.is_multiple_of(LANES) && lanes > LANES && overlap {
            body(self, Lane::fixed(lanes - LANES), VectorOrScalar::Vector);
        } else {
            for lane in lanes / LANES * LANES..lanes {
                body(self, Lane::fixed(lane), VectorOrScalar::Scalar);
            }
        }
    }

    /// Computes some lanes: the window reduction, if there is one, and the stores.
    fn element(&mut self, map: &Map, operands: &Operands, lane: Lane, width: VectorOrScalar) {
        let site = Site { map, operands, lane, step: &WindowStep::default(), width };
        let values = match &map.fold {
            Fold::Window(reducers) => {
                let counts: Vec<Option<usize>> = map.window.iter().map(fixed).collect();
                let blocks = SumBlocks::of(&counts);
                let accumulators: Vec<Accumulator> =
                    reducers.iter().map(|&reducer| self.accumulator(reducer, width, blocks)).collect();
                let ends = Blocks { blocks, accumulators: &accumulators };
                self.each_step(map, &ends, |emitter, step| {
                    emitter.accumulate_all(Site { step, ..site }, reducers, &accumulators);
                });
                self.end_sums(&accumulators);
                let reduced: Vec<_> =
                    accumulators.iter().map(|accumulator| self.current(*accumulator)).collect();
                self.finish(site, &reduced)
            }
            _ => self.expressions(site, 0..map.exprs.len(), Vec::new()),
        };
        self.stores(site, &values);
    }

    fn current(&mut self, accumulator: Accumulator) -> (Value, Option<Value>) {
        let best = self.emit.builder.use_var(accumulator.best);
        (best, accumulator.argmax.map(|argmax| self.emit.builder.use_var(argmax)))
    }

    /// Evaluates the expressions after a reduction.
    fn finish(&mut self, site: Site<'_>, reduced: &[(Value, Option<Value>)]) -> Vec<Option<Value>> {
        let map = site.map;
        let mut values = vec![None; map.exprs.len()];
        for (index, expr) in map.exprs.iter().enumerate().skip(map.finish) {
            values[index] = match expr {
                Expr::Reduced(reducer) => Some(reduced[*reducer].0),
                Expr::Argmax(reducer) => reduced[*reducer].1,
                _ => None,
            };
        }
        self.expressions(site, map.finish..map.exprs.len(), values)
    }

    /// Runs `body` for every step of the window.
    fn each_step(&mut self, map: &Map, ends: &Blocks<'_>, mut body: impl FnMut(&mut Self, &WindowStep)) {
        let counts: Option<Vec<usize>> = map.window.iter().map(fixed).collect();
        match counts {
            Some(counts) if counts.iter().product::<usize>() <= UNROLLED_WINDOW => {
                let in_window = ends.blocks.filter(|blocks| blocks.depth < counts.len());
                let block = in_window.map_or(usize::MAX, |blocks| blocks.steps(&counts));
                for index in 0..counts.iter().product() {
                    let mut rest = index;
                    let mut fixed = vec![0; counts.len()];
                    for (position, &count) in counts.iter().enumerate().rev() {
                        fixed[position] = rest % count;
                        rest /= count;
                    }
                    body(self, &WindowStep { dynamic: Vec::new(), fixed });
                    if (index + 1) % block == 0 {
                        self.end_blocks(ends.accumulators);
                    }
                }
            }
            _ => self.step_loops(map, ends, &mut WindowStep::default(), &mut body),
        }
    }

    fn step_loops(
        &mut self,
        map: &Map,
        ends: &Blocks<'_>,
        step: &mut WindowStep,
        body: &mut dyn FnMut(&mut Self, &WindowStep),
    ) {
        let depth = step.dynamic.len();
        let Some(&extent) = map.window.get(depth) else { return body(self, step) };
        let zero = self.emit.builder.ins().iconst(I64, 0);
        let end = self.extent(extent);
        let turns = ends.blocks.filter(|blocks| blocks.depth == depth).map(|blocks| blocks.turns);
        self.count_in_blocks(
            (zero, end),
            1,
            turns.map(|turns| (turns, ends.accumulators)),
            |emitter, value| {
                step.dynamic.push(value);
                emitter.step_loops(map, ends, step, body);
                step.dynamic.pop();
            },
        );
    }

    /// A loop over `start..end`. With `blocks`, it adds the accumulators to the compensated totals every `turns`
    /// iterations. The first block has the remainder, as in assembled maps, whose counters count down.
    fn count_in_blocks(
        &mut self,
        (start, end): (Value, Value),
        step: usize,
        blocks: Option<(usize, &[Accumulator])>,
        mut body: impl FnMut(&mut Self, Value),
    ) {
        let Some((turns, accumulators)) = blocks else { return self.count(start, end, step, body) };
        let block = (turns * step) as i64;
        let builder = &mut *self.emit.builder;
        let total = builder.ins().isub(end, start);
        let remainder = builder.ins().urem_imm_s(total, block);
        let is_whole = builder.ins().icmp_imm_s(IntCC::Equal, remainder, 0);
        let early = builder.ins().iadd_imm_s(remainder, -block);
        let early = builder.ins().iadd(start, early);
        let early = builder.ins().select(is_whole, start, early);
        self.count(early, end, turns * step, |emitter, first| {
            let builder = &mut *emitter.emit.builder;
            let last = builder.ins().iadd_imm_s(first, block);
            let is_within = builder.ins().icmp(IntCC::SignedGreaterThan, first, start);
            let first = builder.ins().select(is_within, first, start);
            emitter.count(first, last, step, &mut body);
            emitter.end_blocks(accumulators);
        });
    }

    /// Adds the sums of blocks to the totals, with the exact rounding error of each addition (Knuth 1969).
    fn end_blocks(&mut self, accumulators: &[Accumulator]) {
        for accumulator in accumulators {
            let Some(Whole { sum, lost }) = accumulator.whole else { continue };
            let builder = &mut *self.emit.builder;
            let (old, block, before) =
                (builder.use_var(sum), builder.use_var(accumulator.best), builder.use_var(lost));
            let new = builder.ins().fadd(old, block);
            let added = builder.ins().fsub(new, old);
            let kept = builder.ins().fsub(new, added);
            let (of_old, of_block) = (builder.ins().fsub(old, kept), builder.ins().fsub(block, added));
            let error = builder.ins().fadd(of_old, of_block);
            let error = builder.ins().fadd(before, error);
            builder.def_var(sum, new);
            builder.def_var(lost, error);
            let zero = self.emit.float(accumulator.width, 0.0);
            self.emit.builder.def_var(accumulator.best, zero);
        }
    }

    /// Moves the totals into the accumulators.
    fn end_sums(&mut self, accumulators: &[Accumulator]) {
        self.end_blocks(accumulators);
        for accumulator in accumulators {
            let Some(Whole { sum, lost }) = accumulator.whole else { continue };
            let (sum, lost) = (self.emit.builder.use_var(sum), self.emit.builder.use_var(lost));
            // An overflow leaves a value that is not finite, and neither is its difference from itself.
            let none = self.emit.builder.ins().fsub(lost, lost);
            let is_broken = self.emit.compare(FloatCC::Unordered, none, none);
            let zero = self.emit.float(accumulator.width, 0.0);
            let lost = self.emit.select(accumulator.width, is_broken, zero, lost);
            let sum = self.emit.builder.ins().fadd(sum, lost);
            self.emit.builder.def_var(accumulator.best, sum);
        }
    }

    /// A reduction over window and lanes, and its stores.
    fn fold_lanes(&mut self, map: &Map, operands: &Operands, reducers: &[Reducer]) {
        let streams = match map.lanes {
            Extent::Fixed(lanes) => (lanes / LANES).clamp(1, STREAMS),
            _ => STREAMS,
        };
        let turn = streams * LANES;
        let turns = |lanes: usize| lanes / turn + lanes % turn;
        let mut counts: Vec<Option<usize>> = map.window.iter().map(fixed).collect();
        counts.push(fixed(&map.lanes).map(turns));
        let blocks = SumBlocks::of(&counts);
        let vectors: Vec<Vec<Accumulator>> = (0..streams)
            .map(|_| {
                reducers
                    .iter()
                    .map(|&reducer| self.accumulator(reducer, VectorOrScalar::Vector, blocks))
                    .collect()
            })
            .collect();
        let singles: Vec<Accumulator> = reducers
            .iter()
            .map(|&reducer| self.accumulator(reducer, VectorOrScalar::Scalar, blocks))
            .collect();
        let all: Vec<Accumulator> = vectors.iter().flatten().chain(&singles).copied().collect();
        let ends = Blocks { blocks, accumulators: &all };
        // Blocks that end within the span, not in the window.
        let within = blocks.filter(|blocks| blocks.depth == map.window.len()).map(|blocks| blocks.turns);
        self.each_step(map, &ends, |emitter, step| {
            let lanes = emitter.extent(map.lanes);
            let fold =
                |emitter: &mut Self, lane: Lane, width: VectorOrScalar, accumulators: &[Accumulator]| {
                    emitter.accumulate_all(Site { map, operands, lane, step, width }, reducers, accumulators);
                };
            let zero = emitter.emit.builder.ins().iconst(I64, 0);
            let turns = emitter.emit.builder.ins().udiv_imm_s(lanes, turn as i64);
            let whole = emitter.emit.builder.ins().imul_imm_s(turns, turn as i64);
            let blocks = within.map(|turns| (turns, &all[..]));
            emitter.count_in_blocks((zero, whole), turn, blocks, |emitter, lane| {
                for (stream, accumulators) in vectors.iter().enumerate() {
                    fold(emitter, Lane::at(lane).plus(stream * LANES), VectorOrScalar::Vector, accumulators);
                }
            });
            emitter.count(whole, lanes, 1, |emitter, lane| {
                fold(emitter, Lane::at(lane), VectorOrScalar::Scalar, &singles);
            });
            if within.is_some() {
                emitter.end_blocks(&singles);
            }
        });
        self.end_sums(&all);
        let reduced: Vec<(Value, Option<Value>)> = (0..reducers.len())
            .map(|index| {
                let streams: Vec<Accumulator> = vectors.iter().map(|stream| stream[index]).collect();
                (self.combine(reducers[index], &streams, singles[index]), None)
            })
            .collect();
        let site = Site {
            map,
            operands,
            lane: Lane::fixed(0),
            step: &WindowStep::default(),
            width: VectorOrScalar::Scalar,
        };
        let values = self.finish(site, &reduced);
        self.stores(site, &values);
    }

    /// The result of a reduction over lanes: combines the vectors, then their lanes, then the single elements.
    fn combine(&mut self, reducer: Reducer, streams: &[Accumulator], single: Accumulator) -> Value {
        let mut parts: Vec<Value> = streams.iter().map(|stream| self.current(*stream).0).collect();
        while parts.len() > 1 {
            parts = parts
                .chunks(2)
                .map(|pair| match pair {
                    [a, b] => self.reduce(reducer, VectorOrScalar::Vector, *a, *b),
                    _ => pair[0],
                })
                .collect();
        }
        let single = self.current(single).0;
        if let Reducer::Sum(_) = reducer {
            let lanes = self.emit.sum_lanes(parts[0]);
            return self.emit.builder.ins().fadd(lanes, single);
        }
        (0..LANES).fold(single, |best, lane| {
            let value = self.emit.builder.ins().extractlane(parts[0], lane as u8);
            self.reduce(reducer, VectorOrScalar::Scalar, best, value)
        })
    }

    fn reduce(&mut self, reducer: Reducer, width: VectorOrScalar, best: Value, value: Value) -> Value {
        match reducer {
            Reducer::Sum(_) => self.emit.builder.ins().fadd(best, value),
            Reducer::Max(_) | Reducer::MaxWithArgmax(_) => self.emit.largest(width, best, value),
        }
    }

    fn accumulator(
        &mut self,
        reducer: Reducer,
        width: VectorOrScalar,
        blocks: Option<SumBlocks>,
    ) -> Accumulator {
        let start = match reducer {
            Reducer::Sum(_) => 0.0,
            Reducer::Max(_) | Reducer::MaxWithArgmax(_) => f32::NEG_INFINITY,
        };
        let best = self.emit.builder.declare_var(width.float());
        let start = self.emit.float(width, start);
        self.emit.builder.def_var(best, start);
        let argmax = matches!(reducer, Reducer::MaxWithArgmax(_)).then(|| {
            let argmax = self.emit.builder.declare_var(width.integer());
            let zero = self.emit.integer(width, 0);
            self.emit.builder.def_var(argmax, zero);
            argmax
        });
        let is_sum = matches!(reducer, Reducer::Sum(_));
        let whole = (is_sum && blocks.is_some()).then(|| {
            let [sum, lost] = [(); 2].map(|()| self.emit.builder.declare_var(width.float()));
            self.emit.builder.def_var(sum, start);
            self.emit.builder.def_var(lost, start);
            Whole { sum, lost }
        });
        Accumulator { best, argmax, whole, width }
    }

    /// Evaluates one step and adds it to every reduction.
    fn accumulate_all(&mut self, site: Site<'_>, reducers: &[Reducer], accumulators: &[Accumulator]) {
        let values = self.expressions(site, 0..site.map.finish, Vec::new());
        for (&reducer, &accumulator) in reducers.iter().zip(accumulators) {
            self.accumulate(site, reducer, accumulator, &values);
        }
    }

    fn accumulate(
        &mut self,
        site: Site<'_>,
        reducer: Reducer,
        accumulator: Accumulator,
        values: &[Option<Value>],
    ) {
        let width = site.width;
        let value = get(values, reducer.value().0);
        let best = self.emit.builder.use_var(accumulator.best);
        if let Some(argmax) = accumulator.argmax {
            let beats = self.emit.beats(value, best);
            let index = self.window_index(site);
            let old = self.emit.builder.use_var(argmax);
            let new = self.emit.select(width, beats, index, old);
            self.emit.builder.def_var(argmax, new);
        }
        let next = self.reduce(reducer, width, best, value);
        self.emit.builder.def_var(accumulator.best, next);
    }
}

/// The value of an extent, if it is known at compile time.
fn fixed(extent: &Extent) -> Option<usize> {
    match extent {
        Extent::Fixed(count) => Some(*count),
        Extent::Open(..) | Extent::Floor { .. } | Extent::Chunk | Extent::ChunkFloor(_) => None,
    }
}

/// Whether computing some lanes twice gives the same result: no stored value is read or added to.
fn may_overlap(map: &Map) -> bool {
    map.stores.iter().all(|store| {
        store.mode == Mode::Write && map.loads.iter().all(|load| load.address.buffer != store.address.buffer)
    })
}
