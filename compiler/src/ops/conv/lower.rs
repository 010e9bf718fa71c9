//! Chooses the schedule of a convolution or its gradient.

use super::correlation::Correlation;
use super::input_gradient::{InputGradient, Part};
use super::schedules::{depthwise, direct, direct_channels_first, im2col, weight_sums, winograd};
use super::weight_gradient::WeightGradient;
use super::{Conv, ConvGradInput, ConvGradWeight};
use crate::graph::Node;
use crate::ops::epilogue::sums_over;
use crate::plan::{Convolution, Lower, Lowering, MemoryRules, Order, WINOGRAD_RESULTS};

impl Lower for Conv {
    fn memory(&self) -> MemoryRules {
        MemoryRules {
            operands: Order::Any,
            results: Order::Any,
            over: sums_over(2, &self.epilogue),
            bytes: None,
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let is_last = lowering.view(node.results[0]).layout.is_channels_last();
        let correlation = Correlation::of(self, lowering, node);
        match is_last {
            true => channels_last(&correlation, lowering),
            false => {
                let is_free = lowering.options.convolution != Convolution::Im2col;
                if is_free && direct_channels_first::fits(&correlation, lowering) {
                    direct_channels_first::lower(&correlation, lowering);
                } else {
                    im2col::forward(&correlation, lowering);
                }
            }
        }
    }
}

impl Lower for ConvGradInput {
    fn memory(&self) -> MemoryRules {
        MemoryRules {
            operands: Order::Any,
            results: Order::Any,
            over: sums_over(2, &self.epilogue),
            bytes: None,
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let gradient = InputGradient::of(self, lowering, node);
        if !gradient.dx.layout.is_channels_last() {
            return im2col::input_gradient(&gradient, lowering);
        }
        for part in gradient.parts() {
            match part {
                Part::Products(correlation) => channels_last(&correlation, lowering),
                Part::Nothing(results, sizes) => gradient.clear(lowering, &results, &sizes),
            }
        }
    }
}

impl Lower for ConvGradWeight {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::Any, results: Order::Any, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let is_first = |value| !lowering.preferred_layout(value).is_channels_last();
        if node.operands.iter().all(|&value| is_first(value)) {
            let layouts = [0, 1].map(|index| lowering.channels_first(node.operands[index]));
            let gradient = WeightGradient::of(self, lowering, node, layouts);
            return im2col::weight_gradient(&gradient, lowering);
        }
        let channels = |index: usize| lowering.item(node.operands[index])[0];
        let is_depthwise = self.groups > 1
            && [0, 1].iter().all(|&index| channels(index) == self.groups)
            && !is_first(node.operands[1]);
        let layouts = [lowering.channels_last(node.operands[0]), lowering.preferred_layout(node.operands[1])];
        let gradient = WeightGradient::of(self, lowering, node, layouts);
        if is_depthwise {
            depthwise::weight_gradient(&gradient, lowering);
        } else {
            weight_sums::lower(&gradient, lowering);
        }
    }
}

/// Adds the kernels of a correlation whose results are stored in NHWC layout, with the algorithm that the options
/// select, or else the fastest one. It fuses the pool if that algorithm can.
fn channels_last(correlation: &Correlation<'_>, lowering: &mut Lowering<'_>) {
    if depthwise::fits(correlation) {
        return depthwise::lower(correlation, lowering);
    }
    let (vectors, parallelism, options) = (lowering.vectors, lowering.parallelism, lowering.options);
    let tiling = direct::tiling(correlation, vectors, parallelism).expect("a tile of one pixel fits");
    let winograds =
        WINOGRAD_RESULTS.map(|results| winograd::divide(correlation, vectors, parallelism, results));
    let times = winograds.map(|winograd| winograd.map(|winograd| winograd.time));
    let taken = lowering.choose(correlation.node, correlation.weight.value, tiling.time, times);
    let microseconds = |time: usize| options.costs.microseconds(time);
    if let Some(Ok(winograd)) = taken.map(|taken| winograds[taken]) {
        let transformed = winograd.weights(correlation, lowering);
        let pooled = correlation.pooled().filter(|(_, pooled)| winograd.holds_windows(pooled.window()));
        let note = format!(
            "{}{}; about {:.0} µs an item, direct {:.0}",
            winograd.note(),
            if pooled.is_some() { ", pooled" } else { "" },
            microseconds(winograd.time),
            microseconds(tiling.time)
        );
        let mut draft = correlation.draft(lowering, note);
        let pooled = pooled.map(|(node, pooled)| {
            lowering.fuse(node, &mut draft);
            pooled
        });
        return winograd.lower(pooled.as_ref().unwrap_or(correlation), lowering, draft, &transformed);
    }
    // Without the fused pool, results are written and read once more.
    let apart = tiling.time + options.costs.l2_miss(2 * correlation.bytes()) / options.threads;
    let pooled = correlation.pooled().and_then(|(node, pooled)| {
        let tiling = direct::tiling(&pooled, vectors, parallelism).filter(|tiling| tiling.time <= apart)?;
        Some((pooled, tiling, Some(node)))
    });
    let (correlation, tiling, pool) = pooled.unwrap_or_else(|| (correlation.clone(), tiling, None));
    let packed = correlation.pack(lowering, tiling.channels);
    let note =
        format!("{}; about {:.0} µs an item", direct::note(&correlation, tiling), microseconds(tiling.time));
    let mut draft = correlation.draft(lowering, note);
    if let Some(pool) = pool {
        lowering.fuse(pool, &mut draft);
    }
    direct::lower(&correlation, lowering, draft, &packed, tiling);
}
