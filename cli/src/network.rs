//! The network of a command, and how it is compiled.

use std::error::Error;

use std::ops::Deref;

use clap::Args;
use windlass::onnx::{ImportOptions, OnnxModel};
use windlass::{Dynamic, Features, Graph, LoadOptions, Model, Options, Parameters, Sizes, Symbol};

use crate::{File, at};

/// The network.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// A checkpoint (`.safetensors`), an ONNX model (`.onnx`), or a file with the graph of the network as text
    #[arg(value_name = "NETWORK")]
    network: File,
    /// Fix the size of the axes of a name in an ONNX model, such as `batch=1`
    #[arg(long = "fix", value_name = "NAME=NUMBER", value_parser = fixed)]
    fixed: Vec<(String, usize)>,
    /// Fix all sizes of an input of an ONNX model, such as `image=1x3x224x224`
    #[arg(long = "shape", value_name = "INPUT=SIZES", value_parser = shaped)]
    shapes: Vec<(String, Vec<usize>)>,
    /// Give an input of an ONNX model a value, such as the sample rate `sr=16000`, or `size=224,224`
    #[arg(long = "value", value_name = "INPUT=NUMBERS", value_parser = valued)]
    values: Vec<(String, Numbers)>,
}

/// The value of an input: a number, or a vector of several.
#[derive(Clone, Debug, PartialEq)]
enum Numbers {
    Integers(Vec<i64>),
    Floats(Vec<f32>),
}

/// A network, with parameters if its file has them.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    network: Dynamic,
    parameters: Option<Parameters>,
}

impl Deref for Loaded {
    type Target = Dynamic;

    fn deref(&self) -> &Dynamic {
        &self.network
    }
}

/// The parameters.
#[derive(Debug, Args)]
pub(crate) struct Weights {
    /// A safetensors file with the parameters; by default those of the checkpoint or ONNX model, or initial values that are drawn
    #[arg(long, value_name = "FILE")]
    weights: Option<File>,
    /// Seed of initial values
    #[arg(long, default_value_t = 0, value_name = "NUMBER", conflicts_with = "weights")]
    seed: u64,
}

/// A network with its parameters.
#[derive(Debug, Args)]
pub(crate) struct Task {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    pub(crate) weights: Weights,
}

impl Task {
    pub(crate) fn network(&self) -> Result<Loaded, Box<dyn Error>> {
        self.source.network()
    }
}

/// How the network is compiled.
#[derive(Debug, Args)]
pub(crate) struct Engine {
    /// Number of threads; all of the system by default
    #[arg(long, value_name = "COUNT")]
    threads: Option<usize>,
    /// Vector width in bits: 128, 256 or 512; the widest of this CPU by default
    #[arg(long, value_name = "BITS")]
    vector_bits: Option<usize>,
    /// Use only instructions that every CPU has
    #[arg(long)]
    baseline: bool,
}

/// The open sizes of a run.
#[derive(Debug, Args)]
pub(crate) struct RunSizes {
    /// Number of samples
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Another open size, `T=35`; 8 by default
    #[arg(long = "size", value_name = "NAME=NUMBER", value_parser = size)]
    sizes: Vec<(Symbol, usize)>,
}

/// The maximum number of elements of a drawn input: 1 GiB.
const MOST_ELEMENTS: u128 = 1 << 28;

fn size(text: &str) -> Result<(Symbol, usize), String> {
    let example = || format!("`{text}` is no size; write `T=35`");
    let (name, value) = text.split_once('=').ok_or_else(example)?;
    let value: usize = value.parse().map_err(|_| example())?;
    let name: Symbol = name.parse().map_err(|_| example())?;
    if value == 0 || value > i32::MAX as usize || name == Symbol::BATCH {
        return Err(example());
    }
    Ok((name, value))
}

/// The size of an axis with any name.
fn fixed(text: &str) -> Result<(String, usize), String> {
    let example = || format!("`{text}` is no size; write `batch=1`");
    let (name, value) = text.split_once('=').ok_or_else(example)?;
    match value.parse::<u32>() {
        Ok(value) if value > 0 && !name.is_empty() => Ok((name.to_owned(), value as usize)),
        _ => Err(example()),
    }
}

/// The sizes of an input.
fn shaped(text: &str) -> Result<(String, Vec<usize>), String> {
    let example = || format!("`{text}` has no sizes; write `image=1x3x224x224`");
    let (name, sizes) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(example)?;
    let size = |text: &str| text.parse::<u32>().ok().filter(|size| *size > 0).map(|size| size as usize);
    let sizes: Option<Vec<usize>> = sizes.split('x').map(size).collect();
    Ok((name.to_owned(), sizes.ok_or_else(example)?))
}

/// The value of an input.
fn valued(text: &str) -> Result<(String, Numbers), String> {
    let example = || format!("`{text}` has no numbers; write `sr=16000` or `size=224,224`");
    let (name, numbers) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(example)?;
    let integers: Result<Vec<i64>, _> = numbers.split(',').map(str::parse).collect();
    let numbers = match integers {
        Ok(integers) => Numbers::Integers(integers),
        Err(_) => {
            let floats: Result<Vec<f32>, _> = numbers.split(',').map(str::parse).collect();
            Numbers::Floats(floats.map_err(|_| example())?)
        }
    };
    Ok((name.to_owned(), numbers))
}

impl Numbers {
    /// The options, in which an input has this value.
    fn given(&self, options: ImportOptions, input: &str) -> ImportOptions {
        // One number is a scalar.
        let dims = |count: usize| if count == 1 { Vec::new() } else { vec![count] };
        match self {
            Numbers::Integers(numbers) => options.integers(input, &dims(numbers.len()), numbers.clone()),
            Numbers::Floats(numbers) => options.value(input, &dims(numbers.len()), numbers.clone()),
        }
    }
}

impl Source {
    pub(crate) fn network(&self) -> Result<Loaded, Box<dyn Error>> {
        let is = |known: &str| {
            self.network.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(known))
        };
        if is("onnx") {
            let model = self.onnx()?;
            let (network, parameters) = (model.network().clone(), Some(model.parameters().clone()));
            return Ok(Loaded { network, parameters });
        }
        let of_onnx = [
            self.fixed.first().map(|(name, _)| ("fix", name)),
            self.shapes.first().map(|(name, _)| ("shape", name)),
            self.values.first().map(|(name, _)| ("value", name)),
        ];
        if let Some((option, name)) = of_onnx.into_iter().flatten().next() {
            return Err(format!(
                "`--{option} {name}` is for ONNX models; a graph as text has its sizes and inputs"
            )
            .into());
        }
        if is("safetensors") {
            let network = Dynamic::of_checkpoint(&self.network)?;
            let parameters = Some(Parameters::load_of(&network, &self.network, &LoadOptions::default())?);
            return Ok(Loaded { network, parameters });
        }
        let text =
            std::fs::read_to_string(&self.network).map_err(|reason| at(&self.network, "read", &reason))?;
        let graph: Graph = text.parse().map_err(|reason| at(&self.network, "read a graph from", &reason))?;
        Ok(Loaded { network: Dynamic::new(graph)?, parameters: None })
    }

    /// The name of the file, without its extension.
    pub(crate) fn stem(&self) -> String {
        self.network.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The ONNX model.
    pub(crate) fn onnx(&self) -> Result<OnnxModel, Box<dyn Error>> {
        let options =
            self.fixed.iter().fold(ImportOptions::new(), |options, (name, size)| options.size(name, *size));
        let options = self.shapes.iter().fold(options, |options, (name, sizes)| options.shape(name, sizes));
        let options =
            self.values.iter().fold(options, |options, (name, numbers)| numbers.given(options, name));
        OnnxModel::load(&self.network, &options).map_err(|reason| at(&self.network, "import", &reason))
    }
}

impl Weights {
    pub(crate) fn of(&self, network: &Loaded) -> Result<Parameters, Box<dyn Error>> {
        Ok(match (&self.weights, &network.parameters) {
            (Some(path), _) => Parameters::load_of(&network.network, path, &LoadOptions::default())?,
            (None, Some(parameters)) => parameters.clone(),
            (None, None) => Parameters::initialized(network.graph(), self.seed)?,
        })
    }

    pub(crate) fn model(
        &self,
        network: &Loaded,
        options: &Options,
    ) -> Result<Model<Dynamic>, Box<dyn Error>> {
        Ok(Model::of_parameters(network.network.clone(), self.of(network)?, options)?)
    }
}

impl Engine {
    pub(crate) fn options(&self) -> Result<Options, Box<dyn Error>> {
        let mut options = Options::default();
        if let Some(threads) = self.threads {
            options = options.threads(threads);
        }
        options.compile.plan.vector_bits = self.vector_bits;
        if self.baseline {
            options.compile.plan.features = Features::Baseline;
        }
        Ok(options)
    }
}

impl RunSizes {
    /// The number of samples.
    pub(crate) fn batch(&self) -> usize {
        self.batch as usize
    }

    /// The values of the open sizes of a network.
    pub(crate) fn of(&self, network: &Dynamic) -> Result<Sizes, Box<dyn Error>> {
        let mut sizes = Sizes::from(self.batch as usize);
        let open: Vec<Symbol> = network.inputs().flat_map(|(_, shape)| shape.symbols()).collect();
        for &symbol in &open {
            if symbol != Symbol::BATCH {
                sizes = sizes.with(symbol, 8);
            }
        }
        for &(symbol, value) in &self.sizes {
            if !open.contains(&symbol) {
                let known: Vec<String> = open.iter().map(ToString::to_string).collect();
                return Err(format!(
                    "no input of `{}` has the size {symbol}; its open sizes are {}",
                    network.name(),
                    known.join(", ")
                )
                .into());
            }
            sizes = sizes.with(symbol, value);
        }
        for (name, shape) in network.inputs() {
            let dims = shape.dims().iter().map(|dim| dim.at(&sizes));
            let elements = dims.fold(1u128, |elements, dim| elements.saturating_mul(dim as u128));
            if elements > MOST_ELEMENTS {
                let problem = format!("the input `{name}` of shape {shape} would have {elements} elements");
                return Err(format!("{problem}, more than 2^28: choose smaller sizes").into());
            }
        }
        Ok(sizes)
    }
}
