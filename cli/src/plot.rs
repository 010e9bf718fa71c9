//! `windlass plot`: the layers of a network as an image.

mod layout;
mod svg;

use std::collections::{BTreeSet, HashMap};
use std::error::Error;

use clap::Args;
use windlass::{Dynamic, Graph, Profile, Summary};
use windlass_compiler::ops::source::{InputRole, Source};

use crate::inputs::{drawn, feeds};
use crate::network::{Engine, RunSizes, Task};
use crate::tune::Results;
use crate::{File, files};

/// The arguments of `windlass plot`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    task: Task,
    /// The SVG file
    #[arg(short, long, value_name = "FILE")]
    output: File,
    /// Draw the layers without running the network
    #[arg(long)]
    no_profile: bool,
    /// Number of runs that are timed
    #[arg(long, default_value_t = 50, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    #[command(flatten)]
    sizes: RunSizes,
    #[command(flatten)]
    engine: Engine,
    #[command(flatten)]
    tuned: Results,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let network = arguments.task.network()?;
    let profile = match arguments.no_profile {
        true => None,
        false => {
            let options = arguments.engine.options()?;
            let options = arguments.tuned.of(&network, options, None, arguments.sizes.batch())?;
            let model = arguments.task.weights.model(&network, &options)?;
            let inputs = drawn(network.graph(), &arguments.sizes.of(&network)?, 1);
            Some(model.profile(feeds(&inputs), arguments.runs as usize)?)
        }
    };
    files::write(&arguments.output, image(&network, profile.as_ref()))?;
    println!("{}", arguments.output.display());
    Ok(())
}

/// The layers as SVG, coloured by the times of a profile.
pub(crate) fn image(network: &Dynamic, profile: Option<&Profile>) -> String {
    svg::svg(&Diagram::new(network, profile))
}

/// What the image shows.
struct Diagram {
    name: String,
    caption: Vec<String>,
    /// Inputs, layers and outputs, in the order of data flow.
    blocks: Vec<Block>,
    /// Pairs of blocks of which the second reads a result of the first.
    edges: Vec<(usize, usize)>,
}

/// An input, a layer or an output.
struct Block {
    title: String,
    lines: Vec<String>,
    /// All that is known, for a reader who points at it.
    tooltip: String,
    is_port: bool,
    /// Its share of the time of a run, between 0 and 1.
    share: Option<f64>,
}

impl Diagram {
    fn new(network: &Dynamic, profile: Option<&Profile>) -> Self {
        let (graph, summary) = (network.graph(), network.summary());
        let rows = rows(graph);
        let measured = profile.map(|profile| Measured::new(graph, &summary, &rows, profile));
        let mut blocks: Vec<Block> =
            (0..summary.rows.len()).map(|row| block(graph, &summary, row, measured.as_ref())).collect();
        let mut edges = BTreeSet::new();
        for (node, &row) in graph.nodes().iter().zip(&rows) {
            for &operand in &node.operands {
                if let (Some(from), Some(to)) = (rows[graph.producer_id(operand).index()], row)
                    && from != to
                {
                    edges.insert((from, to));
                }
            }
        }
        for output in graph.outputs() {
            if let Some(from) = rows[graph.producer_id(output.value).index()] {
                edges.insert((from, blocks.len()));
            }
            blocks.push(port(&output.name, &graph.ty(output.value).to_string(), "output"));
        }
        let totals = &summary.totals;
        let mut caption = vec![format!(
            "{} parameters, {} multiply-adds per sample",
            number(totals.parameters),
            number(totals.multiply_adds)
        )];
        if let (Some(profile), Some(measured)) = (profile, &measured) {
            let mut line = format!(
                "{}; batch {}, threads {}",
                time(profile.microseconds()),
                profile.batch,
                profile.threads
            );
            if measured.elsewhere >= 0.0005 {
                line += &format!("; {:.1} % outside the layers", 100.0 * measured.elsewhere);
            }
            caption.push(line);
        }
        Diagram { name: summary.network, caption, blocks, edges: edges.into_iter().collect() }
    }
}

/// The row of the summary that each node of a graph belongs to: that of its label, or one of its own. `None` for
/// parameters and other values that are no inputs.
fn rows(graph: &Graph) -> Vec<Option<usize>> {
    let (mut of_label, mut count) = (HashMap::new(), 0);
    let row_of = graph.nodes().iter().map(|node| {
        let row = match node.op.source() {
            Some(Source::Input(input)) if input.role == InputRole::Data => count,
            Some(_) => return None,
            None if node.label.is_empty() => count,
            None => *of_label.entry(&node.label).or_insert(count),
        };
        count = count.max(row + 1);
        Some(row)
    });
    row_of.collect()
}

/// The kernels of each row of the summary.
struct Measured {
    shares: Vec<f64>,
    /// The algorithms of the kernels, the slowest first, with the share of each.
    algorithms: Vec<Vec<(f64, String)>>,
    /// The share of kernels that belong to no row.
    elsewhere: f64,
}

impl Measured {
    fn new(graph: &Graph, summary: &Summary, rows: &[Option<usize>], profile: &Profile) -> Self {
        let count = summary.rows.len();
        let mut measured =
            Measured { shares: vec![0.0; count], algorithms: vec![Vec::new(); count], elsewhere: 0.0 };
        let nodes = || graph.nodes().iter().zip(rows).filter_map(|(node, &row)| Some((node, row?)));
        let mut unlabelled = nodes().filter(|(node, _)| node.label.is_empty());
        for kernel in &profile.kernels {
            let name = &kernel.name;
            let has_label = |label: &str| {
                name.strip_prefix(label).is_some_and(|rest| rest.starts_with('.') && !label.is_empty())
            };
            let labelled =
                nodes().filter(|(node, _)| has_label(&node.label)).max_by_key(|(node, _)| node.label.len());
            // Kernels without a label are in the order of the graph; some operators have no kernel.
            let row = labelled.or_else(|| unlabelled.clone().find(|(node, _)| name == node.op.name()));
            let Some((node, row)) = row else {
                measured.elsewhere += kernel.share;
                continue;
            };
            if node.label.is_empty() {
                unlabelled.by_ref().find(|(_, other)| *other == row);
            }
            measured.shares[row] += kernel.share;
            if !kernel.note.is_empty() {
                measured.algorithms[row].push((kernel.share, kernel.note.clone()));
            }
        }
        for algorithms in &mut measured.algorithms {
            algorithms.sort_by(|(left, _), (right, _)| right.total_cmp(left));
        }
        measured
    }
}

fn block(graph: &Graph, summary: &Summary, index: usize, measured: Option<&Measured>) -> Block {
    let row = &summary.rows[index];
    let shape = row.output.to_string();
    if let Some(value) = graph.source(&row.label)
        && row.operators == ["input"]
    {
        return port(&row.label, &graph.ty(value).to_string(), "input");
    }
    let mut names: Vec<&str> = Vec::new();
    for name in &row.operators {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let mut operators = names.join(" ");
    if let Some(window) = &row.window {
        let sizes: Vec<String> = window.kernel_size.iter().map(ToString::to_string).collect();
        operators = format!("{operators}, {}", sizes.join("×"));
        if window.stride.iter().any(|&stride| stride != 1) {
            let strides: Vec<String> = window.stride.iter().map(ToString::to_string).collect();
            operators = format!("{operators}, stride {}", strides.join("×"));
        }
    }
    let parameters = match row.parameters {
        0 => None,
        1 => Some("1 parameter".to_owned()),
        count => Some(format!("{} parameters", number(count))),
    };
    let (title, mut lines) = match row.label.is_empty() {
        true => (operators.clone(), Vec::new()),
        false => (row.label.clone(), vec![operators.clone()]),
    };
    lines.push(parameters.map_or(shape.clone(), |parameters| format!("{shape}  ·  {parameters}")));
    let algorithms = measured.map(|measured| &measured.algorithms[index][..]).unwrap_or_default();
    lines.extend(algorithms.first().map(|(_, note)| note.clone()));
    let notes = algorithms.iter().map(|(_, note)| note);
    let tooltip = [&title, &operators, &shape].into_iter().chain(notes).map(String::as_str);
    Block {
        tooltip: tooltip.collect::<Vec<_>>().join("\n"),
        share: measured.map(|measured| measured.shares[index]),
        is_port: false,
        title,
        lines,
    }
}

fn port(name: &str, ty: &str, what: &str) -> Block {
    let (title, lines) = (name.to_owned(), vec![ty.to_owned()]);
    Block { tooltip: format!("{what} {name}: {ty}"), title, lines, is_port: true, share: None }
}

/// A count in at most a few digits.
fn number(count: u64) -> String {
    let count_as = |unit: f64, name: &str| format!("{:.1}{name}", count as f64 / unit);
    match count {
        0..10_000 => count.to_string(),
        10_000..1_000_000 => count_as(1e3, "k"),
        1_000_000..1_000_000_000 => count_as(1e6, "M"),
        _ => count_as(1e9, "G"),
    }
}

fn time(microseconds: f64) -> String {
    match microseconds < 1e3 {
        true => format!("{microseconds:.0} µs a run"),
        false => format!("{:.2} ms a run", microseconds / 1e3),
    }
}
