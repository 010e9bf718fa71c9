//! Mixes the instructions of bodies for neighbouring vectors. A function is a chain of dependent instructions, and a core
//! looks ahead less far than to the chain of the next vector: chains have to be side by side.

use std::collections::BTreeSet;

use iced_x86::{Instruction, OpKind, Register};

use super::operands::Width;

/// Mask registers that a body may overwrite. The first two mean all lanes and the last lanes.
const MASKS: std::ops::Range<u8> = 2..8;

/// The registers that a body overwrites, by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Used {
    vectors: BTreeSet<u8>,
    masks: BTreeSet<u8>,
}

/// The same instructions in an order that takes one of each body in turn. Bodies get registers of their own, apart from
/// the vector registers in `held`; as many bodies are mixed as there are registers for. Bodies that compute addresses or
/// spill values stay one after the other.
pub(super) fn interleave(bodies: Vec<Vec<Instruction>>, width: Width, held: &[u8]) -> Vec<Instruction> {
    let Some(used) = bodies.first().and_then(|body| used(body, held)) else { return bodies.concat() };
    if bodies.len() < 2 || bodies.iter().any(|body| self::used(body, held).as_ref() != Some(&used)) {
        return bodies.concat();
    }
    let free: Vec<u8> = (0..width.registers() as u8).filter(|register| !held.contains(register)).collect();
    let fitting = |free: usize, used: usize| free.checked_div(used).unwrap_or(usize::MAX);
    let together = fitting(free.len(), used.vectors.len()).min(fitting(MASKS.len(), used.masks.len()));
    if together < 2 {
        return bodies.concat();
    }
    let masks: Vec<u8> = MASKS.collect();
    let mut mixed = Vec::new();
    for bodies in bodies.chunks(together) {
        let renamed: Vec<Vec<Instruction>> = bodies
            .iter()
            .enumerate()
            .map(|(index, body)| {
                let vectors = |number: u8| replaced(number, &used.vectors, &free, index);
                let masks = |number: u8| replaced(number, &used.masks, &masks, index);
                body.iter().map(|&instruction| rename(instruction, vectors, masks)).collect()
            })
            .collect();
        mixed.extend(side_by_side(&renamed));
    }
    mixed
}

/// One instruction of each body in turn.
pub(super) fn side_by_side(bodies: &[Vec<Instruction>]) -> Vec<Instruction> {
    let longest = bodies.iter().map(Vec::len).max().unwrap_or_default();
    (0..longest).flat_map(|at| bodies.iter().filter_map(move |body| body.get(at).copied())).collect()
}

/// The register in place of one that a body uses: each body takes the next of the free ones.
fn replaced(number: u8, used: &BTreeSet<u8>, free: &[u8], body: usize) -> u8 {
    match used.iter().position(|&other| other == number) {
        Some(place) => free[body * used.len() + place],
        None => number,
    }
}

/// The registers that a body uses apart from those in `held`; `None` if it writes to a general register or the stack.
fn used(body: &[Instruction], held: &[u8]) -> Option<Used> {
    let mut used = Used::default();
    for instruction in body {
        if instruction.memory_base() == Register::RSP {
            return None;
        }
        let operands = (0..instruction.op_count()).filter(|&at| instruction.op_kind(at) == OpKind::Register);
        for at in operands {
            let register = instruction.op_register(at);
            if register.is_gpr() {
                return None;
            }
            used.add(register, held);
        }
        used.add(instruction.op_mask(), held);
        used.add(instruction.memory_index(), held);
    }
    Some(used)
}

impl Used {
    fn add(&mut self, register: Register, held: &[u8]) {
        let Some((first, number)) = numbered(register) else { return };
        if first == Register::K0 && MASKS.contains(&number) {
            self.masks.insert(number);
        } else if first != Register::K0 && !held.contains(&number) {
            self.vectors.insert(number);
        }
    }
}

/// The first register of a kind of vector or mask registers, and the number of this one.
fn numbered(register: Register) -> Option<(Register, u8)> {
    let first = match () {
        () if register.is_xmm() => Register::XMM0,
        () if register.is_ymm() => Register::YMM0,
        () if register.is_zmm() => Register::ZMM0,
        () if register.is_k() => Register::K0,
        () => return None,
    };
    Some((first, (register as u32 - first as u32) as u8))
}

/// An instruction with other vector and mask registers.
fn rename(mut instruction: Instruction, vectors: impl Fn(u8) -> u8, masks: impl Fn(u8) -> u8) -> Instruction {
    let other = |register: Register| match numbered(register) {
        Some((Register::K0, number)) => Register::K0 + u32::from(masks(number)),
        Some((first, number)) => first + u32::from(vectors(number)),
        None => register,
    };
    for at in 0..instruction.op_count() {
        if instruction.op_kind(at) == OpKind::Register {
            instruction.set_op_register(at, other(instruction.op_register(at)));
        }
    }
    instruction.set_op_mask(other(instruction.op_mask()));
    if instruction.memory_index() != Register::None {
        instruction.set_memory_index(other(instruction.memory_index()));
    }
    instruction
}

#[cfg(test)]
mod tests {
    use iced_x86::Code::{EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er, Mov_r64_rm64};
    use iced_x86::{Instruction, Register};

    use super::interleave;
    use crate::codegen::avx::operands::Width;

    fn sum(to: Register, a: Register, b: Register) -> Instruction {
        Instruction::with3(EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er, to, a, b).unwrap()
    }

    fn listed(instructions: &[Instruction]) -> Vec<String> {
        instructions.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn bodies_alternate_with_registers_of_their_own() {
        use Register::{ZMM0, ZMM1, ZMM2};
        // The held register 1 stays the same.
        let body = vec![sum(ZMM0, ZMM1, ZMM1), sum(ZMM2, ZMM0, ZMM0)];
        let mixed = interleave(vec![body.clone(), body], Width::Bits512, &[1]);
        assert_eq!(
            listed(&mixed),
            [
                "vaddps zmm0,zmm1,zmm1",
                "vaddps zmm3,zmm1,zmm1",
                "vaddps zmm2,zmm0,zmm0",
                "vaddps zmm4,zmm3,zmm3"
            ]
        );
    }

    #[test]
    fn bodies_that_compute_addresses_stay_apart() {
        let address = Instruction::with2(Mov_r64_rm64, Register::RAX, Register::RDI).unwrap();
        let body = vec![address, sum(Register::ZMM0, Register::ZMM0, Register::ZMM0)];
        let mixed = interleave(vec![body.clone(), body.clone()], Width::Bits512, &[]);
        assert_eq!(mixed, [body.clone(), body].concat());
    }

    #[test]
    fn bodies_without_registers_of_their_own_stay_apart() {
        let body: Vec<Instruction> =
            (0..17).map(|n| sum(Register::ZMM0 + n, Register::ZMM0, Register::ZMM0)).collect();
        let mixed = interleave(vec![body.clone(), body.clone()], Width::Bits512, &[]);
        assert_eq!(mixed, [body.clone(), body].concat());
    }
}
