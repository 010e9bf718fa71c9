//! Writes a diagram as SVG.

use std::fmt::Write as _;

use super::layout::layout;
use super::{Block, Diagram};

const MARGIN: f64 = 28.0;
const HEADER: f64 = 108.0;
const PADDING: f64 = 12.0;
const TITLE_HEIGHT: f64 = 24.0;
const LINE_HEIGHT: f64 = 15.0;
/// The mean width of a character of titles and of other lines, which limits the length of a line.
const CHARACTER: [f64; 2] = [8.2, 6.4];
/// Between a title and the share of the time.
const SHARE_GAP: f64 = 10.0;
/// The width of a block: at least, at most for its lines, and at most for its title.
const WIDTHS: [f64; 3] = [150.0, 310.0, 460.0];
/// The colours of shares from 0 to the highest.
const HEAT: [[f64; 3]; 4] =
    [[245.0, 247.0, 250.0], [255.0, 228.0, 170.0], [248.0, 150.0, 75.0], [205.0, 45.0, 35.0]];

/// The image.
pub(super) fn svg(diagram: &Diagram) -> String {
    let width = diagram.blocks.iter().map(natural_width).fold(WIDTHS[0], f64::max);
    let sizes: Vec<[f64; 2]> = diagram.blocks.iter().map(|block| [width, height(block)]).collect();
    let layout = layout(&sizes, &diagram.edges);
    let header = diagram.caption.iter().map(|line| text_width(line, CHARACTER[1])).fold(width, f64::max);
    let shift = MARGIN + (header - layout.size[0]).max(0.0) / 2.0;
    let size = [layout.size[0].max(header) + 2.0 * MARGIN, layout.size[1] + HEADER + MARGIN];
    let mut out = String::new();
    let [total_width, total_height] = size.map(f64::ceil);
    // Writing to a string does not fail.
    let _ = writeln!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{total_width}" height="{total_height}" viewBox="0 0 {total_width} {total_height}" font-family="Helvetica, Arial, sans-serif">
<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0.5 L8 4 L0 7.5 z" fill="#8a94a0"/></marker></defs>
<rect width="100%" height="100%" fill="#ffffff"/>"##
    );
    let most = diagram.blocks.iter().filter_map(|block| block.share).fold(0.0, f64::max);
    write_header(&mut out, diagram, most);
    let _ = writeln!(out, r#"<g transform="translate({shift:.1} {HEADER})">"#);
    for points in &layout.paths {
        let _ = writeln!(
            out,
            r##"<path d="{}" fill="none" stroke="#8a94a0" stroke-width="1.3" marker-end="url(#arrow)"/>"##,
            path(points)
        );
    }
    for ((block, corner), size) in diagram.blocks.iter().zip(&layout.corners).zip(&sizes) {
        write_block(&mut out, block, *corner, *size, most);
    }
    out.push_str("</g>\n</svg>\n");
    out
}

fn write_header(out: &mut String, diagram: &Diagram, most: f64) {
    let _ = writeln!(
        out,
        r##"<text x="{MARGIN}" y="34" font-size="19" font-weight="bold" fill="#1c2733">{}</text>"##,
        escaped(&diagram.name)
    );
    for (line, y) in diagram.caption.iter().zip([52, 67]) {
        let _ = writeln!(
            out,
            r##"<text x="{MARGIN}" y="{y}" font-size="11" fill="#5a6672">{}</text>"##,
            escaped(line)
        );
    }
    if most > 0.0 {
        let stops = HEAT.iter().enumerate().map(|(index, _)| {
            let place = index as f64 / (HEAT.len() - 1) as f64;
            format!(r#"<stop offset="{place:.3}" stop-color="{}"/>"#, colour(place))
        });
        let _ = writeln!(
            out,
            r##"<defs><linearGradient id="heat">{}</linearGradient></defs><rect x="{MARGIN}" y="76" width="90" height="9" rx="2" fill="url(#heat)" stroke="#b4bdc7" stroke-width="0.6"/><text x="{}" y="84" font-size="11" fill="#5a6672">of the time: 0 to {}</text>"##,
            stops.collect::<String>(),
            MARGIN + 98.0,
            percent(most)
        );
    }
}

fn write_block(out: &mut String, block: &Block, [x, y]: [f64; 2], [width, height]: [f64; 2], most: f64) {
    let heat = block.share.filter(|_| most > 0.0).map(|share| share / most);
    let fill = match (block.is_port, heat) {
        (true, _) => "#e3ecf8".to_owned(),
        (false, heat) => colour(heat.unwrap_or(0.0)),
    };
    let [ink, faint] =
        if heat.is_some_and(|heat| heat > 0.85) { ["#ffffff", "#ffe9e0"] } else { ["#1c2733", "#52606d"] };
    let radius = if block.is_port { height / 2.0 } else { 5.0 };
    let border = if block.is_port { "#8fabd0" } else { "#b4bdc7" };
    let _ = writeln!(
        out,
        r#"<g><title>{}</title><rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="{radius:.1}" fill="{fill}" stroke="{border}"/>"#,
        escaped(&block.tooltip)
    );
    let share = block.share.map(percent).unwrap_or_default();
    let room = width - 2.0 * PADDING - share_width(block);
    let (anchor, left) = if block.is_port { ("middle", x + width / 2.0) } else { ("start", x + PADDING) };
    let _ = writeln!(
        out,
        r#"<text x="{left:.1}" y="{:.1}" text-anchor="{anchor}" font-size="13" font-weight="bold" fill="{ink}">{}</text>"#,
        y + 17.0,
        escaped(&shortened(&block.title, room, CHARACTER[0]))
    );
    if !share.is_empty() {
        let _ = writeln!(
            out,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="end" font-size="11" fill="{ink}">{share}</text>"#,
            x + width - PADDING,
            y + 17.0
        );
    }
    for (index, line) in block.lines.iter().enumerate() {
        let _ = writeln!(
            out,
            r#"<text x="{left:.1}" y="{:.1}" text-anchor="{anchor}" font-size="11" fill="{faint}">{}</text>"#,
            y + TITLE_HEIGHT + 8.0 + LINE_HEIGHT * index as f64,
            escaped(&shortened(line, width - 2.0 * PADDING, CHARACTER[1]))
        );
    }
    out.push_str("</g>\n");
}

fn height(block: &Block) -> f64 {
    TITLE_HEIGHT + 2.0 + LINE_HEIGHT * block.lines.len() as f64
}

fn natural_width(block: &Block) -> f64 {
    let title = text_width(&block.title, CHARACTER[0]) + share_width(block) + 2.0 * PADDING;
    let lines = block.lines.iter().map(|line| text_width(line, CHARACTER[1]) + 2.0 * PADDING);
    lines.fold(0.0, f64::max).min(WIDTHS[1]).max(title.min(WIDTHS[2]))
}

/// The width of the share of the time and the gap before it.
fn share_width(block: &Block) -> f64 {
    block.share.map_or(0.0, |share| SHARE_GAP + text_width(&percent(share), CHARACTER[1]))
}

fn text_width(text: &str, character: f64) -> f64 {
    text.chars().count() as f64 * character
}

/// As much of a text as there is room for.
fn shortened(text: &str, room: f64, character: f64) -> String {
    let most = (room / character).round() as usize;
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Nothing for layers without a kernel of their own: others compute them.
fn percent(share: f64) -> String {
    if share < 0.0005 { String::new() } else { format!("{:.1} %", share * 100.0) }
}

/// A line through points: curved and straight in turn.
fn path(points: &[[f64; 2]]) -> String {
    let mut path = String::new();
    for (index, [x, y]) in points.iter().enumerate() {
        let _ = match index {
            0 => write!(path, "M{x:.1} {y:.1}"),
            _ if index % 2 == 1 => {
                let [from, above] = points[index - 1];
                let middle = (above + y) / 2.0;
                write!(path, " C{from:.1} {middle:.1} {x:.1} {middle:.1} {x:.1} {y:.1}")
            }
            _ => write!(path, " L{x:.1} {y:.1}"),
        };
    }
    path
}

/// The colour of a share between 0 and 1, the highest.
fn colour(heat: f64) -> String {
    let place = heat.clamp(0.0, 1.0) * (HEAT.len() - 1) as f64;
    let index = (place as usize).min(HEAT.len() - 2);
    let part = place - index as f64;
    let channel = |channel: usize| {
        (HEAT[index][channel] * (1.0 - part) + HEAT[index + 1][channel] * part).round() as u8
    };
    format!("#{:02x}{:02x}{:02x}", channel(0), channel(1), channel(2))
}

/// A text in XML, which has no control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push('\n'),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}
