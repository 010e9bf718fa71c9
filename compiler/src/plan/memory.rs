//! Places every value in an arena, so that values that never live at the same time share memory.
//!
//! Buffers are placed largest first, each at the lowest offset free of every buffer whose life overlaps its own
//! (the greedy-by-size method of Pisarchyk and Lee 2020, arXiv:2001.03288).

use super::{Buffer, Memory, Place, Size};
use crate::kernel::{BufferId, Kernel};

/// Elements between possible starts: a cache line.
pub(super) const ALIGNMENT: usize = 16;

/// Buffer, its first and its last use.
type Life = (usize, usize, usize);

pub(super) fn place(
    buffers: &mut [Buffer],
    constants: &[(BufferId, Vec<f32>)],
    prepare: &[Kernel],
    run: &[Kernel],
) -> Memory {
    let mut memory = Memory::default();
    for buffer in buffers.iter() {
        if let Place::Scratch(offset) = buffer.place {
            memory.scratch = memory.scratch.max(offset + buffer.size.elements.next_multiple_of(ALIGNMENT));
        }
    }
    let kept = constants.iter().map(|(buffer, _)| *buffer).chain(prepare.iter().flat_map(Kernel::buffers));
    for id in kept {
        let buffer = &mut buffers[id.index()];
        if buffer.place == Place::Nowhere {
            buffer.place = Place::Prepared(memory.prepared);
            memory.prepared += buffer.size.elements.next_multiple_of(ALIGNMENT);
        }
    }
    let lives = lives(buffers, run);
    for batched in [true, false] {
        let chosen: Vec<Life> =
            lives.iter().copied().filter(|&(buffer, ..)| buffers[buffer].size.batched == batched).collect();
        let (offsets, total) = assign(&chosen, |buffer| buffers[buffer].size);
        for (&(buffer, ..), offset) in chosen.iter().zip(offsets) {
            buffers[buffer].place = if batched { Place::Batch(offset) } else { Place::Fixed(offset) };
        }
        *(if batched { &mut memory.batch } else { &mut memory.fixed }) = total;
    }
    memory
}

fn lives(buffers: &[Buffer], run: &[Kernel]) -> Vec<Life> {
    let mut spans: Vec<Option<(usize, usize)>> = vec![None; buffers.len()];
    for (step, kernel) in run.iter().enumerate() {
        for id in kernel.buffers() {
            if buffers[id.index()].place == Place::Nowhere {
                let span = spans[id.index()].get_or_insert((step, step));
                span.1 = step;
            }
        }
    }
    spans
        .into_iter()
        .enumerate()
        .filter_map(|(buffer, span)| span.map(|(first, last)| (buffer, first, last)))
        .collect()
}

fn assign(lives: &[Life], size: impl Fn(usize) -> Size) -> (Vec<usize>, usize) {
    let aligned = |buffer: usize| size(buffer).elements.next_multiple_of(ALIGNMENT);
    let mut order: Vec<usize> = (0..lives.len()).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(aligned(lives[index].0)), index));
    let mut offsets = vec![0; lives.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut total = 0;
    for index in order {
        let (buffer, first, last) = lives[index];
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|&&other| lives[other].1 <= last && first <= lives[other].2)
            .map(|&other| (offsets[other], offsets[other] + aligned(lives[other].0)))
            .collect();
        taken.sort_unstable();
        let mut offset = 0;
        for (start, end) in taken {
            if offset + aligned(buffer) <= start {
                break;
            }
            offset = offset.max(end);
        }
        offsets[index] = offset;
        total = total.max(offset + aligned(buffer));
        placed.push(index);
    }
    (offsets, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_alive_together_never_overlap_and_others_share() {
        let sizes = [100, 40, 16, 100, 64];
        let lives = [(0, 0, 2), (1, 1, 3), (2, 2, 4), (3, 3, 5), (4, 4, 6)];
        let size = |buffer: usize| Size { batched: false, elements: sizes[buffer] };
        let (offsets, total) = assign(&lives, size);
        let end = |index: usize| offsets[index] + sizes[index];
        for a in 0..lives.len() {
            for b in 0..a {
                let together = lives[a].1 <= lives[b].2 && lives[b].1 <= lives[a].2;
                assert!(!together || end(a) <= offsets[b] || end(b) <= offsets[a], "{a} and {b}");
            }
        }
        assert!(total < sizes.iter().sum());
    }
}
