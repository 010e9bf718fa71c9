//! The optimisations that a benchmark turns off one at a time.

use windlass_compiler::pipeline::CompileOptions;
use windlass_compiler::plan::{Convolution, Im2col, Layouts};

/// An optimisation.
pub(crate) struct Optimisation {
    pub(crate) name: &'static str,
    /// Options of both programs.
    pub(crate) both: fn(&mut CompileOptions),
    /// Turns it off.
    pub(crate) off: fn(&mut CompileOptions),
}

const fn by_default(name: &'static str, off: fn(&mut CompileOptions)) -> Optimisation {
    Optimisation { name, both: |_| {}, off }
}

/// Bias, sum and activation in the epilogue of the product before them.
pub(crate) const EPILOGUES: Optimisation = by_default("epilogues", |options| options.passes.fuse = false);

/// Every optimisation that can be turned off.
pub(crate) const OPTIMISATIONS: [Optimisation; 16] = [
    EPILOGUES,
    by_default("folded constants", |options| options.passes.constant_fold = false),
    by_default("common expressions", |options| options.passes.cse = false),
    by_default("dead code", |options| options.passes.dce = false),
    by_default("folded batch norm", |options| options.passes.fold_batch_norm = false),
    by_default("batch norm gradients", |options| options.passes.fuse_norm_grad = false),
    by_default("pooling first", |options| options.passes.pool_first = false),
    by_default("released ReLUs", |options| options.passes.release_relu = false),
    by_default("sign masks", |options| options.passes.relu_bits = false),
    by_default("fused pools", |options| options.plan.savings.fused_pools = false),
    by_default("fused SGD", |options| options.plan.savings.fused_updates = false),
    by_default("concat in place", |options| options.plan.savings.concat_in_place = false),
    by_default("sums in place", |options| options.plan.savings.overwritten_operands = false),
    by_default("Winograd", |options| options.plan.convolution = Convolution::Direct),
    by_default("channels last", |options| options.plan.layouts = Layouts::ChannelsFirst),
    // Only images in NCHW layout are gathered.
    Optimisation {
        name: "tiled im2col",
        both: |options| {
            options.plan.layouts = Layouts::ChannelsFirst;
            options.plan.convolution = Convolution::Im2col;
        },
        off: |options| options.plan.im2col = Im2col::Whole,
    },
];
