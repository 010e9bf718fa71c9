//! Emits instructions on vectors of 256 or 512 bits, with the same methods for both widths. Register allocation and
//! instruction choice for a leaf are elsewhere.
//!
//! 256 bits: AVX2 and FMA, registers 0 to 15, masks in vector registers. 512 bits: AVX-512F, registers 0 to 31, masks in
//! mask registers. Functions follow the System V convention on every system.

use iced_x86::code_asm::{CodeAssembler, CodeLabel};
use iced_x86::{Code, IcedError, Instruction, MemoryOperand, Register};

use super::math;
use super::operands::{Binary, Fused, Lanes, MemoryRef, Source, Vector, Width, narrow_register, pick};
use crate::codegen::fallback::{Failure, FallbackReason};

/// Bytes of a cache line.
const LINE: usize = 64;

/// Emits the instructions of one function. The first instruction that cannot be encoded is kept as the function's
/// error.
pub(super) struct Emitter {
    pub(super) width: Width,
    code: CodeAssembler,
    /// Constants of the function, placed after its code; whole vectors.
    constants: Vec<Vec<u32>>,
    /// Their address and the general register that holds it, once a constant is used.
    pool: Option<(CodeLabel, Register)>,
    /// The mask register that functions overwrite at 512 bits.
    pub(super) mask: u8,
    /// Instructions that are not part of the function yet.
    recorded: Option<Vec<Instruction>>,
    failure: Option<Failure>,
}

impl Emitter {
    pub(super) fn new(width: Width) -> Result<Self, Failure> {
        let code = CodeAssembler::new(64).map_err(|error| Failure::Fault(error.to_string()))?;
        let mask = math::MASK;
        Ok(Emitter { width, code, constants: Vec::new(), pool: None, mask, recorded: None, failure: None })
    }

    fn note(&mut self, result: Result<(), IcedError>) {
        if let Err(error) = result {
            self.failure.get_or_insert_with(|| Failure::Fault(error.to_string()));
        }
    }

    /// A distance that does not fit an instruction.
    fn too_far(&mut self, bytes: i64) {
        let reason = FallbackReason::Distance { bytes: bytes.unsigned_abs() };
        self.failure.get_or_insert(Failure::Unsupported(reason));
    }

    /// Adds an instruction.
    pub(super) fn put(&mut self, instruction: Result<Instruction, IcedError>) {
        let result = instruction.and_then(|instruction| match &mut self.recorded {
            Some(recorded) => {
                recorded.push(instruction);
                Ok(())
            }
            None => self.code.add_instruction(instruction),
        });
        self.note(result);
    }

    /// From here on instructions are recorded, instead of added to the function.
    pub(super) fn record(&mut self) {
        self.recorded = Some(Vec::new());
    }

    /// The instructions since [`Emitter::record`]. The next ones are added to the function.
    pub(super) fn recorded(&mut self) -> Vec<Instruction> {
        self.recorded.take().unwrap_or_default()
    }

    /// The register of the width's vectors.
    pub(super) fn register(&self, vector: Vector) -> Register {
        pick(self.width, Register::YMM0, Register::ZMM0) + u32::from(vector.0)
    }

    /// A memory operand for the assembler.
    pub(super) fn memory(&mut self, memory: MemoryRef) -> MemoryOperand {
        if i32::try_from(memory.displacement).is_err() {
            self.too_far(memory.displacement);
        }
        MemoryOperand::with_base_displ(memory.base, memory.displacement)
    }

    /// An instruction with a result and one operand.
    pub(super) fn two(&mut self, (narrow, wide): (Code, Code), to: Vector, from: Source) {
        let code = pick(self.width, narrow, wide);
        let to = self.register(to);
        let instruction = match from {
            Source::Vector(from) => Instruction::with2(code, to, self.register(from)),
            Source::MemoryRef(from) => Instruction::with2(code, to, self.memory(from)),
        };
        self.put(instruction);
    }

    /// An instruction with a result and two operands.
    pub(super) fn three(&mut self, code: Code, to: Vector, a: Vector, b: Source) {
        let (to, a) = (self.register(to), self.register(a));
        let instruction = match b {
            Source::Vector(b) => Instruction::with3(code, to, a, self.register(b)),
            Source::MemoryRef(b) => Instruction::with3(code, to, a, self.memory(b)),
        };
        self.put(instruction);
    }

    /// `to ← a op b`.
    pub(super) fn binary(&mut self, op: Binary, to: Vector, a: Vector, b: impl Into<Source>) {
        self.three(op.code(self.width), to, a, b.into());
    }

    /// A fused multiply-add.
    pub(super) fn fused(&mut self, op: Fused, to: Vector, a: Vector, b: impl Into<Source>) {
        self.three(op.code(self.width), to, a, b.into());
    }

    /// `to ← to + a·b` with one scalar from memory for all lanes: only at 512 bits.
    pub(super) fn accumulate_broadcast(&mut self, to: Vector, a: Vector, b: MemoryRef) {
        let code = Code::EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er;
        let memory = self.memory(b);
        let instruction =
            Instruction::with3(code, self.register(to), self.register(a), memory).map(|mut instruction| {
                instruction.set_is_broadcast(true);
                instruction
            });
        self.put(instruction);
    }

    /// Sets a vector to zero.
    pub(super) fn zero(&mut self, to: Vector) {
        self.binary(Binary::Xor, to, to, to);
    }

    /// Copies a register.
    pub(super) fn copy(&mut self, to: Vector, from: Vector) {
        if to != from {
            let codes = (Code::VEX_Vmovups_ymm_ymmm256, Code::EVEX_Vmovups_zmm_k1z_zmmm512);
            self.two(codes, to, from.into());
        }
    }

    /// Loads a scalar into all lanes.
    pub(super) fn broadcast(&mut self, to: Vector, from: MemoryRef) {
        let codes = (Code::VEX_Vbroadcastss_ymm_m32, Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32);
        self.two(codes, to, from.into());
    }

    /// Loads a vector. Masked-off lanes become zero, and their memory is not touched.
    pub(super) fn load(&mut self, to: Vector, from: MemoryRef, lanes: Lanes) {
        let codes = (Code::VEX_Vmovups_ymm_ymmm256, Code::EVEX_Vmovups_zmm_k1z_zmmm512);
        match (self.width, lanes) {
            (_, Lanes::All) => self.two(codes, to, from.into()),
            (Width::Bits256, Lanes::Masked(mask)) => {
                let memory = self.memory(from);
                let (to, mask) = (self.register(to), self.register(Vector(mask)));
                self.put(Instruction::with3(Code::VEX_Vmaskmovps_ymm_ymm_m256, to, mask, memory));
            }
            (Width::Bits512, Lanes::Masked(mask)) => {
                let memory = self.memory(from);
                let instruction = Instruction::with2(codes.1, self.register(to), memory);
                self.put(instruction.map(|mut instruction| {
                    instruction.set_op_mask(Register::K0 + u32::from(mask));
                    instruction.set_zeroing_masking(true);
                    instruction
                }));
            }
        }
    }

    /// Stores a vector. The memory of masked-off lanes is not touched.
    pub(super) fn store(&mut self, from: Vector, to: MemoryRef, lanes: Lanes) {
        let memory = self.memory(to);
        let register = self.register(from);
        let instruction = match (self.width, lanes) {
            (Width::Bits256, Lanes::All) => {
                Instruction::with2(Code::VEX_Vmovups_ymmm256_ymm, memory, register)
            }
            (Width::Bits512, Lanes::All) => {
                Instruction::with2(Code::EVEX_Vmovups_zmmm512_k1z_zmm, memory, register)
            }
            (Width::Bits256, Lanes::Masked(mask)) => {
                let mask = self.register(Vector(mask));
                Instruction::with3(Code::VEX_Vmaskmovps_m256_ymm_ymm, memory, mask, register)
            }
            (Width::Bits512, Lanes::Masked(mask)) => {
                Instruction::with2(Code::EVEX_Vmovups_zmmm512_k1z_zmm, memory, register).map(
                    |mut instruction| {
                        instruction.set_op_mask(Register::K0 + u32::from(mask));
                        instruction
                    },
                )
            }
        };
        self.put(instruction);
    }

    /// Makes the mask of the first `count` lanes, a constant. At 512 bits `register` is overwritten.
    pub(super) fn mask_of_first(&mut self, mask: u8, count: usize, register: Register) {
        match self.width {
            Width::Bits512 => {
                self.move_number(register, (1 << count) - 1);
                let narrow = narrow_register(register);
                self.put(Instruction::with2(Code::VEX_Kmovw_kr_r32, Register::K0 + u32::from(mask), narrow));
            }
            Width::Bits256 => {
                let words = (0..self.width.lanes()).map(|lane| if lane < count { u32::MAX } else { 0 });
                let from = self.constant(words.collect());
                self.load(Vector(mask), from, Lanes::All);
            }
        }
    }

    /// Prefetches a cache line to the second-level cache.
    pub(super) fn prefetch(&mut self, from: MemoryRef) {
        let memory = self.memory(from);
        self.put(Instruction::with1(Code::Prefetcht1_m8, memory));
    }

    /// Announces the constants of the function: `register` holds their address from here on.
    pub(super) fn use_constants(&mut self, register: Register) {
        let label = self.code.create_label();
        let memory = iced_x86::code_asm::ptr(label);
        let result = match register {
            Register::R11 => self.code.lea(iced_x86::code_asm::r11, memory),
            _ => self.code.lea(iced_x86::code_asm::rax, memory),
        };
        self.note(result);
        // Constants start at the next cache line, so that none crosses a line.
        self.add_number(register, LINE as i64 - 1);
        self.put(Instruction::with2(Code::And_rm64_imm8, register, -(LINE as i32)));
        self.pool = Some((label, register));
    }

    /// The address of a constant vector of these words.
    pub(super) fn constant(&mut self, words: Vec<u32>) -> MemoryRef {
        let index = match self.constants.iter().position(|known| *known == words) {
            Some(index) => index,
            None => {
                self.constants.push(words);
                self.constants.len() - 1
            }
        };
        let Some((_, register)) = self.pool else {
            let fault = || Failure::Fault("a constant without a constant pool".to_owned());
            self.failure.get_or_insert_with(fault);
            return MemoryRef::at(Register::RAX, 0);
        };
        MemoryRef::at(register, index as i64 * self.width.bytes())
    }

    /// The address of a vector with one float in all lanes.
    pub(super) fn number(&mut self, number: f32) -> MemoryRef {
        self.constant(vec![number.to_bits(); self.width.lanes()])
    }

    /// The address of a vector with one integer in all lanes.
    pub(super) fn integer(&mut self, number: i32) -> MemoryRef {
        self.constant(vec![number.cast_unsigned(); self.width.lanes()])
    }

    /// `to ← from`, general registers.
    pub(super) fn move_register(&mut self, to: Register, from: Register) {
        self.put(Instruction::with2(Code::Mov_r64_rm64, to, from));
    }

    /// `to ← number`.
    pub(super) fn move_number(&mut self, to: Register, number: i64) {
        self.put(Instruction::with2(Code::Mov_r64_imm64, to, number));
    }

    /// `to ← to + number`.
    pub(super) fn add_number(&mut self, to: Register, number: i64) {
        match i32::try_from(number) {
            Ok(0) => {}
            Ok(number) => self.put(Instruction::with2(Code::Add_rm64_imm32, to, number)),
            Err(_) => self.too_far(number),
        }
    }

    /// Loads a general register.
    pub(super) fn load_register(&mut self, to: Register, from: MemoryRef) {
        let memory = self.memory(from);
        self.put(Instruction::with2(Code::Mov_r64_rm64, to, memory));
    }

    /// Stores a general register.
    pub(super) fn store_register(&mut self, from: Register, to: MemoryRef) {
        let memory = self.memory(to);
        self.put(Instruction::with2(Code::Mov_rm64_r64, memory, from));
    }

    /// Saves a general register on the stack.
    pub(super) fn push(&mut self, register: Register) {
        self.put(Instruction::with1(Code::Push_r64, register));
    }

    /// Restores a general register from the stack.
    pub(super) fn pop(&mut self, register: Register) {
        self.put(Instruction::with1(Code::Pop_r64, register));
    }

    /// A label, to be placed later.
    pub(super) fn label(&mut self) -> CodeLabel {
        self.code.create_label()
    }

    /// Places a label here. An instruction can have only one label; a second one is placed after a no-op.
    pub(super) fn here(&mut self, label: &mut CodeLabel) {
        let mut result = self.code.set_label(label);
        if result.is_err() {
            result = self.code.nop().and_then(|()| self.code.set_label(label));
        }
        self.note(result);
    }

    /// Subtracts 1 from a register and jumps while the result is not zero.
    pub(super) fn count_down(&mut self, register: Register, label: CodeLabel) {
        self.put(Instruction::with1(Code::Dec_rm64, register));
        let result = self.code.jnz(label);
        self.note(result);
    }

    /// Jumps when some bits of a register are not all zero.
    pub(super) fn jump_if_any(&mut self, register: Register, bits: i32, label: CodeLabel) {
        self.put(Instruction::with2(Code::Test_rm64_imm32, register, bits));
        let result = self.code.jnz(label);
        self.note(result);
    }

    /// Jumps when a register is not zero.
    pub(super) fn jump_if_not_zero(&mut self, register: Register, label: CodeLabel) {
        self.put(Instruction::with2(Code::Test_rm64_r64, register, register));
        let result = self.code.jnz(label);
        self.note(result);
    }

    /// Jumps.
    pub(super) fn jump(&mut self, label: CodeLabel) {
        let result = self.code.jmp(label);
        self.note(result);
    }

    /// Jumps when a register is zero.
    pub(super) fn jump_if_zero(&mut self, register: Register, label: CodeLabel) {
        self.put(Instruction::with2(Code::Test_rm64_r64, register, register));
        let result = self.code.jz(label);
        self.note(result);
    }

    /// Jumps if the preceding subtraction went below zero.
    pub(super) fn jump_if_below(&mut self, label: CodeLabel) {
        let result = self.code.jb(label);
        self.note(result);
    }

    /// Jumps if the preceding subtraction did not go below zero.
    pub(super) fn jump_if_not_below(&mut self, label: CodeLabel) {
        let result = self.code.jae(label);
        self.note(result);
    }

    /// Returns from the function. The upper halves are cleared, so that code with narrower vectors does not wait for
    /// them.
    pub(super) fn leave(&mut self) {
        self.put(Ok(Instruction::with(Code::VEX_Vzeroupper)));
        self.put(Ok(Instruction::with(Code::Retnq)));
    }

    /// The machine code with its constants. The function may be placed at any multiple of 64.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, Failure> {
        if let Some((mut end, _)) = self.pool.take() {
            let result = self.code.set_label(&mut end);
            self.note(result);
            // A label must precede an instruction; this one byte never runs.
            self.put(Ok(Instruction::with(Code::Int3)));
        }
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let mut bytes = self.code.assemble(0).map_err(|error| Failure::Fault(error.to_string()))?;
        if !self.constants.is_empty() {
            bytes.resize((bytes.len() - 1).next_multiple_of(LINE), 0);
            bytes.extend(self.constants.iter().flatten().flat_map(|word| word.to_le_bytes()));
        }
        Ok(bytes)
    }
}
