//! A function that finds the widest vectors of an x86-64 CPU, assembled because Cranelift has no `cpuid`.

use iced_x86::IcedError;
use iced_x86::code_asm::{CodeAssembler, eax, ebx, ecx, r8d, r9d, rbx};

/// FMA, OSXSAVE and AVX, in `ecx` of leaf 1.
const FMA_AVX: i32 = 1 << 12 | 1 << 27 | 1 << 28;
/// AVX2 and AVX-512F, bits of `ebx` of leaf 7.
const AVX2: u32 = 5;
const AVX512F: u32 = 16;
/// The registers that the operating system saves: XMM and YMM; those and ZMM and masks.
const SAVES_256: i32 = 0x6;
const SAVES_512: i32 = 0xE6;

/// `int (void)`: 128, 256 or 512 bits.
pub(super) fn widest_vectors() -> Result<Vec<u8>, IcedError> {
    let mut code = CodeAssembler::new(64)?;
    let (mut narrow, mut end) = (code.create_label(), code.create_label());
    code.push(rbx)?;
    code.mov(r9d, 128)?;
    code.mov(eax, 1)?;
    code.xor(ecx, ecx)?;
    code.cpuid()?;
    code.and(ecx, FMA_AVX)?;
    code.cmp(ecx, FMA_AVX)?;
    code.jne(end)?;
    code.xor(ecx, ecx)?;
    code.xgetbv()?;
    code.mov(r8d, eax)?;
    code.and(eax, SAVES_256)?;
    code.cmp(eax, SAVES_256)?;
    code.jne(end)?;
    code.mov(eax, 7)?;
    code.xor(ecx, ecx)?;
    code.cpuid()?;
    code.bt(ebx, AVX2)?;
    code.jnc(end)?;
    code.mov(r9d, 256)?;
    code.bt(ebx, AVX512F)?;
    code.jnc(narrow)?;
    code.and(r8d, SAVES_512)?;
    code.cmp(r8d, SAVES_512)?;
    code.jne(narrow)?;
    code.mov(r9d, 512)?;
    code.set_label(&mut narrow)?;
    code.nop()?;
    code.set_label(&mut end)?;
    code.mov(eax, r9d)?;
    code.pop(rbx)?;
    code.ret()?;
    code.assemble(0)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use memmap2::MmapMut;

    /// The function agrees with what the standard library detects.
    #[test]
    fn the_widest_vectors_are_those_of_this_cpu() {
        let code = super::widest_vectors().unwrap();
        let mut map = MmapMut::map_anon(code.len()).unwrap();
        map[..code.len()].copy_from_slice(&code);
        let map = map.make_exec().unwrap();
        // SAFETY: the bytes are those of a function of this signature, which changes no memory.
        let widest: extern "C" fn() -> i32 = unsafe { std::mem::transmute(map.as_ptr()) };
        let expected = crate::target::available_vector_bits().last().copied().unwrap();
        assert_eq!(widest() as usize, expected);
    }
}
