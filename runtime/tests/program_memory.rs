//! What dropped programs leave behind. One test in its own process: others would be counted with it.
//!
//! `WINDLASS_SOAK_ROUNDS=10000` sets the number of programs that are compiled, run and dropped; without it there are
//! few.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use windlass_compiler::autodiff::{Optimizer, TrainingOptions, training_graph};
use windlass_compiler::dump::Dump;
use windlass_compiler::graph::{Builder, Graph, Layer};
use windlass_compiler::ops::window::Window;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_compiler::plan::SlotKind;
use windlass_compiler::shape::DType;
use windlass_runtime::executor::{Binding, Executor};

const BATCH: usize = 3;

/// Allocated bytes.
static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator with a counter.
struct Counting;

// SAFETY: every call is passed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Relaxed);
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: guaranteed by the caller.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn graph() -> Graph {
    let mut builder = Builder::new("net");
    let x = builder.input("x", &[2, 12, 12]).unwrap();
    let x = builder.layer("c1", &Layer::conv(4, Window::square(3, 1, 1)), x).unwrap();
    let x = builder.layer("n1", &Layer::BatchNorm { epsilon: 1e-5, momentum: 0.1 }, x).unwrap();
    let x = builder.layer("n1", &Layer::Relu, x).unwrap();
    let x = builder.layer("n1", &Layer::max_pool(Window::square(2, 2, 0)), x).unwrap();
    let x = builder.layer("end", &Layer::Flatten, x).unwrap();
    let x = builder.layer("f2", &Layer::linear(3), x).unwrap();
    builder.output("y", x).unwrap();
    builder.finish().unwrap()
}

/// Compiles a graph for some threads, all of which its steps use, and runs it once.
fn compile_and_run(graph: &Graph, mode: Mode, threads: usize) -> Executor {
    let mut options = CompileOptions::default();
    options.plan.threads = threads;
    let (program, _) = compile(graph, mode, &options, &Dump::none()).unwrap();
    let executor = Executor::new(program).unwrap().parallelize_every_step();
    let mut floats: Vec<Vec<f32>> =
        executor.slots().iter().map(|slot| vec![0.5; slot.ty.shape.elements(BATCH)]).collect();
    let integers = [1; BATCH];
    let bindings =
        executor.slots().iter().zip(&mut floats).map(|(slot, floats)| match (slot.kind, slot.ty.dtype) {
            (SlotKind::Input, DType::I32) => Binding::Integers(&integers[..floats.len()]),
            (SlotKind::Input, DType::F32) => Binding::Floats(floats),
            _ => Binding::Written(floats),
        });
    executor.run(&mut bindings.collect::<Vec<_>>(), BATCH, 0).unwrap();
    let written = executor.slots().iter().zip(&floats).filter(|(slot, _)| slot.kind == SlotKind::Output);
    assert!(written.flat_map(|(_, floats)| floats).all(|x| x.is_finite() && *x != 0.5));
    executor
}

/// The system resources of the process.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// Resident bytes.
    resident: usize,
    /// Mapped address ranges.
    maps: usize,
    /// Bytes of executable memory that belong to no file.
    code: usize,
}

impl Held {
    /// `None` if the system does not report it.
    fn now() -> Option<Held> {
        const PAGE: usize = 4096;
        let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
        let resident = pages.split_whitespace().nth(1)?.parse::<usize>().ok()? * PAGE;
        let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
        let code = maps.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (start, end) = fields[0].split_once('-')?;
            let bound = |text| usize::from_str_radix(text, 16).ok();
            (fields[1].contains('x') && fields.len() == 5).then_some(bound(end)? - bound(start)?)
        });
        Some(Held { resident, maps: maps.lines().count(), code: code.sum() })
    }
}

/// The number of programs to compile and drop.
fn rounds() -> usize {
    let asked = std::env::var("WINDLASS_SOAK_ROUNDS").ok();
    asked.map_or(240, |asked| asked.parse().expect("WINDLASS_SOAK_ROUNDS is a number of rounds"))
}

#[test]
fn dropped_programs_give_back_their_memory() {
    let inference = graph();
    let options = TrainingOptions::default().optimizer(Optimizer::adam());
    let training = training_graph(&inference, &options).unwrap();
    let round = |round: usize| match round % 2 {
        0 => compile_and_run(&inference, Mode::Inference, 1 + round / 2 % 3),
        _ => compile_and_run(&training, Mode::Training, 1 + round / 2 % 3),
    };
    let code = |held: Option<Held>| held.map(|held| held.code);
    assert!(code(Held::now()).is_none_or(|code| code == 0));
    let kept: Vec<Executor> = (0..6).map(round).collect();
    let kept_code = code(Held::now());
    assert!(kept_code.is_none_or(|code| code > 0));

    let rounds = rounds();
    // The first ones grow the allocator's pools to the size that compiling and threads need.
    for index in 0..rounds.clamp(60, 500) {
        drop(round(index));
    }
    let before = Held::now();
    let allocated = ALLOCATED.load(Relaxed);
    for index in 0..rounds {
        drop(round(index));
    }
    let after = Held::now();
    let leaked = ALLOCATED.load(Relaxed).saturating_sub(allocated);
    assert!(leaked < 8 * rounds, "{leaked} bytes more are allocated than {allocated} before {rounds} rounds");
    assert_eq!(code(after), kept_code, "the code of dropped programs is still there");
    if let (Some(before), Some(after)) = (before, after) {
        println!("before {rounds} rounds {before:?}, after them {after:?}");
        let grown = after.resident.saturating_sub(before.resident);
        // The allocator's pools may grow by some pages in any case: only many rounds can detect 1 %.
        let allowed = if rounds < 5000 { 1 << 20 } else { before.resident / 100 };
        assert!(grown <= allowed, "{grown} bytes more than {} before", before.resident);
        // The allocator may have split or merged its ranges.
        assert!(after.maps <= before.maps + 4, "{} maps, {} before", after.maps, before.maps);
    }
    drop(kept);
    assert!(code(Held::now()).is_none_or(|code| code == 0));
}
