//! Disassembles assembled functions.

use std::fmt::Write;

use iced_x86::{Code, Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter};

/// The alignment of the constants after the code.
const LINE: usize = 64;
/// Constants on a line of the listing.
const CONSTANTS: usize = 8;

/// The instructions of an assembled function in Intel syntax with their offsets, and its constants as 32-bit words.
pub(in crate::codegen) fn listing(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut decoder = Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE);
    let mut formatter = IntelFormatter::new();
    let mut instruction = Instruction::default();
    // The only return is the last instruction.
    while decoder.can_decode() && instruction.code() != Code::Retnq {
        decoder.decode_out(&mut instruction);
        let _ = write!(text, "{:6x}: ", instruction.ip());
        formatter.format(&instruction, &mut text);
        text.push('\n');
    }
    let end = decoder.position().next_multiple_of(LINE);
    for (index, line) in bytes.get(end..).unwrap_or_default().chunks(4 * CONSTANTS).enumerate() {
        let _ = write!(text, "{:6x}: constants", end + index * 4 * CONSTANTS);
        for word in line.chunks_exact(4) {
            let word = word.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
            let _ = write!(text, " {word:08x}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::emit::Emitter;
    use super::super::operands::{Lanes, MemoryRef, Vector, Width};
    use super::*;
    use iced_x86::Register;

    #[test]
    fn instructions_and_constants_are_told_apart() {
        let mut emitter = Emitter::new(Width::Bits256).unwrap();
        emitter.use_constants(Register::R11);
        let one = emitter.constant(vec![0x3f80_0000; 8]);
        emitter.load(Vector(1), one, Lanes::All);
        emitter.store(Vector(1), MemoryRef::at(Register::RDI, 32), Lanes::All);
        emitter.leave();
        let text = listing(&emitter.finish().unwrap());
        let lines: Vec<&str> = text.lines().map(|line| line.split_once(": ").unwrap().1).collect();
        let (constants, code) = lines.split_last().unwrap();
        let expected = [
            "lea r11,[20h]",
            "add r11,3Fh",
            "and r11,0FFFFFFFFFFFFFFC0h",
            "vmovups ymm1,[r11]",
            "vmovups [rdi+20h],ymm1",
            "vzeroupper",
            "ret",
        ];
        assert_eq!(
            code.iter().map(|line| line.replace("[21h]", "[20h]")).collect::<Vec<_>>(),
            expected,
            "{text}"
        );
        assert_eq!(constants.split(' ').skip(1).collect::<Vec<_>>(), ["3f800000"; 8], "{text}");
    }
}
