use super::verify;
use crate::kernel::{Address, Affine, BufferId, Element, Extent, Kernel, MapBuilder, Split, Stmt, Var};
use crate::plan::{Buffer, Place, Size, copy_span, fill};

const X: BufferId = BufferId(0);
const VARS: [Var; 3] = [Var(0), Var(1), Var(2)];

fn kernel(split: Split, body: Vec<Stmt>) -> Kernel {
    Kernel {
        name: "k".to_owned(),
        note: String::new(),
        split,
        setup: Vec::new(),
        body,
        variables: VARS.len(),
        thread: None,
        cost: Default::default(),
    }
}

fn check(kernel: &Kernel, batched: bool, elements: usize) -> Result<(), String> {
    let size = Size { batched, elements };
    let buffer = Buffer { name: "x".to_owned(), size, element: Element::F32, place: Place::Nowhere };
    verify(kernel, &[buffer], 1)
}

/// A kernel fits a buffer of `elements`, and no smaller one.
#[track_caller]
fn needs(kernel: &Kernel, batched: bool, elements: usize) {
    assert_eq!(check(kernel, batched, elements), Ok(()));
    let error = check(kernel, batched, elements - 1).unwrap_err();
    assert!(error.starts_with("kernel k: a store meets elements"), "{error}");
}

fn rows(var: Var) -> Address {
    Address::start(X).plus(var, 10)
}

#[test]
fn loops_reach_as_far_as_their_last_step() {
    let [n, row, _] = VARS;
    let body = |end| vec![Stmt::repeat(row, end, vec![fill(rows(row), 4, 0.0)])];
    needs(&kernel(Split::Serial, body(Extent::Fixed(3))), false, 24);
    needs(&kernel(Split::Serial, body(Extent::Batch(1))), true, 10);
    assert_eq!(check(&kernel(Split::Serial, body(Extent::Fixed(0))), false, 0), Ok(()));
    let items = Split::Axes(vec![(n, Extent::Batch(1))]);
    needs(&kernel(items, vec![fill(Address::start(X).plus(n, 7).offset(3), 4, 0.0)]), true, 7);
}

#[test]
fn an_address_before_the_start_is_found() {
    let [row, ..] = VARS;
    let from = |shift: i64| {
        let offset = Affine::from(row).shifted(shift);
        let body = vec![fill(Address { buffer: X, offset }, 1, 0.0)];
        check(&kernel(Split::Axes(vec![(row, Extent::Fixed(5))]), body), false, 100)
    };
    assert_eq!(from(0), Ok(()));
    assert!(from(-1).unwrap_err().contains("meets elements -1 to 3 of b0 (x), which has 100"));
}

/// What the copies of images with borders rely on.
#[test]
fn branches_bound_what_they_ask_of() {
    let [row, ..] = VARS;
    let input_row = Affine::from(row).shifted(-2);
    let copy = |bound: i64| {
        let inside = fill(Address::start(X).at(&input_row, 10), 10, 0.0);
        let below = Stmt::Branch { value: input_row.clone(), bound, below: vec![inside], rest: Vec::new() };
        let body = Stmt::Branch { value: input_row.clone(), bound: 0, below: Vec::new(), rest: vec![below] };
        kernel(Split::Axes(vec![(row, Extent::Fixed(9))]), vec![body])
    };
    needs(&copy(4), false, 40);
    needs(&copy(5), false, 50);
    // Rows from 0 to 6 alone are there.
    needs(&copy(100), false, 70);
    // Nothing is ever taken.
    assert_eq!(check(&copy(0), false, 0), Ok(()));
}

#[test]
fn shares_end_where_the_whole_does() {
    let [first, ..] = VARS;
    let span = |offset: usize| {
        let mut map = MapBuilder::new(Extent::Share);
        let value = map.constant(0.0);
        map.store(Address::start(X).plus(first, 1).offset(offset), 1, value);
        map.finish()
    };
    for elements in [1, 6] {
        let lanes = |extent| Split::Lanes(first, extent);
        needs(&kernel(lanes(Extent::Batch(elements)), vec![span(0)]), true, elements);
        needs(&kernel(lanes(Extent::Fixed(elements)), vec![span(3)]), false, elements + 3);
    }
}

#[test]
fn blocks_of_a_batch_end_with_it() {
    let [n, ..] = VARS;
    let items = |start, end, step: usize| {
        let body = vec![fill(Address::start(X).plus(n, 5), 5 * step, 0.0)];
        kernel(Split::Serial, vec![Stmt::For { var: n, start, end, step, body }])
    };
    let (eight, four) = (Extent::BatchFloor(8), Extent::BatchFloor(4));
    needs(&items(Extent::Fixed(0), eight, 8), true, 5);
    needs(&items(eight, four, 4), true, 5);
    needs(&items(four, Extent::Batch(1), 1), true, 5);
    // Steps that do not come out even.
    assert!(check(&items(Extent::Fixed(0), Extent::Batch(1), 4), true, 5).is_err());
}

/// The count of columns that wrapped around where a border is wider than all that windows meet.
#[test]
fn a_count_that_wrapped_is_found() {
    let count = 1usize.wrapping_sub(2).min(1 << 20);
    let body = vec![copy_span(Address::start(X), 1, Address::start(X), count)];
    assert!(check(&kernel(Split::Serial, body), false, 64).is_err());
}
