//! Memory over time: the buffers of the arenas, each over the kernels that it lives for.

use maud::{Markup, html};
use windlass_compiler::plan::Location;

use super::Report;
use super::chart::{COLOURS, Frame, at, bytes};

const FRAME: Frame = Frame { width: 920.0, height: 360.0 };

/// A buffer of a run.
struct Live {
    name: String,
    from: usize,
    to: usize,
    offset: f64,
    size: f64,
}

/// The values of the plan's open sizes in the run.
pub(super) fn open_sizes(report: &Report<'_>) -> Vec<usize> {
    let mut values = Vec::new();
    report.plan.sizes.values_into(&report.sizes, &mut values);
    values
}

/// The buffers, with places in all arenas one after the other, and the bytes of these.
fn buffers(report: &Report<'_>) -> (Vec<Live>, f64) {
    const WORD: f64 = 4.0;
    let (plan, values) = (&report.plan, open_sizes(report));
    let mut starts = Vec::new();
    let mut total = WORD * plan.memory.fixed as f64;
    for words in plan.memory.open_words(&values) {
        starts.push(total);
        total += WORD * words as f64;
    }
    let live = plan.lifetimes().into_iter().filter_map(|lifetime| {
        let buffer = &plan.buffers[lifetime.buffer.index()];
        let offset = match buffer.location {
            Location::Fixed(offset) => WORD * offset as f64,
            Location::Open { arena, offset } => {
                let (size, _) = plan.memory.open[arena];
                starts[arena] + WORD * offset as f64 * values[size.index()] as f64
            }
            _ => return None,
        };
        let size = WORD * buffer.size.at(&values)? as f64;
        let (from, to) = (*lifetime.kernels.start(), *lifetime.kernels.end());
        Some(Live { name: buffer.name.clone(), from, to, offset, size })
    });
    (live.collect(), total)
}

pub(super) fn chart(report: &Report<'_>) -> Markup {
    let (buffers, total) = buffers(report);
    if buffers.is_empty() {
        return html! { p class="note" { "No intermediate result needs memory: each kernel reads inputs and writes outputs." } };
    }
    let kernels = &report.plan.run;
    let count = kernels.len() as f64;
    let together = |kernel: usize| -> f64 {
        buffers.iter().filter(|own| (own.from..=own.to).contains(&kernel)).map(|own| own.size).sum()
    };
    let (most, at_kernel) = (0..kernels.len())
        .map(|kernel| (together(kernel), kernel))
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .unwrap_or_default();
    let alone: f64 = buffers.iter().map(|own| own.size).sum();
    let every = (kernels.len() / 12).max(1);
    let across: Vec<(f64, String)> =
        (0..kernels.len()).step_by(every).map(|kernel| (kernel as f64 / count, kernel.to_string())).collect();
    let up: Vec<(f64, String)> =
        (0..=4).map(|quarter| f64::from(quarter) / 4.0).map(|share| (share, bytes(share * total))).collect();
    html! {
        svg role="img" aria-label="Memory over time" viewBox=(format!("0 0 {} {}", FRAME.width, FRAME.height)) {
            (FRAME.axes([&across, &up], ["kernel, in order", "place in memory"]))
            @for (index, own) in buffers.iter().enumerate() {
                @let (left, right) = (FRAME.x(own.from as f64 / count), FRAME.x((own.to + 1) as f64 / count));
                @let (below, above) = (FRAME.y(own.offset / total), FRAME.y((own.offset + own.size) / total));
                @let colour = COLOURS[index % (COLOURS.len() - 1)];
                rect x=(at(left)) y=(at(above)) width=(at((right - left).max(0.5))) height=(at((below - above).max(0.5))) fill=(colour) fill-opacity="0.6" stroke=(colour) stroke-width="0.7" {
                    title {
                        (own.name) ": " (bytes(own.size)) "\nfrom kernel " (own.from) ", " (kernels[own.from].name)
                        "\nto kernel " (own.to) ", " (kernels[own.to].name)
                    }
                }
            }
        }
        p class="note" {
            "A rectangle is a buffer: its width the kernels from the first that writes it to the last that reads it, its height its size. "
            "Buffers that do not live together share memory: the arenas have " (bytes(total)) ", the buffers alone would need "
            (bytes(alone)) ". The most in use, " (bytes(most)) ", is during kernel " (at_kernel) ", " (kernels[at_kernel].name) ". "
            "Each buffer starts at an aligned place for each item, which leaves gaps. Inputs, outputs, parameters and scratch are not shown."
        }
    }
}
