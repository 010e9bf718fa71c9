//! The layout of values in memory.
//!
//! Images are values with the shape of an operand or a result of a convolution, a pooling or another operator that computes
//! along channels, and the values that they are parts of or consist of. Images with
//! enough channels are stored in NHWC layout. A vector then holds the channels of one pixel for any image
//! width, neighbours within a window are whole pixels apart, concatenation of channels needs no copy, since a value may
//! be a part of another's pixels, and the layout does not depend on the vector width. Images with few channels, all other
//! values, and all inputs and outputs of a program are stored in the order of the shape, which is NCHW for images. The
//! layout depends only on a value's shape. Values that are combined element by element therefore always have the same layout, and only the start, the
//! end and flattening layers of a network need copies between layouts.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{Lower, Order};
use crate::entity::ValueId;
use crate::graph::{Graph, Node};
use crate::ops::{Move, Operator, Reach, Role};
use crate::shape::Shape;

/// The number of axes of views that take no memory of their own.
pub(super) const AXES: usize = 5;

/// Images with fewer channels are stored in NCHW layout: their vectors run along the width.
const FEW_CHANNELS: usize = 8;

/// Whether images with this number of channels fill too few lanes of a vector along the channels.
pub(crate) fn has_few_channels(channels: usize) -> bool {
    channels < FEW_CHANNELS
}

/// Which images are stored channels last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Layouts {
    /// Images with enough channels to fill vectors.
    #[default]
    ByChannels,
    /// No images.
    ChannelsFirst,
}

/// The order in which the axes of a value are stored, outermost first: a permutation of the axes of its shape.
///
/// ```
/// use windlass_compiler::plan::Layout;
/// assert_eq!(Layout::channels_first(4).axes(), [0, 1, 2, 3]);
/// assert_eq!(Layout::channels_last(4).axes(), [0, 2, 3, 1]);
/// assert_eq!(Layout::channels_last(4).to_string(), "channels last");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Layout(pub(super) SmallVec<[usize; AXES]>);

impl Layout {
    /// The order of the shape: `[N, C, H, W]` (NCHW) for images.
    pub fn channels_first(rank: usize) -> Self {
        Layout((0..rank).collect())
    }

    /// The channels, which are axis 1, behind all other axes: `[N, H, W, C]` (NHWC) for images. Without spatial axes,
    /// this is the order of the shape.
    pub fn channels_last(rank: usize) -> Self {
        let spatial = 2..rank;
        Layout((0..rank.min(1)).chain(spatial).chain((rank > 1).then_some(1)).collect())
    }

    /// The axes, outermost first.
    pub fn axes(&self) -> &[usize] {
        &self.0
    }

    /// Whether axes are in the order of the shape.
    pub fn is_of_shape(&self) -> bool {
        self.0.iter().copied().eq(0..self.0.len())
    }

    /// Whether the channels are behind spatial axes.
    pub fn is_channels_last(&self) -> bool {
        self.0.len() > 2 && *self == Layout::channels_last(self.0.len())
    }
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            layout if layout.is_of_shape() => f.write_str("channels first"),
            layout if layout.is_channels_last() => f.write_str("channels last"),
            Layout(axes) => write!(f, "axes in the order {axes:?}"),
        }
    }
}

/// The layouts of a graph's values. They depend on their shapes only.
#[derive(Clone, Debug)]
pub(super) struct ImageLayouts {
    layouts: Layouts,
    /// Shapes of sequences with windows along their only spatial axis, and of sequences of open length that operators
    /// on images use. They are stored channels last for any number of channels and any length: kernels along an axis of
    /// open size only know this layout, and sums then have the same order for a fixed and an open length.
    sequences: HashSet<Shape>,
    /// Shapes of images of fixed sizes.
    images: HashSet<Shape>,
}

impl ImageLayouts {
    pub(super) fn of(graph: &Graph, layouts: Layouts) -> Self {
        let mut sequences = HashSet::new();
        for node in graph.nodes() {
            let facts = node.op.facts();
            let has_window = matches!(facts.reach, Reach::Window(window) if window.axes() == 1);
            let is_on_images = match facts.role {
                Role::Product(_) | Role::Other => {
                    matches!(node.op.memory().results, Order::Any | Order::Dense)
                }
                Role::Elementwise(elementwise) => !elementwise.in_any_shape,
                Role::Source(_) | Role::Identity | Role::Move(_) | Role::LossGradient => false,
            };
            let values = node.operands.iter().take(2).chain(&node.results);
            sequences.extend(values.map(|&value| &graph.ty(value).shape).filter(|shape| {
                has_window && shape.is_sequence() || is_on_images && shape.is_open_sequence()
            }));
        }
        let sequences = sequences.into_iter().cloned().collect();
        ImageLayouts { layouts, sequences, images: images(graph) }
    }

    /// The layout of values with a shape, if nothing else determines it.
    pub(super) fn of_shape(&self, shape: &Shape) -> Layout {
        let item = shape.item();
        let is_image = self.images.contains(shape) && !shape.has_open_item() && item.len() >= 2;
        let has_channels = is_image && !has_few_channels(item[0]) && item[1..].iter().product::<usize>() > 1;
        let is_sequence = self.sequences.contains(shape);
        let by_channels = self.layouts == Layouts::ByChannels && (has_channels || is_sequence);
        if by_channels || is_sequence && shape.has_open_item() {
            Layout::channels_last(shape.rank())
        } else {
            Layout::channels_first(shape.rank())
        }
    }

    /// The layout in which a node's result is stored.
    pub(super) fn of_result(&self, graph: &Graph, node: &Node, result: ValueId) -> Layout {
        let shape = &graph.ty(result).shape;
        match node.op.memory().results {
            Order::Any | Order::Dense => self.of_shape(shape),
            Order::AnyOfFixed if !has_open_items(graph, node) => self.of_shape(shape),
            Order::AnyOfFixed | Order::OfShape => Layout::channels_first(shape.rank()),
        }
    }
}

/// The shapes of batched values that operators on images use, and of what they are parts of or consist of.
fn images(graph: &Graph) -> HashSet<Shape> {
    let shapes = |node: &Node| -> Vec<Shape> {
        let values = node.operands.iter().take(2).chain(&node.results);
        let shapes = values.map(|&value| graph.ty(value).shape.clone());
        shapes.filter(Shape::is_batched).collect()
    };
    let is_on_images = |node: &&Node| {
        matches!(node.op.facts().role, Role::Product(_) | Role::Other)
            && matches!(node.op.memory().results, Order::Any | Order::Dense)
    };
    let mut images: HashSet<Shape> = graph.nodes().iter().filter(is_on_images).flat_map(shapes).collect();
    let channels = |shape: &Shape| shape.dims().get(1).cloned();
    let moves = |node: &&Node| match node.op.facts().role {
        Role::Move(Move::Join { .. } | Move::Part { .. }) => true,
        Role::Move(Move::Copy) => {
            shapes(node).windows(2).all(|pair| channels(&pair[0]) == channels(&pair[1]))
        }
        _ => false,
    };
    let moves: Vec<Vec<Shape>> = graph.nodes().iter().filter(moves).map(shapes).collect();
    let mut known = 0;
    while known < images.len() {
        known = images.len();
        for shapes in &moves {
            if shapes.iter().any(|shape| images.contains(shape)) {
                images.extend(shapes.iter().cloned());
            }
        }
    }
    images
}

/// Whether a node has an operand or a result whose items have an open size.
pub(super) fn has_open_items(graph: &Graph, node: &Node) -> bool {
    node.operands.iter().chain(&node.results).any(|&value| graph.ty(value).shape.has_open_item())
}
