//! Changes of the values of pixels.

/// The share of red, green and blue in the grey of a pixel (ITU-R BT.601).
const GREY: [f64; 3] = [0.299, 0.587, 0.114];

/// Multiplies the distance of every value from `center`.
pub(super) fn scale_about(image: &mut [u8], center: f64, factor: f64) {
    for pixel in image {
        // The conversion truncates and saturates at 0 and 255, so adding a half rounds.
        *pixel = (center + factor * (f64::from(*pixel) - center) + 0.5) as u8;
    }
}

/// Multiplies the distance of every pixel of an image of three channels from its grey.
pub(super) fn saturate(image: &mut [u8], factor: f64) {
    for_each_color(image, |color| {
        let grey: f64 = color.iter().zip(GREY).map(|(value, share)| value * share).sum();
        color.map(|value| grey + factor * (value - grey))
    });
}

/// Turns the colour of every pixel of an image of three channels about the grey axis, by a share of the full circle; a
/// third makes red green, green blue and blue red.
pub(super) fn hue(image: &mut [u8], turn: f64) {
    let (sin, cos) = (std::f64::consts::TAU * turn).sin_cos();
    let (mean, cross) = ((1.0 - cos) / 3.0, sin / 3f64.sqrt());
    for_each_color(image, |[red, green, blue]| {
        let grey = mean * (red + green + blue);
        [
            grey + cos * red + cross * (blue - green),
            grey + cos * green + cross * (red - blue),
            grey + cos * blue + cross * (green - red),
        ]
    });
}

fn for_each_color(image: &mut [u8], change: impl Fn([f64; 3]) -> [f64; 3]) {
    let area = image.len() / 3;
    let (red, rest) = image.split_at_mut(area);
    let (green, blue) = rest.split_at_mut(area);
    for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
        let changed = change([*red, *green, *blue].map(f64::from));
        // The conversion truncates and saturates at 0 and 255, so adding a half rounds.
        [*red, *green, *blue] = changed.map(|value| (value + 0.5) as u8);
    }
}
