//! Counts the memory of a thread, to detect inputs that use too much.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// A counting allocator, per thread.
#[derive(Debug)]
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that is ending has no counters any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: all calls go to the system allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: guaranteed by the caller: the memory is the system allocator's, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: guaranteed by the caller: the memory is the system allocator's, with this layout.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Runs a closure and returns the maximum number of bytes that this thread held in addition.
pub fn most_held<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    MOST.set(before);
    let result = run();
    (result, usize::try_from(MOST.get() - before).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::most_held;

    #[test]
    fn what_is_freed_again_counts() {
        let (length, most) = most_held(|| {
            let large = vec![1u8; 1 << 20];
            large.len() + vec![1u8; 1 << 10].len()
        });
        assert_eq!(length, (1 << 20) + (1 << 10));
        assert!(((1 << 20) + (1 << 10)..(1 << 20) + (1 << 12)).contains(&most), "{most}");
    }
}
