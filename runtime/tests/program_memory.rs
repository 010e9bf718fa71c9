//! What programs leave behind when they are dropped. One test in a process of its own: others would be counted with it.

use windlass_compiler::codegen::Program;
use windlass_compiler::dump::Dump;
use windlass_compiler::graph::{Builder, Graph, Layer};
use windlass_compiler::ops::window::Window;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_runtime::executor::{Binding, Executor};

fn graph() -> Graph {
    let mut builder = Builder::new("net");
    let x = builder.input("x", &[1, 12, 12]).unwrap();
    let x = builder.layer("c1", &Layer::conv2d(4, Window::square(3, 1, 1)), x).unwrap();
    let x = builder.layer("c1", &Layer::Sigmoid, x).unwrap();
    let x = builder.layer("end", &Layer::Flatten, x).unwrap();
    builder.output("y", x).unwrap();
    builder.finish().unwrap()
}

fn compile_and_run(graph: &Graph) -> Executor {
    let mut options = CompileOptions::default();
    options.plan.threads = 2;
    let (program, _) = compile(graph, Mode::Inference, &options, &Dump::none()).unwrap();
    let executor = Executor::new(program).unwrap();
    let mut y = vec![0.0; 4 * 12 * 12];
    let mut bindings = [
        Binding::Floats(&[1.0; 144]),
        Binding::Floats(&[0.5; 36]),
        Binding::Floats(&[0.0; 4]),
        Binding::Written(&mut y),
    ];
    executor.run(&mut bindings, 1, 0).unwrap();
    assert!(y.iter().all(|y| (0.8..1.0).contains(y)));
    executor
}

/// Bytes of the process that lie in memory, where the system tells.
fn resident_bytes() -> Option<usize> {
    const PAGE: usize = 4096;
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(pages.split_whitespace().nth(1)?.parse::<usize>().ok()? * PAGE)
}

#[test]
fn dropped_programs_give_back_their_memory() {
    let graph = graph();
    assert_eq!(Program::live(), 0);
    let kept: Vec<Executor> = (0..3).map(|_| compile_and_run(&graph)).collect();
    assert_eq!(Program::live(), 3);
    // The first ones grow the allocator's pools to what compiling needs.
    for _ in 0..50 {
        drop(compile_and_run(&graph));
    }
    let before = resident_bytes();
    for _ in 0..200 {
        drop(compile_and_run(&graph));
        assert_eq!(Program::live(), 3);
    }
    if let (Some(before), Some(after)) = (before, resident_bytes()) {
        // Each program has some pages of code: 200 of them would be 1.6 MB at the very least.
        let grown = after.saturating_sub(before);
        assert!(grown < 1 << 20, "{grown} bytes more after 200 programs");
    }
    drop(kept);
    assert_eq!(Program::live(), 0);
}
