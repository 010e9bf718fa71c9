//! Initial values of parameters and states, drawn from the distributions of [`windlass_compiler::graph::initializer`].

use ndarray::ArrayD;
use rand::Rng;
use rand::distr::Distribution;
use rand::distr::Uniform;
use rand_distr::Normal;
use windlass_compiler::graph::Graph;
use windlass_compiler::graph::initializer::Initializer;

use crate::available;
use crate::error::Error;
use crate::random::{Purpose, hash_name, stream};
use crate::tensor::NamedTensors;

/// Draws the initial values of every parameter and state of a graph, by name.
///
/// The values of a tensor depend only on the seed, its name, its shape and its distribution: adding a layer does not
/// change the others. The generator is ChaCha8, keyed with the seed and the name's FNV-1a hash; normal values use the
/// ziggurat algorithm.
///
/// ```
/// use windlass::{Builder, Layer, initialize};
/// let mut builder = Builder::new("net");
/// let x = builder.input("x", &[4])?;
/// let y = builder.layer("f1", &Layer::linear(2), x)?;
/// builder.output("y", y)?;
/// let values = initialize(&builder.finish()?, 42)?;
/// assert_eq!(values["f1.weight"].shape(), [2, 4]);
/// assert!(values["f1.bias"].iter().all(|&bias| bias == 0.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Setting`] for an invalid distribution: bounds or moments that are not finite, bounds in the wrong order, a
/// negative deviation. [`Error::OutOfMemory`] for a network that does not fit in memory.
pub fn initialize(graph: &Graph, seed: u64) -> Result<NamedTensors, Error> {
    let parameters =
        graph.parameters().map(|(_, parameter)| (&parameter.name, &parameter.shape, parameter.init));
    let states = graph.states().map(|(_, state)| (&state.name, &state.shape, state.init));
    let tensors: Vec<_> =
        parameters.chain(states).map(|(name, shape, init)| (name, shape.item(), init)).collect();
    // Checked together: each may fit on its own.
    let elements = tensors.iter().map(|(_, sizes, _)| count(sizes)).fold(0, usize::saturating_add);
    let bytes = elements.saturating_mul(4);
    available::check(bytes, || format!("`{}` with all its parameters", graph.name()))?;
    tensors
        .into_iter()
        .map(|(name, sizes, init)| Ok((name.clone(), initial_value(name, &sizes, init, seed)?)))
        .collect()
}

/// The number of elements of a tensor; it saturates.
fn count(sizes: &[usize]) -> usize {
    sizes.iter().fold(1, |product: usize, &size| product.saturating_mul(size))
}

/// Draws the initial value of one tensor, like [`initialize`].
///
/// # Errors
/// Those of [`initialize`].
pub fn initial_value(
    name: &str,
    sizes: &[usize],
    initializer: Initializer,
    seed: u64,
) -> Result<ArrayD<f32>, Error> {
    let mut random = stream(seed, Purpose::Initialize, hash_name(name), 0);
    let (fan_in, fan_out) = Initializer::fans(sizes);
    // A tensor without elements has a fan of zero to divide by, and nothing to draw.
    let (fan_in, fan_out) = (fan_in.max(1) as f64, fan_out.max(1) as f64);
    let refuse =
        |what: &str| Error::setting(format!("{name}: initializer"), format!("{initializer:?}"), what);
    let uniform = |low: f64, high: f64| {
        Uniform::new_inclusive(low, high).map_err(|_| refuse("bounds that are finite and in ascending order"))
    };
    let normal = |mean: f64, deviation: f64| {
        Normal::new(mean, deviation)
            .ok()
            .filter(|_| mean.is_finite() && deviation >= 0.0)
            .ok_or_else(|| refuse("a finite mean and a finite deviation of at least 0"))
    };
    Ok(match initializer {
        Initializer::Constant(value) => filled(name, sizes, || value as f32)?,
        Initializer::Uniform(low, high) => draw(name, sizes, uniform(low, high)?, &mut random)?,
        Initializer::Normal(mean, deviation) => draw(name, sizes, normal(mean, deviation)?, &mut random)?,
        Initializer::XavierUniform => {
            let bound = (6.0 / (fan_in + fan_out)).sqrt();
            draw(name, sizes, uniform(-bound, bound)?, &mut random)?
        }
        Initializer::XavierNormal => {
            draw(name, sizes, normal(0.0, (2.0 / (fan_in + fan_out)).sqrt())?, &mut random)?
        }
        Initializer::KaimingUniform => {
            let bound = (6.0 / fan_in).sqrt();
            draw(name, sizes, uniform(-bound, bound)?, &mut random)?
        }
        Initializer::KaimingNormal => draw(name, sizes, normal(0.0, (2.0 / fan_in).sqrt())?, &mut random)?,
        Initializer::Signs => filled(name, sizes, || if random.next_u32() & 1 == 0 { 1.0 } else { -1.0 })?,
    })
}

fn draw(
    name: &str,
    sizes: &[usize],
    distribution: impl Distribution<f64>,
    random: &mut impl Rng,
) -> Result<ArrayD<f32>, Error> {
    filled(name, sizes, || distribution.sample(random) as f32)
}

fn filled(name: &str, sizes: &[usize], mut value: impl FnMut() -> f32) -> Result<ArrayD<f32>, Error> {
    let mut values = available::zeros(count(sizes), || format!("`{name}`"))?;
    values.iter_mut().for_each(|place| *place = value());
    ArrayD::from_shape_vec(sizes, values)
        .map_err(|error| Error::setting(format!("{name}: shape"), format!("{sizes:?}"), error.to_string()))
}

#[cfg(test)]
mod tests {
    use windlass_compiler::graph::{Builder, Layer};

    use super::*;

    const SIZES: [usize; 4] = [64, 32, 5, 5];
    const FAN_IN: f64 = 32.0 * 25.0;
    const FAN_OUT: f64 = 64.0 * 25.0;

    fn drawn(initializer: Initializer) -> Vec<f64> {
        let tensor = initial_value("w", &SIZES, initializer, 7).unwrap();
        tensor.iter().map(|&x| f64::from(x)).collect()
    }

    /// Mean, variance, and the fourth moment over the squared variance (1.8 for uniform numbers, 3 for normal ones).
    fn moments(values: &[f64]) -> (f64, f64, f64) {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let central = |power| values.iter().map(|x| (x - mean).powi(power)).sum::<f64>() / count;
        (mean, central(2), central(4) / central(2).powi(2))
    }

    fn check(initializer: Initializer, mean: f64, variance: f64, kurtosis: f64) {
        let values = drawn(initializer);
        let (got_mean, got_variance, got_kurtosis) = moments(&values);
        let count = values.len() as f64;
        // Five standard errors of each estimate.
        assert!(
            (got_mean - mean).abs() < 5.0 * (variance / count).sqrt(),
            "{initializer:?}: mean {got_mean}"
        );
        let relative = got_variance / variance - 1.0;
        assert!(
            relative.abs() < 5.0 * ((kurtosis - 1.0) / count).sqrt(),
            "{initializer:?}: variance {got_variance}"
        );
        assert!((got_kurtosis - kurtosis).abs() < 0.15, "{initializer:?}: kurtosis {got_kurtosis}");
    }

    #[test]
    fn moments_are_those_of_the_distribution() {
        check(Initializer::Uniform(1.0, 3.0), 2.0, 1.0 / 3.0, 1.8);
        check(Initializer::Normal(-1.0, 0.5), -1.0, 0.25, 3.0);
        check(Initializer::XavierUniform, 0.0, 2.0 / (FAN_IN + FAN_OUT), 1.8);
        check(Initializer::XavierNormal, 0.0, 2.0 / (FAN_IN + FAN_OUT), 3.0);
        check(Initializer::KaimingUniform, 0.0, 2.0 / FAN_IN, 1.8);
        check(Initializer::KaimingNormal, 0.0, 2.0 / FAN_IN, 3.0);
    }

    #[test]
    fn signs_are_drawn_with_equal_probability() {
        let values = drawn(Initializer::Signs);
        assert!(values.iter().all(|value| value.abs() == 1.0));
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 5.0 / (values.len() as f64).sqrt(), "{mean}");
    }

    #[test]
    fn uniform_numbers_fill_their_bounds_and_stay_within() {
        for (initializer, bound) in [
            (Initializer::Uniform(-0.1, 0.1), 0.1),
            (Initializer::XavierUniform, (6.0 / (FAN_IN + FAN_OUT)).sqrt()),
            (Initializer::KaimingUniform, (6.0 / FAN_IN).sqrt()),
        ] {
            let values = drawn(initializer);
            let bound = f64::from(bound as f32);
            assert!(values.iter().all(|x| x.abs() <= bound), "{initializer:?}");
            assert!(values.iter().any(|&x| x > 0.999 * bound), "{initializer:?}");
            assert!(values.iter().any(|&x| x < -0.999 * bound), "{initializer:?}");
        }
    }

    #[test]
    fn constants_and_scalars() {
        assert!(drawn(Initializer::Constant(0.3)).iter().all(|&x| x == f64::from(0.3f32)));
        let scalar = initial_value("step", &[], Initializer::ONES, 0).unwrap();
        assert_eq!((scalar.ndim(), scalar.sum()), (0, 1.0));
        assert_eq!(drawn(Initializer::Uniform(2.0, 2.0))[0], 2.0);
        assert_eq!(drawn(Initializer::Normal(2.0, 0.0))[0], 2.0);
    }

    #[test]
    fn distributions_that_cannot_be_drawn_from_are_refused() {
        for initializer in [
            Initializer::Uniform(1.0, 0.0),
            Initializer::Uniform(f64::NAN, 0.0),
            Initializer::Uniform(0.0, f64::INFINITY),
            Initializer::Uniform(-f64::MAX, f64::MAX),
            Initializer::Normal(0.0, -1.0),
            Initializer::Normal(0.0, f64::INFINITY),
            Initializer::Normal(f64::NAN, 1.0),
        ] {
            let message = initial_value("c1.weight", &[2], initializer, 0).unwrap_err().to_string();
            assert!(message.starts_with("`c1.weight: initializer` is "), "{message}");
        }
    }

    fn network(hidden: &[&str]) -> Graph {
        let mut builder = Builder::new("net");
        let mut x = builder.input("x", &[8]).unwrap();
        for label in hidden {
            x = builder.layer(label, &Layer::linear(8), x).unwrap();
        }
        builder.output("y", x).unwrap();
        builder.finish().unwrap()
    }

    #[test]
    fn another_layer_does_not_change_the_others() {
        let short = initialize(&network(&["f1", "f3"]), 1).unwrap();
        let long = initialize(&network(&["f1", "f2", "f3"]), 1).unwrap();
        for (name, values) in &short {
            assert_eq!(values, &long[name], "{name}");
        }
        assert_ne!(long["f1.weight"], long["f2.weight"]);
        assert_ne!(short["f1.weight"], initialize(&network(&["f1", "f3"]), 2).unwrap()["f1.weight"]);
    }

    #[test]
    fn every_parameter_and_state_has_a_value_of_its_shape() {
        let mut builder = Builder::new("net");
        let x = builder.input("x", &[3, 8, 8]).unwrap();
        let x = builder.layer("n1", &Layer::BatchNorm { epsilon: 1e-5, momentum: 0.1 }, x).unwrap();
        builder.output("y", x).unwrap();
        let values = initialize(&builder.finish().unwrap(), 0).unwrap();
        let sums: Vec<(&str, f32)> =
            values.iter().map(|(name, value)| (name.as_str(), value.sum())).collect();
        assert_eq!(
            sums,
            [("n1.bias", 0.0), ("n1.running_mean", 0.0), ("n1.running_var", 3.0), ("n1.weight", 3.0)]
        );
    }

    #[test]
    fn the_numbers_of_a_seed_never_change() {
        let first =
            |initializer| initial_value("w", &[3], initializer, 42).unwrap().into_raw_vec_and_offset().0;
        assert_eq!(first(Initializer::Uniform(0.0, 1.0)), [0.14676355, 0.7060371, 0.86575323]);
        assert_eq!(first(Initializer::Normal(0.0, 1.0)), [-0.8003697, 1.0758888, 0.81265837]);
    }
}
