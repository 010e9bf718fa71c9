//! Compares the results of two graphs on random values of their sources.

use windlass_compiler::graph::Graph;
use windlass_compiler::interp::{Array, Bindings, Outcome, Real, run};
use windlass_compiler::ops::Op;
use windlass_compiler::ops::source::InputRole;
use windlass_compiler::shape::{DType, Sizes};

/// The required agreement of two graphs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Agreement {
    /// The same bits in f32, for ordinary numbers and for zeros of both signs, infinities and NaN (any NaN for a NaN).
    Exact,
    /// Within rounding: in f64, relative to the largest element.
    Within(f64),
}

/// Values for every source: states and control inputs between 1/2 and 3/2 (variances and learning rates are positive),
/// all others between −1 and 1, and 0 or 1 for integers. With `special`, some are signed zeros, infinities and NaN.
fn bindings<T: Real>(graph: &Graph, sizes: &Sizes, special: bool) -> Bindings<T> {
    const SPECIAL: [f64; 6] = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::MIN_POSITIVE];
    let mut random = fastrand::Rng::with_seed(7);
    let mut bindings = Bindings::new();
    for node in graph.nodes() {
        let (name, range) = match &node.op {
            Op::Input(input) if input.role == InputRole::Control => (&input.name, 0.5..1.5),
            Op::Input(input) => (&input.name, -1.0..1.0),
            Op::Parameter(parameter) => (&parameter.name, -1.0..1.0),
            Op::State(state) => (&state.name, 0.5..1.5),
            _ => continue,
        };
        let ty = graph.ty(node.results[0]);
        let sizes = ty.shape.concrete(sizes);
        let elements = sizes.iter().product();
        let number = |random: &mut fastrand::Rng| match special && random.u8(..4) == 0 {
            true => SPECIAL[random.usize(..SPECIAL.len())],
            false => range.start + (range.end - range.start) * random.f64(),
        };
        let array = match ty.dtype {
            DType::F32 => {
                Array::new(sizes, (0..elements).map(|_| T::from_f64(number(&mut random))).collect())
            }
            DType::I32 => Array::ints(sizes, (0..elements).map(|_| random.i32(0..2)).collect()),
        };
        bindings.insert(name.clone(), array);
    }
    bindings
}

/// Runs both graphs on the same values and compares every output and update.
#[track_caller]
pub(crate) fn assert_same_results(before: &Graph, after: &Graph, agreement: Agreement) {
    // Steps of sequences, if there are any.
    let sizes = &Sizes::from(3).with("T".parse().unwrap(), 2);
    match agreement {
        Agreement::Exact => {
            for special in [false, true] {
                let bindings = bindings::<f32>(before, sizes, special);
                // Differences of ordinary numbers must not hide behind a NaN.
                let same = |x: f32, y: f32| match special {
                    true => x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan()),
                    false => x.to_bits() == y.to_bits() && !x.is_nan(),
                };
                compare(
                    &run(before, sizes, &bindings).unwrap(),
                    &run(after, sizes, &bindings).unwrap(),
                    |x, y| x.iter().zip(y).all(|(&x, &y)| same(x, y)),
                );
            }
        }
        Agreement::Within(part) => {
            let bindings = bindings::<f64>(before, sizes, false);
            compare(
                &run(before, sizes, &bindings).unwrap(),
                &run(after, sizes, &bindings).unwrap(),
                |x, y| {
                    let largest = x.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
                    x.iter().zip(y).all(|(x, y)| (x - y).abs() <= part * largest)
                },
            );
        }
    }
}

#[track_caller]
fn compare<T: Real>(before: &Outcome<T>, after: &Outcome<T>, same: impl Fn(&[T], &[T]) -> bool) {
    for (before, after) in [(&before.outputs, &after.outputs), (&before.updates, &after.updates)] {
        assert!(before.keys().eq(after.keys()));
        for (name, x) in before {
            let y = &after[name];
            assert_eq!(x.sizes, y.sizes, "{name}");
            match x.dtype() {
                DType::F32 => {
                    assert!(same(x.real(), y.real()), "{name}:\n{:?}\n{:?}", x.real(), y.real());
                }
                DType::I32 => assert_eq!(x.int(), y.int(), "{name}"),
            }
        }
    }
}
