//! Kernels with one error each, and the message for it.

use super::*;
use crate::cost::Cost;
use crate::functions::UnaryKind;
use crate::kernel::{
    Address, BufferId, ExprId, MapBuilder, Pool, PoolKind, Reduction, SizeId, Start, Tile, TileStep,
};

const FIRST: Var = Var(0);

fn place() -> Address {
    Address::start(BufferId(0))
}

fn kernel(split: Split, body: Vec<Stmt>) -> Kernel {
    Kernel {
        name: "k".to_owned(),
        note: String::new(),
        split,
        setup: Vec::new(),
        body,
        variables: 3,
        thread: None,
        cost: Cost::default(),
    }
}

/// One thread runs a statement.
fn serial(stmt: Stmt) -> Kernel {
    kernel(Split::Serial, vec![stmt])
}

/// A map that `build` writes.
fn map(lanes: Extent, build: impl FnOnce(&mut MapBuilder)) -> Stmt {
    let mut map = MapBuilder::new(lanes);
    build(&mut map);
    map.finish()
}

/// A copy of some elements, with addresses from `move_by`.
fn copy(lanes: Extent, move_by: impl Fn(Address) -> Address) -> Stmt {
    map(lanes, |map| {
        let x = map.load(move_by(place()), 1);
        map.store(move_by(place()), 1, x);
    })
}

fn tile() -> TileCall {
    TileCall {
        tile: Tile {
            rows: 2,
            columns: 4,
            form: Form::OuterProduct,
            left_rows: crate::kernel::Rows::evenly(8),
            right_column: 1,
            reduction: vec![Reduction { count: Some(8), left: 1, right: 4 }],
            start: Start::Zero,
            prefetch: 0,
            epilogue: vec![TileStep::AddPerRow, TileStep::Apply(UnaryKind::Relu)],
            output_row: 4,
        },
        left: place(),
        right: place(),
        output: place(),
        operands: vec![place()],
        counts: Vec::new(),
    }
}

#[track_caller]
fn accepted(kernel: &Kernel) {
    assert_eq!(verify(kernel), Ok(()));
}

#[track_caller]
fn refused(kernel: &Kernel, reason: &str) {
    assert_eq!(verify(kernel), Err(format!("kernel k: {reason}")));
}

#[test]
fn variables_are_bound_once_where_they_are_used() {
    let at_first = || copy(Extent::Fixed(4), |at| at.plus(FIRST, 4));
    let looped = |body| Stmt::repeat(FIRST, Extent::Fixed(3), body);
    accepted(&serial(looped(vec![at_first()])));
    accepted(&kernel(Split::Serial, vec![looped(Vec::new()), looped(vec![at_first()])]));
    accepted(&kernel(Split::Axes(vec![(FIRST, Extent::Open(SizeId::BATCH, 1))]), vec![at_first()]));
    refused(&serial(at_first()), "i0 is used where it is not bound");
    refused(&kernel(Split::Serial, vec![looped(Vec::new()), at_first()]), "i0 is used where it is not bound");
    refused(&serial(looped(vec![looped(Vec::new())])), "i0 is bound twice");
    refused(
        &kernel(Split::Axes(vec![(FIRST, Extent::Open(SizeId::BATCH, 1))]), vec![looped(Vec::new())]),
        "i0 is bound twice",
    );
    refused(&serial(Stmt::repeat(Var(3), Extent::Fixed(1), Vec::new())), "i3 does not exist");
    let branch = Stmt::Branch { value: FIRST.into(), bound: 1, below: Vec::new(), rest: Vec::new() };
    refused(&serial(branch), "i0 is used where it is not bound");

    let found = |found, rest| Stmt::Lookup { var: FIRST, from: place(), bound: 4, found, rest };
    accepted(&serial(found(vec![at_first()], Vec::new())));
    refused(&serial(found(Vec::new(), vec![at_first()])), "i0 is used where it is not bound");
    refused(
        &kernel(Split::Serial, vec![found(Vec::new(), Vec::new()), at_first()]),
        "i0 is used where it is not bound",
    );
    refused(&serial(looped(vec![found(Vec::new(), Vec::new())])), "i0 is bound twice");
    let from = place().plus(FIRST, 1);
    let own = Stmt::Lookup { var: FIRST, from, bound: 4, found: Vec::new(), rest: Vec::new() };
    refused(&serial(own), "i0 is used where it is not bound");

    // The setup of a thread knows the thread's index but no index of the split.
    let mut setup = kernel(Split::Axes(vec![(FIRST, Extent::Open(SizeId::BATCH, 1))]), Vec::new());
    setup.thread = Some(Var(1));
    setup.setup = vec![copy(Extent::Fixed(4), |at| at.plus(Var(1), 4))];
    accepted(&setup);
    setup.setup = vec![at_first()];
    refused(&setup, "i0 is used where it is not bound");
    setup.thread = Some(FIRST);
    refused(&setup, "i0 is bound twice");
}

#[test]
fn shares_exist_only_where_lanes_are_split() {
    let chunk = || copy(Extent::Chunk, |at| at);
    let lanes = Split::Lanes(FIRST, Extent::Open(SizeId::BATCH, 8));
    accepted(&kernel(lanes.clone(), vec![chunk()]));
    refused(&serial(chunk()), "a chunk outside a split over lanes");
    refused(
        &kernel(Split::Axes(vec![(FIRST, Extent::Open(SizeId::BATCH, 1))]), vec![chunk()]),
        "a chunk outside a split over lanes",
    );
    let mut setup = kernel(lanes, Vec::new());
    setup.setup = vec![chunk()];
    refused(&setup, "a chunk outside a split over lanes");
    for extent in [Extent::Chunk, Extent::ChunkFloor(8)] {
        refused(&serial(Stmt::repeat(FIRST, extent, Vec::new())), "a chunk outside a split over lanes");
    }
    let none = Stmt::repeat(Var(1), Extent::ChunkFloor(0), Vec::new());
    refused(&kernel(Split::Lanes(FIRST, Extent::Open(SizeId::BATCH, 8)), vec![none]), "a multiple of 0");
}

#[test]
fn lookups_have_indices_of_32_bits() {
    let lookup = |bound| {
        serial(Stmt::Lookup { var: FIRST, from: place(), bound, found: Vec::new(), rest: Vec::new() })
    };
    accepted(&lookup(1 << 31));
    refused(&lookup(0), "a lookup of i0 below 0");
    refused(&lookup((1 << 31) + 1), "a lookup of i0 below 2147483649");
}

#[test]
fn loops_go_on() {
    let (start, end) = (Extent::Fixed(0), Extent::Open(SizeId::BATCH, 1));
    let still = Stmt::For { var: FIRST, start, end, step: 0, body: Vec::new() };
    refused(&serial(still), "the loop over i0 has step 0");
    refused(
        &serial(Stmt::repeat(
            FIRST,
            Extent::Floor { size: SizeId::BATCH, times: 1, multiple: 0 },
            Vec::new(),
        )),
        "a multiple of 0",
    );
}

#[test]
fn tiles_are_complete() {
    let call = |change: &dyn Fn(&mut TileCall)| {
        let mut call = tile();
        change(&mut call);
        serial(Stmt::Tile(Box::new(call)))
    };
    accepted(&call(&|_| {}));
    accepted(&call(&|call| {
        call.tile.reduction[0].count = None;
        call.counts = vec![Extent::Open(SizeId::BATCH, 1)];
    }));
    refused(&call(&|call| call.tile.rows = 0), "a tile without rows or columns");
    refused(&call(&|call| call.tile.left_rows.run = 0), "runs of 0 rows");
    refused(&call(&|call| call.tile.columns = 0), "a tile without rows or columns");
    refused(&call(&|call| call.tile.reduction.clear()), "a tile without a reduction");
    refused(
        &call(&|call| call.tile.reduction[0].count = None),
        "a tile call with the wrong number of counts",
    );
    refused(&call(&|call| call.counts.push(Extent::Fixed(1))), "a tile call with the wrong number of counts");
    refused(&call(&|call| call.operands.clear()), "a tile call with the wrong number of operands");
    refused(&call(&|call| call.tile.epilogue.clear()), "a tile call with the wrong number of operands");
    let pools = |rows: usize, height: usize, width: usize| {
        move |call: &mut TileCall| {
            call.tile.rows = rows;
            call.tile.epilogue.push(TileStep::Pool(Pool { kind: PoolKind::Max, height, width }));
        }
    };
    let whole_windows = "a tile that does not end with whole windows";
    accepted(&call(&pools(8, 2, 2)));
    refused(&call(&pools(6, 2, 2)), whole_windows);
    refused(&call(&pools(8, 0, 2)), whole_windows);
    refused(&call(&pools(8, usize::MAX / 2 + 2, 2)), whole_windows);
    refused(
        &call(&|call| {
            pools(8, 2, 2)(call);
            call.tile.epilogue.push(TileStep::Apply(UnaryKind::Relu));
        }),
        whole_windows,
    );
    refused(
        &call(&|call| {
            pools(8, 2, 2)(call);
            call.tile.start = Start::Output;
        }),
        whole_windows,
    );
    refused(&call(&|call| call.tile.right_column = 8), "columns that are not contiguous");
    refused(&call(&|call| call.tile.form = Form::InnerProduct), "an inner product that is not contiguous");
    refused(&call(&|call| call.operands[0] = place().plus(FIRST, 1)), "i0 is used where it is not bound");
}

#[test]
fn expressions_are_of_the_right_kind_and_in_order() {
    let refused_map = |build: &dyn Fn(&mut MapBuilder), reason: &str| {
        refused(&serial(map(Extent::Fixed(4), build)), reason);
    };
    accepted(&serial(map(Extent::Fixed(4), |map| {
        let x = map.load(place(), 1);
        let zero = map.constant(0.0);
        let below = map.expr(Expr::Less(x, zero));
        let y = map.expr(Expr::Select(below, zero, x));
        map.accumulate(place(), 1, y);
    })));
    refused_map(
        &|map| {
            map.unary(UnaryKind::Square, ExprId(3));
        },
        "e3 is used before it is computed",
    );
    refused_map(
        &|map| {
            map.add(ExprId(0), ExprId(0));
        },
        "e0 is used before it is computed",
    );
    refused_map(
        &|map| {
            map.expr(Expr::Load(2));
        },
        "load 2 does not exist",
    );
    refused_map(
        &|map| {
            let x = map.load_as(Element::I32, place(), 1, &[]);
            map.add(x, x);
        },
        "e0 is Integer where Float is needed",
    );
    refused_map(
        &|map| {
            let x = map.load(place(), 1);
            map.expr(Expr::Xor(x, x));
        },
        "e0 is Float where Integer is needed",
    );
    refused_map(
        &|map| {
            let x = map.load(place(), 1);
            let mask = map.expr(Expr::Less(x, x));
            let number = map.expr(Expr::Integer(1));
            map.expr(Expr::Select(mask, number, x));
        },
        "e0 is Float where Integer is needed",
    );
    refused_map(
        &|map| {
            let x = map.load(place(), 1);
            map.expr(Expr::And(x, x));
        },
        "e0 is Float where Integer is needed",
    );
    refused_map(
        &|map| {
            let x = map.load(place(), 1);
            map.expr(Expr::Select(x, x, x));
        },
        "e0 is Float where Mask is needed",
    );
    refused_map(
        &|map| {
            let x = map.load(place(), 1);
            let mask = map.expr(Expr::Less(x, x));
            map.store(place(), 1, mask);
        },
        "a store of no number",
    );
    refused_map(&|map| map.store(place(), 1, ExprId(0)), "a store of no number");
    refused_map(
        &|map| {
            let x = map.load_as(Element::I32, place(), 1, &[]);
            map.accumulate(place(), 1, x);
        },
        "a sum of integers in memory",
    );
    for (stored, given, refusal) in [
        (Element::F32, Element::U8, "a store of Integer as f32"),
        (Element::I32, Element::F32, "a store of Float as i32"),
        (Element::U8, Element::F32, "a store of Float as u8"),
    ] {
        refused_map(
            &|map| {
                let x = map.load_as(given, place(), 1, &[]);
                map.store_as(stored, place(), 1, x);
            },
            refusal,
        );
    }
    refused_map(
        &|map| {
            let x = map.load(place(), 1);
            map.store(place(), 0, x);
        },
        "a store of all lanes to one element",
    );
    refused_map(
        &|map| {
            map.load(place().plus(FIRST, 1), 1);
        },
        "i0 is used where it is not bound",
    );
    refused_map(
        &|map| {
            map.expr(Expr::Index { base: FIRST.into(), lane: 1 });
        },
        "i0 is used where it is not bound",
    );
}

#[test]
fn reductions_read_the_body_and_end_it() {
    let folded = |build: &dyn Fn(&mut MapBuilder)| {
        let mut map = MapBuilder::new(Extent::Fixed(4)).window(&[Extent::Fixed(3)]);
        build(&mut map);
        serial(map.finish())
    };
    accepted(&folded(&|map| {
        let x = map.load_window(place(), 1, &[4]);
        let largest = map.fold_window(&[Reducer::MaxWithArgmax(x)])[0];
        let found = map.expr(Expr::Argmax(0));
        map.store(place(), 1, largest);
        map.store_as(Element::U8, place(), 1, found);
    }));
    refused(
        &folded(&|map| {
            map.load_window(place(), 1, &[4]);
        }),
        "a window without a reduction",
    );
    refused(
        &folded(&|map| {
            let x = map.load_window(place(), 1, &[4]);
            let sum = map.fold_window(&[Reducer::Sum(x)])[0];
            map.fold_window(&[Reducer::Sum(sum)]);
        }),
        "a reduced value that does not exist",
    );
    refused(
        &folded(&|map| {
            let x = map.load_window(place(), 1, &[4]);
            map.fold_lanes(&[Reducer::MaxWithArgmax(x)]);
        }),
        "an argmax across lanes",
    );
    refused(
        &folded(&|map| {
            let x = map.load_window(place(), 1, &[4]);
            map.fold_window(&[Reducer::Max(x)]);
            map.expr(Expr::Argmax(0));
        }),
        "a reduced value that does not exist",
    );
    refused(
        &folded(&|map| {
            let step = map.expr(Expr::WindowIndex);
            map.fold_window(&[Reducer::Sum(step)]);
        }),
        "a reducer of something other than a float before the reduction",
    );
    refused(
        &folded(&|map| {
            let x = map.load_window(place(), 1, &[4]);
            let sum = map.fold_window(&[Reducer::Sum(x)])[0];
            map.add(sum, x);
        }),
        "e0 is used after the reduction",
    );
    refused(
        &folded(&|map| {
            let x = map.load_window(place(), 1, &[4]);
            map.fold_window(&[Reducer::Sum(x)]);
            map.store(place(), 1, x);
        }),
        "a store of a value before its reduction",
    );
    refused(
        &folded(&|map| {
            map.fold_window(&[]);
        }),
        "a reduction of nothing",
    );
    refused(
        &folded(&|map| {
            let x = map.load_window(place(), 1, &[4]);
            map.fold_window(&[Reducer::Sum(x)]);
            map.expr(Expr::WindowIndex);
        }),
        "an index of a window that is not known",
    );
    let rotated = |bits| {
        serial(map(Extent::Fixed(4), |map| {
            let x = map.expr(Expr::Integer(1));
            map.expr(Expr::RotateLeft(x, bits));
        }))
    };
    accepted(&rotated(31));
    refused(&rotated(32), "a rotation by more bits than there are");
    let unreduced = map(Extent::Fixed(4), |map| {
        map.expr(Expr::Reduced(0));
    });
    refused(&serial(unreduced), "a reduced value that does not exist");
}

#[test]
fn steps_of_windows_have_numbers_where_sizes_are_known() {
    let indexed = |window: &[Extent]| {
        let mut map = MapBuilder::new(Extent::Fixed(4)).window(window);
        let index = map.expr(Expr::WindowIndex);
        let x = map.load_window(place(), 1, &[1, 1]);
        let is_first = map.expr(Expr::SameInteger(index, index));
        let x = map.expr(Expr::Select(is_first, x, x));
        let sum = map.fold_window(&[Reducer::Sum(x)])[0];
        map.store(place(), 1, sum);
        serial(map.finish())
    };
    accepted(&indexed(&[Extent::Open(SizeId::BATCH, 1), Extent::Fixed(3)]));
    refused(
        &indexed(&[Extent::Fixed(3), Extent::Open(SizeId::BATCH, 1)]),
        "an index of a window that is not known",
    );
}

#[test]
fn loads_are_those_of_the_expressions_in_order() {
    let two = |order: [usize; 2]| {
        let mut stmt = map(Extent::Fixed(4), |map| {
            let [x, y] = [(); 2].map(|()| map.load(place(), 1));
            let sum = map.add(x, y);
            map.store(place(), 1, sum);
        });
        if let Stmt::Map(map) = &mut stmt {
            map.exprs[0] = Expr::Load(order[0]);
            map.exprs[1] = Expr::Load(order[1]);
        }
        serial(stmt)
    };
    accepted(&two([0, 1]));
    for order in [[1, 0], [0, 0], [1, 1]] {
        refused(&two(order), "loads that are not the expressions' own, in order");
    }
}

#[test]
fn groups_of_lanes_start_where_vectors_do_or_lanes_are_known() {
    let repeated = |lanes: Extent, repeat: usize| {
        serial(map(lanes, |map| {
            let x = map.load_repeated(Element::F32, place(), repeat);
            map.store(place(), 1, x);
        }))
    };
    let phased = |lanes: Extent, period: usize| {
        serial(map(lanes, |map| {
            let x = map.expr(Expr::Phase(period));
            map.store_as(Element::I32, place(), 1, x);
        }))
    };
    let kernels: [&dyn Fn(Extent, usize) -> Kernel; 2] = [&repeated, &phased];
    for kernel in kernels {
        accepted(&kernel(Extent::Fixed(9), 3));
        accepted(&kernel(Extent::Fixed(1000), 2));
        refused(&kernel(Extent::Fixed(999), 3), "groups of lanes that do not start at vector boundaries");
        refused(
            &kernel(Extent::Open(SizeId::BATCH, 1), 3),
            "groups of lanes that do not start at vector boundaries",
        );
    }
    let mut apart = map(Extent::Fixed(8), |map| {
        let x = map.load_repeated(Element::F32, place(), 2);
        map.store(place(), 1, x);
    });
    if let Stmt::Map(map) = &mut apart {
        map.loads[0].lane = 2;
    }
    refused(&serial(apart), "a repeated load that is not contiguous");
}
