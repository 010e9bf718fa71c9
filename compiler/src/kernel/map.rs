//! The Map leaf: an element-wise kernel over a span, with an optional reduction over a window or over the span.

use super::{Address, Affine, Element, Extent, SizeId};
use crate::functions::{Activation, UnaryKind};

/// An index into a list of expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExprId(pub(crate) usize);

/// One node of an expression. Values are floats unless stated otherwise; comparisons give masks, which only
/// [`Expr::Select`] takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// An element of the given load.
    Load(usize),
    /// A float.
    Constant(f32),
    /// An integer.
    Integer(i32),
    /// The integer `base + l·lane` for lane `l`: a flat index of the element.
    Index {
        /// The index of the first lane.
        base: Affine,
        /// Distance between the indices of neighbouring lanes.
        lane: usize,
    },
    /// An integer that is equal for all lanes.
    Position(Affine),
    /// The integer remainder of the lane's index.
    Phase(usize),
    /// The integer index of the current step of the window, innermost fastest.
    WindowIndex,
    /// An open size times a number, as a float.
    Size(SizeId, usize),
    /// The result of a reducer; only after the reduction.
    Reduced(usize),
    /// The index found by [`Reducer::MaxWithArgmax`] (integer); only after the reduction.
    Argmax(usize),
    /// A unary function.
    Unary(UnaryKind, ExprId),
    /// The slope of an activation, at its result or its operand: see [`Activation::slope_takes_result`].
    Slope(Activation, ExprId),
    /// Sum.
    Add(ExprId, ExprId),
    /// Difference.
    Subtract(ExprId, ExprId),
    /// Product.
    Multiply(ExprId, ExprId),
    /// The product of the first two plus the third, rounded once if the target has fused multiply-adds, otherwise twice,
    /// as in tiles.
    MultiplyAdd(ExprId, ExprId, ExprId),
    /// Quotient.
    Divide(ExprId, ExprId),
    /// The larger of two, or the first if they are equal. If one is NaN, the result is that NaN; if both are, the
    /// second.
    Largest(ExprId, ExprId),
    /// Mask: first less than second (false for NaN).
    Less(ExprId, ExprId),
    /// Mask: first at most second (false for NaN).
    AtMost(ExprId, ExprId),
    /// Mask: two integers equal.
    SameInteger(ExprId, ExprId),
    /// Mask: first integer below the second, both unsigned.
    BelowUnsigned(ExprId, ExprId),
    /// The second operand where the mask is set, else the third: two floats or two integers.
    Select(ExprId, ExprId, ExprId),
    /// Integer sum, wrapping.
    AddInteger(ExprId, ExprId),
    /// Integer and, bit by bit.
    And(ExprId, ExprId),
    /// Integer exclusive or.
    Xor(ExprId, ExprId),
    /// Integer rotated left by a number of bits.
    RotateLeft(ExprId, u32),
}

/// An operand of a map: the element for lane `l` and window step `w` is at `address + ⌊l/repeat⌋·lane + Σ w·window`.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// First element.
    pub address: Address,
    /// Stride between lanes; 0 for a scalar that all lanes read.
    pub lane: usize,
    /// How many neighbouring lanes read the same element: 1, except for upsampling.
    pub repeat: usize,
    /// Stride of each window loop.
    pub window: Vec<usize>,
    /// How the elements are stored.
    pub element: Element,
}

/// How a store combines with the old value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Overwrites the old value.
    Write,
    /// Adds to the old value.
    Accumulate,
}

/// A result of a map: the element for lane `l` is at `address + l·lane`.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// First element.
    pub address: Address,
    /// Stride between lanes.
    pub lane: usize,
    /// How the elements are stored.
    pub element: Element,
    /// The stored value.
    pub value: ExprId,
    /// The mode.
    pub mode: Mode,
}

/// A reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reducer {
    /// Sum in blocks: see [`SUM_BLOCK`](super::SUM_BLOCK).
    Sum(ExprId),
    /// Maximum; NaN is larger than every number.
    Max(ExprId),
    /// Maximum and the window step of its first occurrence. Only with [`Fold::Window`].
    MaxWithArgmax(ExprId),
}

impl Reducer {
    /// The expression it reduces.
    pub fn value(self) -> ExprId {
        match self {
            Reducer::Sum(value) | Reducer::Max(value) | Reducer::MaxWithArgmax(value) => value,
        }
    }
}

/// What a map reduces over.
#[derive(Clone, Debug, PartialEq)]
pub enum Fold {
    /// Nothing: every element is stored, and there is no window.
    None,
    /// The window: each lane keeps its own result.
    Window(Vec<Reducer>),
    /// The window and the lanes, to a single result. `finish` and the stores see scalars.
    Lanes(Vec<Reducer>),
}

impl Fold {
    /// The reducers.
    pub fn reducers(&self) -> &[Reducer] {
        match self {
            Fold::None => &[],
            Fold::Window(reducers) | Fold::Lanes(reducers) => reducers,
        }
    }
}

/// An expression over a span of elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// The number of elements.
    pub lanes: Extent,
    /// Loops of the window, outermost first.
    pub window: Vec<Extent>,
    /// The operands.
    pub loads: Vec<Load>,
    /// Expressions; those from `finish` on are evaluated after the reduction.
    pub exprs: Vec<Expr>,
    /// The first expression evaluated after the reduction; the number of expressions when there is no reduction.
    pub finish: usize,
    /// The reduction.
    pub fold: Fold,
    /// The results.
    pub stores: Vec<Store>,
}

/// The maximum number of lanes of a map whose code must know each lane's index.
const KNOWN_LANES: usize = 64;

/// Vectors of every width start at multiples of this number of lanes.
const COMMON_LANES: usize = 4;

impl Map {
    /// Whether the code must know each lane's index, because groups of lanes do not start at vector boundaries.
    pub fn needs_known_lanes(&self) -> bool {
        let periods = self.exprs.iter().filter_map(|expr| match expr {
            Expr::Phase(period) => Some(*period),
            _ => None,
        });
        let repeats = self.loads.iter().map(|load| load.repeat);
        periods.chain(repeats).any(|group| !COMMON_LANES.is_multiple_of(group))
    }
}

/// Whether a map with this number of lanes may group neighbouring lanes by `group`: see [`MapBuilder::load_repeated`]
/// and [`Expr::Phase`].
pub fn may_group(lanes: usize, group: usize) -> bool {
    lanes <= KNOWN_LANES || COMMON_LANES.is_multiple_of(group)
}

/// Builds a [`Map`] expression by expression.
#[derive(Clone, Debug)]
pub struct MapBuilder {
    map: Map,
}

impl MapBuilder {
    /// A map over this number of elements.
    pub fn new(lanes: Extent) -> Self {
        MapBuilder {
            map: Map {
                lanes,
                window: Vec::new(),
                loads: Vec::new(),
                exprs: Vec::new(),
                finish: usize::MAX,
                fold: Fold::None,
                stores: Vec::new(),
            },
        }
    }

    /// Adds window loops, outermost first.
    #[must_use]
    pub fn window(mut self, extents: &[Extent]) -> Self {
        self.map.window.extend_from_slice(extents);
        self
    }

    /// Adds an expression.
    pub fn expr(&mut self, expr: Expr) -> ExprId {
        self.map.exprs.push(expr);
        ExprId(self.map.exprs.len() - 1)
    }

    /// A float operand with a stride between lanes.
    pub fn load(&mut self, address: Address, lane: usize) -> ExprId {
        self.load_window(address, lane, &[])
    }

    /// A float operand that also moves with the window.
    pub fn load_window(&mut self, address: Address, lane: usize, window: &[usize]) -> ExprId {
        self.load_as(Element::F32, address, lane, window)
    }

    /// An operand of a given element type.
    pub fn load_as(
        &mut self,
        element: impl Into<Element>,
        address: Address,
        lane: usize,
        window: &[usize],
    ) -> ExprId {
        let element = element.into();
        let mut window = window.to_vec();
        window.resize(self.map.window.len(), 0);
        self.map.loads.push(Load { address, lane, repeat: 1, window, element });
        self.expr(Expr::Load(self.map.loads.len() - 1))
    }

    /// An operand whose contiguous elements are each read by `repeat` neighbouring lanes.
    pub fn load_repeated(&mut self, element: impl Into<Element>, address: Address, repeat: usize) -> ExprId {
        let id = self.load_as(element, address, 1, &[]);
        if let Some(load) = self.map.loads.last_mut() {
            load.repeat = repeat;
        }
        id
    }

    /// A float constant. Equal constants share an expression.
    pub fn constant(&mut self, value: f64) -> ExprId {
        let value = value as f32;
        let is_same =
            |expr: &Expr| matches!(expr, Expr::Constant(known) if known.to_bits() == value.to_bits());
        // Expressions after the reduction cannot use constants from before it.
        let first = if self.map.finish == usize::MAX { 0 } else { self.map.finish };
        let known = self.map.exprs[first..].iter().position(is_same);
        known.map_or_else(|| self.expr(Expr::Constant(value)), |known| ExprId(first + known))
    }

    /// A unary function.
    pub fn unary(&mut self, kind: UnaryKind, x: ExprId) -> ExprId {
        self.expr(Expr::Unary(kind, x))
    }

    /// The slope of an activation: see [`Expr::Slope`].
    pub fn slope(&mut self, activation: Activation, at: ExprId) -> ExprId {
        self.expr(Expr::Slope(activation, at))
    }

    /// Sum.
    pub fn add(&mut self, a: ExprId, b: ExprId) -> ExprId {
        self.expr(Expr::Add(a, b))
    }

    /// Difference.
    pub fn subtract(&mut self, a: ExprId, b: ExprId) -> ExprId {
        self.expr(Expr::Subtract(a, b))
    }

    /// Product.
    pub fn multiply(&mut self, a: ExprId, b: ExprId) -> ExprId {
        self.expr(Expr::Multiply(a, b))
    }

    /// Product plus sum: see [`Expr::MultiplyAdd`].
    pub fn multiply_add(&mut self, a: ExprId, b: ExprId, c: ExprId) -> ExprId {
        self.expr(Expr::MultiplyAdd(a, b, c))
    }

    /// Quotient.
    pub fn divide(&mut self, a: ExprId, b: ExprId) -> ExprId {
        self.expr(Expr::Divide(a, b))
    }

    /// The larger of two: see [`Expr::Largest`].
    pub fn largest(&mut self, a: ExprId, b: ExprId) -> ExprId {
        self.expr(Expr::Largest(a, b))
    }

    /// Reduces over the window; returns the result of each reducer.
    pub fn fold_window(&mut self, reducers: &[Reducer]) -> Vec<ExprId> {
        self.fold(Fold::Window(reducers.to_vec()))
    }

    /// Reduces over window and lanes; returns the result of each reducer.
    pub fn fold_lanes(&mut self, reducers: &[Reducer]) -> Vec<ExprId> {
        self.fold(Fold::Lanes(reducers.to_vec()))
    }

    fn fold(&mut self, fold: Fold) -> Vec<ExprId> {
        let count = fold.reducers().len();
        self.map.fold = fold;
        self.map.finish = self.map.exprs.len();
        (0..count).map(|index| self.expr(Expr::Reduced(index))).collect()
    }

    /// Stores floats.
    pub fn store(&mut self, address: Address, lane: usize, value: ExprId) {
        self.store_as(Element::F32, address, lane, value);
    }

    /// Stores a value with a given element type.
    pub fn store_as(&mut self, element: Element, address: Address, lane: usize, value: ExprId) {
        self.map.stores.push(Store { address, lane, element, value, mode: Mode::Write });
    }

    /// Adds a value to the stored one.
    pub fn accumulate(&mut self, address: Address, lane: usize, value: ExprId) {
        let element = Element::F32;
        self.map.stores.push(Store { address, lane, element, value, mode: Mode::Accumulate });
    }

    /// The finished statement.
    pub fn finish(mut self) -> super::Stmt {
        self.map.finish = self.map.finish.min(self.map.exprs.len());
        super::Stmt::Map(Box::new(self.map))
    }
}
