//! `windlass grad`: the loss of a batch and its gradients, also against central differences.

use std::error::Error;

use clap::Args;
use comfy_table::{CellAlignment, Table, TableComponent, presets};
use fastrand::Rng;
use ndarray::ArrayD;
use windlass::{Dynamic, GradientOptions, Graph, Parameters};
use windlass_compiler::autodiff::{gradient_graph, names};
use windlass_compiler::interp::Data;
use windlass_compiler::passes;

use crate::batch::{Batch, Examples};
use crate::inputs::{data, feeds};
use crate::network::{Engine, Loaded, Task};
use crate::run::Kind;
use crate::training::LossKind;
use crate::{File, interpreter, tensors};

/// The arguments of `windlass grad`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    task: Task,
    #[command(flatten)]
    examples: Examples,
    /// The loss
    #[arg(long, value_name = "LOSS", value_enum, default_value = "cross-entropy")]
    loss: LossKind,
    /// The output that the loss is of, if there are several
    #[arg(long, value_name = "NAME")]
    loss_output: Option<String>,
    /// A safetensors file for the loss and the gradients, each under the name of its input or parameter
    #[arg(short, long, value_name = "FILE")]
    output: Option<File>,
    /// Compiled code, or the interpreter in double precision
    #[arg(long, value_enum, default_value = "compiled")]
    engine: Kind,
    /// Compare with central differences of the interpreter's loss in double precision; fails if they disagree.
    /// Where the loss has a kink, as at zeros of ReLU, gradients differ from differences
    #[arg(long)]
    check: bool,
    /// Elements of each gradient that are compared: the largest, and random ones
    #[arg(long, default_value_t = 5, value_name = "COUNT", requires = "check", value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
    /// The largest difference that is accepted, relative to the largest element of a gradient
    #[arg(long, default_value_t = 1e-3, value_name = "NUMBER", requires = "check")]
    tolerance: f64,
    #[command(flatten)]
    options: Engine,
}

/// The loss of a batch, and its gradients.
struct Computed {
    loss: f64,
    gradients: Vec<Gradient>,
}

/// The gradient of an input or a parameter.
struct Gradient {
    name: String,
    values: ArrayD<f64>,
}

impl Gradient {
    fn largest(&self) -> f64 {
        self.values
            .iter()
            .fold(0.0, |most, number| if number.is_nan() { *number } else { most.max(number.abs()) })
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let network = arguments.task.network()?;
    let mut options = GradientOptions::default().loss(arguments.loss.loss());
    options.graph.output.clone_from(&arguments.loss_output);
    let graph = gradient_graph(network.graph(), &options.graph)?;
    let batch = arguments.examples.of(&network, &graph)?;
    let parameters = arguments.task.weights.of(&network)?;
    let computed = match arguments.engine {
        Kind::Interpreter => interpreted(&graph, &parameters, &batch)?,
        Kind::Compiled => compiled(arguments, &network, &options, &graph, &batch)?,
    };
    let checked = match arguments.check {
        true => Some(differences(arguments, &graph, &parameters, &batch, &computed.gradients)?),
        false => None,
    };
    print(network.name(), &graph, &computed, checked.as_deref());
    if let Some(path) = &arguments.output {
        let rounded = |values: &ArrayD<f64>| values.mapv(|number| number as f32);
        let loss = (names::LOSS.to_owned(), ndarray::arr0(computed.loss as f32).into_dyn());
        let gradients = computed.gradients.iter().map(|of| (of.name.clone(), rounded(&of.values)));
        let written: Vec<(String, ArrayD<f32>)> = std::iter::once(loss).chain(gradients).collect();
        tensors::write(path, &written)?;
        println!("{}", path.display());
    }
    match checked {
        Some(differences) => conclude(&computed.gradients, &differences, arguments.tolerance),
        None => Ok(()),
    }
}

/// The name of the source that an output of the graph is the gradient of.
fn source_of<'a>(graph: &'a Graph, output: &str) -> Option<&'a str> {
    let inputs = data(graph).map(|(name, _)| name);
    let parameters = graph.parameters().map(|(_, parameter)| parameter.name.as_str());
    inputs.chain(parameters).find(|name| names::gradient_of(name) == output)
}

fn interpreted(graph: &Graph, parameters: &Parameters, batch: &Batch) -> Result<Computed, Box<dyn Error>> {
    let mut computed = Computed { loss: f64::NAN, gradients: Vec::new() };
    for (name, values) in interpreter::outputs(graph, parameters, &batch.all(), &batch.sizes)? {
        if name == names::LOSS {
            computed.loss = values.first().copied().unwrap_or(f64::NAN);
        } else if let Some(source) = source_of(graph, &name) {
            computed.gradients.push(Gradient { name: source.to_owned(), values });
        }
    }
    Ok(computed)
}

fn compiled(
    arguments: &Arguments,
    network: &Loaded,
    options: &GradientOptions,
    graph: &Graph,
    batch: &Batch,
) -> Result<Computed, Box<dyn Error>> {
    let model: windlass::Model<Dynamic> =
        arguments.task.weights.model(network, &arguments.options.options()?)?;
    let mut results = model.differentiate(options)?.run(&model, feeds(&batch.inputs), batch.target()?)?;
    let outputs = graph.outputs().iter().filter_map(|output| source_of(graph, &output.name));
    let gradients = outputs.filter_map(|name| {
        let values = results.inputs.remove(name).or_else(|| results.parameters.remove(name))?;
        Some(Gradient { name: name.to_owned(), values: values.mapv(f64::from) })
    });
    let gradients = gradients.collect();
    Ok(Computed { loss: f64::from(results.loss), gradients })
}

/// The largest difference between sampled elements of each gradient and central differences, relative to the largest
/// element of the gradient.
fn differences(
    arguments: &Arguments,
    graph: &Graph,
    parameters: &Parameters,
    batch: &Batch,
    gradients: &[Gradient],
) -> Result<Vec<f64>, Box<dyn Error>> {
    let loss = graph.outputs().iter().find(|output| output.name == names::LOSS);
    let loss = loss.ok_or("the graph of the gradients has no loss")?.value;
    let graph = passes::dce(&graph.with_output_values(vec![(names::LOSS, loss)])?)?;
    let mut bindings = interpreter::bindings(parameters, &batch.all());
    let mut random = Rng::with_seed(1);
    let largest_of_all = gradients.iter().map(Gradient::largest).fold(0.0, f64::max);
    let mut worst = Vec::with_capacity(gradients.len());
    for gradient in gradients {
        // Gradients that are small beside the others are sums that cancel, and as inexact as the others.
        let scale = gradient.largest().max(1e-3 * largest_of_all).max(1e-8);
        let values: Vec<f64> = gradient.values.iter().copied().collect();
        let most = (0..values.len()).max_by(|&a, &b| values[a].abs().total_cmp(&values[b].abs()));
        let drawn = (1..arguments.samples).filter(|_| most.is_some()).map(|_| random.usize(..values.len()));
        let mut difference = 0.0f64;
        for place in most.into_iter().chain(drawn) {
            let mut loss_at = |moved: &dyn Fn(f64) -> f64| -> Result<(f64, f64), Box<dyn Error>> {
                let array = bindings.get_mut(&gradient.name).ok_or("a gradient of no source")?;
                let Data::Real(elements) = &mut array.data else {
                    return Err("a gradient of integers".into());
                };
                let kept = elements[place];
                elements[place] = moved(kept);
                let at = elements[place];
                let outputs = interpreter::outputs_of(&graph, &bindings, &batch.sizes)?;
                if let Some(Data::Real(elements)) =
                    bindings.get_mut(&gradient.name).map(|array| &mut array.data)
                {
                    elements[place] = kept;
                }
                let loss = outputs.first().and_then(|(_, loss)| loss.first()).copied();
                Ok((at, loss.unwrap_or(f64::NAN)))
            };
            let step = |value: f64| 1e-5 * value.abs().max(1.0);
            let (right, above) = loss_at(&|value| value + step(value))?;
            let (left, below) = loss_at(&|value| value - step(value))?;
            let own = ((above - below) / (right - left) - values[place]).abs() / scale;
            difference = if own.is_nan() { f64::INFINITY } else { difference.max(own) };
        }
        worst.push(difference);
    }
    Ok(worst)
}

fn print(network: &str, graph: &Graph, computed: &Computed, differences: Option<&[f64]>) {
    println!("{network}: loss {:.6}", computed.loss);
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.remove_style(TableComponent::HorizontalLines).remove_style(TableComponent::MiddleIntersections);
    let mut header = vec!["gradient of", "", "shape", "norm", "largest", "zeros"];
    header.extend(differences.map(|_| "difference"));
    table.set_header(header);
    for (index, gradient) in computed.gradients.iter().enumerate() {
        let values = &gradient.values;
        let is_input = data(graph).any(|(name, _)| name == gradient.name);
        let zeros = values.iter().filter(|number| **number == 0.0).count();
        let mut row = vec![
            gradient.name.clone(),
            if is_input { "input" } else { "parameter" }.to_owned(),
            format!("{:?}", values.shape()),
            format!("{:.3e}", values.iter().map(|number| number * number).sum::<f64>().sqrt()),
            format!("{:.3e}", gradient.largest()),
            format!("{:.1} %", 100.0 * zeros as f64 / values.len().max(1) as f64),
        ];
        row.extend(differences.map(|differences| format!("{:.1e}", differences[index])));
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for line in table.lines() {
        println!("{}", line.trim_end());
    }
}

/// Whether gradients agree with central differences.
fn conclude(gradients: &[Gradient], differences: &[f64], tolerance: f64) -> Result<(), Box<dyn Error>> {
    let worst = gradients.iter().zip(differences).max_by(|(_, left), (_, right)| left.total_cmp(right));
    match worst {
        Some((gradient, &difference)) if difference > tolerance => Err(format!(
            "the gradient of `{}` differs from central differences by {difference:.1e} of its largest element, \
             more than {tolerance:.1e}",
            gradient.name
        )
        .into()),
        Some((_, difference)) => {
            println!("gradients agree with central differences: within {difference:.1e} of their largest element");
            Ok(())
        }
        None => Ok(()),
    }
}
