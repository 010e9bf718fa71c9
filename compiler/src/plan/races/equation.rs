//! Decides whether two accesses of different threads can meet.
//!
//! They meet where `Σ stride·variable + constant = 0`, with the terms of one access against those of the other. Such an
//! equation falls into two where its larger strides have a common divisor `g` and the rest, small as it is, can be few
//! multiples of `g` only: for each of them, the larger part and the rest are equations of their own. Strides of nested axes
//! are so: a stride is larger than all that the strides within it reach. An equation of one term says what its variable is.

use std::collections::BTreeSet;

use super::access::{Access, Role, Term, ceil, number};
use crate::plan::bounds::{Count, Range};

/// The most values that are tried one by one in a place.
const MOST_VALUES: i128 = 16;
/// The most steps of a proof.
const MOST_STEPS: usize = 2_000;

/// A variable of an equation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variable {
    /// How much an axis of the second access's unit is beyond that of the first's; the axis behind the last is the thread.
    Difference(usize),
    /// The axis of the first access's unit.
    First(usize),
    /// The axis of the second access's unit.
    Second(usize),
    /// Anything else.
    Inner,
}

/// A variable times a stride.
#[derive(Clone, Copy, Debug)]
struct Product {
    variable: Variable,
    stride: i128,
    range: Range,
}

/// `constant + Σ products = 0`, the largest stride first.
#[derive(Clone, Debug)]
struct Equation {
    constant: i128,
    products: Vec<Product>,
}

/// What is known of an axis at a place of a proof.
#[derive(Clone, Copy, Debug, Default)]
struct Axis {
    beyond: Option<i128>,
    first: Option<i128>,
    second: Option<i128>,
}

impl Axis {
    /// How much the second access's unit is beyond the first's.
    fn difference(&self) -> Option<i128> {
        self.beyond.or_else(|| Some(self.second? - self.first?))
    }
}

/// Whether two accesses of different threads never meet, as far as can be told. Both may be the same.
pub(super) fn are_apart(first: &Access, second: &Access) -> bool {
    if first.element.bytes() != second.element.bytes() {
        return false;
    }
    let to_each = |to: &i128| first.constants.iter().map(|from| to - from).collect::<Vec<i128>>();
    let distances: BTreeSet<i128> = second.constants.iter().flat_map(to_each).collect();
    // All constants at once, or else one by one.
    let all =
        spread(&distances).is_some_and(|(constant, between)| never_meet(first, second, constant, between));
    all || distances.len() > 1
        && distances.into_iter().all(|constant| never_meet(first, second, constant, None))
}

/// The least of some numbers, and a term whose values lead from there to all of them.
fn spread(numbers: &BTreeSet<i128>) -> Option<(i128, Option<Product>)> {
    let (&least, &greatest) = (numbers.first()?, numbers.last()?);
    let stride = numbers.iter().fold(0, |stride, number| greatest_common_divisor(stride, number - least));
    let product = (stride > 0).then(|| {
        let range = Range { least: number(0), greatest: number((greatest - least) / stride) };
        Product { variable: Variable::Inner, stride, range }
    });
    Some((least, product))
}

/// Whether two accesses never meet, so far apart and further by a term.
fn never_meet(first: &Access, second: &Access, constant: i128, between: Option<Product>) -> bool {
    let accesses = [first, second];
    let (equation, axes) = Equation::of(accesses, [&first.terms, &second.terms], constant, between);
    let mut equations = vec![equation];
    if accesses.iter().any(|access| access.terms != access.bounded) {
        equations.push(Equation::of(accesses, [&first.bounded, &second.bounded], constant, between).0);
    }
    let within_units = first.units.as_ref().and(second.units.as_ref());
    let mut proof =
        Proof { units: within_units.map(Vec::len), knows_thread: first.thread.is_some(), steps: 0 };
    proof.holds(equations, &axes)
}

/// The distance between neighbours along an axis.
fn stride(terms: &[Term], role: Role) -> i64 {
    terms.iter().filter(|term| term.role == role).map(|term| term.stride).sum()
}

impl Equation {
    /// That two accesses meet, by their terms, and what is known of their axes: of the units, if both have them, and of the
    /// thread.
    fn of(
        [first, second]: [&Access; 2],
        terms: [&[Term]; 2],
        constant: i128,
        between: Option<Product>,
    ) -> (Self, Vec<Axis>) {
        let mut equation = Equation { constant, products: between.into_iter().collect() };
        let mut axes = Vec::new();
        let units = first.units.as_deref().zip(second.units.as_deref());
        let (of_first, of_second) = units.unwrap_or_default();
        let units = of_first.iter().zip(of_second).enumerate();
        let units = units.map(|(axis, (&first, &second))| (Role::Unit(axis), [first, second]));
        let thread = first.thread.zip(second.thread).map(|(first, second)| (Role::Thread, [first, second]));
        let mut roles = Vec::new();
        for (role, ranges) in units.chain(thread) {
            axes.push(equation.axis(roles.len(), terms.map(|terms| stride(terms, role)), ranges));
            roles.push(role);
        }
        for (terms, sign) in terms.into_iter().zip([-1, 1]) {
            for term in terms.iter().filter(|term| !roles.contains(&term.role)) {
                equation.add(Variable::Inner, i128::from(term.stride) * sign, term.range);
            }
        }
        equation.products.sort_by_key(|product| std::cmp::Reverse(product.stride.abs()));
        (equation, axes)
    }

    fn add(&mut self, variable: Variable, stride: i128, range: Range) {
        if let Some(value) = single(range) {
            self.constant += stride * value;
            return;
        }
        if stride == 0 {
            return;
        }
        // What counts the other way is as good.
        let (stride, range) = match variable {
            Variable::Inner if stride < 0 => (-stride, range.times(-1)),
            _ => (stride, range),
        };
        let same = |known: &&mut Product| known.variable == Variable::Inner && known.stride == stride;
        match self.products.iter_mut().find(same) {
            Some(known) if variable == Variable::Inner => known.range = known.range.plus(range),
            _ => self.products.push(Product { variable, stride, range }),
        }
    }

    /// Adds an axis with its stride and values in both accesses; gives what is known of it.
    fn axis(&mut self, axis: usize, [first, second]: [i64; 2], [of_first, of_second]: [Range; 2]) -> Axis {
        let difference = of_second.plus(of_first.times(-1));
        if first == second {
            self.add(Variable::Difference(axis), i128::from(first), difference);
        } else {
            self.add(Variable::First(axis), -i128::from(first), of_first);
            self.add(Variable::Second(axis), i128::from(second), of_second);
        }
        Axis { beyond: single(difference), first: single(of_first), second: single(of_second) }
    }

    /// Puts in what is known of axes.
    fn insert(&mut self, axes: &[Axis]) {
        let constant = &mut self.constant;
        self.products.retain(|product| {
            let known = match product.variable {
                Variable::Difference(axis) => axes[axis].difference(),
                Variable::First(axis) => axes[axis].first,
                Variable::Second(axis) => axes[axis].second,
                Variable::Inner => None,
            };
            *constant += product.stride * known.unwrap_or_default();
            known.is_none()
        });
    }

    /// The values of the constant and the products from one on.
    fn range(&self, from: usize) -> Range {
        let constant = Range { least: number(self.constant), greatest: number(self.constant) };
        let products = self.products[from..].iter();
        products.fold(constant, |range, product| range.plus(product.values()))
    }

    /// Where it falls in two: the number of products in the larger part, and what the rest can be.
    fn cut(&self) -> Option<(usize, Vec<i128>)> {
        let mut best: Option<(usize, Vec<i128>)> = None;
        let mut divisor = 0;
        for cut in 1..self.products.len() {
            divisor = greatest_common_divisor(divisor, self.products[cut - 1].stride.abs());
            let Some(values) = multiples(divisor, self.range(cut)) else { continue };
            if best.as_ref().is_none_or(|(_, known)| values.len() < known.len()) {
                best = Some((cut, values));
            }
        }
        best
    }
}

impl Product {
    fn values(&self) -> Range {
        let times =
            |count: Count| Count { fixed: count.fixed * self.stride, batch: count.batch * self.stride };
        let (a, b) = (times(self.range.least), times(self.range.greatest));
        if self.stride < 0 { Range { least: b, greatest: a } } else { Range { least: a, greatest: b } }
    }
}

/// The only value of a range.
fn single(range: Range) -> Option<i128> {
    (range.least == range.greatest && range.least.batch == 0).then_some(range.least.fixed)
}

/// The multiples of a number in a range; none where they are many, or depend on the batch.
fn multiples(of: i128, range: Range) -> Option<Vec<i128>> {
    let Range { least, greatest } = range;
    if least.batch == 0 && greatest.batch == 0 {
        let (first, last) = (ceil(least.fixed, of), greatest.fixed.div_euclid(of));
        return (last - first < MOST_VALUES).then(|| (first..=last).map(|times| times * of).collect());
    }
    (number(-of).is_below(least) && greatest.is_below(number(of))).then(|| vec![0])
}

fn greatest_common_divisor(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

struct Proof {
    /// Axes of the units of work, if both accesses are of units.
    units: Option<usize>,
    /// Whether an axis for the thread is the last.
    knows_thread: bool,
    steps: usize,
}

impl Proof {
    /// Whether the same unit or the same thread does both accesses.
    fn is_same(&self, axes: &[Axis]) -> bool {
        let is_zero = |axis: &Axis| axis.difference() == Some(0);
        let thread = axes.last().filter(|_| self.knows_thread);
        self.units.is_some_and(|units| axes[..units].iter().all(is_zero)) || thread.is_some_and(is_zero)
    }

    /// Whether nothing but the same unit, or the same thread, solves some equations.
    fn holds(&mut self, mut equations: Vec<Equation>, axes: &[Axis]) -> bool {
        self.steps += 1;
        if self.is_same(axes) {
            return true;
        }
        if self.steps > MOST_STEPS {
            return false;
        }
        let Some(mut equation) = equations.pop() else { return false };
        equation.insert(axes);
        let all = equation.range(0);
        if number(0).is_below(all.least) || all.greatest.is_below(number(0)) {
            return true;
        }
        if let [product] = equation.products[..] {
            let value = -equation.constant / product.stride;
            let is_outside =
                number(value).is_below(product.range.least) || product.range.greatest.is_below(number(value));
            if value * product.stride != -equation.constant || is_outside {
                return true;
            }
            let mut axes = axes.to_vec();
            match product.variable {
                Variable::Difference(axis) => axes[axis].beyond = Some(value),
                Variable::First(axis) => axes[axis].first = Some(value),
                Variable::Second(axis) => axes[axis].second = Some(value),
                Variable::Inner => {}
            }
            return self.holds(equations, &axes);
        }
        let Some((cut, values)) = equation.cut() else { return self.holds(equations, axes) };
        values.into_iter().all(|value| {
            let (large, small) = equation.products.split_at(cut);
            let mut equations = equations.clone();
            equations.push(Equation { constant: value, products: large.to_vec() });
            equations.push(Equation { constant: equation.constant - value, products: small.to_vec() });
            self.holds(equations, axes)
        })
    }
}
