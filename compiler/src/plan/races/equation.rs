//! Decides whether two accesses of different threads can conflict.
//!
//! They conflict if `Σ stride·variable + constant = 0`, with the terms of one access minus those of the other. Such an
//! equation can be split if its larger strides have a common divisor `g`, and the sum of the other terms is so small
//! that it can only be a few multiples of `g`. For each of these multiples, the larger terms and the other terms are
//! separate equations. The strides of nested axes have this form: a stride is larger than the range of all smaller
//! terms. An equation with one term determines its variable.

use std::collections::BTreeSet;

use super::access::{Access, Role, Term, ceil, number};
use crate::plan::bounds::{Count, Range};

/// The maximum number of values that are tried one by one.
const MOST_VALUES: i128 = 16;
/// The maximum number of steps of a proof.
const MOST_STEPS: usize = 2_000;

/// A variable of an equation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variable {
    /// The difference between the second and the first access's unit along an axis; the axis after the last is the
    /// thread index.
    Difference(usize),
    /// The axis of the first access's unit.
    First(usize),
    /// The axis of the second access's unit.
    Second(usize),
    /// Any other variable.
    Inner,
}

/// A variable times a stride.
#[derive(Clone, Debug)]
struct Product {
    variable: Variable,
    stride: Count,
    range: Range,
}

/// `constant + Σ products = 0`, with the largest stride first.
#[derive(Clone, Debug)]
struct Equation {
    constant: Count,
    products: Vec<Product>,
}

/// The known values of an axis at a point of a proof.
#[derive(Clone, Copy, Debug, Default)]
struct Axis {
    beyond: Option<i128>,
    first: Option<i128>,
    second: Option<i128>,
}

impl Axis {
    /// The second access's unit minus the first's.
    fn difference(&self) -> Option<i128> {
        self.beyond.or_else(|| Some(self.second? - self.first?))
    }
}

/// Whether two accesses of different threads provably never conflict. Both may be the same access.
pub(super) fn are_apart(first: &Access, second: &Access) -> bool {
    if first.element.bytes() != second.element.bytes() {
        return false;
    }
    let to_each = |to: &i128| first.constants.iter().map(|from| to - from).collect::<Vec<i128>>();
    let distances: BTreeSet<i128> = second.constants.iter().flat_map(to_each).collect();
    // Tries all constants at once, or else one by one.
    let all = spread(&distances)
        .is_some_and(|(constant, between)| never_conflict(first, second, constant, between));
    all || distances.len() > 1
        && distances.into_iter().all(|constant| never_conflict(first, second, constant, None))
}

/// The smallest of some numbers, and a term whose values include the differences of all of them.
fn spread(numbers: &BTreeSet<i128>) -> Option<(i128, Option<Product>)> {
    let (&least, &greatest) = (numbers.first()?, numbers.last()?);
    let stride = numbers.iter().fold(0, |stride, number| greatest_common_divisor(stride, number - least));
    let product = (stride > 0).then(|| {
        let range = Range { least: number(0), greatest: number((greatest - least) / stride) };
        Product { variable: Variable::Inner, stride: number(stride), range }
    });
    Some((least, product))
}

/// Whether two accesses with this constant difference plus a term provably never conflict.
fn never_conflict(first: &Access, second: &Access, constant: i128, between: Option<Product>) -> bool {
    let accesses = [first, second];
    let (equation, axes) = Equation::of(accesses, [&first.terms, &second.terms], constant, between.clone());
    let mut equations = vec![equation];
    if accesses.iter().any(|access| access.terms != access.bounded) {
        equations.push(Equation::of(accesses, [&first.bounded, &second.bounded], constant, between).0);
    }
    let within_units = first.units.as_ref().and(second.units.as_ref());
    let mut proof =
        Proof { units: within_units.map(Vec::len), knows_thread: first.thread.is_some(), steps: 0 };
    proof.holds(equations, &axes)
}

/// The stride of an axis.
fn stride(terms: &[Term], role: Role) -> Count {
    let own = terms.iter().filter(|term| term.role == role);
    own.fold(Count::default(), |sum, term| sum.plus(&term.stride))
}

impl Equation {
    /// The equation that two accesses conflict, from their terms, and the known values of their axes: of the units, if
    /// both accesses have them, and of the thread index.
    fn of(
        [first, second]: [&Access; 2],
        terms: [&[Term]; 2],
        constant: i128,
        between: Option<Product>,
    ) -> (Self, Vec<Axis>) {
        let mut equation = Equation { constant: number(constant), products: between.into_iter().collect() };
        let mut axes = Vec::new();
        let units = first.units.as_deref().zip(second.units.as_deref());
        let (of_first, of_second) = units.unwrap_or_default();
        let units = of_first.iter().zip(of_second).enumerate();
        let units = units.map(|(axis, (first, second))| (Role::Unit(axis), [first, second]));
        let thread = first.thread.as_ref().zip(second.thread.as_ref());
        let thread = thread.map(|(first, second)| (Role::Thread, [first, second]));
        let mut roles = Vec::new();
        for (role, ranges) in units.chain(thread) {
            axes.push(equation.axis(roles.len(), terms.map(|terms| stride(terms, role)), ranges));
            roles.push(role);
        }
        for (terms, sign) in terms.into_iter().zip([-1, 1]) {
            for term in terms.iter().filter(|term| !roles.contains(&term.role)) {
                equation.add(Variable::Inner, term.stride.times(sign), term.range.clone());
            }
        }
        let size = |product: &Product| (product.stride.degree(), product.stride.as_number().map(i128::abs));
        equation.products.sort_by_key(|product| std::cmp::Reverse(size(product)));
        (equation, axes)
    }

    fn add(&mut self, variable: Variable, stride: Count, range: Range) {
        if let Some(value) = single(&range) {
            self.constant = self.constant.plus(&stride.times(value));
            return;
        }
        if stride == Count::default() {
            return;
        }
        // A reversed variable is equivalent.
        let (stride, range) = match variable {
            Variable::Inner if stride.is_at_most(&number(0)) => (stride.times(-1), range.times(-1)),
            _ => (stride, range),
        };
        let same = |known: &&mut Product| known.variable == Variable::Inner && known.stride == stride;
        match self.products.iter_mut().find(same) {
            Some(known) if variable == Variable::Inner => known.range = known.range.plus(&range),
            _ => self.products.push(Product { variable, stride, range }),
        }
    }

    /// Adds an axis with its stride and values in both accesses; returns its known values.
    fn axis(&mut self, axis: usize, [first, second]: [Count; 2], [of_first, of_second]: [&Range; 2]) -> Axis {
        let difference = of_second.plus(&of_first.times(-1));
        let known = Axis { beyond: single(&difference), first: single(of_first), second: single(of_second) };
        if first == second {
            self.add(Variable::Difference(axis), first, difference);
        } else {
            self.add(Variable::First(axis), first.times(-1), of_first.clone());
            self.add(Variable::Second(axis), second, of_second.clone());
        }
        known
    }

    /// Substitutes the known values of axes.
    fn insert(&mut self, axes: &[Axis]) {
        let constant = &mut self.constant;
        self.products.retain(|product| {
            let known = match product.variable {
                Variable::Difference(axis) => axes[axis].difference(),
                Variable::First(axis) => axes[axis].first,
                Variable::Second(axis) => axes[axis].second,
                Variable::Inner => None,
            };
            *constant = constant.plus(&product.stride.times(known.unwrap_or_default()));
            known.is_none()
        });
    }

    /// The range of a constant plus some products, if it is known.
    fn range<'p>(constant: &Count, products: impl IntoIterator<Item = &'p Product>) -> Option<Range> {
        let constant = Range { least: constant.clone(), greatest: constant.clone() };
        products.into_iter().try_fold(constant, |range, product| {
            Some(range.plus(&product.range.times_count(&product.stride)?))
        })
    }

    /// Splits the equation: pairs of the larger terms and the rest, all of which must have no solution.
    fn cut(&self) -> Option<Vec<[Equation; 2]>> {
        let numbers: Option<Vec<i128>> =
            self.products.iter().map(|product| product.stride.as_number()).collect();
        match numbers {
            Some(strides) => self.cut_numbers(&strides),
            None => self.cut_open(),
        }
    }

    /// The same, if all strides are numbers.
    fn cut_numbers(&self, strides: &[i128]) -> Option<Vec<[Equation; 2]>> {
        let mut best: Option<(usize, Vec<i128>)> = None;
        let mut divisor = 0;
        for cut in 1..self.products.len() {
            divisor = greatest_common_divisor(divisor, strides[cut - 1].abs());
            let range = Equation::range(&self.constant, &self.products[cut..])?;
            let Some(values) = multiples(divisor, &range) else { continue };
            if best.as_ref().is_none_or(|(_, known)| values.len() < known.len()) {
                best = Some((cut, values));
            }
        }
        let (cut, values) = best?;
        let (large, small) = self.products.split_at(cut);
        let parts = values.into_iter().map(|value| {
            let large = Equation { constant: number(value), products: large.to_vec() };
            [large, Equation { constant: self.constant.plus_number(-value), products: small.to_vec() }]
        });
        Some(parts.collect())
    }

    /// The same for strides with open sizes: multiples of one of them, and a rest that is smaller than it.
    fn cut_open(&self) -> Option<Vec<[Equation; 2]>> {
        let open = self.products.iter().filter(|product| product.stride.as_number().is_none());
        for Product { stride: divisor, .. } in open {
            let is_positive = number(0).is_below(divisor);
            let divisor = if is_positive { divisor.clone() } else { divisor.times(-1) };
            if !number(0).is_below(&divisor) {
                continue;
            }
            let (mut large, mut small) = (Vec::new(), Vec::new());
            for product in &self.products {
                match product.stride.quotient(&divisor) {
                    Some(stride) => large.push(Product { stride, ..product.clone() }),
                    None => small.push(product.clone()),
                }
            }
            let Some(range) = Equation::range(&self.constant, &small) else { continue };
            if divisor.times(-1).is_below(&range.least) && range.greatest.is_below(&divisor) {
                let large = Equation { constant: number(0), products: large };
                return Some(vec![[large, Equation { constant: self.constant.clone(), products: small }]]);
            }
        }
        None
    }
}

/// The only value of a range, if it is a number.
fn single(range: &Range) -> Option<i128> {
    range.least.as_number().filter(|_| range.least == range.greatest)
}

/// The multiples of a number in a range; `None` if there are many, or they depend on open sizes.
fn multiples(of: i128, range: &Range) -> Option<Vec<i128>> {
    if let (Some(least), Some(greatest)) = (range.least.as_number(), range.greatest.as_number()) {
        let (first, last) = (ceil(least, of), greatest.div_euclid(of));
        return (last - first < MOST_VALUES).then(|| (first..=last).map(|times| times * of).collect());
    }
    (number(-of).is_below(&range.least) && range.greatest.is_below(&number(of))).then(|| vec![0])
}

fn greatest_common_divisor(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

struct Proof {
    /// The number of axes of the work units, if both accesses have units.
    units: Option<usize>,
    /// Whether the last axis is the thread index.
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

    /// Whether only the same unit, or the same thread, solves the equations.
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
        let zero = number(0);
        let all = Equation::range(&equation.constant, &equation.products);
        if all.is_some_and(|all| zero.is_below(&all.least) || all.greatest.is_below(&zero)) {
            return true;
        }
        if let [product] = &equation.products[..] {
            let value = match equation.constant == zero {
                true => Some(0),
                false => {
                    equation.constant.times(-1).quotient(&product.stride).and_then(|value| value.as_number())
                }
            };
            let Some(value) = value else {
                // Numbers that are not divisible have no solution, nor does a constant between zero and the stride. For
                // other open sizes it is unknown.
                let are_numbers = [&equation.constant, &product.stride].map(Count::as_number);
                let is_between =
                    |constant: &Count| zero.is_below(constant) && constant.is_below(&product.stride);
                let has_none = are_numbers.iter().all(Option::is_some)
                    || is_between(&equation.constant)
                    || is_between(&equation.constant.times(-1));
                return has_none || self.holds(equations, axes);
            };
            let at = number(value);
            if at.is_below(&product.range.least) || product.range.greatest.is_below(&at) {
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
        let Some(parts) = equation.cut() else { return self.holds(equations, axes) };
        parts.into_iter().all(|parts| {
            let mut equations = equations.clone();
            // The larger part comes next: it has the axes, and may tell them all.
            equations.extend(parts.into_iter().rev());
            self.holds(equations, axes)
        })
    }
}
