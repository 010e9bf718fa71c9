//! The Map leaf, written into its kernel: vectors of four lanes, then single elements for the rest.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, I32, I64, I64X2};
use cranelift_codegen::ir::{InstBuilder, Value};
use cranelift_frontend::Variable;

use super::kernel::KernelEmitter;
use super::value::{LANES, Width};
use crate::kernel::{Expr, Extent, Fold, Load, Map, Mode, Reducer, Store};
use crate::shape::DType;

/// A span this long or shorter is written out without a loop.
const WRITTEN_OUT: usize = 64;
/// A window of this many steps or fewer is written out without loops.
const WINDOW_WRITTEN_OUT: usize = 16;
/// Vectors a reduction over lanes keeps apart, so that their additions need not wait for each other.
const STREAMS: usize = 4;

/// Where a lane is: a number known at compile time, or a value plus a number.
#[derive(Clone, Copy)]
struct Lane {
    dynamic: Option<Value>,
    fixed: usize,
}

impl Lane {
    fn fixed(fixed: usize) -> Self {
        Lane { dynamic: None, fixed }
    }

    fn at(value: Value) -> Self {
        Lane { dynamic: Some(value), fixed: 0 }
    }

    fn plus(self, lanes: usize) -> Self {
        Lane { fixed: self.fixed + lanes, ..self }
    }
}

/// The current step of the window, loop by loop.
#[derive(Clone, Debug, Default)]
struct Step {
    dynamic: Vec<Value>,
    fixed: Vec<usize>,
}

/// What is the same for all lanes and steps of a map.
struct Places {
    loads: Vec<(Value, i64)>,
    stores: Vec<(Value, i64)>,
    /// Operands that are one number for all lanes and steps, loaded once.
    numbers: Vec<Option<Value>>,
}

/// An accumulator of a reducer, and the place of its largest value.
#[derive(Clone, Copy)]
struct Accumulator {
    best: Variable,
    place: Option<Variable>,
}

impl KernelEmitter<'_, '_, '_> {
    pub(super) fn map(&mut self, map: &Map) {
        let mut places = Places {
            loads: map.loads.iter().map(|load| self.address(&load.address)).collect(),
            stores: map.stores.iter().map(|store| self.address(&store.address)).collect(),
            numbers: vec![None; map.loads.len()],
        };
        for (index, load) in map.loads.iter().enumerate() {
            let is_number = load.lane == 0 && load.window.iter().all(|&stride| stride == 0);
            if is_number && !map.stores.iter().any(|store| store.address.buffer == load.address.buffer) {
                let (pointer, offset) = places.loads[index];
                places.numbers[index] = Some(self.emit.load(scalar(load.dtype), pointer, offset));
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
        let mut values = vec![None; map.exprs.len()];
        if let Fold::Window(reducers) = &map.fold {
            let accumulators: Vec<Accumulator> =
                reducers.iter().map(|&reducer| self.accumulator(reducer, width)).collect();
            self.each_step(map, |emitter, step| {
                let values = emitter.expressions(map, places, lane, step, width, 0..map.finish, Vec::new());
                for (&reducer, accumulator) in reducers.iter().zip(&accumulators) {
                    emitter.accumulate(map, reducer, *accumulator, &values, step, width);
                }
            });
            let reduced: Vec<_> = accumulators.iter().map(|accumulator| self.current(*accumulator)).collect();
            self.finish(map, places, lane, width, &reduced, &mut values);
        } else {
            values = self.expressions(map, places, lane, &Step::default(), width, 0..map.exprs.len(), values);
        }
        for (store, &place) in map.stores.iter().zip(&places.stores) {
            self.store(store, place, &values, lane, width);
        }
    }

    fn current(&mut self, accumulator: Accumulator) -> (Value, Option<Value>) {
        let best = self.emit.builder.use_var(accumulator.best);
        (best, accumulator.place.map(|place| self.emit.builder.use_var(place)))
    }

    /// Evaluates what follows a reduction.
    fn finish(
        &mut self,
        map: &Map,
        places: &Places,
        lane: Lane,
        width: Width,
        reduced: &[(Value, Option<Value>)],
        values: &mut Vec<Option<Value>>,
    ) {
        values.resize(map.exprs.len(), None);
        for (index, expr) in map.exprs.iter().enumerate().skip(map.finish) {
            values[index] = match expr {
                Expr::Reduced(reducer) => Some(reduced[*reducer].0),
                Expr::Place(reducer) => reduced[*reducer].1,
                _ => None,
            };
        }
        let step = Step { dynamic: Vec::new(), fixed: vec![0; map.window.len()] };
        let taken = std::mem::take(values);
        *values = self.expressions(map, places, lane, &step, width, map.finish..map.exprs.len(), taken);
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
                let values = emitter.expressions(map, places, lane, step, width, 0..map.finish, Vec::new());
                for (&reducer, &accumulator) in reducers.iter().zip(accumulators) {
                    emitter.accumulate(map, reducer, accumulator, &values, step, width);
                }
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
        let mut values = Vec::new();
        self.finish(map, places, Lane::fixed(0), Width::Single, &reduced, &mut values);
        for (store, &place) in map.stores.iter().zip(&places.stores) {
            self.store(store, place, &values, Lane::fixed(0), Width::Single);
        }
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
            Reducer::Max(_) | Reducer::MaxWithPlace(_) => {
                let beats = self.emit.beats(value, best);
                self.emit.select(width, beats, value, best)
            }
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

    fn accumulate(
        &mut self,
        map: &Map,
        reducer: Reducer,
        accumulator: Accumulator,
        values: &[Option<Value>],
        step: &Step,
        width: Width,
    ) {
        let value = get(values, reducer.value().0);
        let best = self.emit.builder.use_var(accumulator.best);
        if let Some(place) = accumulator.place {
            let beats = self.emit.beats(value, best);
            let index = self.window_index(map, step, width);
            let old = self.emit.builder.use_var(place);
            let new = self.emit.select(width, beats, index, old);
            self.emit.builder.def_var(place, new);
        }
        let next = self.reduce(reducer, width, best, value);
        self.emit.builder.def_var(accumulator.best, next);
    }

    /// The number of the current step of the window, as an integer in every lane.
    fn window_index(&mut self, map: &Map, step: &Step, width: Width) -> Value {
        let counts: Vec<i64> = map
            .window
            .iter()
            .map(|extent| match extent {
                Extent::Fixed(count) => *count as i64,
                _ => 1,
            })
            .collect();
        if step.dynamic.is_empty() {
            let index =
                step.fixed.iter().zip(&counts).fold(0, |index, (&step, count)| index * count + step as i64);
            return self.emit.integer(width, index as i32);
        }
        let mut index = self.emit.builder.ins().iconst(I64, 0);
        for (&value, &count) in step.dynamic.iter().zip(&counts) {
            let scaled = self.emit.builder.ins().imul_imm_s(index, count);
            index = self.emit.builder.ins().iadd(scaled, value);
        }
        self.spread_integer(index, width)
    }

    /// A 64-bit integer as a 32-bit one in every lane.
    fn spread_integer(&mut self, value: Value, width: Width) -> Value {
        let narrow = self.emit.builder.ins().ireduce(I32, value);
        match width {
            Width::Vector => self.emit.splat(width.integer(), narrow),
            Width::Single => narrow,
        }
    }

    /// Evaluates a range of expressions; `values` holds those known already.
    #[expect(clippy::too_many_arguments, reason = "where the evaluation stands, in each of its loops")]
    fn expressions(
        &mut self,
        map: &Map,
        places: &Places,
        lane: Lane,
        step: &Step,
        width: Width,
        range: std::ops::Range<usize>,
        mut values: Vec<Option<Value>>,
    ) -> Vec<Option<Value>> {
        values.resize(map.exprs.len(), None);
        for index in range {
            if values[index].is_none() {
                values[index] =
                    Some(self.expression(map, places, &map.exprs[index], lane, step, width, &values));
            }
        }
        values
    }

    #[expect(clippy::too_many_arguments, reason = "where the evaluation stands, in each of its loops")]
    fn expression(
        &mut self,
        map: &Map,
        places: &Places,
        expr: &Expr,
        lane: Lane,
        step: &Step,
        width: Width,
        values: &[Option<Value>],
    ) -> Value {
        let of = |id: &crate::kernel::ExprId| get(values, id.0);
        match expr {
            Expr::Load(index) => {
                let load = &map.loads[*index];
                match places.numbers[*index] {
                    Some(number) => self.spread(load.dtype, number, width),
                    None => self.load(load, places.loads[*index], lane, step, width),
                }
            }
            Expr::Constant(value) => self.emit.float(width, *value),
            Expr::Integer(value) => self.emit.integer(width, *value),
            Expr::Index(base) => {
                let mut value = self.affine(base);
                if let Some(dynamic) = lane.dynamic {
                    value = self.emit.builder.ins().iadd(value, dynamic);
                }
                let value = self.emit.builder.ins().iadd_imm_s(value, lane.fixed as i64);
                let first = self.spread_integer(value, width);
                match width {
                    Width::Single => first,
                    Width::Vector => {
                        let lanes = self.emit.lane_numbers();
                        self.emit.builder.ins().iadd(first, lanes)
                    }
                }
            }
            Expr::Position(value) => {
                let value = self.affine(value);
                self.spread_integer(value, width)
            }
            Expr::Phase(period) => self.phase(lane, *period, width),
            Expr::WindowIndex => self.window_index(map, step, width),
            Expr::BatchSize => {
                let batch = self.emit.builder.ins().fcvt_from_sint(F32, self.batch);
                self.spread(DType::F32, batch, width)
            }
            Expr::Reduced(_) | Expr::Place(_) => unreachable!("verified: known before the evaluation"),
            Expr::Unary(kind, x) => self.emit.unary(width, *kind, of(x)),
            Expr::Add(a, b) => self.emit.builder.ins().fadd(of(a), of(b)),
            Expr::Subtract(a, b) => self.emit.builder.ins().fsub(of(a), of(b)),
            Expr::Multiply(a, b) => self.emit.builder.ins().fmul(of(a), of(b)),
            Expr::Divide(a, b) => self.emit.builder.ins().fdiv(of(a), of(b)),
            Expr::Less(a, b) => {
                self.emit.compare(cranelift_codegen::ir::condcodes::FloatCC::LessThan, of(a), of(b))
            }
            Expr::SameInteger(a, b) => self.emit.compare_integers(IntCC::Equal, of(a), of(b)),
            Expr::BelowUnsigned(a, b) => self.emit.below_unsigned(of(a), of(b)),
            Expr::Select(mask, a, b) => self.emit.select(width, of(mask), of(a), of(b)),
            Expr::AddInteger(a, b) => self.emit.builder.ins().iadd(of(a), of(b)),
            Expr::Xor(a, b) => self.emit.builder.ins().bxor(of(a), of(b)),
            Expr::RotateLeft(a, bits) => self.emit.rotate_left(width, of(a), *bits),
        }
    }

    /// A number in every lane.
    fn spread(&mut self, dtype: DType, number: Value, width: Width) -> Value {
        match width {
            Width::Single => number,
            Width::Vector => self.emit.splat(vector(dtype), number),
        }
    }

    fn load(&mut self, load: &Load, place: (Value, i64), lane: Lane, step: &Step, width: Width) -> Value {
        if load.repeat > 1 {
            return self.load_repeated(load, place, lane, width);
        }
        let (mut pointer, mut offset) = self.lane_place(place, lane, load.lane);
        for (&value, &stride) in step.dynamic.iter().zip(&load.window) {
            let distance = self.emit.builder.ins().imul_imm_s(value, 4 * stride as i64);
            pointer = self.emit.builder.ins().iadd(pointer, distance);
        }
        for (&value, &stride) in step.fixed.iter().zip(&load.window) {
            offset += 4 * (value * stride) as i64;
        }
        let element = scalar(load.dtype);
        match (width, load.lane) {
            (Width::Single, _) => self.emit.load(element, pointer, offset),
            (Width::Vector, 0) => {
                let number = self.emit.load(element, pointer, offset);
                self.emit.splat(vector(load.dtype), number)
            }
            (Width::Vector, lane) => self.emit.load_strided(element, pointer, offset, 4 * lane as i64),
        }
    }

    /// Loads elements that neighbouring lanes share.
    fn load_repeated(&mut self, load: &Load, place: (Value, i64), lane: Lane, width: Width) -> Value {
        let (repeat, element) = (load.repeat, scalar(load.dtype));
        // Dynamic lanes start at multiples of four, which `repeat` divides; see `Map::needs_known_lanes`.
        let place = match lane.dynamic {
            None => place,
            Some(dynamic) => {
                let elements = self.emit.builder.ins().udiv_imm_u(dynamic, repeat as i64);
                let distance = self.emit.builder.ins().ishl_imm_s(elements, 2);
                (self.emit.builder.ins().iadd(place.0, distance), place.1)
            }
        };
        let offset = |lane: usize| place.1 + 4 * (lane / repeat) as i64;
        let first = lane.fixed;
        match width {
            Width::Single => self.emit.load(element, place.0, offset(first)),
            Width::Vector if repeat == 2 && first.is_multiple_of(2) => {
                let pair = self.emit.load(I64, place.0, offset(first));
                let pair = self.emit.builder.ins().scalar_to_vector(I64X2, pair);
                let pair = self.emit.bits(vector(load.dtype), pair);
                self.emit.shuffle(pair, pair, [0, 0, 1, 1])
            }
            Width::Vector => {
                let lanes: Vec<Value> = (first..first + LANES)
                    .map(|lane| self.emit.load(element, place.0, offset(lane)))
                    .collect();
                self.emit.gather(vector(load.dtype), &lanes)
            }
        }
    }

    /// The remainder of each lane's number.
    fn phase(&mut self, lane: Lane, period: usize, width: Width) -> Value {
        match (width, lane.dynamic) {
            (Width::Vector, _) => {
                // Dynamic lanes start at multiples of four, which the period divides; see `Map::needs_known_lanes`.
                let phases: Vec<Value> = (lane.fixed..lane.fixed + LANES)
                    .map(|lane| self.emit.integer(Width::Single, (lane % period) as i32))
                    .collect();
                self.emit.gather(Width::Vector.integer(), &phases)
            }
            (Width::Single, None) => self.emit.integer(Width::Single, (lane.fixed % period) as i32),
            (Width::Single, Some(dynamic)) => {
                let lane = self.emit.builder.ins().iadd_imm_s(dynamic, lane.fixed as i64);
                let phase = self.emit.builder.ins().urem_imm_u(lane, period as i64);
                self.emit.builder.ins().ireduce(I32, phase)
            }
        }
    }

    fn store(
        &mut self,
        store: &Store,
        place: (Value, i64),
        values: &[Option<Value>],
        lane: Lane,
        width: Width,
    ) {
        let (pointer, offset) = self.lane_place(place, lane, store.lane);
        let mut value = get(values, store.value.0);
        let stride = 4 * store.lane as i64;
        match width {
            Width::Single => {
                if store.mode == Mode::Accumulate {
                    let old = self.emit.load(F32, pointer, offset);
                    value = self.emit.builder.ins().fadd(old, value);
                }
                self.emit.store(value, pointer, offset);
            }
            Width::Vector => {
                if store.mode == Mode::Accumulate {
                    let old = self.emit.load_strided(F32, pointer, offset, stride);
                    value = self.emit.builder.ins().fadd(old, value);
                }
                self.emit.store_lanes(value, pointer, offset, stride, LANES);
            }
        }
    }

    /// The place of a lane of an operand.
    fn lane_place(&mut self, place: (Value, i64), lane: Lane, stride: usize) -> (Value, i64) {
        let (mut pointer, mut offset) = place;
        offset += 4 * (lane.fixed * stride) as i64;
        if let Some(dynamic) = lane.dynamic
            && stride > 0
        {
            let elements = match stride {
                1 => dynamic,
                _ => self.emit.builder.ins().imul_imm_s(dynamic, stride as i64),
            };
            let distance = self.emit.builder.ins().ishl_imm_s(elements, 2);
            pointer = self.emit.builder.ins().iadd(pointer, distance);
        }
        (pointer, offset)
    }
}

fn get(values: &[Option<Value>], index: usize) -> Value {
    values[index].expect("verified: expressions use earlier ones")
}

fn scalar(dtype: DType) -> cranelift_codegen::ir::Type {
    match dtype {
        DType::F32 => F32,
        DType::I32 => I32,
    }
}

fn vector(dtype: DType) -> cranelift_codegen::ir::Type {
    match dtype {
        DType::F32 => Width::Vector.float(),
        DType::I32 => Width::Vector.integer(),
    }
}

/// Whether computing some lanes twice gives the same result: nothing stored is read or added to.
fn may_overlap(map: &Map) -> bool {
    map.stores.iter().all(|store| {
        store.mode == Mode::Write && map.loads.iter().all(|load| load.address.buffer != store.address.buffer)
    })
}
