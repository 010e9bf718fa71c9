//! Instructions on individual lanes: comparisons and selects, shifts, conversions, permutations.
//!
//! A mask is a mask register at 512 bits and a vector register at 256, given by its number, as in [`Lanes::Masked`].

use iced_x86::{Code, Instruction, MemoryOperand, Register};

use super::emit::Emitter;
use super::operands::{Binary, Lanes, MemoryRef, Source, Vector, Width, narrow_register, pick};

/// A comparison of floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// False for NaN.
    Equal,
    /// False for NaN.
    Less,
    /// False for NaN.
    AtMost,
    /// True for NaN.
    NotAtLeast,
    /// True only if one is NaN.
    Unordered,
}

impl Comparison {
    fn number(self) -> u32 {
        match self {
            Comparison::Equal => 0x00,
            Comparison::Less => 0x11,
            Comparison::AtMost => 0x12,
            Comparison::NotAtLeast => 0x19,
            Comparison::Unordered => 0x03,
        }
    }
}

/// A shift of 32-bit integers by a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shift {
    Left,
    /// Fills with zeros.
    Right,
    /// Fills with copies of the sign.
    RightSigned,
}

impl Emitter {
    /// `mask ← a ? b` for each lane.
    pub(super) fn compare(&mut self, op: Comparison, mask: u8, a: Vector, b: impl Into<Source>) {
        let codes = (Code::VEX_Vcmpps_ymm_ymm_ymmm256_imm8, Code::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae);
        self.compare_numbered(codes, op.number(), mask, a, b.into());
    }

    fn compare_numbered(&mut self, codes: (Code, Code), number: u32, mask: u8, a: Vector, b: Source) {
        let code = pick(self.width, codes.0, codes.1);
        let (to, a) = (self.mask_register(mask), self.register(a));
        let instruction = match b {
            Source::Vector(b) => Instruction::with4(code, to, a, self.register(b), number),
            Source::MemoryRef(b) => Instruction::with4(code, to, a, self.memory(b), number),
        };
        self.put(instruction);
    }

    /// `mask ← a = b` for integers.
    pub(super) fn compare_equal_integers(&mut self, mask: u8, a: Vector, b: impl Into<Source>) {
        let code =
            pick(self.width, Code::VEX_Vpcmpeqd_ymm_ymm_ymmm256, Code::EVEX_Vpcmpeqd_kr_k1_zmm_zmmm512b32);
        let (to, a) = (self.mask_register(mask), self.register(a));
        let instruction = match b.into() {
            Source::Vector(b) => Instruction::with3(code, to, a, self.register(b)),
            Source::MemoryRef(b) => Instruction::with3(code, to, a, self.memory(b)),
        };
        self.put(instruction);
    }

    /// `mask ← a < b` for unsigned integers. At 256 bits the mask must not be the register `b`.
    pub(super) fn compare_below_unsigned(&mut self, mask: u8, a: Vector, b: Vector) {
        match self.width {
            Width::Bits512 => {
                let (to, a, b) = (self.mask_register(mask), self.register(a), self.register(b));
                let code = Code::EVEX_Vpcmpud_kr_k1_zmm_zmmm512b32_imm8;
                self.put(Instruction::with4(code, to, a, b, 1));
            }
            Width::Bits256 => {
                // A lane that is not the larger of both is below.
                let to = Vector(mask);
                self.three(Code::VEX_Vpmaxud_ymm_ymm_ymmm256, to, a, b.into());
                self.three(Code::VEX_Vpcmpeqd_ymm_ymm_ymmm256, to, to, a.into());
                let ones = self.integer(-1);
                self.three(Code::VEX_Vpxor_ymm_ymm_ymmm256, to, to, ones.into());
            }
        }
    }

    /// `a ← a or b`, masks.
    pub(super) fn either(&mut self, a: u8, b: u8) {
        let code = pick(self.width, Code::VEX_Vorps_ymm_ymm_ymmm256, Code::VEX_Korw_kr_kr_kr);
        let (a, b) = (self.mask_register(a), self.mask_register(b));
        self.put(Instruction::with3(code, a, a, b));
    }

    fn mask_register(&self, mask: u8) -> Register {
        pick(self.width, Register::YMM0, Register::K0) + u32::from(mask)
    }

    /// `to ← mask ? yes : no` for each lane.
    pub(super) fn choose(&mut self, to: Vector, mask: u8, yes: impl Into<Source>, no: Vector) {
        let (to, no, mask) = (self.register(to), self.register(no), self.mask_register(mask));
        let yes = yes.into();
        let instruction = match self.width {
            Width::Bits256 => {
                let code = Code::VEX_Vblendvps_ymm_ymm_ymmm256_ymm;
                match yes {
                    Source::Vector(yes) => Instruction::with4(code, to, no, self.register(yes), mask),
                    Source::MemoryRef(yes) => Instruction::with4(code, to, no, self.memory(yes), mask),
                }
            }
            Width::Bits512 => {
                let code = Code::EVEX_Vblendmps_zmm_k1z_zmm_zmmm512b32;
                match yes {
                    Source::Vector(yes) => Instruction::with3(code, to, no, self.register(yes)),
                    Source::MemoryRef(yes) => Instruction::with3(code, to, no, self.memory(yes)),
                }
                .map(|mut instruction| {
                    instruction.set_op_mask(mask);
                    instruction
                })
            }
        };
        self.put(instruction);
    }

    /// Shifts the integers of a vector.
    pub(super) fn shift(&mut self, op: Shift, to: Vector, from: Vector, bits: u32) {
        let (narrow, wide) = match op {
            Shift::Left => (Code::VEX_Vpslld_ymm_ymm_imm8, Code::EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8),
            Shift::Right => (Code::VEX_Vpsrld_ymm_ymm_imm8, Code::EVEX_Vpsrld_zmm_k1z_zmmm512b32_imm8),
            Shift::RightSigned => (Code::VEX_Vpsrad_ymm_ymm_imm8, Code::EVEX_Vpsrad_zmm_k1z_zmmm512b32_imm8),
        };
        self.two_and_number((narrow, wide), to, from, bits);
    }

    fn two_and_number(&mut self, (narrow, wide): (Code, Code), to: Vector, from: Vector, number: u32) {
        let code = pick(self.width, narrow, wide);
        let instruction = Instruction::with3(code, self.register(to), self.register(from), number);
        self.put(instruction);
    }

    /// `x` rotated left; `temporary` is overwritten at 256 bits.
    pub(super) fn rotate_left(&mut self, to: Vector, x: Vector, bits: u32, temporary: Vector) {
        match self.width {
            Width::Bits512 => {
                let codes = (Code::INVALID, Code::EVEX_Vprold_zmm_k1z_zmmm512b32_imm8);
                self.two_and_number(codes, to, x, bits);
            }
            Width::Bits256 => {
                self.shift(Shift::Right, temporary, x, 32 - bits);
                self.shift(Shift::Left, to, x, bits);
                self.binary(Binary::Or, to, to, temporary);
            }
        }
    }

    /// Permutes lanes: lane `l` of the result is the lane that lane `l` of `order` names.
    pub(super) fn permute(&mut self, to: Vector, order: Vector, from: Vector) {
        let code =
            pick(self.width, Code::VEX_Vpermps_ymm_ymm_ymmm256, Code::EVEX_Vpermps_zmm_k1z_zmm_zmmm512b32);
        self.three(code, to, order, from.into());
    }

    /// Loads every second element from `from` on, one for each lane, and nothing past the last. `temporary` is
    /// overwritten at 512 bits.
    pub(super) fn load_every_second(&mut self, to: Vector, from: MemoryRef, temporary: Vector) {
        // The second half starts one element early, so that it ends with the last needed element.
        let lanes = self.width.lanes();
        let high = MemoryRef::at(from.base, from.displacement + 4 * (lanes as i64 - 1));
        self.load(to, from, Lanes::All);
        match self.width {
            Width::Bits256 => {
                let code = Code::VEX_Vshufps_ymm_ymm_ymmm256_imm8;
                let (register, memory) = (self.register(to), self.memory(high));
                self.put(Instruction::with4(code, register, register, memory, 0xD8));
                let code = Code::VEX_Vpermpd_ymm_ymmm256_imm8;
                self.put(Instruction::with3(code, register, register, 0xD8));
            }
            Width::Bits512 => {
                let order = (0..lanes).map(|lane| match lane {
                    _ if lane < lanes / 2 => 2 * lane,
                    _ => lanes + 2 * lane - (lanes - 1),
                });
                let order = self.constant(order.map(|lane| lane as u32).collect());
                self.load(temporary, order, Lanes::All);
                self.three(Code::EVEX_Vpermt2ps_zmm_k1z_zmm_zmmm512b32, to, temporary, high.into());
            }
        }
    }

    /// Loads elements, each for a pair of lanes. `temporary` is overwritten.
    pub(super) fn load_pairs(&mut self, to: Vector, from: MemoryRef, temporary: Vector) {
        let codes = (Code::VEX_Vbroadcastf128_ymm_m128, Code::EVEX_Vbroadcastf64x4_zmm_k1z_m256);
        let order = self.constant((0..self.width.lanes() as u32).map(|lane| lane / 2).collect());
        self.load(temporary, order, Lanes::All);
        self.two(codes, to, from.into());
        self.permute(to, temporary, to);
    }

    /// Loads bytes as 32-bit integers. At 512 bits, masked-off lanes become zero and their memory is not touched; at
    /// 256 bits all lanes are loaded.
    pub(super) fn load_bytes(&mut self, to: Vector, from: MemoryRef, lanes: Lanes) {
        let code = pick(self.width, Code::VEX_Vpmovzxbd_ymm_xmmm64, Code::EVEX_Vpmovzxbd_zmm_k1z_xmmm128);
        let memory = self.memory(from);
        let instruction = Instruction::with2(code, self.register(to), memory);
        self.put(instruction.map(|mut instruction| {
            if let Lanes::Masked(mask) = lanes {
                instruction.set_op_mask(Register::K0 + u32::from(mask));
                instruction.set_zeroing_masking(true);
            }
            instruction
        }));
    }

    /// Loads bytes, each for a pair of lanes; only at 256 bits. `temporary` is overwritten.
    pub(super) fn load_pairs_of_bytes(&mut self, to: Vector, from: MemoryRef, temporary: Vector) {
        let order = self.constant((0..self.width.lanes() as u32).map(|lane| lane / 2).collect());
        self.load(temporary, order, Lanes::All);
        let memory = self.memory(from);
        let low = Register::XMM0 + u32::from(to.0);
        self.put(Instruction::with2(Code::VEX_Vpmovzxbd_xmm_xmmm32, low, memory));
        self.permute(to, temporary, to);
    }

    /// Stores the low bytes of integers contiguously: the masked lanes at 512 bits, all lanes at 256 bits, where `free`
    /// are overwritten.
    pub(super) fn store_bytes(&mut self, from: Vector, to: MemoryRef, lanes: Lanes, free: [Vector; 2]) {
        let memory = self.memory(to);
        match self.width {
            Width::Bits512 => {
                let instruction =
                    Instruction::with2(Code::EVEX_Vpmovdb_xmmm128_k1z_zmm, memory, self.register(from));
                self.put(instruction.map(|mut instruction| {
                    if let Lanes::Masked(mask) = lanes {
                        instruction.set_op_mask(Register::K0 + u32::from(mask));
                    }
                    instruction
                }));
            }
            Width::Bits256 => {
                // Moves the low bytes of each half to its front, then joins the halves.
                let mut order = vec![u32::from_le_bytes([0x80; 4]); self.width.lanes()];
                order[0] = u32::from_le_bytes([0, 4, 8, 12]);
                order[4] = order[0];
                let order = self.constant(order);
                let [low, high] = free;
                self.three(Code::VEX_Vpshufb_ymm_ymm_ymmm256, low, from, order.into());
                let both = self.register(low);
                let [low, high] = [low, high].map(|vector| Register::XMM0 + u32::from(vector.0));
                self.put(Instruction::with3(Code::VEX_Vextractf128_xmmm128_ymm_imm8, high, both, 1));
                self.put(Instruction::with3(Code::VEX_Vpunpckldq_xmm_xmm_xmmm128, low, low, high));
                self.put(Instruction::with2(Code::VEX_Vmovq_xmmm64_xmm, memory, low));
            }
        }
    }

    /// Loads the elements at `from` plus the indices in `elements`. Masked-off lanes become zero, and their memory is
    /// not touched. `temporary` is overwritten at 256 bits, `mask` at 512.
    pub(super) fn gather(
        &mut self,
        to: Vector,
        from: MemoryRef,
        elements: Vector,
        lanes: Lanes,
        (mask, temporary): (u8, Vector),
    ) {
        self.zero(to);
        let index = self.register(elements);
        let place = self.memory(from);
        let place = MemoryOperand::new(place.base, index, 4, place.displacement, 1, false, Register::None);
        let to = self.register(to);
        match self.width {
            Width::Bits512 => {
                let mask = Register::K0 + u32::from(mask);
                match lanes {
                    Lanes::All => self.put(Instruction::with3(Code::VEX_Kxnorw_kr_kr_kr, mask, mask, mask)),
                    Lanes::Masked(of) => {
                        let of = Register::K0 + u32::from(of);
                        self.put(Instruction::with2(Code::VEX_Kmovw_kr_km16, mask, of));
                    }
                }
                let instruction = Instruction::with2(Code::EVEX_Vgatherdps_zmm_k1_vm32z, to, place);
                self.put(instruction.map(|mut instruction| {
                    instruction.set_op_mask(mask);
                    instruction
                }));
            }
            Width::Bits256 => {
                match lanes {
                    Lanes::All => self.compare_equal_integers(temporary.0, temporary, temporary),
                    Lanes::Masked(of) => self.copy(temporary, Vector(of)),
                }
                let mask = self.register(temporary);
                self.put(Instruction::with3(Code::VEX_Vgatherdps_ymm_vm32y_ymm, to, place, mask));
            }
        }
    }

    /// Makes the mask of the first lanes, whose number is in a general register and below the vector's lanes. `free` is
    /// a general register to overwrite.
    pub(super) fn mask_of_counted(&mut self, mask: u8, free: Register) {
        let (count, register) = (Register::ECX, self.mask_register(mask));
        match self.width {
            Width::Bits512 => {
                let narrow = narrow_register(free);
                self.move_number(free, 1);
                self.put(Instruction::with2(Code::Shl_rm32_CL, narrow, Register::CL));
                self.put(Instruction::with1(Code::Dec_rm32, narrow));
                self.put(Instruction::with2(Code::VEX_Kmovw_kr_r32, register, narrow));
            }
            Width::Bits256 => {
                let lowest = Register::XMM0 + u32::from(mask);
                self.put(Instruction::with2(Code::VEX_Vmovd_xmm_rm32, lowest, count));
                self.put(Instruction::with2(Code::VEX_Vpbroadcastd_ymm_xmmm32, register, lowest));
                let numbers = self.lane_numbers();
                self.three(Code::VEX_Vpcmpgtd_ymm_ymm_ymmm256, Vector(mask), Vector(mask), numbers.into());
            }
        }
    }

    /// The address of a vector of lane indices.
    pub(super) fn lane_numbers(&mut self) -> MemoryRef {
        self.constant((0..self.width.lanes() as u32).collect())
    }

    /// Stores the first lane.
    pub(super) fn store_first(&mut self, from: Vector, to: MemoryRef) {
        let memory = self.memory(to);
        let from = Register::XMM0 + u32::from(from.0);
        let code = pick(self.width, Code::VEX_Vmovss_m32_xmm, Code::EVEX_Vmovss_m32_k1_xmm);
        self.put(Instruction::with2(code, memory, from));
    }

    /// Stores the sums of the lanes of four vectors contiguously; `free` are overwritten.
    pub(super) fn store_sums_of_lanes(&mut self, sums: [Vector; 4], to: MemoryRef, free: [Vector; 3]) {
        let [a, b, c, d] = sums;
        let [first, second, third] = free;
        match self.width {
            Width::Bits256 => {
                let neighbours = |emitter: &mut Self, to, a, b: Vector| {
                    emitter.three(Code::VEX_Vhaddps_ymm_ymm_ymmm256, to, a, b.into());
                };
                neighbours(self, first, a, b);
                neighbours(self, second, c, d);
                neighbours(self, first, first, second);
                let narrow = |vector: Vector| Register::XMM0 + u32::from(vector.0);
                let wide = self.register(first);
                let (first, second) = (narrow(first), narrow(second));
                self.put(Instruction::with3(Code::VEX_Vextractf128_xmmm128_ymm_imm8, second, wide, 1));
                self.put(Instruction::with3(Code::VEX_Vaddps_xmm_xmm_xmmm128, first, first, second));
                let memory = self.memory(to);
                self.put(Instruction::with2(Code::VEX_Vmovups_xmmm128_xmm, memory, first));
            }
            Width::Bits512 => {
                // Adds quarters of two vectors, selected by the immediate, until each quarter belongs to one vector.
                let mut fold = |to, a, b, other, [low, high]: [i32; 2]| {
                    self.shuffle_quarters(to, a, b, low);
                    self.shuffle_quarters(other, a, b, high);
                    self.binary(Binary::Add, to, to, other);
                };
                fold(first, a, b, third, [0x44, 0xEE]);
                fold(second, c, d, third, [0x44, 0xEE]);
                self.shuffle_quarters(third, first, second, 0x88);
                self.shuffle_quarters(first, first, second, 0xDD);
                self.binary(Binary::Add, first, first, third);
                for swap in [0x4E, 0xB1] {
                    let (to, from) = (self.register(third), self.register(first));
                    let code = Code::EVEX_Vpermilps_zmm_k1z_zmmm512b32_imm8;
                    self.put(Instruction::with3(code, to, from, swap));
                    self.binary(Binary::Add, first, first, third);
                }
                let mut order = vec![0; self.width.lanes()];
                order[..4].copy_from_slice(&[0, 4, 8, 12]);
                let order = self.constant(order);
                self.load(third, order, Lanes::All);
                self.three(Code::EVEX_Vpermps_zmm_k1z_zmm_zmmm512b32, first, third, first.into());
                let memory = self.memory(to);
                let from = self.register(first);
                self.put(Instruction::with3(Code::EVEX_Vextractf32x4_xmmm128_k1z_zmm_imm8, memory, from, 0));
            }
        }
    }

    fn shuffle_quarters(&mut self, to: Vector, a: Vector, b: Vector, quarters: i32) {
        let code = Code::EVEX_Vshuff32x4_zmm_k1z_zmm_zmmm512b32_imm8;
        let (to, a, b) = (self.register(to), self.register(a), self.register(b));
        self.put(Instruction::with4(code, to, a, b, quarters));
    }

    /// Square roots, correctly rounded.
    pub(super) fn square_root(&mut self, to: Vector, from: impl Into<Source>) {
        let codes = (Code::VEX_Vsqrtps_ymm_ymmm256, Code::EVEX_Vsqrtps_zmm_k1z_zmmm512b32_er);
        self.two(codes, to, from.into());
    }

    /// Reciprocals with a relative error below 2⁻¹⁴: only at 512 bits. That of infinity is 0.
    pub(super) fn approximate_reciprocal(&mut self, to: Vector, from: Vector) {
        let (to, from) = (self.register(to), self.register(from));
        self.put(Instruction::with2(Code::EVEX_Vrcp14ps_zmm_k1z_zmmm512b32, to, from));
    }

    /// Integers to floats.
    pub(super) fn convert_integers(&mut self, to: Vector, from: Vector) {
        let codes = (Code::VEX_Vcvtdq2ps_ymm_ymmm256, Code::EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er);
        self.two(codes, to, from.into());
    }

    /// `to ← a·2ᵇ`, rounded once; only at 512 bits.
    pub(super) fn scale(&mut self, to: Vector, a: Vector, b: Vector) {
        self.three(Code::EVEX_Vscalefps_zmm_k1z_zmm_zmmm512b32_er, to, a, b.into());
    }

    /// Loads a constant.
    pub(super) fn load_number(&mut self, to: Vector, number: f32) {
        let from = self.number(number);
        self.load(to, from, Lanes::All);
    }
}
