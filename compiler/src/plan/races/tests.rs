//! Kernels whose threads do or do not conflict.

use std::collections::HashMap;

use super::verify;
use crate::kernel::{Element, Kernel, KernelMemory, SizeId, Turn, Units, evaluate};
use crate::plan::{Buffer, Location, OpenSizes, Size};

/// Checks a kernel for four threads; `b9` is scratch.
fn check(text: &str) -> Result<(), String> {
    // s1 = T, s2 = N*T.
    let graph = "graph net {\n%0 = input {name = \"x\", type = \"f32[N, T, 2]\"}\noutput \"y\" = %0\n}";
    let sizes = OpenSizes::of(&graph.parse().unwrap());
    let kernel: Kernel = text.parse().unwrap();
    let buffer = |place| Buffer {
        name: "x".to_owned(),
        size: Size { open: Some(SizeId::BATCH), elements: 1 << 20 },
        element: Element::F32,
        location: place,
    };
    let mut buffers: Vec<Buffer> = (0..9).map(|_| buffer(Location::Nowhere)).collect();
    buffers.push(buffer(Location::Scratch(0)));
    assert_eq!(verify(&kernel, &buffers, &sizes, 1), Ok(()), "a single thread conflicts nobody");
    verify(&kernel, &buffers, &sizes, 4)
}

#[track_caller]
fn apart(text: &str) {
    assert_eq!(check(text), Ok(()), "{text}");
}

#[track_caller]
fn conflict(text: &str, reason: &str) {
    let error = check(text).expect_err(text);
    assert!(error.starts_with("kernel k: one thread ") && error.contains(reason), "{error}\n{text}");
}

/// A kernel that fills elements of `b0` for each unit of some axes.
fn filled(axes: &str, body: &str) -> String {
    format!("kernel k {{ variables 8 parallel {axes} {{ {body} }} }}")
}

/// A statement that fills some elements.
fn fill(lanes: usize, address: &str) -> String {
    format!("map {lanes} lanes {{ e0 = 0.0 store f32 {address} by 1 = e0 }}")
}

#[test]
fn blocks_side_by_side_are_apart() {
    apart(&filled("i0 in 0..N", &fill(16, "b0[i0*16]")));
    conflict(
        &filled("i0 in 0..N", &fill(17, "b0[i0*16]")),
        "writes and another writes the same elements of b0 (x)",
    );
    conflict(&filled("i0 in 0..N", &fill(16, "b0[0]")), "writes and another writes");
    // One unit runs on one thread.
    apart(&filled("i0 in 0..1", &fill(16, "b0[0]")));
    // The address does not depend on the axis along which threads may differ.
    conflict(&filled("i0 in 0..N, i1 in 0..2", &fill(16, "b0[i0*16]")), "writes and another writes");
    conflict(&filled("i1 in 0..2, i0 in 0..N", &fill(8, "b0[i0*16]")), "writes and another writes");
}

#[test]
fn strides_nest_in_any_order() {
    apart(&filled("i0 in 0..N, i1 in 0..4", &fill(8, "b0[i0*32 + i1*8]")));
    apart(&filled("i1 in 0..4, i0 in 0..N", &fill(8, "b0[i0*32 + i1*8]")));
    conflict(&filled("i0 in 0..N, i1 in 0..5", &fill(8, "b0[i0*32 + i1*8]")), "writes and another writes");
    // Channels first: a unit's elements lie between those of other units.
    let planes = |rows: usize| {
        let rows = format!("for i2 in 0..3 {{ {} }}", fill(rows, "b0[i0*84 + i2*28 + i1*7]"));
        filled("i0 in 0..N, i1 in 0..4", &rows)
    };
    apart(&planes(7));
    conflict(&planes(8), "writes and another writes");
    // Every second element, and the elements between them.
    let strided = "map 8 lanes { e0 = 0.0 store f32 b0[i0*16 + i1] by 2 = e0 }";
    apart(&filled("i0 in 0..N, i1 in 0..2", strided));
    conflict(&filled("i0 in 0..N, i1 in 0..3", strided), "writes and another writes");
    // The batch is innermost: the strides do not nest for every batch size.
    conflict(&filled("i0 in 0..N, i1 in 0..4", &fill(1, "b0[i0 + i1*1000]")), "writes and another writes");
}

#[test]
fn loops_over_items_within_a_unit_are_no_axes() {
    // Blocks of outputs, which each thread computes for all items, eight items or one per tile.
    let products = |columns: usize| {
        let tile = |rows: usize, item: &str| {
            format!(
                "tile {rows}x{columns} inner_product {{ b0[i0*4 + {item}*12] row 12 = b1[{item}*20] row 20 * b2[i0*80] column 20
                 over 20 by (1, 1) }}"
            )
        };
        let (eight, one) = (tile(8, "i1"), tile(1, "i2"));
        filled(
            "i0 in 0..3",
            &format!("for i1 in 0..floor(N, 8) by 8 {{ {eight} }} for i2 in floor(N, 8)..N {{ {one} }}"),
        )
    };
    apart(&products(4));
    conflict(&products(5), "writes and another writes");
}

#[test]
fn branches_bound_units_and_sums() {
    let blocks = |size: usize, start: usize| {
        let (full, tail) = (fill(16, "b0[i0*16]"), fill(size, &format!("b0[{start}]")));
        filled("i0 in 0..4", &format!("if i0 < 3 {{ {full} }} else {{ {tail} }}"))
    };
    apart(&blocks(5, 48));
    conflict(&blocks(6, 47), "writes and another writes");
    // Rows of blocks beyond the end of an item are skipped.
    let rows = |bound: usize| {
        let row = fill(10, "b0[i0*70 + i1*40 + i2*10]");
        let row = format!("for i2 in 0..4 {{ if i1*4 + i2 < {bound} {{ {row} }} }}");
        filled("i0 in 0..N, i1 in 0..2", &row)
    };
    apart(&rows(7));
    conflict(&rows(8), "writes and another writes");
    // Variables that occur twice.
    let twice = |bound: usize| {
        let row = fill(10, "b0[i0*60 + i1*40 + i2*20]");
        let row = format!("for i2 in 0..2 {{ if i1*2 + i2 + i1*2 + i2 < {bound} {{ {row} }} }}");
        filled("i0 in 0..N, i1 in 0..2", &row)
    };
    apart(&twice(5));
    conflict(&twice(8), "writes and another writes");
    // A branch that is never taken has no conflicts.
    let never = format!("if i0 < 0 {{ {} }}", fill(16, "b0[0]"));
    apart(&filled("i0 in 0..N", &never));
    // Counts down.
    let down = format!("if i0*-1 + 2 < 1 {{ }} else {{ {} }}", fill(16, "b0[i0*8]"));
    conflict(&filled("i0 in 0..4", &down), "writes and another writes");
    let down = format!("if i0*-1 + 1 < 1 {{ }} else {{ {} }}", fill(16, "b0[i0*8]"));
    apart(&filled("i0 in 0..4", &down));
}

#[test]
fn what_is_written_is_read_by_its_thread_alone() {
    let copy = |from: &str, to: &str| {
        filled(
            "i0 in 0..N",
            &format!("map 16 lanes {{ e0 = load f32 {from} by 1 store f32 {to} by 1 = e0 }}"),
        )
    };
    apart(&copy("b0[i0*16]", "b0[i0*16]"));
    apart(&copy("b0[3]", "b1[i0*16]"));
    conflict(&copy("b0[i0*16 + 1]", "b0[i0*16]"), "reads and another writes");
    conflict(&copy("b0[3]", "b0[i0*16]"), "reads and another writes");
    // The halves of an item.
    apart(&copy("b0[i0*32 + 16]", "b0[i0*32]"));
    // A window, and its addend.
    let window =
        "map 4 lanes window 3 { e0 = load f32 b0[i0*4] by 1 window [1] r0 = sum of e0 over window e1 = r0
        store f32 b0[i0*4] by 1 = e1 }";
    conflict(&filled("i0 in 0..N", window), "reads and another writes");
    let sum = "map 4 lanes { e0 = 1.0 r0 = sum of e0 over lanes e1 = r0 store f32 b0[0] by 0 += e1 }";
    conflict(&filled("i0 in 0..N", sum), "the same elements of b0");
}

#[test]
fn tiles_keep_to_their_rows_and_columns() {
    let tile = |output: &str, right: &str, rest: &str| {
        filled(
            "i0 in 0..N",
            &format!(
                "tile 4x8 outer_product {{ {output} row 8 = b1[0] row 3 * {right} column 1
                 over 3 by (1, 8) {rest} }}"
            ),
        )
    };
    apart(&tile("b0[i0*32]", "b2[i0*24]", "add b0[i0*32] row 8"));
    conflict(&tile("b0[i0*31]", "b2[0]", ""), "writes and another writes");
    conflict(&tile("b0[i0*32]", "b2[0]", "add b0[i0*32] row 9"), "writes and another reads");
    conflict(&tile("b0[i0*32]", "b0[i0*24]", ""), "reads and another writes");
    // With a pool, it stores half as many rows.
    apart(&tile("b0[i0*16]", "b2[0]", "max pool 2x1"));
}

#[test]
fn elements_of_a_share_are_their_threads_own() {
    let lanes = |body: &str| format!("kernel k {{ variables 4 parallel elements i0 of N*6 {{ {body} }} }}");
    let copy = |from: &str, by: usize, to: &str| {
        lanes(&format!("map chunk lanes {{ e0 = load f32 {from} by {by} store f32 {to} by 1 = e0 }}"))
    };
    apart(&copy("b0[i0]", 1, "b0[i0]"));
    apart(&copy("b0[i0 + 8]", 1, "b1[i0 + 3]"));
    apart(&copy("b1[2]", 0, "b0[i0]"));
    conflict(&copy("b0[i0 + 1]", 1, "b0[i0]"), "reads and another writes");
    conflict(&copy("b0[2]", 0, "b0[i0]"), "reads and another writes");
    // Every thread writes elements from the start.
    conflict(&copy("b1[i0]", 1, "b0[0]"), "writes and another writes");
    apart(&lanes("for i1 in 0..chunk { map 4 lanes { e0 = 0.0 store f32 b0[i0*4 + i1*4] by 1 = e0 } }"));
    conflict(
        &lanes("for i1 in 0..chunk { map 5 lanes { e0 = 0.0 store f32 b0[i0*4 + i1*4] by 1 = e0 } }"),
        "writes and another writes",
    );
    conflict(&lanes(&fill(6, "b0[i0]")), "writes and another writes");
    // One sum for all threads.
    let sum = "map chunk lanes { e0 = load f32 b1[i0] by 1 r0 = sum of e0 over lanes e1 = r0 store f32 b0[0] by 0 = e1 }";
    conflict(&lanes(sum), "writes and another writes");
}

/// Tiles of several items of a thread's chunk.
#[test]
fn items_of_a_share_are_their_threads_own() {
    let tiles = |ends: [&str; 2], rows: usize, item: usize| {
        let tile = format!(
            "tile {rows}x8 outer_product {{ b0[i0*{item} + i1*{item} + i2*8] row {item} = b1[0] row 3 * b2[0] column 1
             over 3 by (1, 8) }}"
        );
        let [start, end] = ends;
        format!(
            "kernel k {{ variables 3 parallel elements i0 of N {{
             for i2 in 0..2 {{ for i1 in {start}..{end} by 4 {{ {tile} }} }} }} }}"
        )
    };
    apart(&tiles(["0", "floor(chunk, 4)"], 4, 16));
    apart(&tiles(["floor(chunk, 8)", "floor(chunk, 4)"], 4, 16));
    // Tiles reach beyond the chunk, or into the next item's columns.
    conflict(&tiles(["0", "floor(chunk, 4)"], 5, 16), "writes and another writes");
    conflict(&tiles(["0", "floor(chunk, 6)"], 4, 16), "writes and another writes");
    conflict(&tiles(["0", "chunk"], 4, 16), "writes and another writes");
    conflict(&tiles(["0", "floor(chunk, 4)"], 4, 15), "writes and another writes");
}

#[test]
fn results_of_each_thread_are_its_own() {
    let sums = |setup: &str, body: &str| {
        let (setup, body) = (fill(12, setup), fill(12, body));
        format!(
            "kernel k {{ variables 2, thread i1 each thread {{ {setup} }} parallel i0 in 0..N {{ {body} }} }}"
        )
    };
    apart(&sums("b0[i1*12]", "b0[i1*12]"));
    apart(&sums("b9[0]", "b9[0]"));
    conflict(&sums("b0[0]", "b1[i0*12]"), "writes and another writes");
    conflict(&sums("b1[i1*11]", "b0[i1*12]"), "writes and another writes");
    // A thread may run its setup after another has run a part of its chunk.
    conflict(&sums("b0[i1*12]", "b0[i0*12]"), "writes and another writes");
    let serial = |setup: &str| {
        format!(
            "kernel k {{ variables 0 each thread {{ {} }} serial {{ {} }} }}",
            fill(4, setup),
            fill(4, "b0[0]")
        )
    };
    apart(&serial("b9[0]"));
    conflict(&serial("b0[2]"), "writes and another writes");
}

/// Strides that are open sizes.
#[test]
fn rows_of_open_lengths_are_apart() {
    let fill = |lanes: &str, address: &str| {
        format!("map {lanes} lanes {{ e0 = 0.0 store f32 {address} by 1 = e0 }}")
    };
    apart(&filled("i0 in 0..N", &fill("s1", "b0[i0*s1]")));
    apart(&filled("i0 in 0..N, i1 in 0..3", &fill("s1", "b0[i0*s1*3 + i1*s1 + 5]")));
    apart(&filled("i0 in 0..N, i1 in 0..s1", &fill("4", "b0[i0*s1*4 + i1*4]")));
    apart(&filled("i0 in 0..N, i1 in 0..s1", &fill("4", "b0[i0*s1*6 + i1*6 + s1]")));
    conflict(&filled("i0 in 0..N", &fill("s1*2", "b0[i0*s1]")), "writes and another writes");
    conflict(
        &filled("i0 in 0..N, i1 in 0..3", &fill("s1", "b0[i0*s1*2 + i1*s1]")),
        "writes and another writes",
    );
    conflict(
        &filled("i0 in 0..N, i1 in 0..s1", &fill("4", "b0[i0*s1*4 + i1*3]")),
        "writes and another writes",
    );
    conflict(&filled("i0 in 0..N", &fill("s1", "b0[i0*3]")), "writes and another writes");
    let two = format!("{} {}", fill("s1", "b0[i0*s1*2]"), fill("s1", "b0[i0*s1*2 + s1]"));
    apart(&filled("i0 in 0..N", &two));
    let two = format!("{} {}", fill("s1", "b0[i0*s1*2]"), fill("2", "b0[i0*s1*2 + s1*2]"));
    conflict(&filled("i0 in 0..N", &two), "writes and another writes");
}

/// Blocks of four pixels of sequences of open length, then the pixels left over, with three elements each; and a halo.
#[test]
fn blocks_of_rows_of_open_lengths_are_apart() {
    let blocks = |lanes: usize, left: usize| {
        format!(
            "for i1 in 0..floor(s1, 4) by 4 {{ map {lanes} lanes {{ e0 = 0.0 store f32 b0[i0*s1*3 + i1*3] by 1 = e0 }} }}
             for i1 in floor(s1, 4)..s1 {{ map {left} lanes {{ e0 = 0.0 store f32 b0[i0*s1*3 + i1*3] by 1 = e0 }} }}"
        )
    };
    apart(&filled("i0 in 0..N", &blocks(12, 3)));
    conflict(&filled("i0 in 0..N", &blocks(13, 3)), "writes and another writes");
    conflict(&filled("i0 in 0..N", &blocks(12, 4)), "writes and another writes");
    let ends = |last: &str| {
        format!(
            "map 1 lanes {{ e0 = 0.0 store f32 b0[i0*s1 + i0*4] by 1 = e0 }}
             map 1 lanes {{ e0 = 0.0 store f32 b0[i0*s1 + i0*4 + {last}] by 1 = e0 }}"
        )
    };
    apart(&filled("i0 in 0..N", &ends("s1 + 3")));
    conflict(&filled("i0 in 0..N", &ends("s1 + 4")), "writes and another writes");
}

/// Elements of four bytes and of one byte have different indices.
#[test]
fn bytes_are_not_compared_with_words() {
    let mixed = "map 4 lanes { e0 = load u8 b0[i0*16] by 1 store i32 b0[i0*4] by 1 = e0 }";
    conflict(&filled("i0 in 0..N", mixed), "reads and another writes");
    let bytes = "map 4 lanes { e0 = load u8 b0[i0*4] by 1 store u8 b0[i0*4] by 1 = e0 }";
    apart(&filled("i0 in 0..N", bytes));
}

/// The elements of `b0` that a unit writes, in a kernel that fills them with ones.
fn written(kernel: &Kernel, batch: usize, unit: usize) -> Vec<usize> {
    let mut memory = KernelMemory::of(vec![vec![0; 2048]]);
    let turn = Turn { values: &[batch], thread: 0, first: unit, last: unit + 1 };
    evaluate(kernel, &mut memory, turn).unwrap();
    let words = memory.words(0).unwrap().iter().enumerate();
    words.filter(|(_, word)| **word != 0).map(|(element, _)| element).collect()
}

/// Whether two units of a kernel write the same element, found by running them.
fn do_conflict(kernel: &Kernel) -> bool {
    (1..4).any(|batch| {
        let (_, units) = Units::of(kernel).chunk(&[batch], 0, 1);
        let mut owners = HashMap::new();
        (0..units).any(|unit| {
            written(kernel, batch, unit)
                .into_iter()
                .any(|element| *owners.entry(element).or_insert(unit) != unit)
        })
    })
}

/// Random loop nests: none that conflicts is reported as apart. Many of those that do not conflict with few items are
/// reported as apart; the others would conflict with more items, or are apart for a reason that nested loops do not
/// have.
#[test]
fn what_is_said_to_be_apart_does_not_meet() {
    let mut random = fastrand::Rng::with_seed(5);
    let (mut apart, mut proven) = (0, 0);
    for _ in 0..4000 {
        let mut number = |of: &[usize]| of[random.usize(..of.len())];
        let strides = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 96];
        let mut sum = |vars: &[usize]| {
            let terms: Vec<String> = vars.iter().map(|var| format!("i{var}*{}", number(&strides))).collect();
            terms.join(" + ")
        };
        let (first, second, fact) = (sum(&[0, 1, 2, 3]), sum(&[0, 1, 2]), sum(&[0, 1, 2]));
        let fill = |lanes: usize, by: usize, address: &str| {
            format!("map {lanes} lanes {{ e0 = 1.0 store f32 b0[{address}] by {by} = e0 }}")
        };
        let one = fill(
            number(&[1, 2, 3, 4, 8]),
            number(&[1, 1, 2]),
            &format!("{first} + {}", number(&[0, 0, 1, 4])),
        );
        let other = match number(&[0, 1]) {
            0 => String::new(),
            _ => fill(number(&[1, 2, 4]), 1, &format!("{first} + {}", number(&[1, 2, 4, 48]))),
        };
        let rest = match number(&[0, 1, 2]) {
            0 => fill(1, 1, &second),
            _ => String::new(),
        };
        let bound = number(&[1, 3, 8, 20, 1000]);
        let text = filled(
            &format!("i0 in 0..{}, i1 in 0..{}", ["N", "2", "3"][number(&[0, 1, 2])], number(&[1, 2, 4])),
            &format!(
                "for i2 in 0..{} by {} {{ for i3 in 0..2 {{ if {fact} < {bound} {{ {one} {other} }} else {{ {rest} }} }} }}",
                number(&[1, 3, 4]),
                number(&[1, 1, 2])
            ),
        );
        let conflicts = do_conflict(&text.parse().unwrap());
        let said = check(&text);
        assert!(!conflicts || said.is_err(), "{text}");
        apart += usize::from(!conflicts);
        proven += usize::from(said.is_ok());
    }
    assert!(apart < 3000 && 4 * proven > apart, "{proven} of {apart} proven");
}

/// Gathers and scatters: any thread may find any index.
#[test]
fn looked_up_rows_are_apart_only_by_their_columns() {
    let looked_up =
        |lanes: usize, address: &str| format!("let i3 = b1[i0] below 10 {{ {} }}", fill(lanes, address));
    conflict(&filled("i0 in 0..N", &looked_up(4, "b0[i3*8]")), "writes and another writes");
    // Each thread adds to its own columns of every row.
    let columns = |lanes| {
        let each = looked_up(lanes, "b0[i3*8 + i1*4]");
        filled("i1 in 0..2", &format!("for i0 in 0..N {{ {each} }}"))
    };
    apart(&columns(4));
    conflict(&columns(5), "writes and another writes");
    // A result that depends on the position, not on the index.
    apart(&filled("i0 in 0..N", &looked_up(4, "b0[i0*4]")));
    // Indices that another thread writes.
    let written = "let i3 = b0[0] below 10 { } map 1 lanes { e0 = 0.0 store f32 b0[i0] by 1 = e0 }";
    conflict(&filled("i0 in 0..N", written), "reads and another writes");
}
