//! Kernels: loop nests around two kinds of leaf, [`Tile`] (a GEMM microkernel) and [`Map`] (an element-wise kernel over
//! a span).
//!
//! A kernel is data. It defines what is computed and in which order; code generation decides how a leaf becomes
//! instructions.

mod evaluate;
mod map;
mod parse;
mod sums;
mod text;
mod tile;
mod units;
mod verify;

pub(crate) use evaluate::Span;
pub use evaluate::{EvaluateError, KernelMemory, Turn, evaluate};
pub use map::{Expr, ExprId, Fold, Load, Map, MapBuilder, Mode, Reducer, Store, may_group};
pub use parse::ParseKernelError;
pub use sums::{SUM_BLOCK, SumBlocks};
pub use tile::{Form, Pool, PoolKind, Reduction, Rows, Start, Tile, TileCall, TileStep};
pub use units::Units;
pub use verify::verify;

use crate::shape::DType;

/// A loop variable of one kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Var(pub(crate) usize);

/// Memory that a kernel reads or writes: an index into the plan's buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub(crate) usize);

impl BufferId {
    /// The position in the plan's list of buffers.
    pub fn index(self) -> usize {
        self.0
    }
}

/// The storage type of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// A float of 32 bits.
    F32,
    /// An integer of 32 bits.
    I32,
    /// An integer from 0 to 255. A store keeps the low byte of the value.
    U8,
}

impl Element {
    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Element::F32 | Element::I32 => 4,
            Element::U8 => 1,
        }
    }

    /// The type of the elements after loading.
    pub fn dtype(self) -> DType {
        match self {
            Element::F32 => DType::F32,
            Element::I32 | Element::U8 => DType::I32,
        }
    }
}

impl From<DType> for Element {
    fn from(dtype: DType) -> Self {
        match dtype {
            DType::F32 => Element::F32,
            DType::I32 => Element::I32,
        }
    }
}

/// A size known at run time: an index into the plan's [`sizes`](crate::plan::Plan::sizes). It prints as `s1`, or as `N`
/// for the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SizeId(pub(crate) usize);

impl SizeId {
    /// The number of samples in the batch: the first size of every plan.
    pub const BATCH: SizeId = SizeId(0);

    /// The position in the plan's list of sizes.
    pub fn index(self) -> usize {
        self.0
    }
}

/// The iteration count of a loop, or the number of elements of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extent {
    /// A number known at compile time.
    Fixed(usize),
    /// An open size times a number.
    Open(SizeId, usize),
    /// An open size times a number, rounded down to a multiple.
    Floor {
        /// The size.
        size: SizeId,
        /// The factor.
        times: usize,
        /// The multiple.
        multiple: usize,
    },
    /// The length of the running thread's chunk of [`Split::Lanes`].
    Chunk,
    /// The length of the chunk, rounded down to a multiple.
    ChunkFloor(usize),
}

/// A sum of loop variables times factors plus a constant, in elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Affine {
    /// The constant part.
    pub constant: i64,
    /// Variables with their factors.
    pub terms: Vec<(Var, i64)>,
    /// Terms with an open size as a factor.
    pub open: Vec<OpenTerm>,
}

/// A term of an [`Affine`] sum: a variable (or 1) times an open size times a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpenTerm {
    /// The variable; `None` for 1.
    pub var: Option<Var>,
    /// The size.
    pub size: SizeId,
    /// The number.
    pub factor: i64,
}

impl Affine {
    /// A constant.
    pub fn constant(constant: usize) -> Self {
        Affine { constant: constant as i64, ..Affine::default() }
    }

    /// This plus a variable times a factor.
    #[must_use]
    pub fn plus(mut self, var: Var, factor: usize) -> Self {
        if factor != 0 {
            self.terms.push((var, factor as i64));
        }
        self
    }

    /// This plus a constant.
    #[must_use]
    pub fn offset(mut self, constant: usize) -> Self {
        self.constant += constant as i64;
        self
    }

    /// This minus a variable times a factor.
    #[must_use]
    pub fn minus_var(mut self, var: Var, factor: usize) -> Self {
        self.terms.push((var, -(factor as i64)));
        self
    }

    /// This plus a constant of either sign.
    #[must_use]
    pub fn shifted(mut self, constant: i64) -> Self {
        self.constant += constant;
        self
    }

    /// This minus a constant.
    #[must_use]
    pub fn minus(mut self, constant: usize) -> Self {
        self.constant -= constant as i64;
        self
    }

    /// This plus another sum times a factor.
    #[must_use]
    pub fn plus_scaled(mut self, other: &Affine, factor: usize) -> Self {
        if factor == 0 {
            return self;
        }
        self.constant += other.constant * factor as i64;
        self.terms.extend(other.terms.iter().map(|&(var, own)| (var, own * factor as i64)));
        self.open
            .extend(other.open.iter().map(|&term| OpenTerm { factor: term.factor * factor as i64, ..term }));
        self
    }

    /// This plus a variable (or 1) times an open size times a number.
    #[must_use]
    pub fn plus_open(mut self, var: Option<Var>, size: SizeId, factor: usize) -> Self {
        if factor != 0 {
            self.open.push(OpenTerm { var, size, factor: factor as i64 });
        }
        self
    }

    /// The variables it contains; some perhaps more than once.
    pub fn vars(&self) -> impl Iterator<Item = Var> {
        let open = self.open.iter().filter_map(|term| term.var);
        self.terms.iter().map(|&(var, _)| var).chain(open)
    }
}

impl From<Var> for Affine {
    fn from(var: Var) -> Self {
        Affine::default().plus(var, 1)
    }
}

/// An address in a buffer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The buffer.
    pub buffer: BufferId,
    /// The element.
    pub offset: Affine,
}

impl Address {
    /// The start of a buffer.
    pub fn start(buffer: BufferId) -> Self {
        Address { buffer, offset: Affine::default() }
    }

    /// This address plus a variable times a number of elements.
    #[must_use]
    pub fn plus(mut self, var: Var, factor: usize) -> Self {
        self.offset = self.offset.plus(var, factor);
        self
    }

    /// This address plus an index times a number of elements.
    #[must_use]
    pub fn at(mut self, index: &Affine, factor: usize) -> Self {
        self.offset = self.offset.plus_scaled(index, factor);
        self
    }

    /// This address plus a number of elements.
    #[must_use]
    pub fn offset(mut self, elements: usize) -> Self {
        self.offset = self.offset.offset(elements);
        self
    }
}

/// One statement of a kernel.
#[derive(Clone, Debug, PartialEq)]
pub enum Stmt {
    /// A counted loop.
    For {
        /// The loop variable.
        var: Var,
        /// Its initial value.
        start: Extent,
        /// One past its last value.
        end: Extent,
        /// The distance between values.
        step: usize,
        /// What it repeats.
        body: Vec<Stmt>,
    },
    /// `if value < bound { below } else { rest }`, a signed comparison.
    Branch {
        /// The compared value.
        value: Affine,
        /// The bound.
        bound: i64,
        /// Runs if the value is below the bound.
        below: Vec<Stmt>,
        /// Runs otherwise.
        rest: Vec<Stmt>,
    },
    /// Reads an index from memory. The only statement whose addresses depend on data, and always within known bounds.
    Lookup {
        /// The variable that holds the index.
        var: Var,
        /// An integer of 32 bits.
        from: Address,
        /// The exclusive upper limit of the index.
        bound: usize,
        /// Runs if the integer is from 0 to below the bound.
        found: Vec<Stmt>,
        /// Runs otherwise, without the variable.
        rest: Vec<Stmt>,
    },
    /// A GEMM microkernel.
    Tile(Box<TileCall>),
    /// An element-wise kernel.
    Map(Box<Map>),
}

impl Stmt {
    /// A loop from 0 with step 1.
    pub fn repeat(var: Var, end: Extent, body: Vec<Stmt>) -> Self {
        Stmt::For { var, start: Extent::Fixed(0), end, step: 1, body }
    }

    /// Nested loops from 0 with step 1, outermost first.
    pub fn nest(loops: &[(Var, usize)], body: Vec<Stmt>) -> Vec<Stmt> {
        loops.iter().rev().fold(body, |body, &(var, end)| vec![Stmt::repeat(var, Extent::Fixed(end), body)])
    }
}

/// How a kernel's work is divided among threads: always into contiguous chunks that are known before the run.
#[derive(Clone, Debug, PartialEq)]
pub enum Split {
    /// One thread does all the work.
    Serial,
    /// The body runs for every index of these axes, collapsed into one range, the first outermost.
    Axes(Vec<(Var, Extent)>),
    /// A flat span of elements or items: the variable is the first one of a thread's chunk, [`Extent::Chunk`] their number.
    Lanes(Var, Extent),
}

/// A loop nest that computes one step of a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// The layer and operator: `c1.conv`.
    pub name: String,
    /// The algorithm and why it was chosen.
    pub note: String,
    /// How the work is divided among threads.
    pub split: Split,
    /// Runs once in every thread before its chunk, even if the chunk is empty.
    pub setup: Vec<Stmt>,
    /// Runs for every index of the split.
    pub body: Vec<Stmt>,
    /// The number of variables.
    pub variables: usize,
    /// The variable that holds the index of the running thread, if it is needed.
    pub thread: Option<Var>,
    /// The cost, for profiles.
    pub cost: crate::cost::Cost,
}

impl Kernel {
    /// Calls `visit` on every statement, outer before inner.
    pub fn visit<'a>(&'a self, visit: &mut impl FnMut(&'a Stmt)) {
        fn walk<'a>(body: &'a [Stmt], visit: &mut impl FnMut(&'a Stmt)) {
            for stmt in body {
                visit(stmt);
                match stmt {
                    Stmt::For { body, .. } => walk(body, visit),
                    Stmt::Branch { below, rest, .. } => {
                        walk(below, visit);
                        walk(rest, visit);
                    }
                    Stmt::Lookup { found, rest, .. } => {
                        walk(found, visit);
                        walk(rest, visit);
                    }
                    Stmt::Tile(_) | Stmt::Map(_) => {}
                }
            }
        }
        walk(&self.setup, visit);
        walk(&self.body, visit);
    }

    /// The buffers it reads and writes, without duplicates, in order of use.
    pub fn buffers(&self) -> Vec<BufferId> {
        let mut buffers = Vec::new();
        self.visit(&mut |stmt| match stmt {
            Stmt::For { .. } | Stmt::Branch { .. } => {}
            Stmt::Lookup { from, .. } => buffers.push(from.buffer),
            Stmt::Tile(call) => buffers.extend(call.addresses().map(|address| address.buffer)),
            Stmt::Map(map) => {
                buffers.extend(map.loads.iter().map(|load| load.address.buffer));
                buffers.extend(map.stores.iter().map(|store| store.address.buffer));
            }
        });
        buffers.sort_unstable();
        buffers.dedup();
        buffers
    }
}
