//! The inputs and outputs of a model, and its open sizes.

use std::collections::HashSet;
use std::sync::Arc;

use windlass_compiler::ops::source::{Input, InputRole};
use windlass_compiler::shape::{DType, Dim, Shape, Symbol, Type};

use crate::decode::ElementType;
use crate::error::ImportError;
use crate::importer::{Importer, Scope};
use crate::known::{Elements, Known};
use crate::value::{Batch, Data, Meaning, Value, shape};
use crate::{ImportOptions, Output, Port, Tensor, proto};

/// The most names of open sizes.
const MOST_SIZES: usize = 64;

impl<'m> Importer<'m> {
    /// Declares the inputs. Those that also are initialisers have their values.
    pub(crate) fn inputs(
        &mut self,
        graph: &'m proto::Graph,
        scope: &mut Scope<'_>,
    ) -> Result<Vec<Port>, ImportError> {
        let options = self.options;
        for name in options.values.keys().chain(options.parameters.keys()).chain(options.shapes.keys()) {
            if !graph.inputs.iter().any(|input| input.name == *name) {
                let names: Vec<&str> = graph.inputs.iter().map(|input| input.name.as_str()).collect();
                let reason = format!("names no input of the model; they are {}", names.join(", "));
                return Err(ImportError::Option { name: name.clone(), reason });
            }
        }
        check_sizes(graph, self.options)?;
        let mut declared: Vec<(&str, ElementType, Vec<Size<'_>>)> = Vec::new();
        for input in &graph.inputs {
            let known = self.options.values.get(&input.name).or(self.options.parameters.get(&input.name));
            if let Some(known) = known {
                check_given(input, known)?;
                let mut known = known.clone();
                known.element = tensor_type(input).ok().map(|(element, _)| element);
                if known.element.is_some_and(ElementType::is_float)
                    && let Some(floats) = known.to_floats()
                {
                    known.elements = Elements::Floats(floats.into());
                }
                if self.options.parameters.contains_key(&input.name) {
                    known.name = Some(Arc::from(input.name.as_str()));
                }
                scope.insert(input.name.clone(), Some(known.into()));
                continue;
            }
            if scope.get(&input.name).is_some() {
                continue;
            }
            let (element, sizes) = tensor_type(input).map_err(|reason| ImportError::Port {
                what: "input",
                name: input.name.clone(),
                reason,
            })?;
            let sizes = match self.options.shapes.get(&input.name) {
                Some(given) => with_sizes(input, &sizes, given)?,
                None => sizes,
            };
            declared.push((&input.name, element, sizes));
        }
        let names = Names::of(&declared, self.options);
        self.open_batch = names.batch.is_some();
        let mut ports = Vec::new();
        for (name, element, sizes) in &declared {
            let port = |reason: String| ImportError::Port { what: "input", name: (*name).to_owned(), reason };
            let dims: Vec<Dim> =
                sizes.iter().map(|size| names.dim(size)).collect::<Result<_, _>>().map_err(port)?;
            if dims.iter().any(|dim| dim.fixed() == Some(0)) {
                return Err(port("has an axis of size 0".to_owned()));
            }
            let batch = match self.open_batch {
                false => Batch::Outside,
                true => match dims.iter().position(|dim| *dim == Dim::batch()) {
                    Some(axis) => Batch::Axis(axis),
                    None => {
                        let reason = "has no axis for the batch, which other inputs have; give it a value with \
                                      `ImportOptions::value`, or fix the size of the batch with `ImportOptions::size`";
                        return Err(port(reason.to_owned()));
                    }
                },
            };
            let (dtype, meaning) = match element {
                element if element.is_float() => (DType::F32, Meaning::Float),
                ElementType::Bool => (DType::F32, Meaning::Truth),
                _ => (DType::I32, Meaning::Index),
            };
            // A first axis of size 1 is left out: `[1, 3, 224, 224]` is a batch of images.
            let is_single = batch == Batch::Outside && dims.first().and_then(Dim::fixed) == Some(1);
            let whole = shape(batch, &dims);
            let declared_shape =
                if is_single { Shape::batch_of(dims[1..].iter().cloned()) } else { whole.clone() };
            let ty = Type { dtype, shape: declared_shape.clone() };
            let op = Input { name: (*name).to_owned(), role: InputRole::Data, ty };
            let input = self.builder.op(op, &[], "")?;
            let mut data =
                Data { value: input, dims: dims.clone(), batch, meaning, input: Some(Arc::from(*name)) };
            if is_single {
                data.batch = Batch::Axis(0);
            }
            ports.push(Port { name: (*name).to_owned(), dims, shape: declared_shape });
            if !scope.insert((*name).to_owned(), Some(data.into())) {
                return Err(port("occurs twice".to_owned()));
            }
        }
        Ok(ports)
    }

    pub(crate) fn outputs(
        &mut self,
        graph: &proto::Graph,
        scope: &Scope<'_>,
    ) -> Result<Vec<Output>, ImportError> {
        let mut outputs = Vec::new();
        let mut named = HashSet::new();
        for output in &graph.outputs {
            let port =
                |reason: String| ImportError::Port { what: "output", name: output.name.clone(), reason };
            let Some(Some(value)) = scope.get(&output.name) else {
                return Err(port("is computed by no node".to_owned()));
            };
            if !named.insert(&output.name) {
                return Err(port("occurs twice".to_owned()));
            }
            let dims = value.dims();
            let found = match value {
                Value::Known(known) => Output::Known(self.known_tensor(&output.name, known)),
                Value::Empty(_) => return Err(port("has no elements".to_owned())),
                Value::Absent => return Err(port("is computed by no node".to_owned())),
                Value::Weight(weight) => {
                    // Every output of a network is a batch.
                    let lifted = self.lifted(weight).map_err(|reason| port(reason.to_string()))?;
                    self.named_output(&output.name, lifted, port)?
                }
                Value::Data(data) => self.named_output(&output.name, data.clone(), port)?,
            };
            outputs.push(match found {
                Output::Computed(port) => Output::Computed(Port { dims, ..port }),
                known => known,
            });
        }
        Ok(outputs)
    }

    fn named_output(
        &mut self,
        name: &str,
        data: Data,
        port: impl Fn(String) -> ImportError,
    ) -> Result<Output, ImportError> {
        if data.meaning == Meaning::Index {
            return Err(port("is an input of integers; outputs are floats".to_owned()));
        }
        let data = match (data.batch, data.dims.first().and_then(Dim::fixed)) {
            (Batch::Outside, Some(1)) => self.folded(&data).map_err(|reason| port(reason.to_string()))?,
            (Batch::Axis(0), Some(size)) if size > 1 && !self.open_batch => {
                self.spread(&data).map_err(|reason| port(reason.to_string()))?
            }
            _ => data,
        };
        self.builder.output(name, data.value)?;
        Ok(Output::Computed(Port { name: name.to_owned(), dims: data.dims.clone(), shape: data.shape() }))
    }

    fn known_tensor(&self, name: &str, known: &Known) -> Tensor {
        let values = known.to_floats().unwrap_or_default();
        Tensor { name: name.to_owned(), dims: known.dims.clone(), values }
    }
}

/// Checks that every size that is fixed by an option is that of an axis.
fn check_sizes(graph: &proto::Graph, options: &ImportOptions) -> Result<(), ImportError> {
    let types = graph.inputs.iter().filter_map(|input| input.ty.as_ref()?.tensor.as_ref()?.shape.as_ref());
    let names: HashSet<&str> =
        types.flat_map(|shape| &shape.axes).filter_map(|axis| axis.name.as_deref()).collect();
    for (name, size) in &options.sizes {
        let reason = match (names.contains(name.as_str()), size) {
            (true, 1..) => continue,
            (true, 0) => "is 0, but sizes are at least 1".to_owned(),
            (false, _) => {
                let mut names: Vec<&str> = names.into_iter().collect();
                names.sort_unstable();
                format!("names no axis of an input; they are {}", names.join(", "))
            }
        };
        return Err(ImportError::Option { name: name.clone(), reason });
    }
    Ok(())
}

/// Checks that a value that is given for an input has its sizes.
fn check_given(input: &proto::ValueInfo, known: &Known) -> Result<(), ImportError> {
    let error = |reason: String| Err(ImportError::Option { name: input.name.clone(), reason });
    let count = known.dims.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
    if count != Some(known.len()) {
        return error(format!("has {} elements for the sizes {:?}", known.len(), known.dims));
    }
    let Ok((_, sizes)) = tensor_type(input) else { return Ok(()) };
    fits(&sizes, &known.dims).or_else(error)
}

/// The sizes of an input that an option fixes.
fn with_sizes<'m>(
    input: &proto::ValueInfo,
    sizes: &[Size<'m>],
    given: &[usize],
) -> Result<Vec<Size<'m>>, ImportError> {
    let checked = if given.contains(&0) {
        Err(format!("has the sizes {given:?}, but sizes are at least 1"))
    } else {
        fits(sizes, given)
    };
    checked.map_err(|reason| ImportError::Option { name: input.name.clone(), reason })?;
    Ok(given.iter().map(|&size| Size::Fixed(size)).collect())
}

/// Whether sizes that are given may be those of an input.
fn fits(sizes: &[Size<'_>], given: &[usize]) -> Result<(), String> {
    let differs = |(size, own): (&Size<'_>, &usize)| matches!(size, Size::Fixed(size) if size != own);
    if sizes.len() == given.len() && !sizes.iter().zip(given).any(differs) {
        return Ok(());
    }
    let sizes = sizes.iter().map(|size| match size {
        Size::Fixed(size) => size.to_string(),
        Size::Named(name) => (*name).to_owned(),
        Size::Unknown => "?".to_owned(),
    });
    let sizes = sizes.collect::<Vec<_>>().join(", ");
    Err(format!("has the sizes {given:?}, but the input has [{sizes}]"))
}

/// The size of an axis of an input.
enum Size<'m> {
    Fixed(usize),
    Named(&'m str),
    Unknown,
}

/// The element type and axes of an input.
fn tensor_type(info: &proto::ValueInfo) -> Result<(ElementType, Vec<Size<'_>>), String> {
    let tensor = info.ty.as_ref().and_then(|ty| ty.tensor.as_ref());
    let tensor = tensor.ok_or_else(|| "is no tensor".to_owned())?;
    let element = ElementType::of(tensor.element)
        .ok_or_else(|| format!("has elements of type {}, which is not supported", tensor.element))?;
    let shape = tensor.shape.as_ref().ok_or_else(|| "has no declared number of axes".to_owned())?;
    let size = |axis: &'_ proto::Axis| match axis.value {
        // Some exporters write it for a size that they do not know.
        None | Some(-1) => Ok(None),
        Some(value) => usize::try_from(value).map(Some).map_err(|_| format!("has an axis of size {value}")),
    };
    let mut sizes = Vec::with_capacity(shape.axes.len());
    for axis in &shape.axes {
        sizes.push(match (size(axis)?, axis.name.as_deref().filter(|name| !name.is_empty())) {
            (Some(value), _) => Size::Fixed(value),
            (None, Some(name)) => Size::Named(name),
            (None, None) => Size::Unknown,
        });
    }
    Ok((element, sizes))
}

/// The symbols of open sizes.
struct Names<'m> {
    /// The name of the batch; an empty name is an axis without a name.
    batch: Option<&'m str>,
    others: Vec<(&'m str, Symbol)>,
    options: &'m ImportOptions,
}

impl<'m> Names<'m> {
    fn of(inputs: &[(&'m str, ElementType, Vec<Size<'m>>)], options: &'m ImportOptions) -> Self {
        let all = || inputs.iter().flat_map(|(_, _, sizes)| sizes);
        let is_open = |name: &&str| !options.sizes.contains_key(*name);
        let named = || all().filter_map(|size| if let Size::Named(name) = size { Some(*name) } else { None });
        // The first axis of an input, unless another one is named like a batch.
        let first = inputs.iter().find_map(|(_, _, sizes)| match sizes.first() {
            Some(Size::Named(name)) if is_open(name) => Some(*name),
            Some(Size::Unknown) => Some(""),
            _ => None,
        });
        let batch = named().filter(is_open).find(|name| name.to_lowercase().contains("batch")).or(first);
        let mut others: Vec<(&str, Symbol)> = Vec::new();
        for name in named().filter(is_open) {
            let is_free = others.len() < MOST_SIZES;
            if is_free && Some(name) != batch && !others.iter().any(|(other, _)| *other == name) {
                let symbol = symbol(name, &others);
                others.extend(symbol.map(|symbol| (name, symbol)));
            }
        }
        Names { batch, others, options }
    }

    fn dim(&self, size: &Size<'_>) -> Result<Dim, String> {
        match size {
            Size::Fixed(size) => Ok(Dim::Fixed(*size)),
            Size::Named(name) if self.options.sizes.contains_key(*name) => {
                Ok(Dim::Fixed(self.options.sizes[*name]))
            }
            Size::Named(name) if self.batch == Some(name) => Ok(Dim::batch()),
            Size::Unknown if self.batch == Some("") => Ok(Dim::batch()),
            Size::Named(name) => match self.others.iter().find(|(other, _)| other == name) {
                Some((_, symbol)) => Ok(Dim::from(*symbol)),
                None => Err(format!("has too many open sizes; fix `{name}` with `ImportOptions::size`")),
            },
            Size::Unknown => {
                Err("has an axis that has neither a size nor a name; name it when the model is exported, or fix the \
                     sizes of the input with `ImportOptions::shape`"
                    .to_owned())
            }
        }
    }
}

/// A symbol for a name, other than those that are taken.
fn symbol(name: &str, taken: &[(&str, Symbol)]) -> Option<Symbol> {
    let mut letters: String = name
        .chars()
        .filter(|it| it.is_ascii_alphanumeric() || *it == '_')
        .take(Symbol::MOST_BYTES - 2)
        .collect();
    if !letters.starts_with(|first: char| first.is_ascii_alphabetic()) {
        letters.insert(0, 'D');
    }
    letters[..1].make_ascii_uppercase();
    let is_free =
        |symbol: &Symbol| *symbol != Symbol::BATCH && taken.iter().all(|(_, other)| other != symbol);
    let numbered = (1..100).map(|number| format!("{letters}{number}"));
    let mut candidates = std::iter::once(letters.clone()).chain(numbered);
    candidates.find_map(|text| text.parse::<Symbol>().ok().filter(is_free))
}
