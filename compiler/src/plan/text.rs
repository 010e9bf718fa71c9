//! Prints a plan: memory, buffers, kernels with their notes, choices.

use std::fmt;

use super::{Location, Plan};
use crate::kernel::Element;
use crate::kernel::SizeId;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = &self.memory;
        writeln!(f, "plan {} {{", self.name)?;
        for (index, size) in self.sizes.polynomials().iter().enumerate().skip(1) {
            writeln!(f, "  {} = {size}", SizeId(index))?;
        }
        let open: String = memory
            .open
            .iter()
            .map(|&(size, words)| match size {
                SizeId::BATCH => format!("{} per sample, ", 4 * words),
                _ => format!("{size}*{}, ", 4 * words),
            })
            .collect();
        writeln!(
            f,
            "  memory (bytes): {}{} fixed, {} prepacked, {} scratch on each of {} threads{}",
            open,
            4 * memory.fixed,
            4 * memory.prepacked,
            4 * memory.scratch,
            self.threads,
            match memory.prepacking {
                0 => String::new(),
                elements => format!(", {} while prepacking", 4 * elements),
            }
        )?;
        for (index, buffer) in self.buffers.iter().enumerate() {
            let place = match buffer.location {
                Location::Nowhere => continue,
                Location::Slot(slot) => format!("{:?} `{}`", self.slots[slot].kind, self.slots[slot].name),
                Location::Open { arena, offset } => match memory.open[arena].0 {
                    SizeId::BATCH => format!("batch arena at N*{offset}"),
                    size => format!("arena of {size} at {size}*{offset}"),
                },
                Location::Fixed(offset) => format!("fixed arena at {offset}"),
                Location::Prepacked(offset) => format!("prepacked at {offset}"),
                Location::Prepacking(offset) => format!("prepacking at {offset}"),
                Location::Scratch(offset) => format!("scratch at {offset}"),
                Location::Window(window) => self.windows[window].to_string(),
            };
            let elements = match buffer.element {
                Element::F32 | Element::I32 => buffer.element.to_string(),
                Element::U8 => format!("{} {}", 4 / buffer.element.bytes(), buffer.element),
            };
            writeln!(f, "  b{index} = {} x {elements} in {place}  ; {}", buffer.size, buffer.name)?;
        }
        for (stage, kernels) in [("prepack", &self.prepack), ("run", &self.run)] {
            for (step, kernel) in kernels.iter().enumerate() {
                writeln!(f, "  {stage} {step}: {}  ; {}", kernel.name, kernel.note)?;
            }
        }
        if !self.choices.0.is_empty() {
            writeln!(f, "  choices (predicted time per sample):")?;
            for line in self.choices.to_string().lines() {
                writeln!(f, "    {line}")?;
            }
        }
        f.write_str("}\n")
    }
}
