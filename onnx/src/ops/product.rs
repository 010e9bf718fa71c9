//! Products of matrices.

use windlass_compiler::ops::elementwise::BinaryKind;
use windlass_compiler::ops::linear::Linear;
use windlass_compiler::ops::matmul::Matmul;
use windlass_compiler::shape::Dim;

use super::{Rule, one};
use crate::error::{Reason, unsupported};
use crate::importer::Importer;
use crate::known::Known;
use crate::movement::count;
use crate::node::Node;
use crate::value::{Data, Meaning, Value};

pub(super) const RULES: &[(&str, Rule)] = &[("MatMul", matmul), ("Gemm", gemm), ("Einsum", einsum)];

fn matmul<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    one(importer.matmul(node.operand(0)?, node.operand(1)?)?)
}

fn with_axis(dims: &[Dim], axis: usize) -> Vec<Dim> {
    let mut dims = dims.to_vec();
    dims.insert(axis, Dim::Fixed(1));
    dims
}

impl Importer<'_> {
    /// The product of the matrices in the last two axes of each value.
    pub(crate) fn matmul(&mut self, left: &Value, right: &Value) -> Result<Value, Reason> {
        let (rank, other) = (left.rank(), right.rank());
        if rank == 0 || other == 0 {
            return unsupported("a factor is a single number");
        }
        // A vector is a matrix of one row or column, which the result does not have.
        if rank == 1 {
            let row = self.reshape(left, &with_axis(&left.dims(), 0))?;
            let result = self.matmul(&row, right)?;
            let mut dims = result.dims();
            dims.remove(dims.len() - if other == 1 { 1 } else { 2 });
            return self.reshape(&result, &dims);
        }
        if other == 1 {
            let column = self.reshape(right, &with_axis(&right.dims(), 1))?;
            let result = self.matmul(left, &column)?;
            let mut dims = result.dims();
            dims.pop();
            return self.reshape(&result, &dims);
        }
        let (steps, own) = (left.dims()[rank - 1].clone(), right.dims()[other - 2].clone());
        if steps != own {
            return unsupported(format!("its factors do not fit: {steps} columns, but {own} rows"));
        }
        match (left, right) {
            (Value::Known(left), Value::Known(right)) if left.name.is_none() && right.name.is_none() => {
                known_product(left, right)
            }
            (Value::Data(data), factor) if !factor.is_data() && other == 2 => {
                let weight = self.transpose(factor, &[1, 0])?;
                Ok(self.dense(data, &weight)?.into())
            }
            (factor, Value::Data(_)) if !factor.is_data() && rank == 2 => {
                // The transposed product of the transposed factors.
                let axes = other.max(2);
                let mut swapped: Vec<usize> = (0..axes).collect();
                swapped.swap(axes - 1, axes - 2);
                let turned = self.transpose(right, &swapped)?;
                let turned = self.data(&turned)?;
                let result = self.dense(&turned, factor)?;
                self.transpose(&result.into(), &swapped)
            }
            _ => self.batched(left, right),
        }
    }

    /// Vectors along the last axis times a parameter `[outputs, inputs]`, transposed.
    fn dense(&mut self, data: &Data, weight: &Value) -> Result<Data, Reason> {
        self.expect_numbers(data)?;
        let last = data.dims.len() - 1;
        let data = self.with_axes(data, &[last])?;
        let weight = self.weight(weight)?;
        let shape = data.shape();
        let flat = self.shaped(data.value, shape.with_first_folded(shape.rank() - 1))?;
        let value = self.op(Linear { epilogue: Vec::new() }, &[flat, weight.value])?;
        let mut dims = data.dims.clone();
        dims[last] = Dim::Fixed(weight.dims[0]);
        let result = data.with(value, dims).meaning(Meaning::Float);
        let value = self.shaped(value, result.shape())?;
        Ok(Data { value, ..result })
    }

    /// A product of two values for each index of the axes before the last two.
    fn batched(&mut self, left: &Value, right: &Value) -> Result<Value, Reason> {
        let model = match (left, right) {
            (Value::Data(data), _) | (_, Value::Data(data)) => data.clone(),
            _ => return unsupported("the product of two parameters is not supported"),
        };
        let (own, other) = (left.dims(), right.dims());
        let ([lead @ .., rows, steps], [other_lead @ .., _, columns]) = (&own[..], &other[..]) else {
            return unsupported("its factors must be matrices");
        };
        let axes = crate::broadcast::common(lead, other_lead)?;
        let whole = |last: [&Dim; 2]| [axes.clone(), last.map(Clone::clone).to_vec()].concat();
        let mut factors = Vec::with_capacity(2);
        for (value, last) in [(left, [rows, steps]), (right, [steps, columns])] {
            let target = whole(last);
            let data = match value {
                Value::Data(data) => self.expand_data(data, &target)?,
                other if self.open_batch => {
                    // In the form of the other factor.
                    let like = Data { dims: target.clone(), ..model.clone() };
                    self.lift_like(other, &like)?
                }
                other => {
                    let expanded = self.expand(other, &target)?;
                    self.data(&expanded)?
                }
            };
            let rank = target.len();
            let data = self.with_axes(&data, &[rank - 1, rank - 2])?;
            factors.push(data);
        }
        let factors = self.alike(&factors)?;
        let mut values = Vec::with_capacity(2);
        for data in &factors {
            self.expect_numbers(data)?;
            let shape = data.shape();
            values.push(self.shaped(data.value, shape.with_first_folded(shape.rank() - 2))?);
        }
        let value = self.op(Matmul::default(), &values)?;
        let result = factors[0].with(value, whole([rows, columns])).meaning(Meaning::Float);
        let value = self.shaped(value, result.shape())?;
        Ok(Data { value, ..result }.into())
    }
}

/// The product of two known matrices, in double precision.
fn known_product(left: &Known, right: &Known) -> Result<Value, Reason> {
    let (Some(a), Some(b)) = (left.to_floats(), right.to_floats()) else {
        return unsupported("its factors have sizes that are open");
    };
    let ([rows, steps], [_, columns]) = (&left.dims[..], &right.dims[..]) else {
        return unsupported("a product of more than two known matrices is not supported");
    };
    if rows.saturating_mul(*steps).saturating_mul(*columns) > 1 << 24 {
        return unsupported("a product of two known matrices of this size is not supported");
    }
    let mut values = Vec::with_capacity(rows * columns);
    for row in 0..*rows {
        for column in 0..*columns {
            let terms = (0..*steps)
                .map(|step| f64::from(a[row * steps + step]) * f64::from(b[step * columns + column]));
            values.push(terms.sum::<f64>() as f32);
        }
    }
    Ok(Known::floats(vec![*rows, *columns], values).into())
}

fn gemm<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let (mut left, mut right) = (node.operand(0)?.clone(), node.operand(1)?.clone());
    if left.rank() != 2 || right.rank() != 2 {
        return unsupported("its factors must be matrices");
    }
    if node.flag("transA", false) {
        left = importer.transpose(&left, &[1, 0])?;
    }
    node.ignore(&["broadcast"]);
    let mut product = match (&left, node.flag("transB", false)) {
        // As dense layers have their weights.
        (Value::Data(data), true) if !right.is_data() && data.dims[1] == right.dims()[1] => {
            importer.dense(data, &right)?.into()
        }
        (_, is_transposed) => {
            if is_transposed {
                right = importer.transpose(&right, &[1, 0])?;
            }
            importer.matmul(&left, &right)?
        }
    };
    let (alpha, beta) = (node.float("alpha", 1.0), node.float("beta", 1.0));
    if alpha != 1.0 {
        product = importer.with_number(BinaryKind::Multiply, &product, alpha)?;
    }
    if let Some(addend) = node.optional(2)
        && beta != 0.0
    {
        let addend = match beta == 1.0 {
            true => addend.clone(),
            false => super::arithmetic::multiplied(
                importer,
                addend,
                &Known::floats(Vec::new(), vec![beta]).into(),
            )?,
        };
        product = super::arithmetic::added(importer, &product, &addend)?;
    }
    one(product)
}

/// The letters of an operand's axes.
fn letters(term: &str) -> Result<Vec<char>, Reason> {
    let letters: Vec<char> = term.chars().filter(|it| !it.is_whitespace()).collect();
    let is_plain = letters.iter().all(char::is_ascii_alphabetic)
        && letters.iter().all(|letter| letters.iter().filter(|other| *other == letter).count() == 1);
    if is_plain {
        Ok(letters)
    } else {
        unsupported(format!("the term `{term}` of its equation is not supported"))
    }
}

fn einsum<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let equation = node.text("equation").unwrap_or_default();
    let (terms, result) = match equation.split_once("->") {
        Some((terms, result)) => (terms, Some(result)),
        None => (equation, None),
    };
    let terms = terms.split(',').map(letters).collect::<Result<Vec<_>, _>>()?;
    let result = match result {
        Some(result) => letters(result)?,
        None => {
            // The letters that occur once, sorted.
            let all: Vec<char> = terms.concat();
            let mut once = all.clone();
            once.retain(|letter| all.iter().filter(|other| *other == letter).count() == 1);
            once.sort_unstable();
            once
        }
    };
    match (&terms[..], &node.operands[..]) {
        ([term], [value]) => one(einsum_of_one(importer, term, value, &result)?),
        ([left, right], [a, b]) => one(einsum_of_two(importer, [left, right], [a, b], &result)?),
        _ => unsupported("a product of one or two operands is supported"),
    }
}

/// The places of letters in a term.
fn places(term: &[char], letters: &[char]) -> Vec<usize> {
    letters.iter().filter_map(|letter| term.iter().position(|other| other == letter)).collect()
}

/// Sums over the axes that the result does not have, in the order of the result.
fn einsum_of_one(
    importer: &mut Importer<'_>,
    term: &[char],
    value: &Value,
    result: &[char],
) -> Result<Value, Reason> {
    if term.len() != value.rank() || result.iter().any(|letter| !term.contains(letter)) {
        return unsupported("its equation does not fit its operand");
    }
    let summed: Vec<usize> = (0..term.len()).filter(|&axis| !result.contains(&term[axis])).collect();
    let sum = importer.sum(value, &summed)?;
    let dims = value.dims();
    let kept: Vec<char> = term.iter().copied().filter(|letter| result.contains(letter)).collect();
    let rest: Vec<Dim> = places(term, &kept).into_iter().map(|axis| dims[axis].clone()).collect();
    let sum = importer.reshape(&sum, &rest)?;
    importer.transpose(&sum, &places(&kept, result))
}

/// A product of matrices for each index of the axes that both operands and the result have.
fn einsum_of_two(
    importer: &mut Importer<'_>,
    terms: [&Vec<char>; 2],
    values: [&Value; 2],
    result: &[char],
) -> Result<Value, Reason> {
    let [left, right] = terms;
    if left.len() != values[0].rank() || right.len() != values[1].rank() {
        return unsupported("its equation does not fit its operands");
    }
    let known = |letter: &char| left.contains(letter) || right.contains(letter);
    if !result.iter().all(known) {
        return unsupported("its result has an axis that no operand has");
    }
    let both: Vec<char> =
        result.iter().copied().filter(|letter| left.contains(letter) && right.contains(letter)).collect();
    let rows: Vec<char> =
        left.iter().copied().filter(|it| !right.contains(it) && result.contains(it)).collect();
    let columns: Vec<char> =
        right.iter().copied().filter(|it| !left.contains(it) && result.contains(it)).collect();
    let steps: Vec<char> =
        left.iter().copied().filter(|it| right.contains(it) && !result.contains(it)).collect();
    let of = |term: &[char], value: &Value, letters: &[char]| -> Vec<Dim> {
        places(term, letters).into_iter().map(|axis| value.dims()[axis].clone()).collect()
    };
    let (lead, of_rows) = (of(left, values[0], &both), of(left, values[0], &rows));
    let of_columns = of(right, values[1], &columns);
    let mut factors = Vec::with_capacity(2);
    for (term, value, order) in [(left, values[0], [&rows, &steps]), (right, values[1], [&steps, &columns])] {
        // Axes that only this operand has are summed first.
        let wanted: Vec<char> = [&both[..], order[0], order[1]].concat();
        let reduced = einsum_of_one(importer, term, value, &wanted)?;
        let size = |letters: &[char]| Dim::from(count(&of(term, value, letters)));
        let dims = [lead.clone(), vec![size(order[0]), size(order[1])]].concat();
        factors.push(importer.reshape(&reduced, &dims)?);
    }
    let product = importer.matmul(&factors[0], &factors[1])?;
    let dims = [lead, of_rows, of_columns].concat();
    let product = importer.reshape(&product, &dims)?;
    let order = [&both[..], &rows, &columns].concat();
    importer.transpose(&product, &places(&order, result))
}
