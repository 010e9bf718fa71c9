//! Ways of compiling and running: random ones, and fixed sets that together cover every path.

use fastrand::Rng;
use windlass_compiler::codegen::available_vector_bits;
use windlass_compiler::pass::PassOptions;
use windlass_compiler::pipeline::CompileOptions;
use windlass_compiler::plan::{Accuracy, Convolution, Costs, Features, Im2col, Layouts, PerWidth, Savings};

use crate::case::{Case, Setup};
use crate::generate::pick;
use crate::values::Values;

/// A random setup.
pub fn draw(case: &Case, numbers: &mut Rng) -> Setup {
    let mut options = CompileOptions::default();
    let plan = &mut options.plan;
    plan.vector_bits = Some(pick(numbers, &available_vector_bits()));
    if plan.vector_bits == Some(128) && numbers.u8(..3) == 0 {
        plan.features = Features::Baseline;
    }
    plan.threads = pick(numbers, &[1, 1, 2, 3]);
    plan.batch = pick(numbers, &[None, None, Some(1), Some(2), Some(64)]);
    plan.convolution = pick(
        numbers,
        &[
            Convolution::ByCost,
            Convolution::ByCost,
            Convolution::Direct,
            Convolution::Im2col,
            Convolution::Winograd(2),
            Convolution::Winograd(4),
        ],
    );
    plan.im2col = pick(
        numbers,
        &[plan.im2col, Im2col::Tiled { panel_bytes: 1 }, Im2col::Tiled { panel_bytes: 1024 }, Im2col::Whole],
    );
    if numbers.u8(..4) == 0 {
        plan.layouts = Layouts::ChannelsFirst;
    }
    if numbers.u8(..4) == 0 {
        let mut switch = || numbers.bool();
        plan.savings = Savings::default()
            .fused_pools(switch())
            .fused_updates(switch())
            .concat_in_place(switch())
            .overwritten_operands(switch());
    }
    // Values for exact sums are for products that are exact.
    let exact = matches!(case.values, Values::Sparse | Values::Integers);
    let strict = numbers.u8(..4) == 0;
    if exact != strict {
        plan.accuracy = Accuracy::Strict;
    }
    if numbers.u8(..3) == 0 {
        plan.costs = costs(numbers);
    }
    plan.verify_code = false;
    plan.verify_races = true;
    options.passes = passes(numbers);
    Setup {
        options,
        parallelize: numbers.u8(..4) > 0,
        guard: numbers.u8(..3) == 0,
        misaligned: pick(numbers, &[0, 0, 1, 3, 8, 13]),
    }
}

fn passes(numbers: &mut Rng) -> PassOptions {
    match numbers.u8(..4) {
        0 => PassOptions::NONE,
        1 => {
            let mut switch = || numbers.bool();
            PassOptions::default()
                .constant_fold(switch())
                .cse(switch())
                .dce(switch())
                .fold_batch_norm(switch())
                .pool_first(switch())
                .fuse(switch())
                .fuse_norm_grad(switch())
                .release_relu(switch())
                .relu_bits(switch())
                .scans(switch())
                .fuse_elementwise(switch())
                .verify(true)
        }
        _ => PassOptions::default(),
    }
}

/// Random costs, which make unusual tilings the cheapest.
fn costs(numbers: &mut Rng) -> Costs {
    let mut any = |usual: u16| match numbers.u8(..6) {
        0..2 => usual,
        2 => 0,
        3 => 1,
        4 => numbers.u16(..2000),
        _ => numbers.u16(..),
    };
    let usual = Costs::default();
    let width = PerWidth { bits_128: any(8), bits_256: any(8), bits_512: any(8) };
    let mut costs = usual
        .multiply_add(width)
        .latency(any(usual.latency))
        .load(any(usual.load))
        .broadcast(any(usual.broadcast))
        .vector(any(usual.vector))
        .l2_hit_line(any(usual.l2_hit_line))
        .l2_miss_line(any(usual.l2_miss_line))
        .transform(any(usual.transform))
        .gradient_transform(any(usual.gradient_transform));
    costs.first_cache = pick(numbers, &[usual.first_cache, 0, 1, 256, 4096, 1 << 30]);
    costs.second_cache = pick(numbers, &[usual.second_cache, 0, 64, 4096, 65_536, 1 << 40]);
    costs
}

/// Setups that together cover every width, algorithm, layout, number of threads and pass.
pub fn fixed() -> Vec<Setup> {
    let with = |change: &dyn Fn(&mut CompileOptions)| {
        let mut options = CompileOptions::default();
        change(&mut options);
        Setup { options, parallelize: true, guard: true, misaligned: 1 }
    };
    let mut setups = vec![
        with(&|options| {
            options.plan.vector_bits = Some(128);
            options.plan.features = Features::Baseline;
            options.passes = PassOptions::NONE;
            options.plan.im2col = Im2col::Tiled { panel_bytes: 1024 };
        }),
        with(&|options| options.plan.convolution = Convolution::Winograd(2)),
        with(&|options| {
            options.plan.convolution = Convolution::Winograd(4);
            options.plan.threads = 2;
        }),
        with(&|options| {
            options.passes = PassOptions::NONE;
            options.plan.threads = 3;
            options.plan.im2col = Im2col::Whole;
        }),
    ];
    for bits in available_vector_bits() {
        let threads = if bits == 256 { 2 } else { 1 };
        setups.push(with(&|options| {
            options.plan.vector_bits = Some(bits);
            options.plan.threads = threads;
        }));
        setups.push(with(&|options| {
            options.plan.vector_bits = Some(bits);
            options.plan.threads = 3 - threads;
            options.plan.accuracy = Accuracy::Strict;
            options.plan.convolution = Convolution::Direct;
        }));
        setups.push(with(&|options| {
            options.plan.vector_bits = Some(bits);
            options.plan.threads = 3 - threads;
            options.plan.layouts = Layouts::ChannelsFirst;
            options.plan.convolution = Convolution::Im2col;
            options.plan.im2col = Im2col::Tiled { panel_bytes: 1 };
        }));
    }
    setups
}
