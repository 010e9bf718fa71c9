//! `windlass verify`: compiled code against the interpreter.

use std::error::Error;

use clap::Args;
use windlass::{Features, Options, available_vector_bits};

use crate::inputs::{drawn, forward};
use crate::interpreter;
use crate::network::{RunSizes, Task};

/// The arguments of `windlass verify`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    task: Task,
    #[command(flatten)]
    sizes: RunSizes,
    /// The largest difference that is accepted, relative to the largest number of an output
    #[arg(long, default_value_t = 1e-4, value_name = "NUMBER")]
    tolerance: f64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let network = arguments.task.network()?;
    let parameters = arguments.task.weights.of(&network)?;
    let sizes = arguments.sizes.of(&network)?;
    let inputs = drawn(network.graph(), &sizes, 1);
    let expected = interpreter::outputs(network.graph(), &parameters, &inputs, &sizes)?;
    let mut worst = 0.0f64;
    let baseline = std::iter::once((128, Features::Baseline));
    for (bits, features) in
        baseline.chain(available_vector_bits().into_iter().map(|bits| (bits, Features::Native)))
    {
        let mut options = Options::default();
        options.compile.plan.vector_bits = Some(bits);
        options.compile.plan.features = features;
        let model = windlass::Model::of_parameters((*network).clone(), parameters.clone(), &options)?;
        let outputs = forward(&model, &inputs)?;
        for (name, expected) in &expected {
            let got = outputs.get(name)?;
            let largest = expected.iter().fold(f64::MIN_POSITIVE, |most, number| most.max(number.abs()));
            let difference = got.iter().zip(expected).fold(0.0f64, |most, (got, expected)| {
                let difference = (f64::from(*got) - expected).abs();
                if difference.is_nan() && !expected.is_nan() { f64::INFINITY } else { most.max(difference) }
            });
            let relative = difference / largest;
            worst = worst.max(relative);
            let features = if features == Features::Baseline { ", baseline" } else { "" };
            println!("{bits} bits{features}: `{name}` differs by {relative:.1e} of its largest number");
        }
    }
    match worst <= arguments.tolerance {
        true => Ok(()),
        false => Err(format!(
            "compiled code differs from the interpreter by {worst:.1e}, more than {:.1e}",
            arguments.tolerance
        )
        .into()),
    }
}
