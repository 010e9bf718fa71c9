//! The special values for operators, and graphs with the contents of their sources.

use windlass_compiler::graph::Graph;
use windlass_compiler::interp::Array;
use windlass_compiler::pass::Mode;

use crate::check::{Agreement, Expectation};
use crate::graphs::Ops;
use crate::numbers::{Numbers, Sources, Values, sources};

/// Special values, and ordinary values to combine with them.
pub(super) const EDGES: [f32; 20] = [
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    0.0,
    -0.0,
    1e-40,
    -3e-39,
    1.4e-45,
    f32::MIN_POSITIVE,
    1e-30,
    1e30,
    -1e30,
    f32::MAX,
    f32::MIN,
    1.0,
    -1.0,
    0.5,
    -2.5,
    88.0,
    -104.0,
];

/// Rows of logits.
pub(super) const ROWS: [[f32; 3]; 11] = [
    [1e30, -1e30, 0.0],
    [1e30, 1e30, 1e30],
    [f32::MAX, f32::MIN, 1e30],
    [f32::INFINITY, 0.0, 1.0],
    [f32::INFINITY, f32::INFINITY, 0.0],
    [f32::NEG_INFINITY, 0.0, 1.0],
    [f32::NEG_INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY],
    [0.0, f32::NAN, 1.0],
    [1e-40, -1e-40, -0.0],
    [-1000.0, -1000.5, -1200.0],
    [0.5, -2.0, 3.0],
];

/// The values of a source.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fill {
    /// [`EDGES`] in turn.
    Edges,
    /// Each of [`EDGES`] repeated `EDGES.len()` times: together with `Edges`, every pair.
    Against,
    /// Integers with some NaN, infinities and negative zeros: sums are the same in every order.
    Special,
    /// Multiples of the smallest denormal.
    Denormal,
    /// Multiples of 2¹⁰⁰.
    Huge,
    /// [`ROWS`] along the channels, one at each position of each sample.
    Rows,
    /// One of [`ROWS`].
    Row(usize),
    /// The same number everywhere.
    All(f64),
}

impl Fill {
    pub(super) fn array(self, sizes: &[usize], seed: u64) -> Array<f64> {
        let mut numbers = Numbers::new(seed);
        let mut integer = || numbers.below(7) as f64 - 3.0;
        let inner: usize = sizes.iter().skip(2).product();
        let channels = sizes.get(1).copied().unwrap_or(1);
        let values = (0..sizes.iter().product()).map(|index: usize| match self {
            Fill::Edges => f64::from(EDGES[index % EDGES.len()]),
            Fill::Against => f64::from(EDGES[index / EDGES.len() % EDGES.len()]),
            Fill::Special => match (integer(), integer()) {
                (3.0, which) => {
                    [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0][(which + 3.0) as usize % 4]
                }
                (number, _) => number,
            },
            Fill::Denormal => integer() * f64::from(f32::from_bits(1)),
            Fill::Huge => integer() * 2f64.powi(100),
            Fill::Rows => {
                let row = index / (channels * inner) * inner + index % inner;
                f64::from(ROWS[row % ROWS.len()][index / inner % channels])
            }
            Fill::Row(row) => f64::from(ROWS[row][index % channels]),
            Fill::All(value) => value,
        });
        Array::new(sizes.to_vec(), values.collect())
    }
}

/// A graph with the values of its sources in each run; other sources hold integers.
pub(super) struct Case {
    pub(super) graph: Graph,
    pub(super) agreement: Agreement,
    pub(super) runs: Vec<Vec<(&'static str, Fill)>>,
}

impl Case {
    pub(super) fn exact(ops: Ops, runs: &[&[(&'static str, Fill)]]) -> Self {
        Case {
            graph: ops.finish(),
            agreement: Agreement::Exact,
            runs: runs.iter().map(|run| run.to_vec()).collect(),
        }
    }

    /// Requires results within a relative bound and a floor.
    pub(super) fn near(self, part: f64, floor: f64) -> Self {
        Case { agreement: Agreement::Edges { part, floor }, ..self }
    }

    fn sources(&self, batch: usize, run: usize) -> Sources {
        let mut bindings = sources(&self.graph, batch, Values::Integers, run as u64);
        for (at, (name, fill)) in self.runs[run].iter().enumerate() {
            let sizes = bindings[*name].sizes.clone();
            bindings.insert((*name).to_owned(), fill.array(&sizes, (run * 8 + at) as u64));
        }
        bindings
    }

    #[track_caller]
    pub(super) fn check(&self, what: &str) {
        let mut expectation = Expectation::of(&self.graph, self.agreement);
        for run in 0..self.runs.len() {
            for batch in [1, 3] {
                expectation.add(batch, self.sources(batch, run));
            }
        }
        expectation.check_variants(Mode::Training, what);
    }
}

/// Enough elements for every pair of [`EDGES`], and a partial vector.
pub(super) const PAIRS: usize = EDGES.len() * EDGES.len() + 7;

/// The operands of sums: each operand special, denormal and huge in turn, while the others are integers.
pub(super) fn sums_of<const N: usize>(names: [&'static str; N]) -> Vec<Vec<(&'static str, Fill)>> {
    let fills = [Fill::Special, Fill::Denormal, Fill::Huge];
    names.iter().flat_map(|&name| fills.map(|fill| vec![(name, fill)])).collect()
}

pub(super) fn sums<const N: usize>(ops: Ops, names: [&'static str; N]) -> Case {
    Case { graph: ops.finish(), agreement: Agreement::Exact, runs: sums_of(names) }
}
