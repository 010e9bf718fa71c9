//! Measures objects in C programs beside the library: `cargo bench -p windlass-examples --bench objects` compiles networks to objects, links them
//! with `objects/driver.c`, and times first calls in fresh processes, and later calls in turn with those of a `Predictor`.

#[path = "../examples/failure/mod.rs"]
mod failure;
#[path = "support/table.rs"]
mod table;
#[path = "../examples/zoo/mod.rs"]
#[expect(dead_code, reason = "only some networks are measured here")]
mod zoo;

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Instant;

use clap::Parser;
use tempfile::TempDir;
use windlass::object::{ObjectFiles, ObjectOptions};
use windlass::{Dynamic, Graph, Model, Options, Predictor, available_vector_bits, network};

network! {
    /// An LSTM with 256 units on sequences of 35 steps.
    network Lstm(frames: [35, 256]) -> [35, 256] { cell: lstm(256) }
}

type Case = (&'static str, fn() -> &'static Graph);
const CASES: [Case; 4] = [
    ("lenet", zoo::LeNet::graph),
    ("squeezenet", zoo::SqueezeNet::graph),
    ("resnet18", zoo::ResNet18::graph),
    ("lstm", Lstm::graph),
];

/// Times objects in C programs beside the library.
#[derive(Parser)]
struct Arguments {
    /// The networks; by default all.
    cases: Vec<String>,
    /// Rounds, in which the program in C and the library are measured in turn.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Seconds for each of both in each round.
    #[arg(long, default_value_t = 0.3)]
    seconds: f64,
    /// Fresh processes, of whose first calls the median is printed.
    #[arg(long, default_value_t = 15)]
    processes: usize,
    /// Passed by `cargo bench` to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    // Under `cargo test`, whose arguments are for other tests, the smallest network runs once.
    let arguments = match std::env::args().any(|argument| argument == "--bench") {
        true => Ok(Arguments::parse()),
        false => {
            Arguments::try_parse_from(["objects", "lenet", "--rounds=1", "--seconds=0", "--processes=1"])
        }
    };
    failure::exit_code(arguments.map_err(Into::into).and_then(|arguments| run(&arguments)))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    if !cfg!(unix) || Command::new(compiler()).arg("--version").output().is_err() {
        println!("objects: skipped, for there is no C compiler `{}` with POSIX headers", compiler());
        return Ok(());
    }
    if let Some(unknown) = arguments.cases.iter().find(|name| CASES.iter().all(|(case, _)| case != name)) {
        let known = CASES.map(|(case, _)| case).join(", ");
        return Err(format!("there is no network `{unknown}`: use one of {known}").into());
    }
    let mut rows = Vec::new();
    for (name, graph) in CASES {
        if arguments.cases.is_empty() || arguments.cases.iter().any(|case| case == name) {
            let figures = measure(graph(), arguments).map_err(|error| format!("{name}: {error}"))?;
            rows.push([name.to_owned()].into_iter().chain(figures).collect());
        }
    }
    let header = [
        "network",
        "object KiB",
        "undefined",
        "weights MiB",
        "mapping ms",
        "first call ms",
        "C ms",
        "library ms",
        "C / library (least to most)",
    ];
    table::print_table(1, &header, rows);
    Ok(())
}

/// The C compiler.
fn compiler() -> String {
    std::env::var("CC").unwrap_or_else(|_| "cc".to_owned())
}

/// The cells of a network's row.
fn measure(graph: &Graph, arguments: &Arguments) -> Result<Vec<String>, Box<dyn Error>> {
    let options = Options::default().threads(1).batch(1);
    let model = Model::of(Dynamic::new(graph.clone())?, 1, &options)?;
    let bits = available_vector_bits().into_iter().max().ok_or("no vector width")?;
    let files = model.object(&ObjectOptions::default().name("net").vector_bits([bits]))?;
    let weights = files.weights.as_ref().map_or(0, Vec::len);
    let mut library = Library::new(model.into_predictor()?, graph)?;
    let folder = tempfile::tempdir()?;
    compile(&folder, &files, &library)?;
    let undefined = Command::new("nm").arg("-u").arg(folder.path().join("net.o")).output();
    let undefined = match undefined {
        Ok(listed) => String::from_utf8_lossy(&listed.stdout).lines().count().to_string(),
        Err(_) => "no nm".to_owned(),
    };

    library.run()?;
    let (mut mappings, mut firsts) = (Vec::new(), Vec::new());
    for _ in 0..arguments.processes {
        let driver = Driver::start(folder.path())?;
        mappings.push(driver.mapping);
        firsts.push(driver.first);
        let written = std::fs::read(folder.path().join("outputs"))?;
        let expected: Vec<u8> = library.outputs.iter().flat_map(|value| value.to_le_bytes()).collect();
        if written != expected {
            return Err("the outputs of the program in C have other bits than the library's".into());
        }
    }

    let mut driver = Driver::start(folder.path())?;
    let time = library.runs(3)?;
    let runs = ((arguments.seconds / time.max(1e-9)) as usize).clamp(1, 20_000);
    let (mut in_c, mut in_library, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..arguments.rounds {
        // Who comes first takes turns, too.
        let (c, own) = if round % 2 == 0 {
            let c = driver.runs(runs)?;
            (c, library.runs(runs)?)
        } else {
            let own = library.runs(runs)?;
            (driver.runs(runs)?, own)
        };
        in_c.push(c);
        in_library.push(own);
        ratios.push(c / own);
    }
    let (least, most) =
        ratios.iter().fold((f64::MAX, 0.0f64), |(least, most), &ratio| (least.min(ratio), most.max(ratio)));
    Ok(vec![
        (files.object.len() / 1024).to_string(),
        undefined,
        format!("{:.2}", weights as f64 / f64::from(1 << 20)),
        format!("{:.3}", 1e3 * median(mappings)),
        format!("{:.3}", 1e3 * median(firsts)),
        format!("{:.4}", 1e3 * median(in_c)),
        format!("{:.4}", 1e3 * median(in_library)),
        format!("{:.3} ({least:.3} to {most:.3})", median(ratios)),
    ])
}

/// Writes the object to a folder, and links the driver with it.
fn compile(folder: &TempDir, files: &ObjectFiles, library: &Library) -> Result<(), Box<dyn Error>> {
    files.write(folder.path())?;
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/objects/driver.c");
    let compiled = Command::new(compiler())
        .args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-I."])
        .args([format!("-DINPUTS={}", library.inputs.len()), format!("-DOUTPUTS={}", library.outputs.len())])
        .arg(driver)
        .args(["net.o", "-o", "driver"])
        .current_dir(folder.path())
        .output()?;
    match compiled.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&compiled.stderr).into()),
    }
}

/// The network in this process.
struct Library {
    predictor: Predictor<Dynamic>,
    inputs: Vec<f32>,
    outputs: Vec<f32>,
}

impl Library {
    fn new(predictor: Predictor<Dynamic>, graph: &Graph) -> Result<Self, Box<dyn Error>> {
        let (_, input) = graph.inputs().next().ok_or("the network has no input")?;
        let output = graph.outputs().first().ok_or("the network has no output")?;
        // The values that the driver computes.
        let value = |index: usize| (index * 37 % 101) as f32 / 101.0 - 0.5;
        let inputs = (0..input.ty.shape.item_elements()).map(value).collect();
        let outputs = vec![0.0; graph.ty(output.value).shape.item_elements()];
        Ok(Library { predictor, inputs, outputs })
    }

    fn run(&mut self) -> Result<(), windlass::Error> {
        self.predictor.forward_into(&self.inputs, &mut [&mut self.outputs])
    }

    /// The median time of some runs, in seconds.
    fn runs(&mut self, runs: usize) -> Result<f64, windlass::Error> {
        let mut times = Vec::with_capacity(runs);
        for _ in 0..runs {
            let start = Instant::now();
            self.run()?;
            times.push(start.elapsed().as_secs_f64());
        }
        Ok(median(times))
    }
}

/// A running driver.
struct Driver {
    child: Child,
    counts: ChildStdin,
    times: BufReader<ChildStdout>,
    /// The time until its first run begins, in seconds.
    mapping: f64,
    /// The time until it ends.
    first: f64,
}

impl Driver {
    fn start(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(folder.join("driver"))
            .arg("outputs")
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let counts = child.stdin.take().ok_or("the driver has no input")?;
        let times = BufReader::new(child.stdout.take().ok_or("the driver has no output")?);
        let mut driver = Driver { child, counts, times, mapping: 0.0, first: 0.0 };
        driver.mapping = driver.time()?;
        driver.first = driver.time()?;
        // It writes its outputs before its second run.
        driver.runs(1)?;
        Ok(driver)
    }

    /// The next time that the driver prints, in seconds.
    fn time(&mut self) -> Result<f64, Box<dyn Error>> {
        let mut line = String::new();
        if self.times.read_line(&mut line)? == 0 {
            return Err(format!("the driver ended: {}", self.child.wait()?).into());
        }
        Ok(1e-9 * line.trim().parse::<f64>()?)
    }

    /// The median time of some runs, in seconds.
    fn runs(&mut self, runs: usize) -> Result<f64, Box<dyn Error>> {
        writeln!(self.counts, "{runs}")?;
        let times = (0..runs).map(|_| self.time()).collect::<Result<_, _>>()?;
        Ok(median(times))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It ends with its input; an error here would hide that of the measurement.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}
