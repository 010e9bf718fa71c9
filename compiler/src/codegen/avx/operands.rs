//! Operands of vector instructions: registers, memory and lanes; and the operations with their encodings by width.

use iced_x86::{Code, Register};

use crate::target::VectorUnit;

/// The vector width of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::codegen) enum Width {
    /// AVX2 and FMA.
    Bits256,
    /// AVX-512F.
    Bits512,
}

impl Width {
    /// The width of a target's vectors; `None` if Cranelift compiles all leaves.
    pub(in crate::codegen) fn of(vectors: VectorUnit) -> Option<Width> {
        [Width::Bits256, Width::Bits512].into_iter().find(|width| width.vectors() == vectors)
    }

    /// The vector unit of the width.
    pub(super) fn vectors(self) -> VectorUnit {
        VectorUnit::x86_64(match self {
            Width::Bits256 => 256,
            Width::Bits512 => 512,
        })
    }

    /// Lanes of a vector.
    pub(in crate::codegen) fn lanes(self) -> usize {
        self.vectors().lanes()
    }

    /// Bytes of a vector.
    pub(super) fn bytes(self) -> i64 {
        4 * self.lanes() as i64
    }

    /// The number of vector registers.
    pub(super) fn registers(self) -> usize {
        self.vectors().registers
    }
}

/// A vector register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vector(pub(super) u8);

/// A memory operand: a general register and a displacement in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MemoryRef {
    pub(super) base: Register,
    pub(super) displacement: i64,
}

impl MemoryRef {
    pub(super) fn at(base: Register, displacement: i64) -> Self {
        MemoryRef { base, displacement }
    }
}

/// The second operand of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Vector(Vector),
    /// A whole vector in memory, at any address.
    MemoryRef(MemoryRef),
}

impl From<Vector> for Source {
    fn from(vector: Vector) -> Self {
        Source::Vector(vector)
    }
}

impl From<MemoryRef> for Source {
    fn from(memory: MemoryRef) -> Self {
        Source::MemoryRef(memory)
    }
}

/// The lanes that a load or store touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lanes {
    All,
    /// The lanes of a mask: the mask register with this number at 512 bits, the vector register at 256.
    Masked(u8),
}

/// An instruction with two operands and a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    /// The second operand if the first is not larger, or if one is NaN.
    Maximum,
    /// The second operand if the first is not smaller, or if one is NaN.
    Minimum,
    And,
    Or,
    Xor,
    AddIntegers,
    SubtractIntegers,
}

impl Binary {
    pub(super) fn code(self, width: Width) -> Code {
        let (narrow, wide) = match self {
            Binary::Add => (Code::VEX_Vaddps_ymm_ymm_ymmm256, Code::EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er),
            Binary::Subtract => {
                (Code::VEX_Vsubps_ymm_ymm_ymmm256, Code::EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er)
            }
            Binary::Multiply => {
                (Code::VEX_Vmulps_ymm_ymm_ymmm256, Code::EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er)
            }
            Binary::Divide => (Code::VEX_Vdivps_ymm_ymm_ymmm256, Code::EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er),
            Binary::Maximum => {
                (Code::VEX_Vmaxps_ymm_ymm_ymmm256, Code::EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae)
            }
            Binary::Minimum => {
                (Code::VEX_Vminps_ymm_ymm_ymmm256, Code::EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae)
            }
            Binary::And => (Code::VEX_Vandps_ymm_ymm_ymmm256, Code::EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32),
            Binary::Or => (Code::VEX_Vorps_ymm_ymm_ymmm256, Code::EVEX_Vpord_zmm_k1z_zmm_zmmm512b32),
            Binary::Xor => (Code::VEX_Vxorps_ymm_ymm_ymmm256, Code::EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32),
            Binary::AddIntegers => {
                (Code::VEX_Vpaddd_ymm_ymm_ymmm256, Code::EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32)
            }
            Binary::SubtractIntegers => {
                (Code::VEX_Vpsubd_ymm_ymm_ymmm256, Code::EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32)
            }
        };
        pick(width, narrow, wide)
    }
}

/// A fused multiply-add, by the position of its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fused {
    /// `to ← to + a·b`.
    Accumulate,
    /// `to ← to·a + b`.
    MultiplyThenAdd,
    /// `to ← b − to·a`.
    MultiplyThenSubtract,
}

impl Fused {
    pub(super) fn code(self, width: Width) -> Code {
        let (narrow, wide) = match self {
            Fused::Accumulate => {
                (Code::VEX_Vfmadd231ps_ymm_ymm_ymmm256, Code::EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er)
            }
            Fused::MultiplyThenAdd => {
                (Code::VEX_Vfmadd213ps_ymm_ymm_ymmm256, Code::EVEX_Vfmadd213ps_zmm_k1z_zmm_zmmm512b32_er)
            }
            Fused::MultiplyThenSubtract => {
                (Code::VEX_Vfnmadd213ps_ymm_ymm_ymmm256, Code::EVEX_Vfnmadd213ps_zmm_k1z_zmm_zmmm512b32_er)
            }
        };
        pick(width, narrow, wide)
    }
}

pub(super) fn pick<T>(width: Width, narrow: T, wide: T) -> T {
    match width {
        Width::Bits256 => narrow,
        Width::Bits512 => wide,
    }
}

/// The lower half of a general register.
pub(super) fn narrow_register(register: Register) -> Register {
    Register::EAX + (register as u32 - Register::RAX as u32)
}
