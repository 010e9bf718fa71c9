//! One test: a model, and inputs with the expected outputs.

use std::error::Error;
use std::path::Path;

use ndarray::{ArrayD, IxDyn};
use windlass::onnx::{ImportError, ImportOptions, OnnxModel, Output, Reason};
use windlass::{DType, Dynamic, Feed, Options, Sizes, available_vector_bits};
use windlass_compiler::interp::{Array, Bindings, run};
use windlass_onnx::{Elements, Tensor, describe, import_bytes, tensor_from_bytes};

/// A test.
#[derive(Debug)]
pub struct Case {
    model: Vec<u8>,
    names: Vec<(String, Elements)>,
    /// Whether all floats have 32 bits: others would be rounded differently.
    is_single: bool,
    /// Inputs and expected outputs.
    sets: Vec<(Vec<Tensor>, Vec<Tensor>)>,
    /// Whether it is a whole network, which the interpreter would take minutes for.
    is_large: bool,
    /// The tolerance beside the suite's, as a part of the largest value of an output.
    of_largest: f32,
}

/// The outcome of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All results are as expected.
    Passes,
    /// A wrong result, or a panic.
    Wrong(String),
    /// An error of the import.
    Unsupported(String),
}

/// The tolerances of the suite.
const RELATIVE: f32 = 1e-3;
const ABSOLUTE: f32 = 1e-7;

fn tensors(folder: &Path, prefix: &str) -> Result<Vec<Tensor>, Box<dyn Error>> {
    let mut tensors = Vec::new();
    loop {
        let path = folder.join(format!("{prefix}_{}.pb", tensors.len()));
        if !path.is_file() {
            return Ok(tensors);
        }
        tensors.push(tensor_from_bytes(&std::fs::read(path)?)?);
    }
}

impl Case {
    /// Reads a test: a folder with a model and data, or a whole network.
    ///
    /// # Errors
    /// A message for files that cannot be read.
    pub fn read(path: &Path) -> Result<Self, String> {
        if path.is_dir() { Self::of_folder(path) } else { Self::of_network(path) }
    }

    /// A network whose weights are one number each. Its input is not in the suite: fractions from 0 to 1, in order.
    fn of_network(path: &Path) -> Result<Self, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let model = std::fs::read(path).map_err(|error| text(&error))?;
        let imported = import_bytes(&model, &ImportOptions::new()).map_err(|error| text(&error))?;
        let input = |port: &windlass::onnx::Port| {
            let dims: Vec<usize> = port.dims.iter().map(|dim| dim.fixed().unwrap_or(1)).collect();
            let count: usize = dims.iter().product();
            // Divided in double precision, as by the suite.
            let values = (0..count).map(|at| (at as f64 / count as f64) as f32).collect();
            Tensor { name: port.name.clone(), dims, values }
        };
        let inputs: Vec<Tensor> = imported.inputs.iter().map(input).collect();
        let names = inputs.iter().map(|input| (input.name.clone(), Elements::Float)).collect();
        let mut outputs = Vec::new();
        for index in 0..imported.outputs.len() {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let bytes = std::fs::read(path.with_file_name(format!("{name}_output_{index}.pb")));
            let bytes = bytes.map_err(|error| text(&error))?;
            outputs.push(tensor_from_bytes(&bytes).map_err(|error| text(&error))?);
        }
        Ok(Case {
            model,
            names,
            is_single: true,
            sets: vec![(inputs, outputs)],
            is_large: true,
            of_largest: 0.0,
        })
    }

    fn of_folder(folder: &Path) -> Result<Self, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let model = std::fs::read(folder.join("model.onnx")).map_err(|error| text(&error))?;
        let description = describe(&model).map_err(|error| text(&error))?;
        let mut all = description.inputs.iter().chain(&description.outputs);
        let is_single = all.all(|port| !matches!(port.elements, Elements::OtherFloat | Elements::Other));
        let names = description.inputs.into_iter().map(|input| (input.name, input.elements)).collect();
        let mut sets = Vec::new();
        loop {
            let set = folder.join(format!("test_data_set_{}", sets.len()));
            if !set.is_dir() {
                break;
            }
            // Texts, sequences and other values are no tensors of numbers.
            let (Ok(inputs), Ok(outputs)) = (tensors(&set, "input"), tensors(&set, "output")) else {
                return Ok(Case {
                    model,
                    names,
                    is_single,
                    sets: Vec::new(),
                    is_large: false,
                    of_largest: 0.0,
                });
            };
            sets.push((inputs, outputs));
        }
        Ok(Case { model, names, is_single, sets, is_large: false, of_largest: 0.0 })
    }

    /// The same test with a larger tolerance: also this part of the largest value of an output. The runtime that computed the
    /// outputs may approximate functions.
    #[must_use]
    pub fn within(mut self, of_largest: f32) -> Self {
        self.of_largest = of_largest;
        self
    }

    /// Imports the model. Inputs that must be parameters or known get their values from the data.
    fn options(&self, inputs: &[Tensor]) -> Result<ImportOptions, ImportError> {
        let mut options = ImportOptions::new();
        let mut fixed: Vec<&str> = Vec::new();
        loop {
            let error = match import_bytes(&self.model, &options) {
                Ok(_) => return Ok(options),
                Err(error) => error,
            };
            let needed = error.problems().iter().find_map(|problem| {
                let name = problem.reason.input()?;
                Some((name.to_owned(), matches!(problem.reason, Reason::NeedsParameter { .. })))
            });
            // Integers that are no indices must be known.
            let is_integer = |(name, elements): &&(String, Elements)| {
                *elements != Elements::Float && !fixed.contains(&name.as_str())
            };
            let (name, is_parameter) = match needed {
                Some(needed) => needed,
                None => match self.names.iter().find(is_integer) {
                    Some((name, _)) => (name.clone(), false),
                    None => return Err(error),
                },
            };
            let found = self.names.iter().zip(inputs).find(|((own, _), _)| *own == name);
            let Some(((name, elements), tensor)) = found else { return Err(error) };
            if fixed.contains(&name.as_str()) {
                return Err(error);
            }
            fixed.push(name);
            let (dims, values) = (&tensor.dims, tensor.values.clone());
            options = match elements {
                Elements::Integer => {
                    options.integers(name, dims, values.iter().map(|&it| it as i64).collect())
                }
                Elements::Boolean => {
                    options.booleans(name, dims, values.iter().map(|&it| it != 0.0).collect())
                }
                _ if is_parameter => options.parameter(name, dims, values),
                _ => options.value(name, dims, values),
            };
        }
    }

    /// Runs the interpreter, and compiled code at every vector width.
    ///
    /// # Errors
    /// A message for data that does not fit the model.
    pub fn run(&self) -> Result<Outcome, String> {
        if self.sets.is_empty() {
            return Ok(Outcome::Unsupported("its values are no tensors of numbers".to_owned()));
        }
        for (inputs, expected) in &self.sets {
            let options = match self.options(inputs) {
                Ok(options) => options,
                Err(error) => return Ok(Outcome::Unsupported(error.to_string())),
            };
            match self.check(&options, inputs, expected) {
                Ok(None) => {}
                Ok(Some(wrong)) if self.is_single => return Ok(Outcome::Wrong(wrong)),
                Ok(Some(wrong)) => return Ok(Outcome::Unsupported(format!("floats have 32 bits: {wrong}"))),
                Err(error) => return Ok(Outcome::Unsupported(error.to_string())),
            }
        }
        Ok(Outcome::Passes)
    }

    /// What is wrong in the results, if anything.
    fn check(
        &self,
        options: &ImportOptions,
        inputs: &[Tensor],
        expected: &[Tensor],
    ) -> Result<Option<String>, Box<dyn Error>> {
        let imported = import_bytes(&self.model, options)?;
        let mut computed = Vec::new();
        for (output, expected) in imported.outputs.iter().zip(expected) {
            match output {
                Output::Known(tensor) => {
                    if let Some(wrong) = different(&tensor.dims, &tensor.values, expected, self.of_largest) {
                        return Ok(Some(format!("known output `{}`: {wrong}", tensor.name)));
                    }
                }
                Output::Computed(port) => computed.push((port.name.clone(), expected)),
            }
        }
        if computed.is_empty() {
            return Ok(None);
        }
        if imported.inputs.is_empty() {
            return Err("it computes with parameters only".into());
        }
        let file = OnnxModel::from_bytes(&self.model, options)?;
        let network = file.network().clone();
        let find =
            |name: &str| self.names.iter().zip(inputs).find(|((own, _), _)| own == name).map(|(_, it)| it);
        // The open sizes.
        let mut sizes = Sizes::from(1);
        for port in &imported.inputs {
            let tensor = find(&port.name).ok_or("an input has no data")?;
            for (dim, &size) in port.dims.iter().zip(&tensor.dims) {
                if let Some(symbol) = dim.polynomial().as_symbol() {
                    sizes = sizes.with(symbol, size);
                }
            }
        }
        let mut feeds = Vec::new();
        for (name, shape) in network.inputs() {
            let tensor = find(name).ok_or("an input has no data")?;
            let is_index =
                network.graph().source(name).map(|it| network.graph().ty(it).dtype) == Some(DType::I32);
            feeds.push((name.to_owned(), IxDyn(&shape.concrete(&sizes)), tensor, is_index));
        }
        for bits in available_vector_bits() {
            let mut options = Options::default().threads(1);
            options.compile.plan.vector_bits = Some(bits);
            let model = file.clone().into_model(&options)?;
            let floats: Vec<Option<ArrayD<f32>>> = feeds
                .iter()
                .map(|(_, dims, tensor, is_index)| {
                    (!is_index)
                        .then(|| ArrayD::from_shape_vec(dims.clone(), tensor.values.clone()))
                        .transpose()
                })
                .collect::<Result<_, _>>()?;
            let integers: Vec<Option<ArrayD<i32>>> = feeds
                .iter()
                .map(|(_, dims, tensor, is_index)| {
                    let values = tensor.values.iter().map(|&value| value as i32).collect();
                    is_index.then(|| ArrayD::from_shape_vec(dims.clone(), values)).transpose()
                })
                .collect::<Result<_, _>>()?;
            let named = feeds.iter().zip(floats.iter().zip(&integers)).filter_map(|((name, ..), arrays)| {
                let feed = match arrays {
                    (Some(array), _) => Feed::from(array),
                    (None, array) => Feed::from(array.as_ref()?),
                };
                Some((name.as_str(), feed))
            });
            let outputs = model.forward(named.collect::<windlass::DynamicInputs<'_>>())?;
            for (name, expected) in &computed {
                let array = outputs.get(name)?;
                let values: Vec<f32> = array.iter().copied().collect();
                if let Some(wrong) = different(&expected.dims, &values, expected, self.of_largest) {
                    return Ok(Some(format!("{bits} bits, `{name}`: {wrong}")));
                }
            }
        }
        if !self.is_large
            && let Some(wrong) = interpreted(&network, &file, (&sizes, &feeds), &computed, self.of_largest)?
        {
            return Ok(Some(format!("interpreter: {wrong}")));
        }
        Ok(None)
    }
}

/// A feed: its name, sizes, values, and whether it has integers.
type Fed<'t> = (String, IxDyn, &'t Tensor, bool);

fn interpreted(
    network: &Dynamic,
    file: &OnnxModel,
    (sizes, feeds): (&Sizes, &[Fed<'_>]),
    computed: &[(String, &Tensor)],
    of_largest: f32,
) -> Result<Option<String>, Box<dyn Error>> {
    use ndarray::Dimension;
    let mut bindings = Bindings::<f32>::new();
    for (name, dims, tensor, is_index) in feeds {
        let array = match is_index {
            true => Array::ints(dims.slice(), tensor.values.iter().map(|&value| value as i32).collect()),
            false => Array::new(dims.slice(), tensor.values.clone()),
        };
        bindings.insert(name.clone(), array);
    }
    for name in file.parameters().names() {
        if let Some(tensor) = file.parameters().get(name) {
            bindings.insert(name.clone(), Array::new(tensor.shape(), tensor.iter().copied().collect()));
        }
    }
    let outcome = run(network.graph(), sizes, &bindings)?;
    for (name, expected) in computed {
        let array = &outcome.outputs[name.as_str()];
        if let Some(wrong) = different(&expected.dims, array.real(), expected, of_largest) {
            return Ok(Some(format!("`{name}`: {wrong}")));
        }
    }
    Ok(None)
}

/// How values differ from the expected ones, if they do.
fn different(dims: &[usize], got: &[f32], expected: &Tensor, of_largest: f32) -> Option<String> {
    if dims != expected.dims || got.len() != expected.values.len() {
        return Some(format!("sizes {dims:?} ({}) instead of {:?}", got.len(), expected.dims));
    }
    let largest = expected
        .values
        .iter()
        .filter(|value| value.is_finite())
        .fold(0.0f32, |largest, value| largest.max(value.abs()));
    let is_near = |got: f32, expected: f32| {
        got == expected
            || got.is_nan() && expected.is_nan()
            || (got - expected).abs() <= ABSOLUTE + RELATIVE * expected.abs() + of_largest * largest
    };
    let place = got.iter().zip(&expected.values).position(|(&got, &expected)| !is_near(got, expected))?;
    Some(format!("{} instead of {} at {place}", got[place], expected.values[place]))
}
