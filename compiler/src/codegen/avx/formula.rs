//! Formulas in AVX registers: which register each value takes, and the instructions.

use super::emit::Emitter;
use super::lanes::Comparison;
use super::math;
use super::operands::{Binary, Fused, Lanes, Source, Vector};
use crate::functions::formula::{Formula, Operation, Step, Term, Value};

/// The registers of one step, as indices: 0 is the operand's register, then the temporaries.
#[derive(Clone, Debug, Default)]
struct Place {
    result: usize,
    scratch: Vec<usize>,
}

/// Register allocation: each step takes free registers, or that of a value it uses last.
struct Places {
    steps: Vec<Place>,
    registers: usize,
}

impl Places {
    fn of(formula: &Formula) -> Places {
        let count = formula.steps.len();
        let mut last_use = vec![0; count + 1];
        last_use[count] = count;
        for (index, step) in formula.steps.iter().enumerate() {
            for Value(value) in step.values() {
                last_use[value] = last_use[value].max(index);
            }
        }
        // The value in each register.
        let mut owners: Vec<Option<usize>> = vec![Some(0)];
        let mut register_of = vec![0; count + 1];
        let mut steps = Vec::new();
        for (index, step) in formula.steps.iter().enumerate() {
            let dies = |value: &usize| last_use[*value] == index;
            let inherited = inherits(step).into_iter().map(|Value(value)| value).find(dies);
            let mut taken = Vec::new();
            let mut take = |owners: &mut Vec<Option<usize>>| {
                let free = (0..owners.len()).find(|at| owners[*at].is_none() && !taken.contains(at));
                let register = free.unwrap_or_else(|| {
                    owners.push(None);
                    owners.len() - 1
                });
                taken.push(register);
                register
            };
            let result = match inherited {
                Some(value) => register_of[value],
                None => take(&mut owners),
            };
            let scratch = (0..scratch(step)).map(|_| take(&mut owners)).collect();
            for Value(value) in step.values() {
                if dies(&value) {
                    owners[register_of[value]] = None;
                }
            }
            owners[result] = Some(index + 1);
            register_of[index + 1] = result;
            steps.push(Place { result, scratch });
        }
        Places { steps, registers: owners.len() }
    }
}

/// The values whose register the result may take.
fn inherits(step: &Step) -> Vec<Value> {
    let value = |term| match term {
        Term::Value(value) => Some(value),
        Term::Number(_) => None,
    };
    match *step {
        Step::Unary(_, x) | Step::Magnitude(x) => vec![x],
        Step::WithSign(x, _) => vec![x],
        Step::Binary(Operation::Subtract | Operation::Divide, Term::Number(_), _) => Vec::new(),
        Step::Binary(_, a, b) => [value(a), value(b)].into_iter().flatten().collect(),
        Step::MultiplyAdd(_, Term::Number(_), Term::Number(_)) => Vec::new(),
        Step::MultiplyAdd(_, Term::Number(_), Term::Value(c)) => vec![c],
        Step::MultiplyAdd(a, Term::Value(_), _) => vec![a],
        Step::AtLeast(..) | Step::AtMost(..) => Vec::new(),
        Step::IfBelow { no: Term::Number(_), .. } => Vec::new(),
        Step::IfBelow { x, yes, no, .. } => [Some(x), value(yes), value(no)].into_iter().flatten().collect(),
    }
}

/// The registers that a step overwrites besides its result's.
fn scratch(step: &Step) -> usize {
    match step {
        Step::Unary(kind, _) => math::temporaries(*kind),
        // The mask at 256 bits.
        Step::IfBelow { .. } => 1,
        // The sign bit.
        Step::WithSign(..) => 1,
        _ => 0,
    }
}

/// How many vector registers a formula overwrites besides its operand's.
pub(super) fn temporaries(formula: &Formula) -> usize {
    Places::of(formula).registers - 1
}

/// `x ← f(x)`. At least as many temporaries are required as [`temporaries`] says.
pub(super) fn write(emitter: &mut Emitter, formula: &Formula, x: Vector, temporaries: &[Vector]) {
    let places = Places::of(formula);
    let register = |index: usize| if index == 0 { x } else { temporaries[index - 1] };
    let mut values = vec![x];
    for (step, place) in formula.steps.iter().zip(&places.steps) {
        let scratch: Vec<Vector> = place.scratch.iter().map(|&index| register(index)).collect();
        let to = register(place.result);
        write_step(emitter, step, &values, to, &scratch);
        values.push(to);
    }
    if let Some(&result) = values.last() {
        emitter.copy(x, result);
    }
}

fn write_step(emitter: &mut Emitter, step: &Step, values: &[Vector], to: Vector, scratch: &[Vector]) {
    let source = |emitter: &mut Emitter, term: Term| -> Source {
        match term {
            Term::Value(value) => values[value.0].into(),
            Term::Number(number) => emitter.number(number).into(),
        }
    };
    match *step {
        Step::Unary(kind, x) => {
            emitter.copy(to, values[x.0]);
            math::unary(emitter, kind, to, scratch);
        }
        Step::Magnitude(x) => {
            let magnitude = emitter.integer(i32::MAX);
            emitter.binary(Binary::And, to, values[x.0], magnitude);
        }
        Step::WithSign(x, sign) => {
            let sign_bit = emitter.integer(i32::MIN);
            emitter.binary(Binary::And, scratch[0], values[sign.0], sign_bit);
            emitter.binary(Binary::Or, to, values[x.0], scratch[0]);
        }
        Step::Binary(operation, a, b) => {
            let (op, commutes) = match operation {
                Operation::Add => (Binary::Add, true),
                Operation::Subtract => (Binary::Subtract, false),
                Operation::Multiply => (Binary::Multiply, true),
                Operation::Divide => (Binary::Divide, false),
            };
            let (first, second) = match (a, b) {
                (Term::Value(a), b) => (values[a.0], b),
                (Term::Number(_), Term::Value(b)) if commutes => (values[b.0], a),
                (Term::Number(number), b) => {
                    emitter.load_number(to, number);
                    (to, b)
                }
            };
            let second = source(emitter, second);
            emitter.binary(op, to, first, second);
        }
        Step::MultiplyAdd(a, b, c) => match (b, c) {
            (Term::Value(b), c) => {
                let c = source(emitter, c);
                emitter.copy(to, values[a.0]);
                emitter.fused(Fused::MultiplyThenAdd, to, values[b.0], c);
            }
            (Term::Number(b), Term::Value(c)) => {
                let b = emitter.number(b);
                emitter.copy(to, values[c.0]);
                emitter.fused(Fused::Accumulate, to, values[a.0], b);
            }
            (Term::Number(b), Term::Number(c)) => {
                let c = emitter.number(c);
                emitter.load_number(to, b);
                emitter.fused(Fused::MultiplyThenAdd, to, values[a.0], c);
            }
        },
        // Of a number and NaN, the second stays.
        Step::AtLeast(x, bound) => {
            emitter.load_number(to, bound);
            emitter.binary(Binary::Maximum, to, to, values[x.0]);
        }
        Step::AtMost(x, bound) => {
            emitter.load_number(to, bound);
            emitter.binary(Binary::Minimum, to, to, values[x.0]);
        }
        Step::IfBelow { x, bound, yes, no } => {
            let mask = math::mask(emitter, scratch[0]);
            let bound = emitter.number(bound);
            let no = match no {
                Term::Value(no) => values[no.0],
                Term::Number(number) => {
                    let number = emitter.number(number);
                    emitter.load(to, number, Lanes::All);
                    to
                }
            };
            emitter.compare(Comparison::Less, mask, values[x.0], bound);
            let yes = source(emitter, yes);
            emitter.choose(to, mask, yes, no);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::functions::Activation;
    use crate::target::registers::ACTIVATION;

    #[test]
    fn activations_fit_the_registers_of_an_epilogue() {
        for activation in Activation::ALL {
            let needed = super::temporaries(&activation.formula());
            assert!(needed <= ACTIVATION, "{activation} needs {needed} temporaries");
        }
    }
}
