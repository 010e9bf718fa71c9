//! Kernels as text, with their expected results.

use super::{EvaluateError, KernelMemory, Span, Turn, evaluate};
use crate::kernel::Kernel;

fn floats(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

fn integers(numbers: &[i32]) -> Vec<u32> {
    numbers.iter().map(|number| number.cast_unsigned()).collect()
}

/// Runs the chunks of all threads in turn; returns the contents of the last buffer.
#[track_caller]
fn run(text: &str, buffers: Vec<Vec<u32>>, batch: usize, threads: usize) -> Vec<u32> {
    let kernel: Kernel = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
    let last = buffers.len() - 1;
    let mut memory = KernelMemory::of(buffers);
    for thread in 0..threads {
        evaluate(&kernel, &mut memory, Turn::chunk(&kernel, &[batch], thread, threads)).unwrap();
    }
    memory.words(last).unwrap().to_vec()
}

/// A kernel with one map.
fn map(header: &str, body: &str) -> String {
    format!("kernel k {{ variables 0 serial {{ map {header} {{ {body} }} }} }}")
}

#[test]
fn tiles_multiply_finish_and_pool() {
    // Rows 1 2, 3 4 | 5 6, 7 8 in runs of two, columns 1 0, 0 1.
    let tile = |form: &str, column: usize, steps: &str| {
        format!(
            "kernel k {{ variables 0 serial {{ tile 4x2 {form} {{
                b2[1] row 2 = b0[0] row 2 in runs of 2 by 5 * b1[0] column {column}
                over given 2 by (1, {}) {steps} }} }} }}",
            if column == 1 { 2 } else { 1 }
        )
    };
    let left = floats(&[1.0, 2.0, 3.0, 4.0, -9.0, 5.0, 6.0, 7.0, 8.0]);
    let operands = floats(&[1.0, 0.0, 0.0, 1.0]);
    let buffers = || vec![left.clone(), operands.clone(), floats(&[9.0; 9])];
    let plain = floats(&[9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    for (form, column) in [("outer_product", 1), ("inner_product", 2)] {
        assert_eq!(run(&tile(form, column, ""), buffers(), 1, 1), plain);
    }
    let stored = tile("inner_product", 2, "").replace("row 2 = b0", "row 2 += b0");
    assert_eq!(run(&stored, buffers(), 1, 1), floats(&[9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0]));
    let steps = "add b0[0] per row add b1[0] per column add b0[0] row 1 multiply by b0[1] negate relu";
    // 1 + 1 + 1 + 1 and so on are above zero, twice that below.
    assert_eq!(run(&tile("inner_product", 2, steps), buffers(), 1, 1)[1..], floats(&[0.0; 8])[..]);
    let steps = steps.replace("relu", "");
    let added = |row: usize, column: usize| {
        let left = [1.0, 2.0, 3.0, 4.0, -9.0];
        let sums = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]];
        -2.0 * (sums[row][column] + left[row] + [1.0, 0.0][column] + left[row + column])
    };
    let expected: Vec<f32> = (0..8).map(|at| added(at / 2, at % 2)).collect();
    assert_eq!(run(&tile("inner_product", 2, &steps), buffers(), 1, 1)[1..], floats(&expected)[..]);
    // Two lines of two pixels: windows of two by one, and of one by two.
    let pooled = |steps: &str| run(&tile("inner_product", 2, steps), buffers(), 1, 1)[..5].to_vec();
    assert_eq!(pooled("max pool 2x1"), floats(&[9.0, 5.0, 6.0, 7.0, 8.0]));
    assert_eq!(pooled("mean pool 1x2"), floats(&[9.0, 2.0, 3.0, 6.0, 7.0]));
    assert_eq!(pooled("negate max pool 2x2"), floats(&[9.0, -1.0, -2.0, 9.0, 9.0]));
}

/// The sum of a large number, many small ones and its opposite.
#[test]
fn sums_are_rounded_once() {
    let numbers = floats(&[1e8, 1.0, 1.0, 1.0, -1e8, 0.5]);
    let sum = map(
        "6 lanes",
        "e0 = load f32 b0[0] by 1 r0 = sum of e0 over lanes e1 = r0 store f32 b1[0] by 0 = e1",
    );
    assert_eq!(run(&sum, vec![numbers.clone(), vec![0]], 1, 1), floats(&[3.5]));
    let product = "kernel k { variables 0 serial { tile 1x1 inner_product {
        b2[0] row 1 = b0[0] row 6 * b1[0] column 6 over 6 by (1, 1) } } }";
    assert_eq!(run(product, vec![numbers, floats(&[1.0; 6]), vec![0]], 1, 1), floats(&[3.5]));
}

#[test]
fn windows_keep_places_and_numbers_that_are_none() {
    let nan = f32::NAN;
    let body = "e0 = load f32 b0[0] by 1 window [4, 1] e1 = window index
        r0 = max with argmax of e0 over window r1 = max of e0 over window r2 = sum of e0 over window
        e2 = argmax of r0 e3 = r1 e4 = r2
        store i32 b1[0] by 1 = e2 store f32 b1[3] by 1 = e3 store f32 b1[6] by 1 = e4";
    let image = floats(&[1.0, 5.0, -0.0, 0.0, 5.0, 2.0, nan, -1.0]);
    let found = run(&map("3 lanes window 2, 2", body), vec![image, vec![0; 9]], 1, 1);
    assert_eq!(found[..3], integers(&[1, 3, 2]));
    assert_eq!(found[3], 5f32.to_bits());
    assert!(found[4..6].iter().all(|&word| f32::from_bits(word).is_nan()));
    assert_eq!(found[6], 13f32.to_bits());
    // A window without steps (as for no samples) leaves the reducers' initial values.
    let none = "e0 = 1.0 r0 = max of e0 over window r1 = sum of e0 over window e1 = r0 e2 = r1
        store f32 b0[0] by 1 = e1 store f32 b0[1] by 1 = e2";
    assert_eq!(
        run(&map("1 lanes window 0", none), vec![vec![9, 9]], 1, 1),
        floats(&[f32::NEG_INFINITY, 0.0])
    );
}

#[test]
fn integers_and_bytes_are_exact() {
    let body = "e0 = load i32 b0[0] by 1 e1 = index 2147483647 by 2 e2 = e0 + e1 (integers)
        e3 = e2 ^ e0 e4 = -16 e5 = e3 & e4 e6 = e5 rotated left 28 e7 = lane mod 3
        e8 = e7 == e0 e9 = e4 below e0 e10 = e8 ? e6 : e7 e11 = e9 ? e10 : e1
        store i32 b1[0] by 1 = e11";
    let input = [0, 1, 2, -1, 1, 7];
    let expected: Vec<i32> = (0..6)
        .map(|lane: i32| {
            let (x, index) = (input[lane as usize], i32::MAX.wrapping_add(2 * lane));
            let turned = ((index.wrapping_add(x) ^ x) & -16).rotate_left(28);
            let chosen = if lane % 3 == x { turned } else { lane % 3 };
            if (-16i32).cast_unsigned() < x.cast_unsigned() { chosen } else { index }
        })
        .collect();
    assert_eq!(run(&map("6 lanes", body), vec![integers(&input), vec![0; 6]], 1, 1), integers(&expected));
    // Each byte is doubled and stored after the one that stays.
    let bytes = "e0 = load u8 b0[2] by 1 e1 = e0 + e0 (integers) store u8 b1[1] by 2 = e1";
    let found = run(&map("4 lanes", bytes), vec![vec![0x8182_0304, 0x0000_0605], vec![u32::MAX; 2]], 1, 1);
    assert_eq!(found, [0x02ff_04ff, 0x0cff_0aff]);
    let repeated = "e0 = load i32 b0[0] by 1 repeated 2 store i32 b1[0] by 1 = e0";
    assert_eq!(run(&map("4 lanes", repeated), vec![vec![5, 6], vec![0; 4]], 1, 1), [5, 5, 6, 6]);
}

#[test]
fn floats_are_those_of_the_operators() {
    let body = "e0 = load f32 b0[0] by 1 e1 = 0.5 e2 = e0 < e1 e3 = e0 <= e1 e4 = larger of e1 and e0
        e5 = e2 ? e0 : e4 e6 = e3 ? e5 : e1 e7 = N e8 = e6 - e7 e9 = e8 * e1 e10 = e9 / e7
        e11 = position 3 e12 = e11 + e11 (integers) store f32 b1[0] by 1 += e10";
    let input = [0.5f32, -0.0, 3.0, f32::NAN];
    let found = run(&map("4 lanes", body), vec![floats(&input), floats(&[1.0; 4])], 4, 1);
    let expected: Vec<f32> = input
        .iter()
        .map(|&x| {
            let larger = if x > 0.5 || x.is_nan() { x } else { 0.5 };
            let chosen = if x < 0.5 { x } else { larger };
            1.0 + ((if x <= 0.5 { chosen } else { 0.5 }) - 4.0) * 0.5 / 4.0
        })
        .collect();
    assert_eq!(found, floats(&expected));
    for (function, x, y) in [
        ("relu", -1.0, 0.0),
        ("relu", -0.0, -0.0),
        ("sigmoid", 0.0, 0.5),
        ("tanh", -0.0, -0.0),
        ("exp", 0.0, 1.0),
        ("log", 1.0, 0.0),
        ("sqrt", 6.25, 2.5),
        ("rsqrt", 4.0, 0.5),
        ("negate", 0.0, -0.0),
        ("square", -3.0, 9.0),
    ] {
        let body = format!("e0 = load f32 b0[0] by 0 e1 = {function} e0 store f32 b1[0] by 1 = e1");
        assert_eq!(
            run(&map("1 lanes", &body), vec![floats(&[x]), vec![0]], 1, 1),
            floats(&[y]),
            "{function}"
        );
    }
}

/// Every unit is computed once for any number of threads, and each thread runs the setup before its chunk.
#[test]
fn threads_share_the_work() {
    let axes = "kernel k { variables 4, thread i3
        each thread { map 1 lanes { e0 = position i3 + 1 store i32 b0[i3] by 1 = e0 } }
        parallel i0 in 0..N, i1 in 0..3 { for i2 in 0..2 {
            map 1 lanes { e0 = 1.0 store f32 b1[i0*6 + i1*2 + i2] by 1 += e0 } } } }";
    let lanes = "kernel k { variables 1 parallel elements i0 of N*6 {
        map chunk lanes { e0 = 1.0 store f32 b1[i0] by 1 += e0 } } }";
    let blocks = "kernel k { variables 1 serial {
        for i0 in 0..floor(N, 4) by 4 { map 24 lanes { e0 = 1.0 store f32 b1[i0*6] by 1 += e0 } }
        for i0 in floor(N, 4)..N { map 6 lanes { e0 = 1.0 store f32 b1[i0*6] by 1 += e0 } } } }";
    let items = "kernel k { variables 2 parallel elements i0 of N*6 {
        for i1 in 0..floor(chunk, 4) by 4 { map 4 lanes { e0 = 1.0 store f32 b1[i0 + i1] by 1 += e0 } }
        for i1 in floor(chunk, 4)..chunk { map 1 lanes { e0 = 1.0 store f32 b1[i0 + i1] by 1 += e0 } } } }";
    for (text, has_setup) in [(axes, true), (lanes, false), (blocks, false), (items, false)] {
        let kernel: Kernel = text.parse().unwrap();
        for (batch, threads) in [(1, 1), (1, 4), (5, 1), (5, 3), (7, 8)] {
            let mut memory = KernelMemory::of(vec![vec![0; threads], vec![0; 6 * batch]]);
            for thread in (0..threads).rev() {
                evaluate(&kernel, &mut memory, Turn::chunk(&kernel, &[batch], thread, threads)).unwrap();
            }
            assert_eq!(memory.words(1).unwrap(), floats(&vec![1.0; 6 * batch]), "{text} {batch} {threads}");
            let numbers: Vec<u32> = (1..=threads as u32).collect();
            assert_eq!(memory.words(0).unwrap() == numbers, has_setup);
        }
    }
    // The number of units saturates.
    let many: Kernel =
        "kernel k { variables 2 parallel i0 in 0..4294967296, i1 in 0..N*4294967296 { } }".parse().unwrap();
    assert_eq!(Turn::chunk(&many, &[2], 0, 0), Turn { values: &[2], thread: 0, first: 0, last: usize::MAX });
    // Some units of one thread.
    let kernel: Kernel = axes.parse().unwrap();
    let mut memory = KernelMemory::of(vec![vec![0; 1], vec![0; 12]]);
    evaluate(&kernel, &mut memory, Turn { values: &[2], thread: 0, first: 2, last: 4 }).unwrap();
    let mut expected = [0.0; 12];
    expected[4..8].fill(1.0);
    assert_eq!(memory.words(1).unwrap(), floats(&expected));
}

#[test]
fn what_lies_outside_is_an_error() {
    let whole = Turn { values: &[1], thread: 0, first: 0, last: 1 };
    let error = |body: &str, memory: &mut KernelMemory| {
        let kernel: Kernel = format!("kernel k {{ variables 0 serial {{ {body} }} }}").parse().unwrap();
        evaluate(&kernel, memory, whole).unwrap_err()
    };
    let copy = |from: &str, to: &str| {
        format!("map 3 lanes {{ e0 = load f32 {from} by 1 store f32 {to} by 1 = e0 }}")
    };
    let mut memory = KernelMemory::of(vec![vec![0; 4], vec![0; 4]]);
    for (from, to, message) in [
        ("b0[2]", "b1[0]", "kernel k: element 4 of b0 is read, which has 4"),
        ("b0[0]", "b1[2]", "kernel k: element 4 of b1 is written, which has 4"),
        ("b0[-1]", "b1[0]", "kernel k: element -1 of b0 is read, which has 4"),
        ("b7[0]", "b1[0]", "kernel k: b7 is read but has no memory here"),
        (
            "b0[9223372036854775807]",
            "b1[0]",
            "kernel k: element 9223372036854775807 of b0 is read, which has 4",
        ),
    ] {
        assert_eq!(error(&copy(from, to), &mut memory).to_string(), message);
    }
    let bytes = "map 17 lanes { e0 = load u8 b0[0] by 1 store i32 b1[0] by 1 = e0 }";
    let found = error(bytes, &mut KernelMemory::of(vec![vec![0; 4], vec![0; 20]]));
    assert_eq!(found.to_string(), "kernel k: element 16 of b0 is read, which has 16");
    let tile = "tile 1x1 inner_product { b1[0] row 1 = b0[0] row 1 * b0[0] column 1 over 9223372036854775807 by (1, 1) }";
    assert!(matches!(error(tile, &mut memory), EvaluateError::OutOfBounds { index: 4, buffer: 0, .. }));
    let rows =
        "tile 3x1 inner_product { b1[0] row 1 = b0[0] row 1 in runs of 1 by 18446744073709551615 * b0[0] column 1
        over 1 by (1, 1) }";
    assert!(matches!(error(rows, &mut memory), EvaluateError::OutOfBounds { index: i64::MAX, .. }));
    // A read-only buffer, and one that claims more words than exist.
    let span = |area, words, writable| Some(Span { area, first: 1, words, writable });
    let mut parts = KernelMemory {
        areas: vec![vec![0; 5], vec![0; 5]],
        spans: vec![span(0, 3, false), span(1, 9, true)],
    };
    assert_eq!(
        error(&copy("b1[0]", "b0[0]"), &mut parts).to_string(),
        "kernel k: b0 is written but may only be read here"
    );
    assert!(matches!(
        error(&copy("b0[0]", "b1[3]"), &mut parts),
        EvaluateError::OutOfBounds { index: 4, .. }
    ));
    let broken = Kernel {
        variables: 0,
        ..crate::kernel::Kernel::clone(&"kernel k { variables 1 parallel i0 in 0..4 { } }".parse().unwrap())
    };
    assert!(matches!(evaluate(&broken, &mut memory, whole), Err(EvaluateError::Invalid { .. })));
}

#[test]
fn lookups_run_one_of_two_branches() {
    let text = "kernel k { variables 2 serial { for i0 in 0..4 { let i1 = b0[i0] below 3 {
        map 1 lanes { e0 = load f32 b1[i1] by 1 store f32 b2[i0] by 1 = e0 } } else {
        map 1 lanes { e0 = -1.0 store f32 b2[i0] by 1 = e0 } } } } }";
    let table = floats(&[5.0, 6.0, 7.0]);
    let buffers = vec![integers(&[2, 0, 3, -1]), table, vec![0; 4]];
    assert_eq!(run(text, buffers, 1, 1), floats(&[7.0, 5.0, -1.0, -1.0]));
}
