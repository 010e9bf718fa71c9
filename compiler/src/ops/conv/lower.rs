//! Which algorithm computes a convolution or a gradient of one; the algorithms are in the files beside.

use super::correlation::{Packing, Phase, backward_phases};
use super::direct::{Direct, Target, epilogue_operands};
use super::{Conv, ConvGradInput, ConvGradWeight, depthwise, im2col, planes, weight_gradient};
use crate::graph::Node;
use crate::kernel::{Extent, Split, Stmt};
use crate::ops::bordered::forward_axes;
use crate::ops::pool::absorbed::{self, Absorbed};
use crate::plan::{Convolution, Layout, Lower, Lowering, View, WINOGRAD_RESULTS, fill};

impl Lower for Conv {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let (x, weight) = (node.operands[0], node.operands[1]);
        let y = lowering.view(node.results[0]).clone();
        if y.layout == Layout::ChannelsFirst {
            if lowering.options.convolution != Convolution::Im2col && planes::fits(self, lowering, node) {
                return planes::conv(self, lowering, node);
            }
            return im2col::conv(self, lowering, node);
        }
        let input = lowering.item(x);
        let axes = forward_axes(&self.window, &input[1..]);
        let (inputs, outputs) = (input[0] / self.groups, y.channels / self.groups);
        // Few channels stay as they are: tiles meet them plane by plane.
        let layout = lowering.preferred_layout(x);
        let x = lowering.in_layout(node, x, layout);
        let operands = epilogue_operands(lowering, node, &node.operands[2..]);
        let direct = Direct {
            axes,
            groups: self.groups,
            inputs,
            outputs,
            x,
            y: Target { row: axes[1].outputs * y.pixel, pixel: y.pixel, item: y.item, address: y.address },
            epilogue: &self.epilogue,
            operands,
            pool: None,
        };
        let pooling = absorbed::of(lowering, node.results[0]);
        let taps = axes.map(|axis| (0, axis.taps, 1));
        let elements = self.window.elements();
        let packing = Packing {
            name: "packed weight",
            weight,
            groups: self.groups,
            outputs,
            inputs,
            output_stride: inputs * elements,
            input_stride: elements,
            group_stride: outputs * inputs * elements,
            taps,
            reversed: false,
            row: axes[1].taps,
            layout,
        };
        convolve(direct, lowering, node, &packing, pooling, [1, 1]);
    }
}

impl Lower for ConvGradInput {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let g = node.operands[0];
        let dx = lowering.view(node.results[0]).clone();
        if dx.layout == Layout::ChannelsFirst {
            return im2col::grad_input(self, lowering, node);
        }
        let g = lowering.in_layout(node, g, Layout::ChannelsLast);
        let last = self.input_sizes.len() - 1;
        let width = self.input_sizes[last];
        let columns = backward_phases(&self.window, &self.input_sizes, last);
        let rows = match last {
            0 => vec![Some(Phase::SINGLE)],
            _ => backward_phases(&self.window, &self.input_sizes, 0),
        };
        let products = |phases: &[Option<Phase>]| {
            phases.iter().flatten().map(|phase| phase.axis.outputs * phase.axis.taps).sum::<usize>()
        };
        let whole = products(&rows) * products(&columns);
        for (first_row, row) in rows.iter().enumerate() {
            for (first_column, column) in columns.iter().enumerate() {
                let to = Target {
                    address: dx.address.clone().offset((first_row * width + first_column) * dx.pixel),
                    item: dx.item,
                    row: rows.len() * width * dx.pixel,
                    pixel: columns.len() * dx.pixel,
                };
                match (row, column) {
                    (Some(row), Some(column)) => {
                        self.phase(lowering, node, g.clone(), to, [row, column], whole)
                    }
                    _ => {
                        let size = |first: usize, sizes: usize, every: usize| (sizes - first).div_ceil(every);
                        let height = if last == 0 { 1 } else { self.input_sizes[0] };
                        let sizes =
                            [size(first_row, height, rows.len()), size(first_column, width, columns.len())];
                        clear(lowering, node, &to, sizes, dx.channels);
                    }
                }
            }
        }
    }
}

/// Convolves by the algorithm that the options ask for, or by the one that takes the least time, and pools where that algorithm
/// can. The kernel does the fraction `part / whole` of the node's work.
fn convolve(
    direct: Direct<'_>,
    lowering: &mut Lowering<'_>,
    node: &Node,
    packing: &Packing<'_>,
    pooling: Option<Absorbed>,
    [part, whole]: [usize; 2],
) {
    if direct.is_depthwise() {
        let weights = packing.by_tap(lowering, node);
        let draft = lowering.draft(node, "depthwise: vectors along the channels");
        let draft = draft.with_fraction_of_work(part, whole);
        return direct.depthwise(lowering, draft, weights);
    }
    let (vectors, sharing, options) = (lowering.vectors, lowering.sharing, lowering.options);
    let tiling = direct.tiling(vectors, sharing).expect("a tile of one pixel fits");
    let winograds = WINOGRAD_RESULTS.map(|results| direct.winograd(vectors, sharing, results));
    let times = winograds.map(|winograd| winograd.map(|winograd| winograd.time));
    let taken = lowering.choose(node, packing.weight, tiling.time, times);
    let microseconds = |time: usize| options.costs.microseconds(time);
    match taken.map(|taken| winograds[taken]) {
        Some(Ok(winograd)) => {
            let transformed = winograd.weights(lowering, node, packing);
            let pooling = pooling.filter(|pooling| winograd.holds_windows(pooling.pool));
            let note = format!(
                "{}{}; about {:.0} µs an item, direct {:.0}",
                winograd.note(),
                if pooling.is_some() { ", pooled" } else { "" },
                microseconds(winograd.time),
                microseconds(tiling.time)
            );
            let mut draft = lowering.draft(node, note).with_fraction_of_work(part, whole);
            let pooled = pooling.map(|pooling| {
                lowering.absorb(pooling.node, &mut draft);
                direct.pooled(&pooling)
            });
            winograd.lower(pooled.as_ref().unwrap_or(&direct), lowering, draft, &transformed);
        }
        _ => {
            // Apart from the pool, results are written and read once more.
            let apart = tiling.time + options.costs.far(2 * direct.bytes()) / options.threads;
            let pooled = pooling.and_then(|pooling| {
                let pooled = direct.pooled(&pooling);
                let tiling = pooled.tiling(vectors, sharing).filter(|tiling| tiling.time <= apart)?;
                Some((pooled, tiling, Some(pooling.node)))
            });
            let (direct, tiling, absorbed) = pooled.unwrap_or((direct, tiling, None));
            let packed = packing.lower(lowering, node, tiling.channels);
            let note = format!("{}; about {:.0} µs an item", direct.note(tiling), microseconds(tiling.time));
            let mut draft = lowering.draft(node, note).with_fraction_of_work(part, whole);
            if let Some(pool) = absorbed {
                lowering.absorb(pool, &mut draft);
            }
            direct.lower(lowering, draft, &packed, tiling);
        }
    }
}

impl ConvGradInput {
    /// Computes one phase: the results that the same kernel elements contribute to. `whole` is the number of products of all
    /// phases for each pair of channels.
    fn phase(
        &self,
        lowering: &mut Lowering<'_>,
        node: &Node,
        g: View,
        to: Target,
        phases: [&Phase; 2],
        whole: usize,
    ) {
        let outputs = lowering.view(node.results[0]).channels / self.groups;
        let inputs = g.channels / self.groups;
        let direct = Direct {
            axes: phases.map(|phase| phase.axis),
            groups: self.groups,
            inputs,
            outputs,
            x: g,
            y: to,
            epilogue: &[],
            operands: Vec::new(),
            pool: None,
        };
        let elements = self.window.elements();
        let packing = Packing {
            name: "packed weight",
            weight: node.operands[1],
            groups: self.groups,
            outputs,
            inputs,
            output_stride: elements,
            input_stride: outputs * elements,
            group_stride: inputs * outputs * elements,
            taps: phases.map(|phase| (phase.last_tap, phase.axis.taps, phase.every_tap)),
            reversed: true,
            row: self.window.kernel_size[self.window.axes() - 1],
            layout: Layout::ChannelsLast,
        };
        let part = phases.iter().map(|phase| phase.axis.outputs * phase.axis.taps).product();
        convolve(direct, lowering, node, &packing, None, [part, whole]);
    }
}

/// Sets results that no tap meets to zero.
fn clear(
    lowering: &mut Lowering<'_>,
    node: &Node,
    to: &Target,
    [rows, columns]: [usize; 2],
    channels: usize,
) {
    let mut draft = lowering.draft(node, "no tap meets these").part("clear");
    let (n, row, column) = (draft.var(), draft.var(), draft.var());
    let address = to.address.clone().plus(n, to.item).plus(row, to.row).plus(column, to.pixel);
    let body = vec![Stmt::repeat(column, Extent::Fixed(columns), vec![fill(address, channels, 0.0)])];
    let axes = vec![(n, lowering.batch().extent()), (row, Extent::Fixed(rows))];
    lowering.push(draft.finish(Split::Axes(axes), body));
}

impl Lower for ConvGradWeight {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let few = |value| lowering.preferred_layout(value) == Layout::ChannelsFirst;
        if node.operands.iter().all(|&value| few(value)) {
            im2col::grad_weight(self, lowering, node);
        } else if depthwise::is_weight_gradient(self, lowering, node) {
            depthwise::weight_gradient(self, lowering, node);
        } else {
            weight_gradient::lower(self, lowering, node);
        }
    }
}
