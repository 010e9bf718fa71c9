//! Sets of options that together cover every path: vector widths, algorithms and layouts in every combination, each
//! with random threads, batches, passes, panels, accuracy and costs.

use serde_json::Value;
use windlass_compiler::codegen::available_vector_bits;
use windlass_compiler::pass::PassOptions;
use windlass_compiler::pipeline::CompileOptions;
use windlass_compiler::plan::{Accuracy, Convolution, Costs, Features, Im2col, Layouts, PerWidth};

/// The part of the options that is the same in every run; the rest is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set {
    bits: usize,
    features: Features,
    convolution: Convolution,
    layouts: Layouts,
}

/// All sets that this CPU can run.
pub fn sets() -> Vec<Set> {
    let native = available_vector_bits().into_iter().map(|bits| (bits, Features::Native));
    let vectors: Vec<(usize, Features)> = native.chain([(128, Features::Baseline)]).collect();
    let mut sets = Vec::new();
    for convolution in [
        Convolution::ByCost,
        Convolution::Direct,
        Convolution::Im2col,
        Convolution::Winograd(2),
        Convolution::Winograd(4),
    ] {
        for layouts in [Layouts::ByChannels, Layouts::ChannelsFirst] {
            for &(bits, features) in &vectors {
                sets.push(Set { bits, features, convolution, layouts });
            }
        }
    }
    sets
}

fn one_of<T: Copy>(random: &mut fastrand::Rng, from: &[T]) -> T {
    from[random.usize(..from.len())]
}

/// Passes: mostly all, otherwise none, or all but one.
fn passes(random: &mut fastrand::Rng) -> PassOptions {
    let all = PassOptions::default().verify(true);
    match random.u8(..4) {
        0 => PassOptions::NONE.verify(true),
        1 => without_one(&all, random).unwrap_or(all),
        _ => all,
    }
}

/// Turns off one pass, by its name in the options.
fn without_one(all: &PassOptions, random: &mut fastrand::Rng) -> Option<PassOptions> {
    let mut value = serde_json::to_value(all).ok()?;
    let fields = value.as_object_mut()?;
    let names: Vec<String> = fields.keys().filter(|name| *name != "verify").cloned().collect();
    fields.insert(random.choice(names)?, Value::Bool(false));
    serde_json::from_value(value).ok()
}

/// Random costs, so that unusual tilings and algorithms are chosen.
fn costs(random: &mut fastrand::Rng) -> Costs {
    let usual = Costs::default();
    let mut some = |usual: u16| (usual / 8).max(1) * one_of(random, &[1, 4, 8, 16, 64]);
    let multiply_add = PerWidth {
        bits_128: some(usual.multiply_add.bits_128),
        bits_256: some(usual.multiply_add.bits_256),
        bits_512: some(usual.multiply_add.bits_512),
    };
    let costs = usual
        .multiply_add(multiply_add)
        .latency(some(usual.latency))
        .load(some(usual.load))
        .broadcast(some(usual.broadcast))
        .vector(some(usual.vector))
        .l2_hit_line(some(usual.l2_hit_line))
        .l2_miss_line(some(usual.l2_miss_line))
        .transform(some(usual.transform))
        .gradient_transform(some(usual.gradient_transform));
    costs
        .first_cache(one_of(random, &[1 << 10, 4 << 10, usual.first_cache]))
        .second_cache(one_of(random, &[4 << 10, 64 << 10, usual.second_cache]))
}

impl Set {
    /// The options of a set, with the rest drawn at random.
    pub fn options(&self, random: &mut fastrand::Rng) -> CompileOptions {
        let mut options = CompileOptions::default().passes(passes(random));
        let plan = &mut options.plan;
        plan.vector_bits = Some(self.bits);
        plan.features = self.features;
        plan.convolution = self.convolution;
        plan.layouts = self.layouts;
        plan.threads = random.usize(1..=3);
        plan.batch = one_of(random, &[None, Some(1), Some(2), Some(64)]);
        let panels = [
            plan.im2col,
            Im2col::Tiled { panel_bytes: 1 },
            Im2col::Tiled { panel_bytes: 1024 },
            Im2col::Whole,
        ];
        plan.im2col = one_of(random, &panels);
        plan.accuracy = one_of(random, &[Accuracy::Default, Accuracy::Strict]);
        if random.bool() {
            plan.costs = costs(random);
        }
        plan.verify_code = random.u8(..4) == 0;
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_pass_is_turned_off_by_some_draw() {
        let mut random = fastrand::Rng::with_seed(1);
        let all = PassOptions::default();
        let mut drawn = Vec::new();
        for _ in 0..200 {
            let options = without_one(&all, &mut random).unwrap();
            assert_ne!(options, all);
            if !drawn.contains(&options) {
                drawn.push(options);
            }
        }
        let fields = serde_json::to_value(all).unwrap().as_object().unwrap().len();
        assert_eq!(drawn.len(), fields - 1);
    }

    #[test]
    fn sets_differ() {
        let sets = sets();
        for (at, set) in sets.iter().enumerate() {
            assert!(!sets[..at].contains(set));
        }
    }
}
