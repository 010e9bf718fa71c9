//! What charts share: their frame, colours, and numbers in few digits.

use maud::{Markup, html};

/// Colours of series on light and dark ground; the last one is for all others.
pub(super) const COLOURS: [&str; 8] =
    ["#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#3fa7a0", "#a9825f", "#8a94a0"];

/// The size of a chart, and of the area inside its axes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) width: f64,
    pub(super) height: f64,
}

pub(super) const LEFT: f64 = 86.0;
const RIGHT: f64 = 16.0;
pub(super) const TOP: f64 = 14.0;
const BOTTOM: f64 = 46.0;

impl Frame {
    /// Where a share of the horizontal axis is.
    pub(super) fn x(self, share: f64) -> f64 {
        LEFT + share * (self.width - LEFT - RIGHT)
    }

    /// Where a share of the vertical axis is, from below.
    pub(super) fn y(self, share: f64) -> f64 {
        self.height - BOTTOM - share * (self.height - TOP - BOTTOM)
    }

    /// The lines and labels of both axes, at shares of them.
    pub(super) fn axes(self, [across, up]: [&[(f64, String)]; 2], [title, side]: [&str; 2]) -> Markup {
        let middle = (self.y(0.0) + self.y(1.0)) / 2.0;
        html! {
            @for (share, label) in across {
                line class="grid" x1=(at(self.x(*share))) x2=(at(self.x(*share))) y1=(at(self.y(0.0))) y2=(at(self.y(1.0))) {}
                text x=(at(self.x(*share))) y=(at(self.y(0.0) + 16.0)) text-anchor="middle" { (label) }
            }
            @for (share, label) in up {
                line class="grid" x1=(at(self.x(0.0))) x2=(at(self.x(1.0))) y1=(at(self.y(*share))) y2=(at(self.y(*share))) {}
                text x=(at(LEFT - 7.0)) y=(at(self.y(*share) + 4.0)) text-anchor="end" { (label) }
            }
            text class="axis" x=(at((self.x(0.0) + self.x(1.0)) / 2.0)) y=(at(self.height - 8.0)) text-anchor="middle" { (title) }
            text class="axis" x="14" y=(at(middle)) text-anchor="middle" transform=(format!("rotate(-90 14 {middle:.1})")) { (side) }
        }
    }
}

/// A coordinate.
pub(super) fn at(place: f64) -> String {
    format!("{place:.1}")
}

/// A number in three digits.
pub(super) fn short(number: f64) -> String {
    match number.abs() {
        size if size >= 100.0 => format!("{number:.0}"),
        size if size >= 10.0 => format!("{number:.1}"),
        size if size >= 1.0 || size == 0.0 => format!("{number:.2}"),
        _ => format!("{number:.3}"),
    }
}

/// Bytes in the fitting unit.
pub(super) fn bytes(count: f64) -> String {
    match count {
        count if count < 1024.0 => format!("{count:.0}\u{a0}B"),
        count if count < 1024.0 * 1024.0 => format!("{}\u{a0}KiB", short(count / 1024.0)),
        count if count < 1024.0 * 1024.0 * 1024.0 => format!("{}\u{a0}MiB", short(count / 1024.0 / 1024.0)),
        count => format!("{}\u{a0}GiB", short(count / 1024.0 / 1024.0 / 1024.0)),
    }
}
