//! Changes of where the pixels of a channel are.

/// Crops a channel, padded with `padding` black pixels, at (`top`, `left`).
pub(super) fn crop(plane: &mut [u8], width: usize, padding: usize, top: usize, left: usize) {
    let height = plane.len() / width;
    let shift_row = |row: &mut [u8]| {
        if left >= padding {
            row.copy_within(left - padding.., 0);
            row[width - (left - padding)..].fill(0);
        } else {
            row.copy_within(..width - (padding - left), padding - left);
            row[..padding - left].fill(0);
        }
    };
    plane.chunks_exact_mut(width).for_each(shift_row);
    if top >= padding {
        plane.copy_within((top - padding) * width.., 0);
        plane[(height - (top - padding)) * width..].fill(0);
    } else {
        plane.copy_within(..(height - (padding - top)) * width, (padding - top) * width);
        plane[..(padding - top) * width].fill(0);
    }
}

/// Enlarges a part of a channel to the size of the channel, by bilinear interpolation.
pub(super) fn resize(plane: &mut [u8], width: usize, (corner, sizes): ([usize; 2], [usize; 2])) {
    let height = plane.len() / width;
    if sizes == [height, width] {
        return;
    }
    // The centre of a pixel of the result in the channel, within the centres of the part's pixels.
    let source = |axis: usize, place: usize, size: usize| {
        let within = (place as f64 + 0.5) * sizes[axis] as f64 / size as f64 - 0.5;
        corner[axis] as f64 + within.clamp(0.0, (sizes[axis] - 1) as f64)
    };
    resample(plane, width, |y, x| [source(0, y, height), source(1, x, width)]);
}

/// Rotates a channel about its centre, counter-clockwise; what comes from outside is black.
pub(super) fn rotate(plane: &mut [u8], width: usize, angle: f64) {
    let center = [plane.len() / width, width].map(|size| (size - 1) as f64 / 2.0);
    let (sin, cos) = angle.sin_cos();
    resample(plane, width, |y, x| {
        let (y, x) = (y as f64 - center[0], x as f64 - center[1]);
        [center[0] + cos * y + sin * x, center[1] + cos * x - sin * y]
    });
}

/// Fills a square around a pixel with black, where it is within the channel.
pub(super) fn cut_out(plane: &mut [u8], width: usize, center: [usize; 2], size: usize) {
    let height = plane.len() / width;
    let span = |center: usize, limit: usize| {
        let start = center.saturating_sub(size / 2);
        start..(center + (size - size / 2).min(limit)).min(limit)
    };
    let (rows, columns) = (span(center[0], height), span(center[1], width));
    plane
        .chunks_exact_mut(width)
        .take(rows.end)
        .skip(rows.start)
        .for_each(|row| row[columns.clone()].fill(0));
}

/// Replaces every pixel by the one at a place of the channel as it was; `source` gives its row and column.
fn resample(plane: &mut [u8], width: usize, source: impl Fn(usize, usize) -> [f64; 2]) {
    let before = plane.to_vec();
    for (y, row) in plane.chunks_exact_mut(width).enumerate() {
        for (x, pixel) in row.iter_mut().enumerate() {
            // The conversion truncates, so adding a half rounds.
            *pixel = (interpolated(&before, width, source(y, x)) + 0.5) as u8;
        }
    }
}

/// The value between the four pixels around a place; black outside.
fn interpolated(plane: &[u8], width: usize, [y, x]: [f64; 2]) -> f64 {
    let height = plane.len() / width;
    let at = |y: f64, x: f64| {
        let inside = (0.0..height as f64).contains(&y) && (0.0..width as f64).contains(&x);
        if inside { f64::from(plane[y as usize * width + x as usize]) } else { 0.0 }
    };
    let (top, left) = (y.floor(), x.floor());
    let (down, right) = (y - top, x - left);
    let along = |y: f64| at(y, left) * (1.0 - right) + at(y, left + 1.0) * right;
    along(top) * (1.0 - down) + along(top + 1.0) * down
}
