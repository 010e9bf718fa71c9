//! The page: one HTML file without scripts, which is also well-formed XML.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart::{bytes, short};
use super::{Report, memory, roofline};

const STYLE: &str = include_str!("style.css");

pub(super) fn page(report: &Report<'_>) -> String {
    let what = if report.training.is_some() { "a training step" } else { "a prediction" };
    let kinds = roofline::kinds(report);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                (PreEscaped(r#"<meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/>"#))
                title { (report.network.name()) ": " (what) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (report.network.name()) }
                    p { "Time and memory of " (what) " by kernel, measured by Windlass " (env!("CARGO_PKG_VERSION")) "." }
                }
                (figures(report))
                section id="layers" {
                    h2 { "Layers" }
                    div class="picture" { (PreEscaped(&report.layers)) }
                }
                section id="roofline" {
                    h2 { "Kernels over the roofline" }
                    (roofline::chart(report, &kinds))
                }
                section id="kernels" {
                    h2 { "Kernels" }
                    (kernels(report, &kinds))
                }
                section id="memory" {
                    h2 { "Memory over time" }
                    (memory::chart(report))
                }
                section id="details" {
                    h2 { "Details" }
                    (text("Plan: memory, kernels, and the reasons of choices", &report.plan.to_string()))
                    (text("Graph", &report.network.graph().to_string()))
                    (text("Machine", &report.machine.to_string()))
                    (text("Options", &report.options))
                    @if let Some(training) = &report.training { (text("Training", &format!("{training:#?}"))) }
                }
            }
        }
    };
    without_control(&page.into_string())
}

/// The figures of the whole run.
fn figures(report: &Report<'_>) -> Markup {
    let profile = &report.profile;
    let microseconds = profile.microseconds();
    let time = match microseconds < 1e3 {
        true => format!("{}\u{a0}µs", short(microseconds)),
        false => format!("{}\u{a0}ms", short(microseconds / 1e3)),
    };
    let speed = if microseconds > 0.0 { profile.flops() as f64 / microseconds / 1e3 } else { 0.0 };
    let arenas = report.plan.memory.bytes(&memory::open_sizes(report), profile.threads);
    let sizes: Vec<String> = report
        .plan
        .sizes
        .symbols()
        .into_iter()
        .filter_map(|symbol| Some(format!("{symbol}\u{a0}=\u{a0}{}", report.sizes.get(symbol)?)))
        .collect();
    let figures = [
        (time, format!("median of {} runs", profile.runs)),
        (sizes.join(", "), "sizes".to_owned()),
        (profile.threads.to_string(), "threads".to_owned()),
        (format!("{}\u{a0}GFLOP/s", short(speed)), "by the definition of the layers".to_owned()),
        (
            profile.roofline().map_or_else(|| "unknown".to_owned(), |part| format!("{:.0} %", 100.0 * part)),
            "of the roofline".to_owned(),
        ),
        (bytes(arenas as f64), "memory of a run, without parameters".to_owned()),
    ];
    html! {
        dl class="figures" {
            @for (figure, meaning) in &figures {
                div { dt { (meaning) } dd { (figure) } }
            }
        }
    }
}

fn kernels(report: &Report<'_>, kinds: &[String]) -> Markup {
    let largest = report.profile.kernels.iter().map(|kernel| kernel.share).fold(f64::MIN_POSITIVE, f64::max);
    let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), short);
    html! {
        div class="scroll" {
            table {
                thead {
                    tr {
                        th { "kernel" }
                        th class="number" { "µs" }
                        th { "share" }
                        th class="number" { "GFLOP/s" }
                        th class="number" { "GB/s" }
                        th class="number" { "roofline" }
                        th { "algorithm" }
                    }
                }
                tbody {
                    @for kernel in &report.profile.kernels {
                        @let colour = roofline::colour(kinds, &kernel.name);
                        tr {
                            td class="name" { span class="dot" style=(format!("background:{colour}")) {} (kernel.name) }
                            td class="number" { (short(kernel.microseconds)) }
                            td class="share" {
                                span class="bar" style=(format!("width:{:.1}px;background:{colour}", 70.0 * kernel.share / largest)) {}
                                (format!("{:.1} %", 100.0 * kernel.share))
                            }
                            td class="number" { (number(kernel.gflops_per_second())) }
                            td class="number" { (number(kernel.gbytes_per_second())) }
                            td class="number" { (kernel.roofline.map_or_else(|| "–".to_owned(), |part| format!("{:.0} %", 100.0 * part))) }
                            td class="why" {
                                (kernel.note)
                                @for fallback in &kernel.fallbacks { "; " (fallback) }
                            }
                        }
                    }
                }
            }
        }
        p class="note" {
            "In the order of the run. The roofline is the least time that this machine needs for the kernel's operations and bytes, divided by the time taken."
        }
    }
}

/// A text that is folded.
fn text(title: &str, content: &str) -> Markup {
    html! {
        details { summary { (title) } pre { (content) } }
    }
}

/// The text without characters that neither HTML nor XML allows.
fn without_control(text: &str) -> String {
    let is_allowed = |character: char| match character {
        '\n' | '\t' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        other => !other.is_control(),
    };
    text.chars().map(|character| if is_allowed(character) { character } else { '\u{fffd}' }).collect()
}
