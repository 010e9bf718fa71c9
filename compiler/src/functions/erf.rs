//! The error function and its complement in double precision, for the reference evaluation.

use std::f64::consts::PI;

/// From here on, the continued fraction converges quickly and the series would cancel.
const FAR: f64 = 1.5;

/// `erfc x = 2/√π·∫ₓ^∞ e^(−t²) dt`, with a relative error below 10⁻¹³ down to the smallest normal number.
pub(super) fn erfc(x: f64) -> f64 {
    match x {
        _ if x.is_nan() => x,
        _ if x < FAR => 1.0 - erf_series(x),
        _ => tail(x),
    }
}

/// `erf x = 2/√π·∫₀ˣ e^(−t²) dt`.
pub(super) fn erf(x: f64) -> f64 {
    match x {
        _ if x.is_nan() => x,
        _ if x.abs() < FAR => erf_series(x),
        _ => (1.0 - tail(x.abs())).copysign(x),
    }
}

/// `erf x` as `2/√π·e^(−x²)·Σ 2ⁿ·x²ⁿ⁺¹/(1·3·…·(2n+1))`, whose terms all have the sign of `x` (Abramowitz and Stegun
/// 1964, 7.1.6).
fn erf_series(x: f64) -> f64 {
    if x < -6.0 {
        return -1.0;
    }
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > sum.abs() * f64::EPSILON / 4.0 {
        odd += 2.0;
        term *= 2.0 * x * x / odd;
        sum += term;
    }
    2.0 / PI.sqrt() * (-x * x).exp() * sum
}

/// `erfc x` as `e^(−x²)/√π·1/(x + (1/2)/(x + (2/2)/(x + (3/2)/(x + …))))` (7.1.14), for `x` of at least [`FAR`].
fn tail(x: f64) -> f64 {
    let fraction = (1..=120).rev().fold(x, |below, n| x + 0.5 * f64::from(n) / below);
    (-x * x).exp() / (PI.sqrt() * fraction)
}

#[cfg(test)]
mod tests {
    use super::erfc;

    #[test]
    fn known_values() {
        for (x, expected) in [
            (0.0, 1.0),
            (0.1, 0.887_537_083_981_715),
            (-0.7, 1.677_801_193_837_418_5),
            (1.0, 0.157_299_207_050_285_13),
            (1.499, 0.034_013_962_348_143_313),
            (1.5, 0.033_894_853_524_689_27),
            (2.0, 0.004_677_734_981_047_265),
            (5.0, 1.537_459_794_428_034_8e-12),
            (10.0, 2.088_487_583_762_545e-45),
            (20.0, 5.395_865_611_607_900_6e-176),
            (-3.0, 1.999_977_909_503_001_4),
            (-9.0, 2.0),
            (f64::INFINITY, 0.0),
            (f64::NEG_INFINITY, 2.0),
        ] {
            let got = erfc(x);
            assert!((got - expected).abs() <= 1e-13 * expected, "{x}: {got} instead of {expected}");
        }
        assert!(erfc(f64::NAN).is_nan());
    }
}
