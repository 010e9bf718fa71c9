//! Arithmetic on vectors of four lanes or on scalars, with the same method names for both.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F32X4, I8X16, I32, I32X4, I64};
use cranelift_codegen::ir::{ConstantData, Endianness, InstBuilder, MemFlagsData, Type, Value};
use cranelift_frontend::FunctionBuilder;

use crate::kernel::Element;

/// Lanes of a vector.
pub(super) const LANES: usize = 4;

/// Memory is readable wherever kernels read, but not aligned to vectors.
pub(super) const MEMORY: MemFlagsData = MemFlagsData::new().with_notrap();

/// Whether an expression is evaluated on four lanes or on a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VectorOrScalar {
    Vector,
    Scalar,
}

impl VectorOrScalar {
    pub(super) fn float(self) -> Type {
        match self {
            VectorOrScalar::Vector => F32X4,
            VectorOrScalar::Scalar => F32,
        }
    }

    pub(super) fn integer(self) -> Type {
        match self {
            VectorOrScalar::Vector => I32X4,
            VectorOrScalar::Scalar => I32,
        }
    }
}

/// Emits instructions into a function.
pub(super) struct Emit<'a, 'f> {
    pub(super) builder: &'a mut FunctionBuilder<'f>,
    /// Whether there is a fused multiply-add instruction.
    pub(super) fma: bool,
}

impl Emit<'_, '_> {
    fn vector_constant(&mut self, ty: Type, word: u32) -> Value {
        let bytes: Vec<u8> = word.to_le_bytes().repeat(LANES);
        let constant = self.builder.func.dfg.constants.insert(ConstantData::from(bytes));
        self.builder.ins().vconst(ty, constant)
    }

    pub(super) fn float(&mut self, width: VectorOrScalar, value: f32) -> Value {
        match width {
            VectorOrScalar::Vector => self.vector_constant(F32X4, value.to_bits()),
            VectorOrScalar::Scalar => self.builder.ins().f32const(value),
        }
    }

    pub(super) fn integer(&mut self, width: VectorOrScalar, value: i32) -> Value {
        match width {
            VectorOrScalar::Vector => self.vector_constant(I32X4, value.cast_unsigned()),
            VectorOrScalar::Scalar => self.builder.ins().iconst(I32, i64::from(value.cast_unsigned())),
        }
    }

    /// The numbers 0 to 3 in the lanes of a vector.
    pub(super) fn lane_numbers(&mut self) -> Value {
        let bytes: Vec<u8> = (0..LANES as u32).flat_map(u32::to_le_bytes).collect();
        let constant = self.builder.func.dfg.constants.insert(ConstantData::from(bytes));
        self.builder.ins().vconst(I32X4, constant)
    }

    pub(super) fn splat(&mut self, ty: Type, value: Value) -> Value {
        self.builder.ins().splat(ty, value)
    }

    /// Reinterprets bits.
    pub(super) fn bits(&mut self, ty: Type, value: Value) -> Value {
        if self.builder.func.dfg.value_type(value) == ty {
            return value;
        }
        let flags = if ty.is_vector() {
            MemFlagsData::new().with_endianness(Endianness::Little)
        } else {
            MemFlagsData::new()
        };
        self.builder.ins().bitcast(ty, flags, value)
    }

    /// `a·b + c`, fused if the CPU supports it.
    pub(super) fn multiply_add(&mut self, a: Value, b: Value, c: Value) -> Value {
        if self.fma {
            self.builder.ins().fma(a, b, c)
        } else {
            let product = self.builder.ins().fmul(a, b);
            self.builder.ins().fadd(product, c)
        }
    }

    pub(super) fn compare(&mut self, condition: FloatCC, a: Value, b: Value) -> Value {
        let (a, b) = (self.in_register(a), self.in_register(b));
        self.builder.ins().fcmp(condition, a, b)
    }

    /// Keeps a load from becoming the memory operand of a comparison. Cranelift would fold it into SSE's `cmpps`, which
    /// faults on addresses that are not multiples of 16; the AVX form, present wherever multiply-add is, accepts any.
    fn in_register(&mut self, value: Value) -> Value {
        if self.fma || self.builder.func.dfg.value_type(value) != F32X4 {
            return value;
        }
        let bits = self.bits(I32X4, value);
        self.bits(F32X4, bits)
    }

    pub(super) fn compare_integers(&mut self, condition: IntCC, a: Value, b: Value) -> Value {
        self.builder.ins().icmp(condition, a, b)
    }

    /// `a` where the mask is set, else `b`.
    pub(super) fn select(&mut self, width: VectorOrScalar, mask: Value, a: Value, b: Value) -> Value {
        match width {
            VectorOrScalar::Scalar => self.builder.ins().select(mask, a, b),
            VectorOrScalar::Vector => {
                let ty = self.builder.func.dfg.value_type(a);
                let mask = self.bits(ty, mask);
                self.builder.ins().bitselect(mask, a, b)
            }
        }
    }

    /// `0 > x ? 0 : x`: NaN stays NaN.
    pub(super) fn relu(&mut self, width: VectorOrScalar, x: Value) -> Value {
        let zero = self.float(width, 0.0);
        let negative = self.compare(FloatCC::LessThan, x, zero);
        self.select(width, negative, zero, x)
    }

    /// The mask of `value` replacing the maximum `best`: it is larger, or NaN.
    pub(super) fn beats(&mut self, value: Value, best: Value) -> Value {
        let larger = self.compare(FloatCC::LessThan, best, value);
        let unordered = self.compare(FloatCC::Unordered, value, value);
        self.builder.ins().bor(larger, unordered)
    }

    /// The larger of two, or the first if they are equal. If one is NaN, the result is that NaN; if both are, the
    /// second.
    pub(super) fn largest(&mut self, width: VectorOrScalar, best: Value, value: Value) -> Value {
        let beats = self.beats(value, best);
        self.select(width, beats, value, best)
    }

    /// `pointer + offset` bytes, as a pointer and the part that fits an instruction.
    fn displace(&mut self, pointer: Value, offset: i64) -> (Value, i32) {
        match i32::try_from(offset) {
            Ok(offset) => (pointer, offset),
            Err(_) => {
                let distance = self.builder.ins().iconst(I64, offset);
                (self.builder.ins().iadd(pointer, distance), 0)
            }
        }
    }

    pub(super) fn load(&mut self, ty: Type, pointer: Value, offset: i64) -> Value {
        let (pointer, offset) = self.displace(pointer, offset);
        self.builder.ins().load(ty, MEMORY, pointer, offset)
    }

    pub(super) fn store(&mut self, value: Value, pointer: Value, offset: i64) {
        let (pointer, offset) = self.displace(pointer, offset);
        self.builder.ins().store(MEMORY, value, pointer, offset);
    }

    /// Loads one element.
    pub(super) fn load_element(&mut self, element: Element, pointer: Value, offset: i64) -> Value {
        match element {
            Element::F32 => self.load(F32, pointer, offset),
            Element::I32 => self.load(I32, pointer, offset),
            Element::U8 => {
                let (pointer, offset) = self.displace(pointer, offset);
                self.builder.ins().uload8(I32, MEMORY, pointer, offset)
            }
        }
    }

    /// Loads four bytes with a stride of `stride` bytes, as 32-bit integers.
    pub(super) fn load_bytes(&mut self, pointer: Value, offset: i64, stride: i64) -> Value {
        if stride == 1 {
            let word = self.load(I32, pointer, offset);
            let word = self.builder.ins().scalar_to_vector(I32X4, word);
            let bytes = self.bits(I8X16, word);
            let halves = self.builder.ins().uwiden_low(bytes);
            return self.builder.ins().uwiden_low(halves);
        }
        let lanes: Vec<Value> = (0..LANES as i64)
            .map(|lane| self.load_element(Element::U8, pointer, offset + stride * lane))
            .collect();
        self.gather(I32X4, &lanes)
    }

    /// Stores the low byte of an integer.
    pub(super) fn store_byte(&mut self, value: Value, pointer: Value, offset: i64) {
        let (pointer, offset) = self.displace(pointer, offset);
        self.builder.ins().istore8(MEMORY, value, pointer, offset);
    }

    /// Stores the low bytes of four integers with a stride of `stride` bytes.
    pub(super) fn store_bytes(&mut self, value: Value, pointer: Value, offset: i64, stride: i64) {
        if stride == 1 {
            // Narrowing saturates, so the higher bytes are cleared first.
            let low = self.integer(VectorOrScalar::Vector, 0xFF);
            let value = self.builder.ins().band(value, low);
            let halves = self.builder.ins().snarrow(value, value);
            let bytes = self.builder.ins().unarrow(halves, halves);
            let words = self.bits(I32X4, bytes);
            let word = self.builder.ins().extractlane(words, 0);
            return self.store(word, pointer, offset);
        }
        for lane in 0..LANES {
            let byte = self.builder.ins().extractlane(value, lane as u8);
            self.store_byte(byte, pointer, offset + stride * lane as i64);
        }
    }

    /// Selects four of the eight 32-bit lanes of `a` and `b`.
    pub(super) fn shuffle(&mut self, a: Value, b: Value, lanes: [u8; LANES]) -> Value {
        let ty = self.builder.func.dfg.value_type(a);
        let bytes: Vec<u8> = lanes.iter().flat_map(|lane| (0..4).map(move |byte| lane * 4 + byte)).collect();
        let mask = self.builder.func.dfg.immediates.push(ConstantData::from(bytes));
        let (a, b) = (self.bits(I8X16, a), self.bits(I8X16, b));
        let shuffled = self.builder.ins().shuffle(a, b, mask);
        self.bits(ty, shuffled)
    }

    /// Loads the first `count` lanes with a stride of `stride` bytes; the others are zero.
    pub(super) fn load_lanes(
        &mut self,
        lane: Type,
        pointer: Value,
        offset: i64,
        stride: i64,
        count: usize,
    ) -> Value {
        let first = self.load(lane, pointer, offset);
        let vector = if lane == F32 { F32X4 } else { I32X4 };
        let mut value = self.builder.ins().scalar_to_vector(vector, first);
        for index in 1..count {
            let next = self.load(lane, pointer, offset + stride * index as i64);
            value = self.builder.ins().insertlane(value, next, index as u8);
        }
        value
    }

    /// Four scalars as a vector.
    pub(super) fn gather(&mut self, vector: Type, lanes: &[Value]) -> Value {
        let mut value = self.builder.ins().scalar_to_vector(vector, lanes[0]);
        for (index, &lane) in lanes.iter().enumerate().skip(1) {
            value = self.builder.ins().insertlane(value, lane, index as u8);
        }
        value
    }

    /// Loads four lanes with a stride of `stride` bytes, and reads nothing else.
    pub(super) fn load_strided(&mut self, lane: Type, pointer: Value, offset: i64, stride: i64) -> Value {
        let vector = if lane == F32 { F32X4 } else { I32X4 };
        match stride {
            4 => self.load(vector, pointer, offset),
            8 => {
                // The second half starts one element early, so that it ends with the last needed element.
                let low = self.load(vector, pointer, offset);
                let high = self.load(vector, pointer, offset + 12);
                self.shuffle(low, high, [0, 2, 5, 7])
            }
            _ => self.load_lanes(lane, pointer, offset, stride, LANES),
        }
    }

    /// Stores the first `count` lanes with a stride of `stride` bytes.
    pub(super) fn store_lanes(
        &mut self,
        value: Value,
        pointer: Value,
        offset: i64,
        stride: i64,
        count: usize,
    ) {
        if stride == 4 && count == LANES {
            return self.store(value, pointer, offset);
        }
        for index in 0..count {
            let lane = self.builder.ins().extractlane(value, index as u8);
            self.store(lane, pointer, offset + stride * index as i64);
        }
    }

    /// The sum of the four lanes.
    pub(super) fn sum_lanes(&mut self, value: Value) -> Value {
        let lanes: Vec<Value> =
            (0..LANES).map(|lane| self.builder.ins().extractlane(value, lane as u8)).collect();
        let low = self.builder.ins().fadd(lanes[0], lanes[1]);
        let high = self.builder.ins().fadd(lanes[2], lanes[3]);
        self.builder.ins().fadd(low, high)
    }

    /// The sums of the lanes of four vectors, one in each lane.
    pub(super) fn sum_four(&mut self, values: [Value; LANES]) -> Value {
        let [a, b, c, d] = values;
        let pair = |emit: &mut Self, a, b| {
            let low = emit.shuffle(a, b, [0, 4, 1, 5]);
            let high = emit.shuffle(a, b, [2, 6, 3, 7]);
            emit.builder.ins().fadd(low, high)
        };
        let (ab, cd) = (pair(self, a, b), pair(self, c, d));
        let first = self.shuffle(ab, cd, [0, 1, 4, 5]);
        let second = self.shuffle(ab, cd, [2, 3, 6, 7]);
        self.builder.ins().fadd(first, second)
    }
}
