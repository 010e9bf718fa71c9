//! Layers as users declare them, and the operators and parameters that each becomes.

mod activation;
mod build;
mod connections;
mod conv;
mod distance;
mod norm;
mod pool;
mod recurrent;
pub mod rules;
mod serialized;
mod spatial;
mod table;
mod words;

pub use self::recurrent::{Cell, GruReset, Recurrence, Recurrent, RecurrentOperands, RnnActivation};
pub use self::spatial::{Interpolation, PaddingMode};
use super::initializer::Initializer;
use crate::ops::elementwise::Activation;
use crate::ops::window::{Sides, Window};

/// A layer with one input and one output.
///
/// `serde` reads and writes it with the names of `network!`, in self-describing formats such as JSON. Omitted arguments
/// have the defaults of `network!`:
///
/// ```
/// use windlass::{Layer, Window};
///
/// let text = r#"{"layer": "conv2d", "out_channels": 6, "kernel_size": 5, "padding": 2}"#;
/// let layer: Layer = serde_json::from_str(text)?;
/// assert_eq!(layer, Layer::conv(6, Window::square(5, 1, 2)));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// Convolution (cross-correlation) over as many spatial axes as the window has: `conv1d`, `conv2d` or `conv3d`.
    Conv {
        /// Channels of the result.
        out_channels: usize,
        /// The window.
        window: Window,
        /// Number of channel groups; channels of different groups are independent.
        groups: usize,
        /// Whether to add a bias per output channel.
        bias: bool,
        /// Initial values of the weight.
        init: Initializer,
        /// Whether the kernel is rotated by 180°: a convolution in the sense of mathematics and signal processing.
        rotated: bool,
        /// The input channels, in ascending order, with which each output channel is connected; no list at all if all
        /// are. There are weights only for these connections: `[connections, 1, kernel…]`, output by output.
        connections: Vec<Vec<usize>>,
    },
    /// Transposed convolution: the gradient of a convolution to its input, so that strides enlarge images (Zeiler et
    /// al. 2010; Dumoulin and Visin 2016, arXiv:1603.07285). Sizes of the result are (input − 1) · stride − padding +
    /// dilation · (kernel size − 1) + 1 + output padding, with the padding of both sides. The weight has the shape
    /// `[C, out_channels / groups, kernel…]`.
    ConvTranspose {
        /// Channels of the result.
        out_channels: usize,
        /// The window of the convolution whose gradient it is.
        window: Window,
        /// Elements added after the result, for each axis; below the stride.
        output_padding: Vec<usize>,
        /// Number of channel groups; channels of different groups are independent.
        groups: usize,
        /// Whether to add a bias per output channel.
        bias: bool,
        /// Initial values of the weight.
        init: Initializer,
    },
    /// Maximum of each window.
    MaxPool {
        /// The window.
        window: Window,
        /// Whether sizes are rounded up ([`Window::rounded_up`]).
        ceil_mode: bool,
    },
    /// Mean of each window.
    AvgPool {
        /// The window.
        window: Window,
        /// Whether sizes are rounded up ([`Window::rounded_up`]). Elements beyond the padding are never counted.
        ceil_mode: bool,
        /// Whether padding counts as zeros; otherwise each window is divided by the number of its elements in the input.
        count_include_pad: bool,
    },
    /// The p-norm of each window: (Σ |x|ᵖ)^(1/p).
    LpPool {
        /// Sizes of the window.
        kernel_size: Vec<usize>,
        /// Distances between neighbouring windows.
        stride: Vec<usize>,
        /// The power p, at least 1.
        power: f64,
    },
    /// Trainable subsampling (LeCun et al. 1998, section II.B): the sum of each window times a weight per channel, plus
    /// a bias per channel.
    Subsample {
        /// Sizes of the window, and distances between windows.
        kernel_size: Vec<usize>,
    },
    /// Means of as many windows as the result has elements: window `i` of `n` of an axis of size `s` has the elements
    /// from ⌊i·s/n⌋ to ⌈(i+1)·s/n⌉.
    AdaptiveAvgPool {
        /// Spatial sizes of the result.
        output_size: Vec<usize>,
    },
    /// Maxima of the same windows.
    AdaptiveMaxPool {
        /// Spatial sizes of the result.
        output_size: Vec<usize>,
    },
    /// Mean of each channel: `[C, H, W]` to `[C, 1, 1]`.
    GlobalAvgPool {
        /// The number of spatial axes.
        axes: usize,
    },
    /// Maximum of each channel: `[C, H, W]` to `[C, 1, 1]`.
    GlobalMaxPool {
        /// The number of spatial axes.
        axes: usize,
    },
    /// Elements before and after the spatial axes.
    Pad {
        /// The number of elements for each axis.
        padding: Vec<Sides>,
        /// Their values.
        mode: PaddingMode,
    },
    /// Larger images.
    Upsample {
        /// The factor by which each axis grows.
        factor: Vec<usize>,
        /// How elements between the input's are computed.
        mode: Interpolation,
    },
    /// Rearranges `[C·f², H, W]` to `[C, H·f, W·f]` (Shi et al. 2016, arXiv:1609.05158).
    PixelShuffle {
        /// The factor f by which height and width grow.
        factor: usize,
    },
    /// Interleaves groups of channels: channel `c` of group `g` becomes channel `c·groups + g` (Zhang et al. 2017,
    /// arXiv:1707.01083).
    ChannelShuffle {
        /// The number of groups.
        groups: usize,
    },
    /// The same elements with other sizes.
    Reshape {
        /// Sizes of a sample.
        sizes: Vec<usize>,
    },
    /// Permutes the axes of a sample: axis `i` of the result is axis `order[i]`, counted from 0 without the batch.
    Permute {
        /// The order.
        order: Vec<usize>,
    },
    /// Some indices of an axis.
    Slice {
        /// The first index.
        start: usize,
        /// The number of indices.
        length: usize,
        /// The axis, counted from 0 without the batch: 0 for channels.
        axis: usize,
    },
    /// The mean over some axes, which the result does not have.
    Mean {
        /// The axes, counted from 0 without the batch.
        axes: Vec<usize>,
    },
    /// Dense layer on a vector.
    Linear {
        /// Length of the result.
        out_features: usize,
        /// Whether to add a bias per output.
        bias: bool,
        /// Initial values of the weight.
        init: Initializer,
    },
    /// A recurrent layer on sequences `[steps, features]`: the state after every step ([`Builder::recurrent`]).
    ///
    /// [`Builder::recurrent`]: super::Builder::recurrent
    Recurrent(Recurrent),
    /// The last step of a sequence: `[steps, …]` to `[…]`.
    LastStep,
    /// Rows of a table by index: `[vocabulary, features]`, one row for each token. Its input are indices of any shape;
    /// the result has the features as its last axis.
    Embedding {
        /// The number of rows.
        vocabulary: usize,
        /// Length of a row.
        features: usize,
        /// Initial values of the table.
        init: Initializer,
    },
    /// Squared Euclidean distances of a vector to some prototypes, `Σ (x − w)²`: the radial basis functions of LeNet-5
    /// (LeCun et al. 1998, section II.B).
    Rbf {
        /// The number of prototypes.
        out_features: usize,
        /// Whether the prototypes are parameters; otherwise they are a state, which training does not change.
        trainable: bool,
        /// Initial values of the prototypes.
        init: Initializer,
    },
    /// Self-attention with several heads: each step of a sequence `[steps, features]` gets a weighted mean over all steps
    /// (Vaswani et al. 2017, arXiv:1706.03762). Its parameters are those of PyTorch's `nn.MultiheadAttention`; see
    /// [`Builder::multi_head_attention`](crate::graph::Builder::multi_head_attention).
    MultiHeadAttention {
        /// The number of heads, which divides the features.
        heads: usize,
        /// Whether the projections have biases.
        bias: bool,
        /// Whether each step ignores those after it.
        causal: bool,
        /// Initial values of the projections' weights.
        init: Initializer,
    },
    /// Adds sines and cosines of the positions to a sequence `[steps, features]` (Vaswani et al. 2017, section 3.5).
    PositionalEncoding,
    /// Flattens any shape to a vector.
    Flatten,
    /// Sets random elements to zero in training.
    Dropout {
        /// The probability that an element becomes zero.
        rate: f64,
    },
    /// Sets random channels to zero in training (Tompson et al. 2015, arXiv:1411.4280).
    ChannelDropout {
        /// The probability that a channel of a sample becomes zero.
        rate: f64,
    },
    /// Sets random samples to zero in training, so that residual connections skip their block (Huang et al. 2016,
    /// arXiv:1603.09382).
    StochasticDepth {
        /// The probability that a sample becomes zero.
        rate: f64,
    },
    /// Normalises each vector, or each step of a sequence, or each image, with a weight and a bias per element (Ba,
    /// Kiros and Hinton 2016, arXiv:1607.06450).
    LayerNorm {
        /// Added to the variance.
        epsilon: f64,
        /// Whether there is a weight and a bias.
        affine: bool,
    },
    /// Normalises groups of channels of each sample, with a weight and a bias per channel (Wu and He 2018,
    /// arXiv:1803.08494).
    GroupNorm {
        /// The number of groups.
        groups: usize,
        /// Added to the variance.
        epsilon: f64,
        /// Whether there is a weight and a bias.
        affine: bool,
    },
    /// Normalises each channel of each sample (Ulyanov, Vedaldi and Lempitsky 2016, arXiv:1607.08022).
    InstanceNorm {
        /// Added to the variance.
        epsilon: f64,
        /// Whether there is a weight and a bias per channel.
        affine: bool,
    },
    /// Local response normalisation (Krizhevsky, Sutskever and Hinton 2012, section 3.3): each element divided by
    /// `(k + alpha · m)^beta`, where `m` is the mean of the squares in `size` neighbouring channels.
    LocalResponseNorm {
        /// The number of neighbouring channels.
        size: usize,
        /// The factor of the mean of squares.
        alpha: f64,
        /// The exponent.
        beta: f64,
        /// The number added to the mean.
        k: f64,
    },
    /// Batch normalisation over the channels.
    BatchNorm {
        /// Added to the variance.
        epsilon: f64,
        /// Weight of the latest batch in the running statistics.
        momentum: f64,
    },
    /// Rectified linear unit.
    Relu,
    /// Logistic function.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// Another activation, such as `gelu`.
    Activation(Activation),
    /// `x`, or `x` times a parameter below zero (He et al. 2015).
    Prelu {
        /// Whether all channels share one parameter.
        shared: bool,
        /// Initial values of the parameters.
        init: Initializer,
    },
    /// Maximum of each group of neighbouring channels (Goodfellow et al. 2013).
    Maxout {
        /// The number of channels in a group.
        pieces: usize,
    },
    /// `eˣ`.
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// `x²`.
    Square,
    /// `−x`.
    Negate,
    /// Softmax over the channels.
    Softmax,
    /// Logarithm of softmax over the channels.
    LogSoftmax,
}

impl Layer {
    /// A convolution with a bias, one group and the default initialisation.
    pub fn conv(out_channels: usize, window: Window) -> Self {
        Layer::Conv {
            out_channels,
            window,
            groups: 1,
            bias: true,
            init: Initializer::XavierUniform,
            rotated: false,
            connections: Vec::new(),
        }
    }

    /// A dense layer with a bias and the default initialisation.
    pub fn linear(out_features: usize) -> Self {
        Layer::Linear { out_features, bias: true, init: Initializer::XavierUniform }
    }

    /// An embedding with the default initialisation, the standard normal distribution.
    pub fn embedding(vocabulary: usize, features: usize) -> Self {
        Layer::Embedding { vocabulary, features, init: table::EMBEDDING_INIT }
    }

    /// `prelu` with a parameter for each channel, initially 0.25.
    pub fn prelu() -> Self {
        Layer::Prelu { shared: false, init: activation::PRELU_INIT }
    }

    /// Maximum of each window, with sizes rounded down.
    pub fn max_pool(window: Window) -> Self {
        Layer::MaxPool { window, ceil_mode: false }
    }

    /// Mean of each window, with padding counted as zeros and sizes rounded down.
    pub fn avg_pool(window: Window) -> Self {
        Layer::AvgPool { window, ceil_mode: false, count_include_pad: true }
    }

    /// The name in `network!`.
    pub fn name(&self) -> &'static str {
        // Every layer that a rule can make has that rule; others have more axes than any.
        self.rule().map_or("layer", |(rule, _)| rule.name)
    }
}
