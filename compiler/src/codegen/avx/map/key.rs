//! The key of an assembled map's function: a [`Map`] without the addresses of its operands, which are passed in a table
//! of arguments. Maps with equal keys share a function.

use crate::functions::{Activation, UnaryKind};
use crate::kernel::{
    self, Address, Affine, BufferId, Element, Expr, Extent, Fold, Map, Mode, Reducer, SizeId,
};

use super::super::operands::Binary;

/// An entry of the table of arguments, as the caller computes it.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::codegen) enum Argument {
    /// The address of an element, and its storage type.
    Pointer(Address, Element),
    /// A number of elements or steps.
    Count(Extent),
    /// An integer.
    Integer(Affine),
    /// The bits of an open size times a number, as a float.
    Size(SizeId, usize),
}

/// How a function uses an entry of its table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Entry {
    /// Moves along with its operands.
    Pointer {
        /// Equal for pointers into the same buffer.
        buffer: usize,
        /// The storage type.
        element: Element,
        /// Elements between groups of lanes.
        lane: usize,
        /// Lanes in a group.
        repeat: usize,
        /// Elements between steps of each window loop.
        window: Vec<usize>,
    },
    /// Moves by `lane` from one lane to the next.
    Index { lane: usize },
    /// Does not change.
    Number,
}

impl Entry {
    /// How far it moves over some lanes.
    pub(super) fn over_lanes(&self, lanes: usize) -> i64 {
        match self {
            Entry::Pointer { element, lane, repeat, .. } => (lanes / repeat * lane * element.bytes()) as i64,
            Entry::Index { lane } => (lanes * lane) as i64,
            Entry::Number => 0,
        }
    }

    /// How far it moves in a step of a window loop.
    pub(super) fn over_step(&self, depth: usize) -> i64 {
        match self {
            Entry::Pointer { element, window, .. } => (window[depth] * element.bytes()) as i64,
            Entry::Index { .. } | Entry::Number => 0,
        }
    }
}

/// A constant or an entry of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Count {
    Fixed(usize),
    Argument(usize),
}

impl Count {
    /// The constant, if it is one.
    pub(super) fn fixed(self) -> Option<usize> {
        match self {
            Count::Fixed(count) => Some(count),
            Count::Argument(_) => None,
        }
    }
}

/// An operand or result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Operand {
    /// The entry of its pointer.
    pub(super) entry: usize,
    /// Bytes from the pointer.
    pub(super) displacement: i64,
    /// The storage type.
    pub(super) element: Element,
    /// Elements between groups of lanes.
    pub(super) lane: usize,
    /// Lanes in a group.
    pub(super) repeat: usize,
}

/// One node of the expressions; operands are indices of earlier nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum MapNode {
    /// An element of an operand.
    Load(usize),
    /// The same bits in all lanes.
    Bits(u32),
    /// An entry plus the lane's index.
    Index(usize),
    /// The low half of an entry.
    Entry(usize),
    /// The remainder of the lane's index.
    Phase(usize),
    WindowIndex,
    Reduced(usize),
    Argmax(usize),
    Unary(UnaryKind, usize),
    Slope(Activation, usize),
    Binary(Binary, usize, usize),
    MultiplyAdd(usize, usize, usize),
    Largest(usize, usize),
    Less(usize, usize),
    AtMost(usize, usize),
    SameInteger(usize, usize),
    BelowUnsigned(usize, usize),
    Select(usize, usize, usize),
    RotateLeft(usize, u32),
}

impl MapNode {
    /// The nodes it is computed from.
    pub(super) fn operands(&self) -> Vec<usize> {
        match *self {
            MapNode::Load(_)
            | MapNode::Bits(_)
            | MapNode::Index(_)
            | MapNode::Entry(_)
            | MapNode::Phase(_)
            | MapNode::WindowIndex
            | MapNode::Reduced(_)
            | MapNode::Argmax(_) => Vec::new(),
            MapNode::Unary(_, x) | MapNode::Slope(_, x) | MapNode::RotateLeft(x, _) => vec![x],
            MapNode::Binary(_, a, b)
            | MapNode::Largest(a, b)
            | MapNode::Less(a, b)
            | MapNode::AtMost(a, b)
            | MapNode::SameInteger(a, b)
            | MapNode::BelowUnsigned(a, b) => vec![a, b],
            MapNode::MultiplyAdd(a, b, c) | MapNode::Select(a, b, c) => vec![a, b, c],
        }
    }

    /// Whether it is a mask.
    pub(super) fn is_mask(&self) -> bool {
        matches!(
            self,
            MapNode::Less(..) | MapNode::AtMost(..) | MapNode::SameInteger(..) | MapNode::BelowUnsigned(..)
        )
    }

    /// Whether it may be a chain of many dependent instructions.
    pub(super) fn is_long(&self) -> bool {
        use UnaryKind::{Activation, Exp, Log, Sigmoid, Tanh};
        matches!(self, MapNode::Unary(Activation(_) | Exp | Log | Sigmoid | Tanh, _) | MapNode::Slope(..))
    }
}

/// The dimensions reduced over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Over {
    Nothing,
    Window,
    Lanes,
}

/// A result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Store {
    pub(super) place: Operand,
    pub(super) value: usize,
    pub(super) mode: Mode,
}

/// A map without the addresses of its operands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::codegen) struct MapKey {
    pub(super) lanes: Count,
    pub(super) window: Vec<Count>,
    pub(super) entries: Vec<Entry>,
    pub(super) loads: Vec<Operand>,
    pub(super) nodes: Vec<MapNode>,
    pub(super) over: Over,
    pub(super) reducers: Vec<Reducer>,
    pub(super) stores: Vec<Store>,
}

impl MapKey {
    /// The span of a map and the arguments of a call.
    pub(in crate::codegen) fn of(map: &Map) -> (MapKey, Vec<Argument>) {
        let mut table = Table::default();
        let loads = map
            .loads
            .iter()
            .map(|load| table.place(&load.address, load.element, (load.lane, load.repeat), &load.window))
            .collect();
        let still = vec![0; map.window.len()];
        let stores = map
            .stores
            .iter()
            .map(|store| Store {
                place: table.place(&store.address, store.element, (store.lane, 1), &still),
                value: store.value.0,
                mode: store.mode,
            })
            .collect();
        let nodes = map.exprs.iter().map(|expr| node(expr, &mut table)).collect();
        let over = match map.fold {
            Fold::None => Over::Nothing,
            Fold::Window(_) => Over::Window,
            Fold::Lanes(_) => Over::Lanes,
        };
        let key = MapKey {
            lanes: table.count(map.lanes),
            window: map.window.iter().map(|&extent| table.count(extent)).collect(),
            loads,
            nodes,
            over,
            reducers: map.fold.reducers().to_vec(),
            stores,
            entries: table.entries,
        };
        (key, table.arguments)
    }

    /// The buffer of an operand.
    pub(super) fn buffer(&self, place: &Operand) -> usize {
        match self.entries[place.entry] {
            Entry::Pointer { buffer, .. } => buffer,
            Entry::Index { .. } | Entry::Number => usize::MAX,
        }
    }

    /// Whether an operand may change while the map runs.
    pub(super) fn is_stored(&self, load: &Operand) -> bool {
        self.stores.iter().any(|store| self.buffer(&store.place) == self.buffer(load))
    }
}

/// The table of arguments under construction.
#[derive(Default)]
struct Table {
    entries: Vec<Entry>,
    arguments: Vec<Argument>,
    buffers: Vec<BufferId>,
}

impl Table {
    fn add(&mut self, entry: Entry, argument: Argument) -> usize {
        let known = self.entries.iter().zip(&self.arguments).position(|known| known == (&entry, &argument));
        known.unwrap_or_else(|| {
            self.entries.push(entry);
            self.arguments.push(argument);
            self.arguments.len() - 1
        })
    }

    fn count(&mut self, extent: Extent) -> Count {
        match extent {
            Extent::Fixed(count) => Count::Fixed(count),
            _ => Count::Argument(self.add(Entry::Number, Argument::Count(extent))),
        }
    }

    /// The place of an operand. Operands at constant distances that move alike share a pointer.
    fn place(
        &mut self,
        address: &Address,
        element: Element,
        (lane, repeat): (usize, usize),
        window: &[usize],
    ) -> Operand {
        let known = self.buffers.iter().position(|&buffer| buffer == address.buffer);
        let buffer = known.unwrap_or_else(|| {
            self.buffers.push(address.buffer);
            self.buffers.len() - 1
        });
        let pointer = Entry::Pointer { buffer, element, lane, repeat, window: window.to_vec() };
        let constant = |argument: &Argument| match argument {
            Argument::Pointer(known, _)
                if known.offset.terms == address.offset.terms && known.offset.open == address.offset.open =>
            {
                Some(known.offset.constant)
            }
            _ => None,
        };
        let known = self.entries.iter().zip(&self.arguments).enumerate().find_map(|(entry, known)| {
            if *known.0 == pointer { constant(known.1).map(|constant| (entry, constant)) } else { None }
        });
        let (entry, constant) = known.unwrap_or_else(|| {
            (self.add(pointer, Argument::Pointer(address.clone(), element)), address.offset.constant)
        });
        let displacement = element.bytes() as i64 * (address.offset.constant - constant);
        Operand { entry, displacement, element, lane, repeat }
    }
}

fn node(expr: &Expr, table: &mut Table) -> MapNode {
    let binary = |op, a: &kernel::ExprId, b: &kernel::ExprId| MapNode::Binary(op, a.0, b.0);
    match expr {
        Expr::Load(load) => MapNode::Load(*load),
        Expr::Constant(number) => MapNode::Bits(number.to_bits()),
        Expr::Integer(number) => MapNode::Bits(number.cast_unsigned()),
        Expr::Index { base, lane } => {
            MapNode::Index(table.add(Entry::Index { lane: *lane }, Argument::Integer(base.clone())))
        }
        Expr::Position(value) => MapNode::Entry(table.add(Entry::Number, Argument::Integer(value.clone()))),
        Expr::Size(size, times) => MapNode::Entry(table.add(Entry::Number, Argument::Size(*size, *times))),
        Expr::Phase(period) => MapNode::Phase(*period),
        Expr::WindowIndex => MapNode::WindowIndex,
        Expr::Reduced(reducer) => MapNode::Reduced(*reducer),
        Expr::Argmax(reducer) => MapNode::Argmax(*reducer),
        Expr::Unary(kind, x) => MapNode::Unary(*kind, x.0),
        Expr::Slope(activation, x) => MapNode::Slope(*activation, x.0),
        Expr::Add(a, b) => binary(Binary::Add, a, b),
        Expr::Subtract(a, b) => binary(Binary::Subtract, a, b),
        Expr::Multiply(a, b) => binary(Binary::Multiply, a, b),
        Expr::Divide(a, b) => binary(Binary::Divide, a, b),
        Expr::AddInteger(a, b) => binary(Binary::AddIntegers, a, b),
        Expr::And(a, b) => binary(Binary::And, a, b),
        Expr::Xor(a, b) => binary(Binary::Xor, a, b),
        Expr::MultiplyAdd(a, b, c) => MapNode::MultiplyAdd(a.0, b.0, c.0),
        Expr::Largest(a, b) => MapNode::Largest(a.0, b.0),
        Expr::Less(a, b) => MapNode::Less(a.0, b.0),
        Expr::AtMost(a, b) => MapNode::AtMost(a.0, b.0),
        Expr::SameInteger(a, b) => MapNode::SameInteger(a.0, b.0),
        Expr::BelowUnsigned(a, b) => MapNode::BelowUnsigned(a.0, b.0),
        Expr::Select(mask, a, b) => MapNode::Select(mask.0, a.0, b.0),
        Expr::RotateLeft(x, bits) => MapNode::RotateLeft(x.0, *bits),
    }
}
