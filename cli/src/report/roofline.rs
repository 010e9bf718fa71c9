//! The kernels over the roofline of the machine: operations per byte against operations per second, both logarithmic
//! (Williams, Waterman and Patterson 2009).

use maud::{Markup, html};
use windlass::KernelTime;

use super::chart::{COLOURS, Frame, at, short};
use super::{Report, kind};

const FRAME: Frame = Frame { width: 920.0, height: 430.0 };

/// A logarithmic axis.
#[derive(Clone, Copy, Debug)]
struct Axis {
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis over whole decades.
    fn over(numbers: impl Iterator<Item = f64>) -> Axis {
        let logarithms = numbers.filter(|number| number.is_finite() && *number > 0.0).map(f64::log10);
        let (from, to) =
            logarithms.fold((f64::MAX, f64::MIN), |(from, to), number| (from.min(number), to.max(number)));
        let (from, to) = (from.floor(), (to + 0.05).ceil());
        Axis { from, to: to.max(from + 2.0) }
    }

    fn share(self, number: f64) -> f64 {
        (number.log10() - self.from) / (self.to - self.from)
    }

    fn ticks(self) -> Vec<(f64, String)> {
        let decades = (self.from as i32)..=(self.to as i32);
        let label = |decade: i32| match decade {
            -3..0 => format!("{:.*}", decade.unsigned_abs() as usize, 10f64.powi(decade)),
            0..6 => format!("{:.0}", 10f64.powi(decade)),
            _ => format!("1e{decade}"),
        };
        decades.map(|decade| (self.share(10f64.powi(decade)), label(decade))).collect()
    }
}

/// A kernel that computes.
struct Point<'a> {
    kernel: &'a KernelTime,
    intensity: f64,
    speed: f64,
}

/// The operators of the kernels, the slowest first, as many as there are colours of their own.
pub(super) fn kinds(report: &Report<'_>) -> Vec<String> {
    let mut times: Vec<(String, f64)> = Vec::new();
    for kernel in &report.profile.kernels {
        let own = kind(&kernel.name);
        match times.iter_mut().find(|(known, _)| known == own) {
            Some((_, time)) => *time += kernel.microseconds,
            None => times.push((own.to_owned(), kernel.microseconds)),
        }
    }
    times.sort_by(|(_, left), (_, right)| right.total_cmp(left));
    times.truncate(COLOURS.len() - 1);
    times.into_iter().map(|(kind, _)| kind).collect()
}

/// The colour of a kernel.
pub(super) fn colour(kinds: &[String], name: &str) -> &'static str {
    let place = kinds.iter().position(|known| known == kind(name));
    COLOURS[place.unwrap_or(COLOURS.len() - 1)]
}

pub(super) fn chart(report: &Report<'_>, kinds: &[String]) -> Markup {
    let profile = &report.profile;
    let points = profile.kernels.iter().filter_map(|kernel| {
        let intensity = kernel.performed() as f64 / kernel.bytes.max(1) as f64;
        Some(Point { kernel, intensity, speed: kernel.gflops_per_second()? })
    });
    let mut points: Vec<Point<'_>> = points.collect();
    // Small ones over large ones, so that each can be pointed at.
    points.sort_by(|left, right| right.kernel.share.total_cmp(&left.kernel.share));
    let moving: f64 =
        profile.kernels.iter().filter(|kernel| kernel.performed() == 0).map(|kernel| kernel.share).sum();
    let threads = profile.threads as f64;
    let peak = report.machine.gflops_per_second * threads;
    let bandwidths = report.machine.bandwidths;
    let levels = [
        ("L1", bandwidths.first),
        ("L2", bandwidths.second),
        ("L3", bandwidths.third),
        ("memory", bandwidths.memory),
    ]
    .map(|(name, bandwidth)| (name, bandwidth * threads));
    let ridges = levels.iter().map(|(_, bandwidth)| peak / bandwidth);
    let across = Axis::over(points.iter().map(|point| point.intensity).chain(ridges));
    let up = Axis::over(points.iter().map(|point| point.speed).chain([peak]));
    let place = |intensity: f64, speed: f64| {
        (FRAME.x(across.share(intensity)), FRAME.y(up.share(speed).clamp(0.0, 1.0)))
    };
    let [left, right] = [across.from, across.to].map(|decade| 10f64.powf(decade));
    let bottom = 10f64.powf(up.from);
    let mut labels: Vec<(f64, f64, String)> = Vec::new();
    let mut roofs = Vec::new();
    for &(name, bandwidth) in &levels {
        let start = (bottom / bandwidth).max(left);
        roofs.push((name, bandwidth, place(start, start * bandwidth), place(peak / bandwidth, peak)));
        // Just above the start of the line; one label for lines that are close.
        let (x, y) = place(start * 1.15, start * 1.15 * bandwidth);
        match labels
            .iter_mut()
            .find(|(other, above, _)| (*other - x).abs() < 60.0 && (*above - y).abs() < 13.0)
        {
            Some((.., label)) => *label += &format!(", {name}"),
            None => labels.push((x, y, name.to_owned())),
        }
    }
    // Bandwidths rise by one decade in each decade.
    let decade = |axis: Axis, length: f64| length / (axis.to - axis.from);
    let rise = decade(up, FRAME.y(0.0) - FRAME.y(1.0)) / decade(across, FRAME.x(1.0) - FRAME.x(0.0));
    let angle = -rise.atan().to_degrees();
    let first_ridge = levels.iter().fold(right, |least, (_, bandwidth)| least.min(peak / bandwidth));
    let flat = (place(first_ridge, peak), place(right, peak));
    html! {
        svg role="img" aria-label="Kernels over the roofline" viewBox=(format!("0 0 {} {}", FRAME.width, FRAME.height)) {
            (FRAME.axes([&across.ticks(), &up.ticks()], ["operations per byte", "GFLOP/s"]))
            @for (name, bandwidth, from, to) in &roofs {
                line class="roof" x1=(at(from.0)) y1=(at(from.1)) x2=(at(to.0)) y2=(at(to.1)) {
                    title { (name) ": " (short(*bandwidth)) " GB/s" }
                }
            }
            @for (x, y, label) in &labels {
                text transform=(format!("translate({x:.1} {y:.1}) rotate({angle:.1})")) dy="-5" { (label) }
            }
            line class="roof" x1=(at(flat.0.0)) y1=(at(flat.0.1)) x2=(at(flat.1.0)) y2=(at(flat.1.1)) {
                title { (short(peak)) " GFLOP/s" }
            }
            text x=(at(flat.1.0 - 4.0)) y=(at(flat.1.1 - 6.0)) text-anchor="end" { (short(peak)) " GFLOP/s" }
            @for Point { kernel, intensity, speed } in &points {
                @let (x, y) = place(*intensity, *speed);
                circle cx=(at(x)) cy=(at(y)) r=(at(4.0 + 18.0 * kernel.share.sqrt())) fill=(colour(kinds, &kernel.name)) fill-opacity="0.72" stroke=(colour(kinds, &kernel.name)) {
                    title {
                        (kernel.name) "\n" (short(kernel.microseconds)) " µs, " (short(100.0 * kernel.share)) " %\n"
                        (short(*speed)) " GFLOP/s, " (short(*intensity)) " operations per byte"
                        @if let Some(part) = kernel.roofline { "\n" (format!("{:.0}", 100.0 * part)) " % of the roofline" }
                        @if !kernel.note.is_empty() { "\n" (kernel.note) }
                    }
                }
            }
        }
        (legend(kinds, &points))
        p class="note" {
            "A circle is a kernel; the larger, the more of the time it takes. Lines are the limits of " (profile.threads)
            @if profile.threads == 1 { " thread" } @else { " threads" }
            ": the bandwidth of each cache and of memory ("
            @for (index, (name, bandwidth)) in levels.iter().enumerate() {
                @if index > 0 { ", " }
                (name) " " (short(*bandwidth)) " GB/s"
            }
            "), and the fastest arithmetic. "
            @if moving > 0.0 {
                "Kernels that compute nothing, " (short(100.0 * moving)) " % of the time, are only in the table."
            }
        }
    }
}

/// The colours of the points.
fn legend(kinds: &[String], points: &[Point<'_>]) -> Markup {
    let mut entries: Vec<(&str, &str)> = Vec::new();
    for (known, colour) in kinds.iter().zip(COLOURS) {
        if points.iter().any(|point| kind(&point.kernel.name) == known) {
            entries.push((known, colour));
        }
    }
    if points.iter().any(|point| !kinds.iter().any(|known| known == kind(&point.kernel.name))) {
        entries.push(("others", COLOURS[COLOURS.len() - 1]));
    }
    html! {
        ul class="legend" {
            @for (name, colour) in entries {
                li { span style=(format!("background:{colour}")) {} (name) }
            }
        }
    }
}
