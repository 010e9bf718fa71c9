//! Expressions of a Map in Cranelift's IR: operands, arithmetic and stores, for four lanes or one.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, I32, I64, I64X2};
use cranelift_codegen::ir::{InstBuilder, Value};

use super::kernel::KernelEmitter;
use super::value::{LANES, VectorOrScalar};
use crate::kernel::{Element, Expr, Extent, Load, Map, Mode, Store};

/// The index of a lane: a constant, or a value plus a constant.
#[derive(Clone, Copy)]
pub(super) struct Lane {
    pub(super) dynamic: Option<Value>,
    pub(super) fixed: usize,
}

impl Lane {
    pub(super) fn fixed(fixed: usize) -> Self {
        Lane { dynamic: None, fixed }
    }

    pub(super) fn at(value: Value) -> Self {
        Lane { dynamic: Some(value), fixed: 0 }
    }

    pub(super) fn plus(self, lanes: usize) -> Self {
        Lane { fixed: self.fixed + lanes, ..self }
    }
}

/// The current step of each window loop.
#[derive(Clone, Debug, Default)]
pub(super) struct WindowStep {
    pub(super) dynamic: Vec<Value>,
    pub(super) fixed: Vec<usize>,
}

/// Addresses and values that do not change over the lanes and steps of a map.
pub(super) struct Operands {
    pub(super) loads: Vec<(Value, i64)>,
    pub(super) stores: Vec<(Value, i64)>,
    /// Scalar operands, equal for all lanes and steps, loaded once.
    pub(super) scalars: Vec<Option<Value>>,
}

/// The point of a map at which an expression is evaluated.
#[derive(Clone, Copy)]
pub(super) struct Site<'m> {
    pub(super) map: &'m Map,
    pub(super) operands: &'m Operands,
    pub(super) lane: Lane,
    pub(super) step: &'m WindowStep,
    pub(super) width: VectorOrScalar,
}

impl KernelEmitter<'_, '_, '_> {
    /// Evaluates a range of expressions; `values` holds the ones already known.
    pub(super) fn expressions(
        &mut self,
        site: Site<'_>,
        range: std::ops::Range<usize>,
        mut values: Vec<Option<Value>>,
    ) -> Vec<Option<Value>> {
        values.resize(site.map.exprs.len(), None);
        for index in range {
            if values[index].is_none() {
                values[index] = Some(self.expression(site, &site.map.exprs[index], &values));
            }
        }
        values
    }

    fn expression(&mut self, site: Site<'_>, expr: &Expr, values: &[Option<Value>]) -> Value {
        let Site { map, operands, lane, width, .. } = site;
        let of = |id: &crate::kernel::ExprId| get(values, id.0);
        match expr {
            Expr::Load(index) => {
                let load = &map.loads[*index];
                match operands.scalars[*index] {
                    Some(number) => self.spread(load.element, number, width),
                    None => self.load(load, operands.loads[*index], site),
                }
            }
            Expr::Constant(value) => self.emit.float(width, *value),
            Expr::Integer(value) => self.emit.integer(width, *value),
            Expr::Index { base, lane: distance } => {
                let distance = *distance as i64;
                let mut value = self.affine(base);
                if let Some(dynamic) = lane.dynamic {
                    let dynamic = self.emit.builder.ins().imul_imm_s(dynamic, distance);
                    value = self.emit.builder.ins().iadd(value, dynamic);
                }
                let value = self.emit.builder.ins().iadd_imm_s(value, lane.fixed as i64 * distance);
                let first = self.spread_integer(value, width);
                match width {
                    VectorOrScalar::Scalar => first,
                    VectorOrScalar::Vector => {
                        let lanes = self.emit.lane_numbers();
                        let distance = self.emit.integer(width, distance as i32);
                        let lanes = self.emit.builder.ins().imul(lanes, distance);
                        self.emit.builder.ins().iadd(first, lanes)
                    }
                }
            }
            Expr::Position(value) => {
                let value = self.affine(value);
                self.spread_integer(value, width)
            }
            Expr::Phase(period) => self.phase(lane, *period, width),
            Expr::WindowIndex => self.window_index(site),
            Expr::Size(size, times) => {
                let size = self.extent(Extent::Open(*size, *times));
                let size = self.emit.builder.ins().fcvt_from_sint(F32, size);
                self.spread(Element::F32, size, width)
            }
            Expr::Reduced(_) | Expr::Argmax(_) => unreachable!("verified: known before the evaluation"),
            Expr::Unary(kind, x) => self.emit.unary(width, *kind, of(x)),
            Expr::Slope(activation, x) => self.emit.formula(width, &activation.slope_formula(), of(x)),
            Expr::Add(a, b) => self.emit.builder.ins().fadd(of(a), of(b)),
            Expr::Subtract(a, b) => self.emit.builder.ins().fsub(of(a), of(b)),
            Expr::Multiply(a, b) => self.emit.builder.ins().fmul(of(a), of(b)),
            Expr::MultiplyAdd(a, b, c) => self.emit.multiply_add(of(a), of(b), of(c)),
            Expr::Divide(a, b) => self.emit.builder.ins().fdiv(of(a), of(b)),
            Expr::Largest(a, b) => self.emit.largest(width, of(a), of(b)),
            Expr::Less(a, b) => self.emit.compare(FloatCC::LessThan, of(a), of(b)),
            Expr::AtMost(a, b) => self.emit.compare(FloatCC::LessThanOrEqual, of(a), of(b)),
            Expr::SameInteger(a, b) => self.emit.compare_integers(IntCC::Equal, of(a), of(b)),
            Expr::BelowUnsigned(a, b) => self.emit.below_unsigned(of(a), of(b)),
            Expr::Select(mask, a, b) => self.emit.select(width, of(mask), of(a), of(b)),
            Expr::AddInteger(a, b) => self.emit.builder.ins().iadd(of(a), of(b)),
            Expr::And(a, b) => self.emit.builder.ins().band(of(a), of(b)),
            Expr::Xor(a, b) => self.emit.builder.ins().bxor(of(a), of(b)),
            Expr::RotateLeft(a, bits) => self.emit.rotate_left(width, of(a), *bits),
        }
    }

    /// A scalar in every lane.
    fn spread(&mut self, element: Element, number: Value, width: VectorOrScalar) -> Value {
        match width {
            VectorOrScalar::Scalar => number,
            VectorOrScalar::Vector => self.emit.splat(vector(element), number),
        }
    }

    fn load(&mut self, load: &Load, address: (Value, i64), site: Site<'_>) -> Value {
        let Site { lane, step, width, .. } = site;
        if load.repeat > 1 {
            return self.load_repeated(load, address, lane, width);
        }
        let bytes = load.element.bytes();
        let (mut pointer, mut offset) = self.lane_address(address, lane, load.lane, load.element);
        for (&value, &stride) in step.dynamic.iter().zip(&load.window) {
            let distance = self.emit.builder.ins().imul_imm_s(value, (bytes * stride) as i64);
            pointer = self.emit.builder.ins().iadd(pointer, distance);
        }
        for (&value, &stride) in step.fixed.iter().zip(&load.window) {
            offset += (bytes * value * stride) as i64;
        }
        match (width, load.element, load.lane) {
            (VectorOrScalar::Scalar, ..) => self.emit.load_element(load.element, pointer, offset),
            (VectorOrScalar::Vector, _, 0) => {
                let number = self.emit.load_element(load.element, pointer, offset);
                self.emit.splat(vector(load.element), number)
            }
            (VectorOrScalar::Vector, Element::F32, lane) => {
                self.emit.load_strided(F32, pointer, offset, 4 * lane as i64)
            }
            (VectorOrScalar::Vector, Element::I32, lane) => {
                self.emit.load_strided(I32, pointer, offset, 4 * lane as i64)
            }
            (VectorOrScalar::Vector, Element::U8, lane) => self.emit.load_bytes(pointer, offset, lane as i64),
        }
    }

    /// Loads elements that neighbouring lanes share.
    fn load_repeated(
        &mut self,
        load: &Load,
        address: (Value, i64),
        lane: Lane,
        width: VectorOrScalar,
    ) -> Value {
        let (repeat, element) = (load.repeat, load.element);
        // Dynamic lanes start at multiples of four, which `repeat` divides; see `Map::needs_known_lanes`.
        let address = match lane.dynamic {
            None => address,
            Some(dynamic) => {
                let elements = self.emit.builder.ins().udiv_imm_u(dynamic, repeat as i64);
                let distance = self.bytes(elements, element);
                (self.emit.builder.ins().iadd(address.0, distance), address.1)
            }
        };
        let offset = |lane: usize| address.1 + (element.bytes() * (lane / repeat)) as i64;
        let first = lane.fixed;
        match width {
            VectorOrScalar::Scalar => self.emit.load_element(element, address.0, offset(first)),
            VectorOrScalar::Vector if repeat == 2 && first.is_multiple_of(2) && element != Element::U8 => {
                let pair = self.emit.load(I64, address.0, offset(first));
                let pair = self.emit.builder.ins().scalar_to_vector(I64X2, pair);
                let pair = self.emit.bits(vector(element), pair);
                self.emit.shuffle(pair, pair, [0, 0, 1, 1])
            }
            VectorOrScalar::Vector => {
                let lanes: Vec<Value> = (first..first + LANES)
                    .map(|lane| self.emit.load_element(element, address.0, offset(lane)))
                    .collect();
                self.emit.gather(vector(element), &lanes)
            }
        }
    }

    /// The remainder of each lane's index.
    fn phase(&mut self, lane: Lane, period: usize, width: VectorOrScalar) -> Value {
        match (width, lane.dynamic) {
            (VectorOrScalar::Vector, _) => {
                // Dynamic lanes start at multiples of four, which the period divides; see `Map::needs_known_lanes`.
                let phases: Vec<Value> = (lane.fixed..lane.fixed + LANES)
                    .map(|lane| self.emit.integer(VectorOrScalar::Scalar, (lane % period) as i32))
                    .collect();
                self.emit.gather(VectorOrScalar::Vector.integer(), &phases)
            }
            (VectorOrScalar::Scalar, None) => {
                self.emit.integer(VectorOrScalar::Scalar, (lane.fixed % period) as i32)
            }
            (VectorOrScalar::Scalar, Some(dynamic)) => {
                let lane = self.emit.builder.ins().iadd_imm_s(dynamic, lane.fixed as i64);
                let phase = self.emit.builder.ins().urem_imm_u(lane, period as i64);
                self.emit.builder.ins().ireduce(I32, phase)
            }
        }
    }

    /// Stores the results of some lanes.
    pub(super) fn stores(&mut self, site: Site<'_>, values: &[Option<Value>]) {
        for (store, &address) in site.map.stores.iter().zip(&site.operands.stores) {
            self.store(store, address, values, site.lane, site.width);
        }
    }

    fn store(
        &mut self,
        store: &Store,
        address: (Value, i64),
        values: &[Option<Value>],
        lane: Lane,
        width: VectorOrScalar,
    ) {
        let (pointer, offset) = self.lane_address(address, lane, store.lane, store.element);
        let mut value = get(values, store.value.0);
        let stride = 4 * store.lane as i64;
        match width {
            VectorOrScalar::Scalar => {
                if store.mode == Mode::Accumulate {
                    let old = self.emit.load(F32, pointer, offset);
                    value = self.emit.builder.ins().fadd(old, value);
                }
                match store.element {
                    Element::F32 | Element::I32 => self.emit.store(value, pointer, offset),
                    Element::U8 => self.emit.store_byte(value, pointer, offset),
                }
            }
            VectorOrScalar::Vector if store.element == Element::U8 => {
                self.emit.store_bytes(value, pointer, offset, store.lane as i64);
            }
            VectorOrScalar::Vector => {
                if store.mode == Mode::Accumulate {
                    let old = self.emit.load_strided(F32, pointer, offset, stride);
                    value = self.emit.builder.ins().fadd(old, value);
                }
                self.emit.store_lanes(value, pointer, offset, stride, LANES);
            }
        }
    }

    /// The address of a lane of an operand.
    fn lane_address(
        &mut self,
        address: (Value, i64),
        lane: Lane,
        stride: usize,
        element: Element,
    ) -> (Value, i64) {
        let (mut pointer, mut offset) = address;
        offset += (element.bytes() * lane.fixed * stride) as i64;
        if let Some(dynamic) = lane.dynamic
            && stride > 0
        {
            let elements = match stride {
                1 => dynamic,
                _ => self.emit.builder.ins().imul_imm_s(dynamic, stride as i64),
            };
            let distance = self.bytes(elements, element);
            pointer = self.emit.builder.ins().iadd(pointer, distance);
        }
        (pointer, offset)
    }

    /// The number of the current window step, as an integer in every lane.
    pub(super) fn window_index(&mut self, site: Site<'_>) -> Value {
        let Site { map, step, width, .. } = site;
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
    fn spread_integer(&mut self, value: Value, width: VectorOrScalar) -> Value {
        let narrow = self.emit.builder.ins().ireduce(I32, value);
        match width {
            VectorOrScalar::Vector => self.emit.splat(width.integer(), narrow),
            VectorOrScalar::Scalar => narrow,
        }
    }
}

/// The value of an expression that was already evaluated.
pub(super) fn get(values: &[Option<Value>], index: usize) -> Value {
    values[index].expect("verified: expressions use earlier ones")
}

/// The type of four loaded elements.
fn vector(element: Element) -> cranelift_codegen::ir::Type {
    match element {
        Element::F32 => VectorOrScalar::Vector.float(),
        Element::I32 | Element::U8 => VectorOrScalar::Vector.integer(),
    }
}
