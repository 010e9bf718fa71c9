//! Addresses and permissions of program code.

#![cfg(target_os = "linux")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use region::{Protection, page};
use windlass_compiler::codegen::available_vector_bits;
use windlass_compiler::dump::Dump;
use windlass_compiler::graph::{Builder, Graph, Layer};
use windlass_compiler::ops::window::Window;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_runtime::executor::{Binding, Executor};

fn graph() -> Graph {
    let mut builder = Builder::new("net");
    let mut x = builder.input("x", &[8, 12, 12]).unwrap();
    for layer in ["c1", "c2", "c3"] {
        x = builder.layer(layer, &Layer::conv(24, Window::square(3, 1, 1)), x).unwrap();
        x = builder.layer(layer, &Layer::Sigmoid, x).unwrap();
    }
    let x = builder.layer("end", &Layer::Flatten, x).unwrap();
    let x = builder.layer("end", &Layer::linear(10), x).unwrap();
    builder.output("y", x).unwrap();
    builder.finish().unwrap()
}

/// Compiles the network for a vector width and runs it.
fn compile_and_run(graph: &Graph, bits: usize) -> Vec<f32> {
    let mut options = CompileOptions::default();
    options.plan.vector_bits = Some(bits);
    let (program, _) = compile(graph, Mode::Inference, &options, &Dump::none()).unwrap();
    let executor = Executor::new(program).unwrap();
    let mut values: Vec<Vec<f32>> =
        executor.slots().iter().map(|slot| vec![0.125; slot.ty.shape.elements(1)]).collect();
    let mut bindings: Vec<Binding<'_>> = values.iter_mut().map(|values| Binding::Written(values)).collect();
    executor.run(&mut bindings, 1, 0).unwrap();
    let output = executor.slots().iter().position(|slot| slot.name == "y").unwrap();
    values.swap_remove(output)
}

/// The number of address ranges of this process that are both writable and executable, and the number of executable
/// ones.
fn writable_code() -> (Vec<String>, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let may = |line: &&str, what: char| line.split_whitespace().nth(1).unwrap().contains(what);
    let executable: Vec<&str> = maps.lines().filter(|line| may(line, 'x')).collect();
    let both = executable.iter().filter(|line| may(line, 'w')).map(|line| (*line).to_owned()).collect();
    (both, executable.len())
}

#[test]
fn no_memory_is_writable_and_executable() {
    let graph = graph();
    let looks = AtomicUsize::new(0);
    thread::scope(|scope| {
        let compiling: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut rounds = 0;
                    // Under load the observer may hardly get to run: it looks at least a hundred times.
                    while rounds < 3 || looks.load(Ordering::Relaxed) < 100 {
                        for bits in available_vector_bits() {
                            assert!(compile_and_run(&graph, bits).iter().all(|x| x.is_finite()));
                        }
                        rounds += 1;
                    }
                })
            })
            .collect();
        let mut found = Vec::new();
        while !compiling.iter().all(thread::ScopedJoinHandle::is_finished) {
            let (both, executable) = writable_code();
            assert!(executable > 0, "this program itself is executable");
            found.extend(both);
            looks.fetch_add(1, Ordering::Relaxed);
        }
        assert!(found.is_empty(), "{found:?}");
    });
}

/// Functions of a program call each other over at most 2 GiB, wherever there is room in the address space.
#[test]
fn code_lies_together_where_free_memory_is_scattered() {
    let graph = graph();
    let expected: Vec<Vec<f32>> =
        available_vector_bits().into_iter().map(|bits| compile_and_run(&graph, bits)).collect();
    // Room for three pages here, and for everything else only far away.
    let nothing = |bytes| region::alloc(bytes, Protection::NONE).unwrap();
    let mut pages: Vec<_> = (0..7).map(|_| nothing(page::size())).collect();
    let far = nothing(5 << 30);
    let mut filled = Vec::new();
    for bytes in [64, 8, 1].map(|count| count * page::size()) {
        loop {
            let block = nothing(bytes);
            if block.as_ptr::<u8>() < far.as_ptr() {
                break;
            }
            filled.push(block);
        }
    }
    for hole in [5, 3, 1] {
        drop(pages.remove(hole));
    }
    for (bits, expected) in available_vector_bits().into_iter().zip(&expected) {
        assert_eq!(&compile_and_run(&graph, bits), expected);
    }
    drop((pages, far, filled));
}

/// `perf` gets the addresses of code, with the names of kernels and leaves.
#[test]
fn names_for_perf_stand_for_code() {
    let dump = Dump::none().with_names_for_perf();
    let (program, _) = compile(&graph(), Mode::Inference, &CompileOptions::default(), &dump).unwrap();
    let file = format!("/tmp/perf-{}.map", std::process::id());
    let names = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let number = |text| usize::from_str_radix(text, 16).unwrap();
    let code: Vec<(usize, usize)> = maps
        .lines()
        .filter(|line| line.split_whitespace().nth(1) == Some("r-xp"))
        .map(|line| line.split_once(' ').unwrap().0.split_once('-').unwrap())
        .map(|(start, end)| (number(start), number(end)))
        .collect();
    for line in names.lines() {
        let mut fields = line.split(' ');
        let (first, bytes) = (number(fields.next().unwrap()), number(fields.next().unwrap()));
        assert!(code.iter().any(|&(start, end)| start <= first && first + bytes <= end), "{line}");
    }
    assert!(program.run_steps().iter().all(|step| names.contains(&step.name)));
}
