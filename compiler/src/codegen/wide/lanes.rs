//! Instructions that treat lanes on their own: comparisons and choices, shifts, conversions, moves between lanes.
//!
//! A mask is a mask register at 512 bits and a vector register at 256, and is named by its number, as in
//! [`Lanes::Masked`](super::emit::Lanes).

use iced_x86::{Code, Instruction, Register};

use super::emit::{Emitter, Source, Vector, Width, pick};

/// A comparison of floats. A number and a NaN compare as stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// False for NaN.
    Equal,
    /// False for NaN.
    Less,
    /// True for NaN.
    NotAtLeast,
    /// True only where one is NaN.
    Unordered,
}

impl Comparison {
    fn number(self) -> u32 {
        match self {
            Comparison::Equal => 0x00,
            Comparison::Less => 0x11,
            Comparison::NotAtLeast => 0x19,
            Comparison::Unordered => 0x03,
        }
    }
}

/// A shift of 32-bit integers by a number known now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shift {
    Left,
    /// With zeros.
    Right,
    /// With copies of the sign.
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
            Source::Memory(b) => Instruction::with4(code, to, a, self.memory(b), number),
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
            Source::Memory(b) => Instruction::with3(code, to, a, self.memory(b)),
        };
        self.put(instruction);
    }

    /// `mask ← a < b` for unsigned integers. At 256 bits the mask must be another register than `b`.
    pub(super) fn compare_below_unsigned(&mut self, mask: u8, a: Vector, b: Vector) {
        match self.width {
            Width::Bits512 => {
                let (to, a, b) = (self.mask_register(mask), self.register(a), self.register(b));
                let code = Code::EVEX_Vpcmpud_kr_k1_zmm_zmmm512b32_imm8;
                self.put(Instruction::with4(code, to, a, b, 1));
            }
            Width::Bits256 => {
                // What is not the larger of both is below.
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
                    Source::Memory(yes) => Instruction::with4(code, to, no, self.memory(yes), mask),
                }
            }
            Width::Bits512 => {
                let code = Code::EVEX_Vblendmps_zmm_k1z_zmm_zmmm512b32;
                match yes {
                    Source::Vector(yes) => Instruction::with3(code, to, no, self.register(yes)),
                    Source::Memory(yes) => Instruction::with3(code, to, no, self.memory(yes)),
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

    /// Square roots, rounded correctly.
    pub(super) fn square_root(&mut self, to: Vector, from: impl Into<Source>) {
        let codes = (Code::VEX_Vsqrtps_ymm_ymmm256, Code::EVEX_Vsqrtps_zmm_k1z_zmmm512b32_er);
        self.two(codes, to, from.into());
    }

    /// Integers to floats.
    pub(super) fn to_floats(&mut self, to: Vector, from: Vector) {
        let codes = (Code::VEX_Vcvtdq2ps_ymm_ymmm256, Code::EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er);
        self.two(codes, to, from.into());
    }

    /// `to ← a·2ᵇ`, rounded once, at 512 bits only.
    pub(super) fn scale(&mut self, to: Vector, a: Vector, b: Vector) {
        self.three(Code::EVEX_Vscalefps_zmm_k1z_zmm_zmmm512b32_er, to, a, b.into());
    }

    /// Loads a constant.
    pub(super) fn load_number(&mut self, to: Vector, number: f32) {
        let from = self.number(number);
        self.load(to, from, super::emit::Lanes::All);
    }
}
