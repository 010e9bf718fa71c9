//! A batch that exceeds the process's memory limit is refused, and the process continues.
#![cfg(unix)]

use std::process::Command;

use windlass_compiler::dump::Dump;
use windlass_compiler::graph::{Builder, Layer};
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_runtime::Error;
use windlass_runtime::executor::{Binding, Executor};

/// Set in the process that has a limit.
const LIMITED_VARIABLE: &str = "WINDLASS_TEST_LIMITED";

/// Values of each sample that a run keeps.
const VALUES: usize = 1 << 18;

/// The network's output for a batch of ones.
fn run_on(executor: &Executor, batch: usize) -> Result<Vec<f32>, Error> {
    let (x, weights, mut y) = (vec![1.0; batch], vec![0.5; VALUES], vec![0.0; batch]);
    let mut run = executor.start(batch)?;
    let output = executor.slots().iter().position(|slot| slot.name == "y").expect("an output");
    for (place, slot) in executor.slots().iter().enumerate().filter(|(place, _)| *place != output) {
        match slot.name.as_str() {
            "x" => run.bind(place, Binding::Floats(&x))?,
            _ => run.bind(place, Binding::Floats(&weights[..slot.ty.shape.elements(1)]))?,
        }
    }
    run.bind(output, Binding::Written(&mut y))?;
    run.execute(0)?;
    Ok(y)
}

fn run_under_a_limit() -> Result<(), Box<dyn std::error::Error>> {
    let mut builder = Builder::new("wide");
    let x = builder.input("x", &[1])?;
    let x = builder.layer("f1", &Layer::linear(VALUES), x)?;
    let x = builder.layer("r1", &Layer::Relu, x)?;
    let x = builder.layer("f2", &Layer::linear(1), x)?;
    builder.output("y", x)?;
    let (program, _) =
        compile(&builder.finish()?, Mode::Inference, &CompileOptions::default(), &Dump::none())?;
    let executor = Executor::new(program)?;
    // 8 GiB, with a limit of 4 GiB.
    let batch = (8 << 30) / (4 * VALUES);
    let error = run_on(&executor, batch).expect_err("more than the limit");
    assert!(matches!(error, Error::OutOfMemory { needed, .. } if needed >= 8 << 30), "{error}");
    assert!(
        error.to_string().starts_with("a run of `wide` on a batch of 8192 needs 8192.0 MiB of memory"),
        "{error}"
    );
    let y = run_on(&executor, 2)?;
    assert!(y[0] > 0.0 && y[0] == y[1]);
    Ok(())
}

#[test]
fn a_batch_beyond_the_limit_is_refused() {
    if std::env::var_os(LIMITED_VARIABLE).is_some() {
        return run_under_a_limit().expect("it goes on with less");
    }
    let output = Command::new("sh")
        .args(["-c", "ulimit -v 4194304; exec \"$0\" --exact \"$1\" --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .arg("a_batch_beyond_the_limit_is_refused")
        .env(LIMITED_VARIABLE, "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
