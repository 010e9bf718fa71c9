//! Texts that round-trip, and broken ones with their messages.

use super::{MAX_DEPTH, ParseKernelError};
use crate::kernel::{Expr, Kernel, Rows, Stmt};

/// A kernel that uses the whole syntax.
const EVERYTHING: &str = r#"kernel "a \"b\" c" {
  note "two\nlines; no comment"
  flops "N*12 + 7"
  variables 6, thread i4
  each thread {
    map 12 lanes {
      e0 = -0.0
      store f32 b5[i4*12] by 1 = e0
    }
  }
  parallel i0 in 0..N*2, i1 in 0..3 {
    for i2 in floor(s1*3, 8)..N by 2 {
      if i2 + i0*-3 + i2*s2*-4 + i0*N + s1*2 + -5 < -1 {
        tile 4x8 inner_product {
          b3[i0*32 + 4] row 16 += b1[0] row 9 in runs of 2 by 72 * b0[i1] column 36
          over given N by (9, 36), 3 by (1, 1)
          fetch 64 ahead
          add b2[0] per row
          add b2[i1] per column
          add b3[i0] row 32
          multiply by b4[0]
          negate
          sigmoid
          tanh
        }
      } else {
        tile 4x8 outer_product {
          b3[0] row 8 = b1[0] row 1 * b0[0] column 1
          over 5 by (1, 8)
          relu
          mean pool 2x1
        }
      }
      for i3 in 0..4 {
      }
      if i2 < 4 {
      }
      let i5 = b6[i2 + 1] below 256 {
        map 4 lanes {
          e0 = load f32 b0[i5*4] by 1
          store f32 b3[i0*4] by 1 = e0
        }
      } else {
        for i5 in 0..1 {
        }
      }
      let i5 = b6[0] below 1 {
      }
    }
    map 8 lanes window N, 3 {
      e0 = load f32 b0[i0*36] by 2 window [12, 4]
      e1 = load i32 b6[0] by 0
      e2 = load u8 b7[0] by 1 repeated 4
      e3 = index i0*8 + 1
      e4 = index 0 by 3
      e5 = position i1 + -1
      e6 = lane mod 4
      e7 = window index
      e8 = -7
      e9 = e3 + e4 (integers)
      e10 = e9 & e5
      e11 = e10 ^ e6
      e12 = e11 rotated left 13
      e13 = e12 == e7
      e14 = e1 below e2
      e15 = 1e-7
      e16 = N
      e17 = e0 < e15
      e18 = e0 <= e16
      e19 = e17 ? e0 : e15
      e20 = e18 ? e19 : e15
      e21 = nan
      e22 = nan 0xffc00001
      e23 = -inf
      e24 = larger of e21 and e22
      e25 = e23 / e24
      e26 = rsqrt e25
      e27 = e13 ? e26 : e0
      e28 = e14 ? e27 : e20
      r0 = max with argmax of e28 over window
      r1 = sum of e0 over window
      e29 = r0
      e30 = argmax of r0
      e31 = r1
      e32 = e29 - e31
      e33 = square e32
      e34 = e33 * e32
      store f32 b3[i0] by 1 += e34
      store u8 b7[i0*8] by 1 = e30
      store i32 b6[4] by 2 = e30
    }
  }
}
"#;

#[test]
fn everything_reads_back() {
    let kernel: Kernel = EVERYTHING.parse().unwrap();
    assert_eq!(kernel.to_string(), EVERYTHING);
    assert_eq!(kernel.name, "a \"b\" c");
    assert_eq!(kernel.note, "two\nlines; no comment");
    assert_eq!(kernel.cost.flops.to_string(), "N*12 + 7");
    let mut floats = Vec::new();
    kernel.visit(&mut |stmt| match stmt {
        Stmt::Map(map) => floats.extend(map.exprs.iter().filter_map(|expr| match expr {
            Expr::Constant(value) => Some(value.to_bits()),
            _ => None,
        })),
        Stmt::Tile(call) if call.tile.columns == 8 && call.tile.output_row == 16 => {
            assert_eq!(call.tile.left_rows, Rows { run: 2, stride: 9, run_stride: 72 });
        }
        _ => {}
    });
    let expected = [-0.0f32, 1e-7, f32::NAN, f32::from_bits(0xffc0_0001), f32::NEG_INFINITY];
    assert_eq!(floats, expected.map(f32::to_bits));
}

#[test]
fn every_float_reads_back_to_the_last_bit() {
    let mut random = fastrand::Rng::with_seed(3);
    let edges =
        [0.0, -0.0, f32::MAX, f32::MIN_POSITIVE, f32::EPSILON, f32::INFINITY, f32::NAN, -f32::NAN, 1e16];
    let mut bits: Vec<u32> = edges.iter().map(|edge: &f32| edge.to_bits()).chain([1, 0x7f80_0001]).collect();
    bits.extend((0..2000).map(|_| random.u32(..)));
    for bits in bits {
        let text = "kernel k { variables 0 serial { map 1 lanes { e0 = 1 store i32 b0[0] by 1 = e0 } } }";
        let mut kernel: Kernel = text.parse().unwrap();
        let Stmt::Map(map) = &mut kernel.body[0] else { panic!("{kernel}") };
        map.exprs.push(Expr::Constant(f32::from_bits(bits)));
        map.finish += 1;
        let read: Kernel = kernel.to_string().parse().unwrap();
        let Stmt::Map(map) = &read.body[0] else { panic!("{read}") };
        assert!(matches!(map.exprs[1], Expr::Constant(value) if value.to_bits() == bits), "{read}");
    }
}

#[test]
fn comments_and_layout_do_not_matter() {
    let spread = "; a kernel\nkernel c1.conv-2/x { ; its name\n variables\n1 parallel elements i0\n of N*4{map chunk lanes{
        e0=load f32 b0[ i0 ] by 1 ; a number\n store f32 b1[i0]by 1=e0}}} ; the end";
    let kernel: Kernel = spread.parse().unwrap();
    assert_eq!(kernel.to_string().parse(), Ok(kernel.clone()));
    assert_eq!(kernel.name, "c1.conv-2/x");
    let without: Kernel = "kernel k { variables 0 parallel { } }".parse().unwrap();
    assert_eq!(without.to_string().parse(), Ok(without));
}

#[track_caller]
fn refused(text: &str, message: &str) {
    let error = text.parse::<Kernel>().unwrap_err();
    assert_eq!(error.to_string(), message, "{text}");
}

/// A kernel with a body.
fn with(body: &str) -> String {
    format!("kernel k {{\n  variables 3\n  serial {{\n{body}\n  }}\n}}\n")
}

#[test]
fn what_is_written_otherwise_is_told_with_its_place() {
    for (text, message) in [
        ("", "line 1, column 1: expected `kernel`, found the end"),
        ("graph k {", "line 1, column 1: expected `kernel`, found `graph k {`"),
        ("kernel {", "line 1, column 8: expected a name, found `{`"),
        ("kernel \"k {", "line 1, column 8: expected text in quotes, found `\"k {`"),
        ("kernel k {\n}", "line 2, column 1: expected `variables`, found `}`"),
        ("kernel k {\n note direct", "line 2, column 7: expected text in quotes, found `direct`"),
        (
            "kernel k {\n flops \"N^2\"",
            "line 2, column 8: expected a polynomial of open sizes in quotes, such as \"N*640 + 7\", found `\"N^2\"`",
        ),
        ("kernel k { variables x", "line 1, column 22: expected a number from 0 on, found `x`"),
        ("kernel k { variables 1, thread 2", "line 1, column 32: expected `i` with a number, found `2`"),
        (
            "kernel k {\n  variables 99999999999999999999",
            "line 2, column 13: expected a number from 0 on, found `99999999999999999999`",
        ),
        ("kernel k {\n  variables 4097", "line 2, column 13: the number of variables must be at most 4096"),
        (
            "kernel k { variables 1 sequential {",
            "line 1, column 24: expected `serial` or `parallel`, found `sequential {`",
        ),
        ("kernel k { variables 1 parallel i0 in 1..4 {", "line 1, column 39: expected `0..`, found `1..4 {`"),
        (
            "kernel k { variables 0 serial { } } kernel",
            "line 1, column 37: expected nothing behind the kernel, found `kernel`",
        ),
        (
            "kernel k { variables 0 serial {",
            "line 1, column 32: expected `for`, `if`, `let`, `tile`, `map` or `}`, found the end",
        ),
    ] {
        refused(text, message);
    }
    for (body, message) in [
        ("    while", "line 4, column 5: expected `for`, `if`, `let`, `tile`, `map` or `}`, found `while`"),
        (
            "    for i0 in 0 .. M {",
            "line 4, column 20: expected a number, an open size, `floor(N, …)` or `chunk`, found `M {`",
        ),
        ("    for i0 in 0,4 {", "line 4, column 16: expected `..`, found `,4 {`"),
        ("    let i0 = 4 {", "line 4, column 14: expected `b` with a number, found `4 {`"),
        ("    let i0 = b0[0] < 4 {", "line 4, column 20: expected `below`, found `< 4 {`"),
        ("    let i0 = b0[0] below -1 {", "line 4, column 26: expected a number from 0 on, found `-1 {`"),
        ("    if i0 > 4 {", "line 4, column 11: expected `<`, found `> 4 {`"),
        (
            "    if i0 + j < 4 {",
            "line 4, column 13: expected a variable, an open size or a number, found `j < 4 {`",
        ),
        (
            "    if 9223372036854775807 + 1 < 4 { }",
            "line 4, column 32: expected a sum of 64 bits, found `< 4 { }`",
        ),
        ("    tile 2y4", "line 4, column 11: expected `x`, found `y4`"),
        (
            "    tile 2x4 outer {",
            "line 4, column 14: expected `outer_product` or `inner_product`, found `outer {`",
        ),
        ("    tile 2x4 inner_product { b0 row 1", "line 4, column 33: expected `[`, found `row 1`"),
        (
            "    tile 2x4 inner_product { b0[0] row 1 - b1[0]",
            "line 4, column 42: expected `=`, found `- b1[0]`",
        ),
        (
            "    tile 2x4 inner_product { b0[0] row 1 = b1[0] row 1 * b2[0] column 1 over some",
            "line 4, column 78: expected a number from 0 on, found `some`",
        ),
        (
            "    tile 1x1 inner_product { b0[0] row 1 = b1[0] row 1 * b2[0] column 1\n over 1 by (1, 1)\n double }",
            "line 6, column 2: expected a step of the tile or `}`, found `double }`",
        ),
        (
            "    tile 1x1 inner_product { b0[0] row 1 = b1[0] row 1 * b2[0] column 1\n over 1 by (1, 1)\n add b3[0] }",
            "line 6, column 12: expected `per row`, `per column` or `row` with a distance, found `}`",
        ),
        ("    map 4 {", "line 4, column 11: expected `lanes`, found `{`"),
        ("    map 4 lanes {\n      e1 = 0", "line 5, column 7: expected `e0`, found `e1 = 0`"),
        (
            "    map 4 lanes {\n      e0 = load f64 b0[0]",
            "line 5, column 17: expected `f32`, `i32` or `u8`, found `f64 b0[0]`",
        ),
        ("    map 4 lanes { e0 = cosine e1", "line 4, column 24: expected an expression, found `cosine e1`"),
        (
            "    map 4 lanes { e0 = nan 0x3f800000",
            "line 4, column 28: expected the bits of a NaN, found `0x3f800000`",
        ),
        (
            "    map 4 lanes { e0 = 4294967296",
            "line 4, column 24: expected an expression, found `4294967296`",
        ),
        ("    map 4 lanes { e0 = 1.0 e1 = e0 % e0", "line 4, column 36: expected an operation, found `% e0`"),
        (
            "    map 4 lanes {\n e0 = 1.0\n r0 = sum of e0 over lanes\n r1 = sum of e0 over window",
            "line 7, column 22: expected `lanes`, found `window`",
        ),
        (
            "    map 4 lanes {\n e0 = 1.0\n r0 = sum of e0 over lanes\n e1 = r0\n r1 = sum of e0 over lanes",
            "line 8, column 2: expected an expression, a reduction, `store` or `}`, found `r1 = sum of e0 over lane`",
        ),
        (
            "    map 4 lanes window 1, 1, 1, 1, 1, 1, 1, 1, 1 {",
            "line 4, column 48: the number of a window's loops must be at most 8",
        ),
    ] {
        refused(&with(body), message);
    }
}

/// Columns count characters, and long text is cut in the message.
#[test]
fn places_are_in_characters() {
    refused(
        "kernel k { note \"größer\" variables € and much more than fits on a line",
        "line 1, column 36: expected a number from 0 on, found `€ and much more than fit`",
    );
}

#[test]
fn what_reads_is_verified() {
    for (body, message) in [
        ("for i3 in 0..4 { }", "kernel k: i3 does not exist"),
        ("for i0 in 0..4 by 0 { }", "kernel k: the loop over i0 has step 0"),
        ("map chunk lanes { }", "kernel k: a chunk outside a split over lanes"),
        ("map 4 lanes { e0 = e1 + e1 }", "kernel k: e1 is used before it is computed"),
        (
            "tile 1x1 inner_product { b0[0] row 1 = b1[0] row 1 in runs of 0 by 1 * b2[0] column 1 over 1 by (1, 1) }",
            "kernel k: runs of 0 rows",
        ),
    ] {
        refused(&with(body), message);
    }
}

/// Text that would take too much time, memory or stack is refused; other text costs no more than its length.
#[test]
fn hostile_texts_are_refused() {
    let nested = |depth: usize| {
        let loops = "if 0 < 1 { ".repeat(depth);
        with(&format!("{loops}{}", "}".repeat(depth)))
    };
    assert!(nested(MAX_DEPTH).parse::<Kernel>().is_ok());
    for depth in [MAX_DEPTH + 1, 100_000] {
        let error = nested(depth).parse::<Kernel>().unwrap_err();
        assert!(matches!(error, ParseKernelError::TooMany { most: MAX_DEPTH, .. }), "{error}");
    }
    assert!(with(&"map 4 lanes { }".repeat(10_000)).parse::<Kernel>().is_ok());
    // Every prefix of a kernel, and every variant with one character changed.
    for (at, _) in EVERYTHING.char_indices() {
        assert!(at + 1 == EVERYTHING.len() || EVERYTHING[..at].parse::<Kernel>().is_err());
        for other in ["9", "{", "e", " ", "\"", "ß", "-", "0"] {
            let changed = format!("{}{other}{}", &EVERYTHING[..at], &EVERYTHING[at + 1..]);
            if let Ok(kernel) = changed.parse::<Kernel>() {
                assert_eq!(
                    kernel.to_string().parse::<Kernel>().map(|read| read.to_string()),
                    Ok(kernel.to_string())
                );
            }
        }
    }
}
