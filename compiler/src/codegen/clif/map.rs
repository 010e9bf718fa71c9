//! The Map leaf: a call of its wide function where it has one; else written into its kernel, in vectors of four lanes,
//! then single elements for the rest.

use cranelift_codegen::ir::types::{F32, I32, I64};
use cranelift_codegen::ir::{AbiParam, FuncRef, InstBuilder, Signature, StackSlotData, StackSlotKind, Value};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::Variable;

use super::expression::{Lane, Places, Site, Step, get};
use super::kernel::KernelEmitter;
use super::value::{LANES, Width};
use crate::codegen::wide::Argument;
use crate::kernel::{Expr, Extent, Fold, Map, Mode, Reducer};

/// A span this long or shorter is written out without a loop.
const WRITTEN_OUT: usize = 64;
/// A window of this many steps or fewer is written out without loops.
const WINDOW_WRITTEN_OUT: usize = 16;
/// Vectors a reduction over lanes keeps apart, so that their additions need not wait for each other.
const STREAMS: usize = 4;

/// The parameter of a wide map's function: the table of its arguments.
pub(in crate::codegen) fn signature() -> Signature {
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params = vec![AbiParam::new(I64)];
    signature
}

/// An accumulator of a reducer, and the place of its largest value.
#[derive(Clone, Copy)]
struct Accumulator {
    best: Variable,
    place: Option<Variable>,
}

impl KernelEmitter<'_, '_, '_> {
    pub(super) fn map(&mut self, map: &Map) {
        match self.leaves.map(map, self.emit.builder.func) {
            Some((function, arguments)) => self.call_map(function, &arguments),
            None => self.narrow_map(map),
        }
    }

    /// Calls the wide function of a map. It overwrites the table of its arguments.
    fn call_map(&mut self, function: FuncRef, arguments: &[Argument]) {
        let bytes = 8 * arguments.len() as u32;
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 3);
        let slot = self.emit.builder.create_sized_stack_slot(slot);
        for (index, argument) in arguments.iter().enumerate() {
            let value = match argument {
                Argument::Pointer(address, element) => self.pointer(address, *element),
                Argument::Count(extent) => self.extent(*extent),
                Argument::Integer(affine) => self.affine(affine),
                Argument::BatchSize => {
                    let size = self.emit.builder.ins().fcvt_from_sint(F32, self.batch);
                    let bits = self.emit.bits(I32, size);
                    self.emit.builder.ins().uextend(I64, bits)
                }
            };
            self.emit.builder.ins().stack_store(I64, value, slot, 8 * index as i32);
        }
        let table = self.emit.builder.ins().stack_addr(I64, slot, 0);
        self.emit.builder.ins().call(function, &[table]);
    }

    fn narrow_map(&mut self, map: &Map) {
        let mut places = Places {
            loads: map.loads.iter().map(|load| self.address(&load.address, load.element)).collect(),
            stores: map.stores.iter().map(|store| self.address(&store.address, store.element)).collect(),
            numbers: vec![None; map.loads.len()],
        };
        for (index, load) in map.loads.iter().enumerate() {
            let is_number = load.lane == 0 && load.window.iter().all(|&stride| stride == 0);
            if is_number && !map.stores.iter().any(|store| store.address.buffer == load.address.buffer) {
                let (pointer, offset) = places.loads[index];
                places.numbers[index] = Some(self.emit.load_element(load.element, pointer, offset));
            }
        }
        match &map.fold {
            Fold::None | Fold::Window(_) => {
                self.each_lane(map, may_overlap(map), |emitter, lane, width| {
                    emitter.element(map, &places, lane, width);
                });
            }
            Fold::Lanes(reducers) => self.fold_lanes(map, &places, reducers),
        }
    }

    /// Runs `body` for all lanes: in vectors, and one by one for the rest.
    fn each_lane(&mut self, map: &Map, overlap: bool, mut body: impl FnMut(&mut Self, Lane, Width)) {
        match map.lanes {
            Extent::Fixed(lanes)
                if map.needs_known_lanes()
                    || lanes <= WRITTEN_OUT && lanes.div_ceil(LANES) * map.exprs.len() <= 256 =>
            {
                for vector in 0..lanes / LANES {
                    body(self, Lane::fixed(vector * LANES), Width::Vector);
                }
                self.rest(lanes, overlap, &mut body);
            }
            Extent::Fixed(lanes) => {
                let zero = self.emit.builder.ins().iconst(I64, 0);
                let end = self.emit.builder.ins().iconst(I64, (lanes / LANES * LANES) as i64);
                self.count(zero, end, LANES, |emitter, lane| body(emitter, Lane::at(lane), Width::Vector));
                self.rest(lanes, overlap, &mut body);
            }
            lanes => {
                let lanes = self.extent(lanes);
                let zero = self.emit.builder.ins().iconst(I64, 0);
                let vectors = self.emit.builder.ins().band_imm_s(lanes, -(LANES as i64));
                self.count(zero, vectors, LANES, |emitter, lane| {
                    body(emitter, Lane::at(lane), Width::Vector)
                });
                self.count(vectors, lanes, 1, |emitter, lane| body(emitter, Lane::at(lane), Width::Single));
            }
        }
    }

    /// The lanes behind the last whole vector, of a known number.
    fn rest(&mut self, lanes: usize, overlap: bool, body: &mut impl FnMut(&mut Self, Lane, Width)) {
        if !lanes.is_multiple_of(LANES) && lanes > LANES && overlap {
            body(self, Lane::fixed(lanes - LANES), Width::Vector);
        } else {
            for lane in lanes / LANES * LANES..lanes {
                body(self, Lane::fixed(lane), Width::Single);
            }
        }
    }

    /// Everything for some lanes: the window's reduction if there is one, and the stores.
    fn element(&mut self, map: &Map, places: &Places, lane: Lane, width: Width) {
        let site = Site { map, places, lane, step: &Step::default(), width };
        let values = match &map.fold {
            Fold::Window(reducers) => {
                let accumulators: Vec<Accumulator> =
                    reducers.iter().map(|&reducer| self.accumulator(reducer, width)).collect();
                self.each_step(map, |emitter, step| {
                    emitter.accumulate_all(Site { step, ..site }, reducers, &accumulators);
                });
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
        (best, accumulator.place.map(|place| self.emit.builder.use_var(place)))
    }

    /// Evaluates what follows a reduction.
    fn finish(&mut self, site: Site<'_>, reduced: &[(Value, Option<Value>)]) -> Vec<Option<Value>> {
        let map = site.map;
        let mut values = vec![None; map.exprs.len()];
        for (index, expr) in map.exprs.iter().enumerate().skip(map.finish) {
            values[index] = match expr {
                Expr::Reduced(reducer) => Some(reduced[*reducer].0),
                Expr::Place(reducer) => reduced[*reducer].1,
                _ => None,
            };
        }
        self.expressions(site, map.finish..map.exprs.len(), values)
    }

    /// Runs `body` for every step of the window.
    fn each_step(&mut self, map: &Map, mut body: impl FnMut(&mut Self, &Step)) {
        let fixed: Option<Vec<usize>> = map
            .window
            .iter()
            .map(|extent| match extent {
                Extent::Fixed(count) => Some(*count),
                _ => None,
            })
            .collect();
        match fixed {
            Some(counts) if counts.iter().product::<usize>() <= WINDOW_WRITTEN_OUT => {
                for index in 0..counts.iter().product() {
                    let mut rest = index;
                    let mut fixed = vec![0; counts.len()];
                    for (position, &count) in counts.iter().enumerate().rev() {
                        fixed[position] = rest % count;
                        rest /= count;
                    }
                    body(self, &Step { dynamic: Vec::new(), fixed });
                }
            }
            _ => self.step_loops(map, &mut Step::default(), &mut body),
        }
    }

    fn step_loops(&mut self, map: &Map, step: &mut Step, body: &mut dyn FnMut(&mut Self, &Step)) {
        let depth = step.dynamic.len();
        let Some(&extent) = map.window.get(depth) else { return body(self, step) };
        let zero = self.emit.builder.ins().iconst(I64, 0);
        let end = self.extent(extent);
        self.count(zero, end, 1, |emitter, value| {
            step.dynamic.push(value);
            emitter.step_loops(map, step, body);
            step.dynamic.pop();
        });
    }

    /// A reduction over window and lanes, and its stores.
    fn fold_lanes(&mut self, map: &Map, places: &Places, reducers: &[Reducer]) {
        let streams = match map.lanes {
            Extent::Fixed(lanes) => (lanes / LANES).clamp(1, STREAMS),
            _ => STREAMS,
        };
        let vectors: Vec<Vec<Accumulator>> = (0..streams)
            .map(|_| reducers.iter().map(|&reducer| self.accumulator(reducer, Width::Vector)).collect())
            .collect();
        let singles: Vec<Accumulator> =
            reducers.iter().map(|&reducer| self.accumulator(reducer, Width::Single)).collect();
        self.each_step(map, |emitter, step| {
            let turn = streams * LANES;
            let lanes = emitter.extent(map.lanes);
            let fold = |emitter: &mut Self, lane: Lane, width: Width, accumulators: &[Accumulator]| {
                emitter.accumulate_all(Site { map, places, lane, step, width }, reducers, accumulators);
            };
            let zero = emitter.emit.builder.ins().iconst(I64, 0);
            let turns = emitter.emit.builder.ins().udiv_imm_s(lanes, turn as i64);
            let whole = emitter.emit.builder.ins().imul_imm_s(turns, turn as i64);
            emitter.count(zero, whole, turn, |emitter, lane| {
                for (stream, accumulators) in vectors.iter().enumerate() {
                    fold(emitter, Lane::at(lane).plus(stream * LANES), Width::Vector, accumulators);
                }
            });
            emitter.count(whole, lanes, 1, |emitter, lane| {
                fold(emitter, Lane::at(lane), Width::Single, &singles);
            });
        });
        let reduced: Vec<(Value, Option<Value>)> = (0..reducers.len())
            .map(|index| {
                let streams: Vec<Accumulator> = vectors.iter().map(|stream| stream[index]).collect();
                (self.combine(reducers[index], &streams, singles[index]), None)
            })
            .collect();
        let site = Site { map, places, lane: Lane::fixed(0), step: &Step::default(), width: Width::Single };
        let values = self.finish(site, &reduced);
        self.stores(site, &values);
    }

    /// The result of a reduction over lanes: the vectors together, then their lanes, then the single elements.
    fn combine(&mut self, reducer: Reducer, streams: &[Accumulator], single: Accumulator) -> Value {
        let mut parts: Vec<Value> = streams.iter().map(|stream| self.current(*stream).0).collect();
        while parts.len() > 1 {
            parts = parts
                .chunks(2)
                .map(|pair| match pair {
                    [a, b] => self.reduce(reducer, Width::Vector, *a, *b),
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
            self.reduce(reducer, Width::Single, best, value)
        })
    }

    fn reduce(&mut self, reducer: Reducer, width: Width, best: Value, value: Value) -> Value {
        match reducer {
            Reducer::Sum(_) => self.emit.builder.ins().fadd(best, value),
            Reducer::Max(_) | Reducer::MaxWithPlace(_) => self.emit.largest(width, best, value),
        }
    }

    fn accumulator(&mut self, reducer: Reducer, width: Width) -> Accumulator {
        let start = match reducer {
            Reducer::Sum(_) => 0.0,
            Reducer::Max(_) | Reducer::MaxWithPlace(_) => f32::NEG_INFINITY,
        };
        let best = self.emit.builder.declare_var(width.float());
        let start = self.emit.float(width, start);
        self.emit.builder.def_var(best, start);
        let place = matches!(reducer, Reducer::MaxWithPlace(_)).then(|| {
            let place = self.emit.builder.declare_var(width.integer());
            let zero = self.emit.integer(width, 0);
            self.emit.builder.def_var(place, zero);
            place
        });
        Accumulator { best, place }
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
        if let Some(place) = accumulator.place {
            let beats = self.emit.beats(value, best);
            let index = self.window_index(site);
            let old = self.emit.builder.use_var(place);
            let new = self.emit.select(width, beats, index, old);
            self.emit.builder.def_var(place, new);
        }
        let next = self.reduce(reducer, width, best, value);
        self.emit.builder.def_var(accumulator.best, next);
    }
}

/// Whether computing some lanes twice gives the same result: nothing stored is read or added to.
fn may_overlap(map: &Map) -> bool {
    map.stores.iter().all(|store| {
        store.mode == Mode::Write && map.loads.iter().all(|load| load.address.buffer != store.address.buffer)
    })
}
