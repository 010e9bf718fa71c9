//! Operators of graphs that ONNX has no operator for, as functions of the model: their bodies consist of operators of ONNX,
//! so that every program runs them, and the import recognises their names.

use windlass_compiler::ops::mask::{Fill, Masked};

use super::attribute::{self, element, int, tensor};
use super::{OPSET, opsets};
use crate::proto;

/// The domain of the functions.
pub(crate) const DOMAIN: &str = "windlass";

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Function {
    /// Sinusoidal encodings of positions, added to `[N, …, T, F]`.
    AddPositions,
    /// Zeros after the row's own position in `[N, …, T, S]`.
    CausalZero,
    /// −∞ there.
    CausalLowest,
    /// Zeros from the length of each sample on in `[N, …, S]`.
    LengthsZero,
    /// −∞ there.
    LengthsLowest,
}

impl Function {
    const ALL: [Function; 5] = [
        Function::AddPositions,
        Function::CausalZero,
        Function::CausalLowest,
        Function::LengthsZero,
        Function::LengthsLowest,
    ];

    /// The function of a mask.
    pub(crate) fn of_mask(masked: Masked, fill: Fill) -> Self {
        match (masked, fill) {
            (Masked::Causal, Fill::Zero) => Function::CausalZero,
            (Masked::Causal, Fill::Lowest) => Function::CausalLowest,
            (Masked::Lengths, Fill::Zero) => Function::LengthsZero,
            (Masked::Lengths, Fill::Lowest) => Function::LengthsLowest,
        }
    }

    /// The function with a name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.name() == name)
    }

    /// The mask, if it is one.
    pub(crate) fn mask(self) -> Option<(Masked, Fill)> {
        match self {
            Function::AddPositions => None,
            Function::CausalZero => Some((Masked::Causal, Fill::Zero)),
            Function::CausalLowest => Some((Masked::Causal, Fill::Lowest)),
            Function::LengthsZero => Some((Masked::Lengths, Fill::Zero)),
            Function::LengthsLowest => Some((Masked::Lengths, Fill::Lowest)),
        }
    }

    /// Its name in [`DOMAIN`].
    pub(crate) fn name(self) -> &'static str {
        match self {
            Function::AddPositions => "AddPositions",
            Function::CausalZero => "CausalMaskZero",
            Function::CausalLowest => "CausalMaskLowest",
            Function::LengthsZero => "LengthMaskZero",
            Function::LengthsLowest => "LengthMaskLowest",
        }
    }

    /// Its declaration in the model.
    pub(super) fn declaration(self) -> proto::Function {
        let (inputs, doc, nodes): (&[&str], &str, _) = match self {
            Function::AddPositions => (
                &["x"],
                "Adds sin(t / 10000^(2i/F)) to feature 2i of step t of [N, ..., T, F], and the cosine to feature 2i + 1.",
                positions(),
            ),
            Function::CausalZero | Function::CausalLowest => (
                &["x"],
                "Replaces the elements of [N, ..., T, S] whose last index is above the one before.",
                causal(self.fill()),
            ),
            Function::LengthsZero | Function::LengthsLowest => (
                &["x", "lengths"],
                "Replaces the elements of [N, ..., S] whose last index is not below the length of the sample.",
                lengths(self.fill()),
            ),
        };
        proto::Function {
            name: self.name().to_owned(),
            inputs: inputs.iter().map(|&input| input.to_owned()).collect(),
            outputs: vec!["y".to_owned()],
            nodes,
            doc: doc.to_owned(),
            opset_import: opsets(&[("", OPSET)]),
            domain: DOMAIN.to_owned(),
        }
    }

    fn fill(self) -> f32 {
        self.mask().map_or(0.0, |(_, fill)| fill.value())
    }
}

/// The nodes of a body.
#[derive(Default)]
struct Body(Vec<proto::Node>);

impl Body {
    fn add(&mut self, operator: &str, inputs: &[&str], output: &str, attributes: Vec<proto::Attribute>) {
        self.0.push(proto::Node {
            inputs: inputs.iter().map(|&input| input.to_owned()).collect(),
            outputs: vec![output.to_owned()],
            operator: operator.to_owned(),
            attributes,
            ..Default::default()
        });
    }

    fn constant(&mut self, name: &str, value: proto::Tensor) {
        self.add("Constant", &[], name, vec![tensor("value", value)]);
    }

    fn integer(&mut self, name: &str, value: i64) {
        self.constant(name, attribute::integers(&[], &[value]));
    }

    /// The size of an axis of `x`, counted from the end, and its indices.
    fn axis(&mut self, axis: i64, size: &str, indices: &str) {
        let place = format!("{size}_axis");
        self.integer(&place, axis);
        self.add("Gather", &["shape", &place], size, vec![int("axis", 0)]);
        self.add("Range", &["zero", size, "one"], indices, Vec::new());
    }

    /// A body that begins with the shape of `x`, and the numbers 0 and 1.
    fn begun() -> Self {
        let mut body = Body::default();
        body.add("Shape", &["x"], "shape", Vec::new());
        body.integer("zero", 0);
        body.integer("one", 1);
        body.constant("first", attribute::integers(&[1], &[1]));
        body
    }

    /// `y`: `x` where `kept`, and a number elsewhere.
    fn kept(mut self, number: f32) -> Vec<proto::Node> {
        self.constant("fill", attribute::floats(&[], &[number]));
        self.add("Where", &["kept", "x", "fill"], "y", Vec::new());
        self.0
    }
}

fn causal(fill: f32) -> Vec<proto::Node> {
    let mut body = Body::begun();
    body.axis(-1, "columns", "column");
    body.axis(-2, "rows", "row");
    body.add("Unsqueeze", &["row", "first"], "own", Vec::new());
    body.add("LessOrEqual", &["column", "own"], "kept", Vec::new());
    body.kept(fill)
}

fn lengths(fill: f32) -> Vec<proto::Node> {
    let mut body = Body::begun();
    body.axis(-1, "columns", "column");
    // The lengths with an axis of size 1 for each other axis of `x`.
    body.add("Shape", &["shape"], "rank", Vec::new());
    body.add("Sub", &["rank", "first"], "others", Vec::new());
    body.add("ConstantOfShape", &["others"], "ones", vec![tensor("value", attribute::integers(&[1], &[1]))]);
    body.add("Shape", &["lengths"], "samples", Vec::new());
    body.add("Concat", &["samples", "ones"], "target", vec![int("axis", 0)]);
    body.add("Reshape", &["lengths", "target"], "own", Vec::new());
    body.add("Less", &["column", "own"], "kept", Vec::new());
    body.kept(fill)
}

/// Angles have 64 bits: those of thousands of steps would have few digits behind the point otherwise.
fn positions() -> Vec<proto::Node> {
    let double = || vec![int("to", i64::from(element::DOUBLE))];
    let mut body = Body::begun();
    body.axis(-1, "features", "feature");
    body.axis(-2, "steps", "step");
    body.integer("two", 2);
    body.add("Div", &["feature", "two"], "pair", Vec::new());
    body.add("Mul", &["pair", "two"], "even", Vec::new());
    body.add("Cast", &["even"], "even_real", double());
    body.add("Cast", &["features"], "features_real", double());
    body.add("Div", &["even_real", "features_real"], "exponent", Vec::new());
    body.constant("base", attribute::double(10_000.0));
    body.add("Pow", &["base", "exponent"], "period", Vec::new());
    body.add("Unsqueeze", &["step", "first"], "place", Vec::new());
    body.add("Cast", &["place"], "place_real", double());
    body.add("Div", &["place_real", "period"], "angle", Vec::new());
    body.add("Sin", &["angle"], "sine", Vec::new());
    body.add("Cos", &["angle"], "cosine", Vec::new());
    body.add("Equal", &["feature", "even"], "is_even", Vec::new());
    body.add("Where", &["is_even", "sine", "cosine"], "encoding", Vec::new());
    body.add("Cast", &["encoding"], "encoding_single", vec![int("to", i64::from(element::FLOAT))]);
    body.add("Add", &["x", "encoding_single"], "y", Vec::new());
    body.0
}
