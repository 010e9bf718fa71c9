//! Builder methods for attention: products of two values, scaled dot products, several heads, additive scores, and
//! encodings of positions.

use super::Builder;
use super::initializer::Initializer;
use crate::entity::ValueId;
use crate::error::{GraphError, ShapeError};
use crate::ops::elementwise::{Bias, Binary, BinaryKind, Unary, UnaryKind};
use crate::ops::linear::Linear;
use crate::ops::mask::{Fill, Mask, Masked};
use crate::ops::matmul::Matmul;
use crate::ops::positions::AddPositions;
use crate::ops::reduce::Expand;
use crate::ops::softmax::Softmax;
use crate::ops::source::Constant;
use crate::shape::{Dim, Shape, Type};

/// The positions that attention ignores. They get the weight 0, whatever is stored there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttentionMask {
    /// Whether step `t` of the queries ignores the positions after `t`.
    pub causal: bool,
    /// The number of positions of each sample, `i32[N]`: it ignores the others, which only pad the batch. Models, predictors
    /// and trainers refuse a length outside 1 to the number of positions; in a piece of a stream, a sample without positions
    /// gets weights, results and gradients of 0.
    pub lengths: Option<ValueId>,
}

/// The parameters of [`Builder::multi_head_attention`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heads {
    /// The number of heads, which divides the features of the queries.
    pub heads: usize,
    /// Whether the projections have biases.
    pub bias: bool,
    /// Initial values of the projections' weights.
    pub init: Initializer,
}

impl Heads {
    /// Heads with biases.
    pub fn new(heads: usize) -> Self {
        Heads { heads, bias: true, init: Initializer::XavierUniform }
    }
}

/// The axes of a batch of sequences of vectors.
struct Sequence {
    batch: Dim,
    steps: Dim,
    features: usize,
}

impl Builder {
    /// The product of two matrices for each item: `[N, M, K]` times `[N, K, P]` is `[N, M, P]`. Either may be stored
    /// transposed, and every size may be open.
    ///
    /// ```
    /// use windlass::{Builder, DType, Dim, Symbol};
    ///
    /// let mut builder = Builder::new("gram");
    /// let steps: Symbol = "T".parse()?;
    /// let x = builder.input_of("x", DType::F32, [Dim::from(steps), Dim::from(8)])?;
    /// let gram = builder.matmul("gram", [x, x], [false, true])?;
    /// assert_eq!(builder.graph().ty(gram).to_string(), "f32[N, T, T]");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`GraphError::Shape`] for values that are no matrices, or whose sizes differ.
    pub fn matmul(
        &mut self,
        label: &str,
        [left, right]: [ValueId; 2],
        [transpose_left, transpose_right]: [bool; 2],
    ) -> Result<ValueId, GraphError> {
        self.op(Matmul { transpose_left, transpose_right }, &[left, right], label)
    }

    /// Scaled dot-product attention, `softmax(q·kᵀ / √d)·v` (Vaswani et al. 2017, arXiv:1706.03762, equation 1): queries
    /// `[T, d]`, keys `[S, d]` and values `[S, e]` give `[T, e]`. The numbers of steps may be open.
    ///
    /// ```
    /// use windlass::{AttentionMask, Builder, DType, Dim, Symbol};
    ///
    /// let mut builder = Builder::new("attend");
    /// let (t, s): (Symbol, Symbol) = ("T".parse()?, "S".parse()?);
    /// let q = builder.input_of("q", DType::F32, [Dim::from(t), Dim::from(8)])?;
    /// let k = builder.input_of("k", DType::F32, [Dim::from(s), Dim::from(8)])?;
    /// let v = builder.input_of("v", DType::F32, [Dim::from(s), Dim::from(5)])?;
    /// let lengths = builder.input_of("lengths", DType::I32, [])?;
    /// let mask = AttentionMask { lengths: Some(lengths), ..AttentionMask::default() };
    /// let context = builder.attention("a", [q, k, v], &mask)?;
    /// assert_eq!(builder.graph().ty(context).to_string(), "f32[N, T, 5]");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`GraphError::Shape`] for values that are no sequences, or that do not fit.
    pub fn attention(
        &mut self,
        label: &str,
        [query, key, value]: [ValueId; 3],
        mask: &AttentionMask,
    ) -> Result<ValueId, GraphError> {
        let of_query = self.sequence(label, query)?;
        let of_key = self.sequence(label, key)?;
        let Sequence { batch, features, .. } = of_query;
        self.expect(label, "keys", key, [batch.clone(), of_key.steps.clone(), features.into()])?;
        let of_value = self.sequence(label, value)?;
        self.expect(label, "values", value, [batch, of_key.steps, of_value.features.into()])?;
        let scaled = self.scaled(label, query, features)?;
        let (context, weights) = self.attend(label, [scaled, key, value], 1, mask)?;
        self.attended.push((context, weights, 1));
        Ok(context)
    }

    /// Multi-head attention (Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2): queries `[T, e]`, keys `[S, k]` and
    /// values `[S, v]` give `[T, e]`. For self-attention all three are the same value.
    ///
    /// Parameters are those of PyTorch's `nn.MultiheadAttention`: `in_proj_weight` `[3·e, e]` if all have `e` features, else
    /// `q_proj_weight`, `k_proj_weight` and `v_proj_weight`; `in_proj_bias`; `out_proj.weight` and `out_proj.bias`.
    ///
    /// ```
    /// use windlass::{AttentionMask, Builder, DType, Dim, Heads, Symbol};
    ///
    /// let mut builder = Builder::new("decoder");
    /// let (t, s): (Symbol, Symbol) = ("T".parse()?, "S".parse()?);
    /// let x = builder.input_of("x", DType::F32, [Dim::from(t), Dim::from(16)])?;
    /// let memory = builder.input_of("memory", DType::F32, [Dim::from(s), Dim::from(24)])?;
    /// let causal = AttentionMask { causal: true, lengths: None };
    /// let own = builder.multi_head_attention("own", [x, x, x], &Heads::new(4), &causal)?;
    /// let open = AttentionMask::default();
    /// let seen = builder.multi_head_attention("seen", [own, memory, memory], &Heads::new(4), &open)?;
    /// assert_eq!(builder.graph().ty(seen).to_string(), "f32[N, T, 16]");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`GraphError::Shape`] for values that are no sequences or do not fit, and for heads that do not divide the features.
    pub fn multi_head_attention(
        &mut self,
        label: &str,
        [query, key, value]: [ValueId; 3],
        &Heads { heads, bias, init }: &Heads,
        mask: &AttentionMask,
    ) -> Result<ValueId, GraphError> {
        let at = |error| GraphError::Shape { at: label.to_owned(), error };
        let Sequence { batch, steps, features } = self.sequence(label, query)?;
        let of_key = self.sequence(label, key)?;
        let of_value = self.sequence(label, value)?;
        self.expect(label, "keys", key, [batch.clone(), of_key.steps.clone(), of_key.features.into()])?;
        self.expect(label, "values", value, [batch.clone(), of_key.steps.clone(), of_value.features.into()])?;
        if heads == 0 {
            return Err(at(ShapeError::ZeroArgument { argument: "heads" }));
        }
        if !features.is_multiple_of(heads) {
            return Err(at(ShapeError::HeadsDoNotDivide { heads, features }));
        }
        let all = features.saturating_mul(3);
        let widths = [features, of_key.features, of_value.features];
        let weights = if widths == [features; 3] {
            let weight = self.parameter(label, "in_proj_weight", &[all, features], init)?;
            self.split(label, weight, 0, &[features; 3])?
        } else {
            let names = ["q_proj_weight", "k_proj_weight", "v_proj_weight"];
            let own = names.iter().zip(widths);
            own.map(|(name, width)| self.parameter(label, name, &[features, width], init))
                .collect::<Result<_, _>>()?
        };
        let biases = match bias {
            true => {
                let bias = self.parameter(label, "in_proj_bias", &[all], Initializer::ZEROS)?;
                self.split(label, bias, 0, &[features; 3])?.into_iter().map(Some).collect()
            }
            false => vec![None; 3],
        };
        let mut parts = [query; 3];
        for (index, (part, value)) in parts.iter_mut().zip([query, key, value]).enumerate() {
            let steps = if index == 0 { steps.clone() } else { of_key.steps.clone() };
            let mut projected = self.project(label, value, weights[index], biases[index])?;
            if index == 0 {
                projected = self.scaled(label, projected, features / heads)?;
            }
            let shape = Shape::new([batch.clone(), steps, heads.into(), (features / heads).into()]);
            *part = self.reshape(label, projected, shape)?;
            if heads > 1 {
                *part = self.transpose(label, *part, &[0, 2, 1, 3])?;
                let folded = self.graph().ty(*part).shape.with_first_folded(2);
                *part = self.reshape(label, *part, folded)?;
            } else {
                let dims = self.graph().ty(*part).shape.dims().to_vec();
                let shape = Shape::new([dims[0].clone(), dims[1].clone(), dims[3].clone()]);
                *part = self.reshape(label, *part, shape)?;
            }
        }
        let (mut context, weights) = self.attend(label, parts, heads, mask)?;
        if heads > 1 {
            let by_head = [batch.clone(), heads.into(), steps.clone(), (features / heads).into()];
            context = self.reshape(label, context, Shape::new(by_head))?;
            context = self.transpose(label, context, &[0, 2, 1, 3])?;
        }
        let shape = Shape::new([batch, steps, features.into()]);
        let context = self.reshape(label, context, shape.clone())?;
        let weight = self.parameter(label, "out_proj.weight", &[features, features], init)?;
        let bias = match bias {
            true => Some(self.parameter(label, "out_proj.bias", &[features], Initializer::ZEROS)?),
            false => None,
        };
        let y = self.project(label, context, weight, bias)?;
        let y = self.reshape(label, y, shape)?;
        self.attended.push((y, weights, heads));
        Ok(y)
    }

    /// Additive attention (Bahdanau, Cho and Bengio 2015, arXiv:1409.0473, section A.1.2): the score of a query `[T, q]`
    /// and a key `[S, k]` is `v·tanh(W·query + U·key)`, with `hidden` features in between; softmax over the scores weighs
    /// the values `[S, e]`. Parameters are `query.weight`, `key.weight` and `score.weight`.
    ///
    /// # Errors
    /// [`GraphError::Shape`] for values that are no sequences, or that do not fit.
    pub fn additive_attention(
        &mut self,
        label: &str,
        [query, key, value]: [ValueId; 3],
        hidden: usize,
        mask: &AttentionMask,
    ) -> Result<ValueId, GraphError> {
        let of_query = self.sequence(label, query)?;
        let of_key = self.sequence(label, key)?;
        let of_value = self.sequence(label, value)?;
        let Sequence { batch, steps, .. } = of_query;
        let positions = of_key.steps;
        self.expect(label, "keys", key, [batch.clone(), positions.clone(), of_key.features.into()])?;
        self.expect(label, "values", value, [batch.clone(), positions.clone(), of_value.features.into()])?;
        if hidden == 0 {
            let error = ShapeError::ZeroArgument { argument: "hidden" };
            return Err(GraphError::Shape { at: label.to_owned(), error });
        }
        let init = Initializer::XavierUniform;
        let pairs = Shape::new([batch.clone(), steps.clone(), positions.clone(), hidden.into()]);
        let mut terms = [query; 2];
        for (index, (term, features)) in
            terms.iter_mut().zip([of_query.features, of_key.features]).enumerate()
        {
            let (name, value, size, axis) = match index {
                0 => ("query.weight", query, &steps, 2),
                _ => ("key.weight", key, &positions, 1),
            };
            let weight = self.parameter(label, name, &[hidden, features], init)?;
            let projected = self.project(label, value, weight, None)?;
            let shape = Shape::new([batch.clone(), size.clone(), hidden.into()]);
            let projected = self.reshape(label, projected, shape)?;
            let expand = Expand { shape: pairs.clone(), axis, count: 1, divided: false };
            *term = self.op(expand, &[projected], label)?;
        }
        let sum = self.op(Binary { kind: BinaryKind::Add }, &terms, label)?;
        let seen = self.op(Unary { kind: UnaryKind::Tanh }, &[sum], label)?;
        let seen = self.reshape(label, seen, pairs.with_first_folded(3))?;
        let weight = self.parameter(label, "score.weight", &[1, hidden], init)?;
        let scores = self.op(Linear { epilogue: Vec::new() }, &[seen, weight], label)?;
        let scores = self.reshape(label, scores, Shape::new([batch, steps, positions]))?;
        let weights = self.masked_softmax(label, scores, 1, mask)?;
        let context = self.matmul(label, [weights, value], [false, false])?;
        self.attended.push((context, weights, 1));
        Ok(context)
    }

    /// The weights that a result of attention was computed with: `[T, S]`, how much query `t` took of value `s`, or
    /// `[heads, T, S]` for several heads.
    ///
    /// ```
    /// use windlass::{AttentionMask, Builder, DType, Dim, Heads, Symbol};
    ///
    /// let mut builder = Builder::new("net");
    /// let steps: Symbol = "T".parse()?;
    /// let x = builder.input_of("x", DType::F32, [Dim::from(steps), Dim::from(8)])?;
    /// let y = builder.multi_head_attention("a", [x, x, x], &Heads::new(4), &AttentionMask::default())?;
    /// let weights = builder.attention_weights(y)?;
    /// assert_eq!(builder.graph().ty(weights).to_string(), "f32[N, 4, T, T]");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`GraphError::Shape`] for a value that is no result of attention.
    pub fn attention_weights(&mut self, attended: ValueId) -> Result<ValueId, GraphError> {
        let label = "attention_weights";
        self.graph().check_exists(label, attended)?;
        let Some(&(_, weights, heads)) = self.attended.iter().find(|(value, ..)| *value == attended) else {
            let expected = "a result of attention".to_owned();
            let error = ShapeError::Rank { expected, got: self.graph().ty(attended).shape.clone() };
            return Err(GraphError::Shape { at: label.to_owned(), error });
        };
        if heads == 1 {
            return Ok(weights);
        }
        let batch = self.graph().ty(attended).shape.dims()[0].clone();
        let by_head = [&[batch, heads.into()], &self.graph().ty(weights).shape.dims()[1..]].concat();
        let label = self.graph().producer(weights).label.clone();
        self.reshape(&label, weights, Shape::new(by_head))
    }

    /// Adds sinusoidal encodings of the positions to the vectors of a sequence `[T, features]` (Vaswani et al. 2017,
    /// arXiv:1706.03762, section 3.5). The number of steps may be open.
    ///
    /// # Errors
    /// [`GraphError::Shape`] for a value that is no sequence.
    pub fn add_positions(&mut self, label: &str, x: ValueId) -> Result<ValueId, GraphError> {
        self.op(AddPositions {}, &[x], label)
    }

    /// The axes of a sequence of vectors of fixed length.
    fn sequence(&self, label: &str, value: ValueId) -> Result<Sequence, GraphError> {
        let Type { shape, .. } = self.graph().ty(value);
        let features = shape.dims().last().and_then(Dim::fixed);
        match (shape.dims(), features) {
            ([batch, steps, _], Some(features)) if shape.is_batched() => {
                Ok(Sequence { batch: batch.clone(), steps: steps.clone(), features })
            }
            _ => {
                let expected = "a sequence [steps, features]".to_owned();
                let error = ShapeError::Rank { expected, got: shape.clone() };
                Err(GraphError::Shape { at: label.to_owned(), error })
            }
        }
    }

    fn expect(
        &self,
        label: &str,
        operand: &'static str,
        value: ValueId,
        dims: [Dim; 3],
    ) -> Result<(), GraphError> {
        let expected = Type::f32(Shape::new(dims));
        crate::ops::expect_type(operand, self.graph().ty(value), &expected)
            .map_err(|error| GraphError::Shape { at: label.to_owned(), error })
    }

    /// A value times 1/√d, the scale of scores of queries and keys with `features` features. Its steps are folded, so that
    /// it is stored like the result of a dense layer.
    fn scaled(&mut self, label: &str, x: ValueId, features: usize) -> Result<ValueId, GraphError> {
        let shape = self.graph().ty(x).shape.clone();
        let folded = self.reshape(label, x, shape.with_first_folded(shape.rank() - 1))?;
        let scale = vec![(1.0 / (features as f64).sqrt()) as f32];
        let scale = self.op(Constant { shape: Shape::scalar(), values: scale }, &[], label)?;
        let scaled = self.op(Binary { kind: BinaryKind::Multiply }, &[folded, scale], label)?;
        self.reshape(label, scaled, shape)
    }

    /// A dense layer on each step: a batch of vectors, one for each step.
    fn project(
        &mut self,
        label: &str,
        x: ValueId,
        weight: ValueId,
        bias: Option<ValueId>,
    ) -> Result<ValueId, GraphError> {
        let folded = self.graph().ty(x).shape.with_first_folded(2);
        let x = self.reshape(label, x, folded)?;
        let y = self.op(Linear { epilogue: Vec::new() }, &[x, weight], label)?;
        bias.map_or(Ok(y), |bias| self.op(Bias {}, &[y, bias], label))
    }

    /// Attention with scaled queries, and its weights. `heads` heads are folded into the batch.
    fn attend(
        &mut self,
        label: &str,
        [query, key, value]: [ValueId; 3],
        heads: usize,
        mask: &AttentionMask,
    ) -> Result<(ValueId, ValueId), GraphError> {
        let scores = self.matmul(label, [query, key], [false, true])?;
        let weights = self.masked_softmax(label, scores, heads, mask)?;
        Ok((self.matmul(label, [weights, value], [false, false])?, weights))
    }

    /// The weights of positions `[N, T, S]`: softmax of the scores of those that are not masked.
    fn masked_softmax(
        &mut self,
        label: &str,
        scores: ValueId,
        heads: usize,
        mask: &AttentionMask,
    ) -> Result<ValueId, GraphError> {
        let shape = self.graph().ty(scores).shape.clone();
        let mut scores = scores;
        if mask.causal {
            scores = self.op(Mask { masked: Masked::Causal, fill: Fill::Lowest }, &[scores], label)?;
        }
        scores = self.padded(label, scores, heads, (mask, Fill::Lowest))?;
        let folded = self.reshape(label, scores, shape.with_first_folded(2))?;
        let weights = self.op(Softmax {}, &[folded], label)?;
        let weights = self.reshape(label, weights, shape)?;
        // Softmax of no positions is NaN, and gradients at masked positions may be anything.
        self.padded(label, weights, heads, (mask, Fill::Zero))
    }

    /// Fills the positions beyond the lengths of samples, if there are lengths.
    fn padded(
        &mut self,
        label: &str,
        x: ValueId,
        heads: usize,
        (mask, fill): (&AttentionMask, Fill),
    ) -> Result<ValueId, GraphError> {
        let Some(lengths) = mask.lengths else { return Ok(x) };
        let shape = self.graph().ty(x).shape.clone();
        let batch = self.graph().ty(lengths).shape.dims().first().cloned().unwrap_or(Dim::batch());
        let by_sample = [&[batch, heads.into()], &shape.dims()[1..]].concat();
        let x = self.reshape(label, x, Shape::new(by_sample))?;
        let y = self.op(Mask { masked: Masked::Lengths, fill }, &[x, lengths], label)?;
        self.reshape(label, y, shape)
    }
}
