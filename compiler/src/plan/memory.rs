//! Places every value in an arena, so that values that are not live at the same time share memory.
//!
//! Of the values that prepacking computes, only those that runs read live as long as the program; intermediates have a
//! separate arena, which exists only during prepacking.
//!
//! Buffers are placed largest first, each at the lowest offset that is free in all overlapping lifetimes (the
//! greedy-by-size method of Pisarchyk and Lee 2020, arXiv:2001.03288).

use std::collections::HashSet;

use super::{Buffer, Location, Loop, MemoryPlan, Size, Window};
use crate::abi::ALIGNMENT_WORDS;
use crate::faults::{Fault, armed};
use crate::kernel::{BufferId, Kernel, SizeId};

/// A buffer, and its first and last use.
type Life = (usize, usize, usize);

pub(super) fn place(
    buffers: &mut [Buffer],
    constants: &[(BufferId, Vec<f32>)],
    prepack: &[Kernel],
    run: &[Kernel],
    loops: (&[Loop], &[Window]),
) -> MemoryPlan {
    let mut memory = MemoryPlan::default();
    for buffer in buffers.iter() {
        if let Location::Scratch(offset) = buffer.location {
            memory.scratch =
                memory.scratch.max(offset + buffer.size.elements.next_multiple_of(ALIGNMENT_WORDS));
        }
    }
    let windows = loops.1;
    let used_by_runs: HashSet<BufferId> =
        run.iter().flat_map(Kernel::buffers).map(|buffer| whole(buffers, windows, buffer)).collect();
    let prepacked = prepack.iter().flat_map(Kernel::buffers).filter(|buffer| used_by_runs.contains(buffer));
    for id in constants.iter().map(|(buffer, _)| *buffer).chain(prepacked) {
        let buffer = &mut buffers[id.index()];
        if buffer.location == Location::Nowhere {
            buffer.location = Location::Prepacked(memory.prepacked);
            memory.prepacked += buffer.size.elements.next_multiple_of(ALIGNMENT_WORDS);
        }
    }
    let is_new = |location| location == Location::Nowhere;
    let intermediates = lives(buffers, prepack, (&[], &[]), is_new);
    memory.prepacking = share(buffers, &intermediates, Location::Prepacking);
    let (open, fixed): (Vec<Life>, Vec<Life>) = lives(buffers, run, loops, is_new)
        .into_iter()
        .partition(|&(buffer, ..)| buffers[buffer].size.open.is_some());
    // Each size has its own arena. That of the batch comes first, and exists even if it is empty.
    let mut sizes: Vec<SizeId> = open.iter().filter_map(|&(buffer, ..)| buffers[buffer].size.open).collect();
    sizes.push(SizeId::BATCH);
    sizes.sort_unstable();
    sizes.dedup();
    for (arena, size) in sizes.into_iter().enumerate() {
        let own: Vec<Life> =
            open.iter().copied().filter(|&(buffer, ..)| buffers[buffer].size.open == Some(size)).collect();
        let words = share(buffers, &own, |offset| Location::Open { arena, offset });
        memory.open.push((size, words));
    }
    memory.fixed = share(buffers, &fixed, Location::Fixed);
    memory
}

/// Places buffers in one arena and returns its size.
fn share(buffers: &mut [Buffer], lives: &[Life], place: impl Fn(usize) -> Location) -> usize {
    let (offsets, total) = assign(lives, |buffer| buffers[buffer].size);
    for (&(buffer, ..), offset) in lives.iter().zip(offsets) {
        buffers[buffer].location = place(offset);
    }
    total
}

/// The buffer that a buffer is a part of.
fn whole(buffers: &[Buffer], windows: &[Window], buffer: BufferId) -> BufferId {
    match buffers[buffer.index()].location {
        Location::Window(window) => whole(buffers, windows, windows[window].start.buffer),
        _ => buffer,
    }
}

/// The lifetimes of buffers at some locations, in kernels that run one after the other. What a loop and kernels outside
/// it access lives as long as the whole loop runs.
pub(super) fn lives(
    buffers: &[Buffer],
    kernels: &[Kernel],
    (loops, windows): (&[Loop], &[Window]),
    is_meant: impl Fn(Location) -> bool,
) -> Vec<Life> {
    let mut spans: Vec<Option<(usize, usize)>> = vec![None; buffers.len()];
    for (step, kernel) in kernels.iter().enumerate() {
        for id in kernel.buffers().into_iter().map(|buffer| whole(buffers, windows, buffer)) {
            if is_meant(buffers[id.index()].location) {
                let span = spans[id.index()].get_or_insert((step, step));
                span.1 = step;
            }
        }
    }
    // Inner loops before those around them.
    for Loop { kernels, .. } in loops.iter().rev().filter(|inner| !inner.kernels.is_empty()) {
        for (first, last) in spans.iter_mut().flatten() {
            let is_used_inside = *first < kernels.end && *last >= kernels.start;
            let is_inside = kernels.contains(first) && kernels.contains(last);
            if is_used_inside && !is_inside {
                (*first, *last) = ((*first).min(kernels.start), (*last).max(kernels.end - 1));
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
    let aligned = |buffer: usize| size(buffer).elements.next_multiple_of(ALIGNMENT_WORDS);
    let mut order: Vec<usize> = (0..lives.len()).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(aligned(lives[index].0)), index));
    let mut offsets = vec![0; lives.len()];
    // Ordered by offset.
    let mut placed: Vec<usize> = Vec::new();
    let mut total = 0;
    for index in order {
        let (buffer, first, last) = lives[index];
        let mut offset = 0;
        let overlaps = |other: &usize| {
            let (_, other_first, other_last) = lives[*other];
            other_first <= last && first + usize::from(armed(Fault::ArenaOverlap)) <= other_last
        };
        for &other in placed.iter().filter(|other| overlaps(other)) {
            if offset + aligned(buffer) <= offsets[other] {
                break;
            }
            offset = offset.max(offsets[other] + aligned(lives[other].0));
        }
        offsets[index] = offset;
        total = total.max(offset + aligned(buffer));
        placed.insert(placed.partition_point(|&other| offsets[other] <= offset), index);
    }
    (offsets, total)
}

#[cfg(test)]
mod tests {
    use super::super::lowering::copy;
    use super::*;
    use crate::kernel::{Address, Element};

    fn buffer(elements: usize) -> Buffer {
        let size = Size::fixed(elements);
        Buffer { name: String::new(), size, element: Element::F32, location: Location::Nowhere }
    }

    fn copies(pairs: &[(usize, usize)]) -> Vec<Kernel> {
        let start = |buffer| Address::start(BufferId(buffer));
        let size = Size::fixed(16);
        pairs.iter().map(|&(from, to)| copy("copy", start(from), start(to), size, Element::F32)).collect()
    }

    #[test]
    fn what_only_prepacking_uses_shares_memory_that_is_not_kept() {
        let mut buffers = [16; 7].map(buffer);
        buffers[0].location = Location::Slot(0);
        buffers[6].location = Location::Slot(1);
        // 1 to 3 are intermediates of 4; runs read 4 and the constant 5.
        let prepack = copies(&[(0, 1), (1, 2), (2, 3), (3, 4)]);
        let run = copies(&[(4, 6), (5, 6)]);
        let memory = place(&mut buffers, &[(BufferId(5), vec![0.0; 16])], &prepack, &run, (&[], &[]));
        assert_eq!(
            memory,
            MemoryPlan {
                open: vec![(SizeId::BATCH, 0)],
                prepacked: 32,
                prepacking: 32,
                ..MemoryPlan::default()
            }
        );
        let places = buffers.map(|buffer| buffer.location);
        assert_eq!(places[4..6], [Location::Prepacked(16), Location::Prepacked(0)]);
        assert_eq!(
            places[1..4],
            [Location::Prepacking(0), Location::Prepacking(16), Location::Prepacking(0)]
        );
    }

    #[test]
    fn values_alive_together_never_overlap_and_others_share() {
        let sizes = [100, 40, 16, 100, 64];
        let lives = [(0, 0, 2), (1, 1, 3), (2, 2, 4), (3, 3, 5), (4, 4, 6)];
        let size = |buffer: usize| Size::fixed(sizes[buffer]);
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
