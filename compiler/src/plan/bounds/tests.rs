use super::verify;
use crate::kernel::{
    Address, Affine, BufferId, Element, Extent, Kernel, MapBuilder, SizeId, Split, Stmt, Var,
};
use crate::plan::{BlockedRange, Buffer, Location, OpenSizes, Size, copy_span, fill};

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

fn sizes() -> OpenSizes {
    let graph = "graph net {\n%0 = input {name = \"x\", type = \"f32[N, T, 2]\"}\noutput \"y\" = %0\n}";
    OpenSizes::of(&graph.parse().unwrap())
}

fn check(kernel: &Kernel, batched: bool, elements: usize) -> Result<(), String> {
    check_size(kernel, Size { open: batched.then_some(SizeId::BATCH), elements })
}

fn check_size(kernel: &Kernel, size: Size) -> Result<(), String> {
    let buffer = Buffer { name: "x".to_owned(), size, element: Element::F32, location: Location::Nowhere };
    verify(kernel, &[buffer], &sizes(), 1)
}

/// A kernel fits a buffer of `elements`, but no smaller one.
#[track_caller]
fn needs(kernel: &Kernel, batched: bool, elements: usize) {
    assert_eq!(check(kernel, batched, elements), Ok(()));
    let error = check(kernel, batched, elements - 1).unwrap_err();
    assert!(error.starts_with("kernel k: a store accesses elements"), "{error}");
}

fn rows(var: Var) -> Address {
    Address::start(X).plus(var, 10)
}

#[test]
fn loops_reach_as_far_as_their_last_step() {
    let [n, row, _] = VARS;
    let body = |end| vec![Stmt::repeat(row, end, vec![fill(rows(row), 4, 0.0)])];
    needs(&kernel(Split::Serial, body(Extent::Fixed(3))), false, 24);
    needs(&kernel(Split::Serial, body(Extent::Open(SizeId::BATCH, 1))), true, 10);
    assert_eq!(check(&kernel(Split::Serial, body(Extent::Fixed(0))), false, 0), Ok(()));
    let items = Split::Axes(vec![(n, Extent::Open(SizeId::BATCH, 1))]);
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
    assert!(from(-1).unwrap_err().contains("accesses elements -1 to 3 of b0 (x), which has 100"));
}

/// Copies of images with halos rely on this.
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
    // Only rows 0 to 6 exist.
    needs(&copy(100), false, 70);
    // The branch is never taken.
    assert_eq!(check(&copy(0), false, 0), Ok(()));
}

/// Panels of `[N, width]` have all rows of four columns each, and the last one of fewer.
#[test]
fn branches_bound_the_factors_of_open_sizes() {
    let [index, row, _] = VARS;
    let rows = Size { open: Some(SizeId::BATCH), elements: 1 };
    let panels = |width| {
        let range = BlockedRange::exact(width, 4);
        let body = range.branch(index, |start, columns| {
            let to = Address::start(X).at_size(start, rows).plus(row, columns);
            vec![Stmt::repeat(row, rows.extent(), vec![fill(to, columns, 0.0)])]
        });
        kernel(Split::Axes(vec![(index, Extent::Fixed(range.blocks()))]), body)
    };
    needs(&panels(10), true, 10);
    needs(&panels(8), true, 8);
}

#[test]
fn lookups_bound_their_index() {
    let [index, ..] = VARS;
    let lookup = |from: Address, bound| {
        let found = vec![fill(rows(index), 4, 0.0)];
        kernel(Split::Serial, vec![Stmt::Lookup { var: index, from, bound, found, rest: Vec::new() }])
    };
    needs(&lookup(Address::start(X), 1), false, 4);
    needs(&lookup(Address::start(X), 3), false, 24);
    let beyond = Address::start(X).offset(24);
    let error = check(&lookup(beyond, 3), false, 24).unwrap_err();
    assert_eq!(error, "kernel k: a lookup accesses elements 24 to 24 of b0 (x), which has 24");
    // The index itself must be there, and so must what the other branch accesses.
    let rest = vec![fill(Address::start(X).offset(30), 1, 0.0)];
    let from = Address::start(X);
    let otherwise = Stmt::Lookup { var: index, from, bound: 3, found: Vec::new(), rest };
    needs(&kernel(Split::Serial, vec![otherwise]), false, 31);
}

#[test]
fn shares_end_where_the_whole_does() {
    let [first, ..] = VARS;
    let span = |offset: usize| {
        let mut map = MapBuilder::new(Extent::Chunk);
        let value = map.constant(0.0);
        map.store(Address::start(X).plus(first, 1).offset(offset), 1, value);
        map.finish()
    };
    for elements in [1, 6] {
        let lanes = |extent| Split::Lanes(first, extent);
        needs(&kernel(lanes(Extent::Open(SizeId::BATCH, elements)), vec![span(0)]), true, elements);
        needs(&kernel(lanes(Extent::Fixed(elements)), vec![span(3)]), false, elements + 3);
    }
}

#[test]
fn blocks_of_a_share_end_with_it() {
    let [first, n, _] = VARS;
    let items = |start, end, step: usize| {
        let body = vec![fill(Address::start(X).plus(first, 5).plus(n, 5), 5 * step, 0.0)];
        let split = Split::Lanes(first, Extent::Open(SizeId::BATCH, 1));
        kernel(split, vec![Stmt::For { var: n, start, end, step, body }])
    };
    needs(&items(Extent::Fixed(0), Extent::ChunkFloor(8), 8), true, 5);
    needs(&items(Extent::ChunkFloor(8), Extent::ChunkFloor(4), 4), true, 5);
    needs(&items(Extent::ChunkFloor(4), Extent::Chunk, 1), true, 5);
    // Not multiples of the step.
    assert!(check(&items(Extent::Fixed(0), Extent::ChunkFloor(6), 4), true, 5).is_err());
    assert!(check(&items(Extent::Fixed(0), Extent::Chunk, 4), true, 5).is_err());
}

#[test]
fn blocks_of_a_batch_end_with_it() {
    let [n, ..] = VARS;
    let items = |start, end, step: usize| {
        let body = vec![fill(Address::start(X).plus(n, 5), 5 * step, 0.0)];
        kernel(Split::Serial, vec![Stmt::For { var: n, start, end, step, body }])
    };
    let (eight, four) = (
        Extent::Floor { size: SizeId::BATCH, times: 1, multiple: 8 },
        Extent::Floor { size: SizeId::BATCH, times: 1, multiple: 4 },
    );
    needs(&items(Extent::Fixed(0), eight, 8), true, 5);
    needs(&items(eight, four, 4), true, 5);
    needs(&items(four, Extent::Open(SizeId::BATCH, 1), 1), true, 5);
    // Extents that are not multiples of the step.
    assert!(check(&items(Extent::Fixed(0), Extent::Open(SizeId::BATCH, 1), 4), true, 5).is_err());
}

/// Catches the number of columns that underflowed if padding was wider than all the elements that windows read.
#[test]
fn a_count_that_wrapped_is_found() {
    let count = 1usize.wrapping_sub(2).min(1 << 20);
    let body = vec![copy_span(Address::start(X), 1, Address::start(X), count)];
    assert!(check(&kernel(Split::Serial, body), false, 64).is_err());
}

/// Rows of `[N, T, 2]`, whose stride is an open size.
#[test]
fn open_strides_reach_as_far_as_the_sizes_say() {
    let [n, t, _] = VARS;
    let sizes = sizes();
    let size = |text: &str| sizes.get(&text.parse().unwrap());
    let steps = size("T");
    let rows = |distance: usize, lanes: usize| {
        let mut offset = Affine::from(t).plus(t, 1);
        offset = offset.plus_open(Some(n), steps.open.unwrap(), distance);
        let body =
            vec![Stmt::repeat(t, steps.extent(), vec![fill(Address { buffer: X, offset }, lanes, 0.0)])];
        kernel(Split::Axes(vec![(n, Extent::Open(SizeId::BATCH, 1))]), body)
    };
    let whole = size("N*T*2");
    assert_eq!(check_size(&rows(2, 2), whole), Ok(()));
    let error = check_size(&rows(2, 3), whole).unwrap_err();
    assert_eq!(error, "kernel k: a store accesses elements 0 to 2*N*T of b0 (x), which has 2*N*T");
    assert!(check_size(&rows(3, 2), whole).is_err());
    assert!(check_size(&rows(2, 2), size("T")).is_err());
    assert!(check_size(&rows(2, 2), Size { elements: 1, ..whole }).is_err());
}
