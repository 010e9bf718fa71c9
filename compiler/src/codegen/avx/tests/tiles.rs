//! Tiles that cannot be assembled. Tests of whole programs compare the results of tiles with the interpreter.

use super::super::{Width, build_tile};
use crate::codegen::fallback::Failure;
use crate::codegen::{FallbackReason, available_vector_bits};
use crate::dump::Dump;
use crate::graph::{Builder, Layer};
use crate::kernel::{Form, Reduction, Rows, Start, Tile, TileStep};
use crate::pass::Mode;
use crate::pipeline::{CompileOptions, compile};

/// A tile of either form with short distances.
fn tile(form: Form) -> Tile {
    Tile {
        rows: 2,
        columns: 4,
        form,
        left_rows: Rows::evenly(100),
        right_column: if form == Form::InnerProduct { 100 } else { 1 },
        reduction: vec![
            Reduction { count: Some(100), left: 1000, right: 1000 },
            Reduction { count: Some(100), left: 1, right: 1 },
        ],
        start: Start::Zero,
        prefetch: 0,
        epilogue: vec![TileStep::AddElement { row: 100 }],
        output_row: 100,
    }
}

/// Whether a tile can be assembled; its only allowed failure is that it is too large.
fn tile_fits(tile: &Tile, width: Width) -> bool {
    match build_tile(tile, width) {
        Ok(_) => true,
        Err(Failure::Unsupported(FallbackReason::Distance { bytes })) => {
            assert!(bytes > 1 << 30, "{bytes} bytes are not far");
            false
        }
        Err(failure) => panic!("{failure:?}"),
    }
}

/// Sets one of a tile's distances.
type Set = fn(&mut Tile, usize);

/// Displacements have 32 bits: a larger tile falls back to Cranelift, and one at the limit is assembled.
#[test]
fn tiles_as_large_as_instructions_allow() {
    let set: [(&str, Set); 6] = [
        ("rows of the left operand", |tile, far| tile.left_rows = Rows::evenly(far)),
        ("columns of the right operand", |tile, far| tile.right_column = far),
        ("steps in the left operand", |tile, far| tile.reduction[0].left = far),
        ("steps in the right operand", |tile, far| tile.reduction[0].right = far),
        ("rows of the results", |tile, far| tile.output_row = far),
        ("rows of what is added", |tile, far| tile.epilogue = vec![TileStep::AddElement { row: far }]),
    ];
    for width in [Width::Bits256, Width::Bits512] {
        for form in [Form::OuterProduct, Form::InnerProduct] {
            assert!(tile_fits(&tile(form), width));
            for (what, set) in set {
                let with = |far: usize| {
                    let mut tile = tile(form);
                    set(&mut tile, far);
                    tile
                };
                assert!(!tile_fits(&with(1 << 29), width), "{what}");
                assert!(!tile_fits(&with(usize::MAX / 2), width), "{what}");
                // The largest distance that is reported to fit.
                let (mut fits, mut fails) = (1, 1 << 29);
                while fits + 1 < fails {
                    let middle = usize::midpoint(fits, fails);
                    *if tile_fits(&with(middle), width) { &mut fits } else { &mut fails } = middle;
                }
                assert!(fits > 1 << 20, "{what}: {fits}");
            }
        }
    }
}

/// A dense layer whose weight rows are too far apart for a 32-bit displacement.
#[test]
fn a_dense_layer_of_very_many_inputs_compiles() {
    let mut builder = Builder::new("net");
    let x = builder.input("x", &[1 << 27]).unwrap();
    let y = builder.layer("f1", &Layer::linear(8), x).unwrap();
    builder.output("y", y).unwrap();
    let graph = builder.finish().unwrap();
    for bits in available_vector_bits() {
        let mut options = CompileOptions::default();
        options.plan.vector_bits = Some(bits);
        if let Err(error) = compile(&graph, Mode::Inference, &options, &Dump::none()) {
            panic!("{bits} bits: {error}");
        }
    }
}
