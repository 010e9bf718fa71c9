//! Inputs and outputs of [`Dynamic`] networks, by name.

use ndarray::ArrayD;
use smallvec::SmallVec;

use super::{AnyNetwork, Dynamic, Feed};
use crate::error::{Error, NetworkProblem};

/// The number of inputs or outputs that are held without allocating.
pub(super) const FEW: usize = 4;

/// Inputs in declaration order.
pub(super) type NamedInputs<'a> = SmallVec<[Feed<'a>; FEW]>;

/// Outputs in declaration order.
pub(super) type NamedArrays = SmallVec<[ArrayD<f32>; FEW]>;

/// The inputs of a run of a [`Dynamic`] network.
///
/// A single input needs no name: `model.forward(&images)`. Several are given by name, in any order:
/// `model.forward([("left", &left), ("right", &right)])`, or with [`Feed::from`] around each if their types differ. If
/// their number is known only at run time, they can be collected:
///
/// ```
/// use windlass::{DynamicInputs, Feed};
///
/// let features = vec![("age".to_owned(), vec![0.5]), ("height".to_owned(), vec![1.8])];
/// let inputs: DynamicInputs = features.iter().map(|(name, values)| (name.as_str(), Feed::from(values))).collect();
/// # let _ = inputs;
/// ```
///
/// Up to four inputs are held without allocating.
#[derive(Clone, Debug)]
pub struct DynamicInputs<'a> {
    /// A single input may have no name.
    given: SmallVec<[(Option<&'a str>, Feed<'a>); FEW]>,
}

impl<'a, T: Into<Feed<'a>>> From<T> for DynamicInputs<'a> {
    fn from(input: T) -> Self {
        DynamicInputs { given: SmallVec::from_iter([(None, input.into())]) }
    }
}

impl<'a, T: Into<Feed<'a>>, const COUNT: usize> From<[(&'a str, T); COUNT]> for DynamicInputs<'a> {
    fn from(inputs: [(&'a str, T); COUNT]) -> Self {
        inputs.into_iter().collect()
    }
}

impl<'a, T: Into<Feed<'a>>> FromIterator<(&'a str, T)> for DynamicInputs<'a> {
    fn from_iter<I: IntoIterator<Item = (&'a str, T)>>(inputs: I) -> Self {
        DynamicInputs { given: inputs.into_iter().map(|(name, input)| (Some(name), input.into())).collect() }
    }
}

impl<'a> DynamicInputs<'a> {
    /// The inputs in the declaration order of a network.
    ///
    /// # Errors
    /// [`Error::UnknownInput`], [`Error::MissingInput`], [`Error::RepeatedInput`], [`Error::UnnamedInput`].
    pub(crate) fn in_order_of<N: AnyNetwork>(self, network: &N) -> Result<NamedInputs<'a>, Error> {
        let known = || network.input_ports().map(|(name, _)| name.to_owned()).collect();
        let mut ordered: SmallVec<[Option<Feed<'a>>; FEW]> = network.input_ports().map(|_| None).collect();
        for (name, input) in self.given {
            let place = match name {
                Some(name) => {
                    network.input_ports().position(|(known, _)| known == name).ok_or_else(|| {
                        let (network, name) = (network.name().to_owned(), name.to_owned());
                        Error::UnknownInput { network, name, known: known() }
                    })?
                }
                None if ordered.len() == 1 => 0,
                None => {
                    return Err(Error::UnnamedInput { network: network.name().to_owned(), known: known() });
                }
            };
            if ordered[place].replace(input).is_some() {
                let (network, name) = (network.name().to_owned(), name.unwrap_or_default().to_owned());
                return Err(Error::RepeatedInput { network, name });
            }
        }
        let missing = |name: &str| Error::MissingInput {
            network: network.name().to_owned(),
            name: name.to_owned(),
            known: known(),
        };
        let ports = network.input_ports();
        ordered.into_iter().zip(ports).map(|(input, (name, _))| input.ok_or_else(|| missing(name))).collect()
    }
}

/// The outputs of a run of a [`Dynamic`] network: an array for each.
///
/// ```
/// use windlass::{Dynamic, Error};
///
/// let graph = r#"graph Net {
///   %0 = input {name = "x", type = "f32[N, 2]"}
///   %1 = unary(%0) {kind = "relu"}
///   output "y" = %1
/// }"#;
/// let outputs = Dynamic::new(graph.parse()?)?.model(0)?.forward(&[-1.0, 1.0])?;
/// assert_eq!(outputs.get("y")?.as_slice(), Some(&[0.0, 1.0][..]));
/// for (name, array) in outputs.iter() {
///     println!("{name}: {array}");
/// }
/// let error = outputs.get("z").unwrap_err();
/// assert_eq!(error.to_string(), "`Net` has no output `z`; its outputs are `y`");
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct DynamicOutputs {
    network: Dynamic,
    arrays: NamedArrays,
}

impl DynamicOutputs {
    pub(super) fn new(network: Dynamic, arrays: NamedArrays) -> Self {
        DynamicOutputs { network, arrays }
    }

    /// The output with a name.
    ///
    /// # Errors
    /// [`Error::UnknownOutput`].
    pub fn get(&self, name: &str) -> Result<&ArrayD<f32>, Error> {
        self.iter().find(|(known, _)| *known == name).map(|(_, array)| array).ok_or_else(|| {
            Error::UnknownOutput {
                network: self.network.name().to_owned(),
                name: name.to_owned(),
                known: self.names(),
            }
        })
    }

    /// The output, if there is only one.
    ///
    /// # Errors
    /// [`Error::SeveralOutputs`].
    pub fn single(self) -> Result<ArrayD<f32>, Error> {
        if self.arrays.len() > 1 {
            return Err(Error::SeveralOutputs {
                network: self.network.name().to_owned(),
                known: self.names(),
            });
        }
        let network = self.network;
        let missing =
            || Error::Network { network: network.name().to_owned(), problem: NetworkProblem::NoOutputs };
        self.arrays.into_iter().next().ok_or_else(missing)
    }

    /// The outputs with their names, in declaration order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &ArrayD<f32>)> {
        self.network.outputs().map(|(name, _)| name).zip(&self.arrays)
    }

    /// The outputs in declaration order.
    pub fn into_arrays(self) -> Vec<ArrayD<f32>> {
        self.arrays.into_vec()
    }

    fn names(&self) -> Vec<String> {
        self.network.outputs().map(|(name, _)| name.to_owned()).collect()
    }
}

impl PartialEq for DynamicOutputs {
    /// Whether names and values are equal, in declaration order.
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}
