//! Learning rates by step number. A schedule is a formula with checked parameters and no state, so training can resume
//! at any step.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// How a rate depends on the step, counted from 0. Rates are at least 0 and finite as `f32`; factors are greater than
/// 0. A rate that grows by a factor at every step, as in a learning rate range test, eventually becomes infinite: the
/// trainer refuses that step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rule {
    /// A constant rate.
    Constant {
        /// The rate.
        rate: f64,
    },
    /// Multiplied by `factor` after every `every` steps.
    StepDecay {
        /// The initial rate.
        rate: f64,
        /// Steps between two changes, at least 1.
        every: u64,
        /// The factor.
        factor: f64,
    },
    /// Multiplied by `factor` at each of the given steps.
    MultiStep {
        /// The initial rate.
        rate: f64,
        /// The steps at which the rate changes, ascending.
        milestones: Vec<u64>,
        /// The factor.
        factor: f64,
    },
    /// Multiplied by `factor` after every step.
    Exponential {
        /// The initial rate.
        rate: f64,
        /// The factor.
        factor: f64,
    },
    /// Half a cosine from `rate` at step 0 down to `final_rate` at `steps`, then `final_rate` (Loshchilov and Hutter
    /// 2017, arXiv:1608.03983, without restarts).
    Cosine {
        /// The initial rate.
        rate: f64,
        /// The final rate.
        final_rate: f64,
        /// The step from which the rate is the final one, at least 1.
        steps: u64,
    },
    /// Half a cosine up to `peak_rate` at step `warm_up`, another down to the final rate at `steps`, then the final
    /// rate (Smith and Topin 2018, arXiv:1708.07120).
    OneCycle {
        /// The maximum rate.
        peak_rate: f64,
        /// The step with the maximum rate, at least 1.
        warm_up: u64,
        /// The step from which the rate is the final one, greater than `warm_up`.
        steps: u64,
        /// The initial rate divided by the maximum, at most 1; 1/25 is usual.
        start_factor: f64,
        /// The final rate divided by the maximum, at most 1; 1/250,000 is usual.
        final_factor: f64,
    },
    /// Linear from `start_factor` times another rule's initial rate up to that rate at step `steps`; from there the
    /// other rule, with steps counted from there.
    WarmUp {
        /// The length of the warm-up, at least 1.
        steps: u64,
        /// The initial rate divided by the other rule's initial rate, from 0 to 1.
        start_factor: f64,
        /// The rule that follows.
        then: Box<Rule>,
    },
}

/// A [`Rule`] whose parameters have been checked.
///
/// ```
/// use windlass::schedule::{Rule, Schedule};
/// let schedule = Schedule::new(Rule::MultiStep { rate: 0.5, milestones: vec![100, 200], factor: 0.5 })?;
/// assert_eq!([99, 100, 199, 200].map(|step| schedule.rate(step)), [0.5, 0.25, 0.25, 0.125]);
///
/// let schedule = Schedule::cosine_with_warm_up(0.4, 100, 10)?;
/// assert_eq!([0, 5, 10, 100].map(|step| schedule.rate(step)), [0.0, 0.2, 0.4, 0.0]);
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Rule", into = "Rule")]
pub struct Schedule {
    rule: Rule,
}

impl Schedule {
    /// A schedule with a rule.
    ///
    /// # Errors
    /// [`Error::Setting`] for a parameter outside its documented range.
    pub fn new(rule: Rule) -> Result<Self, Error> {
        rule.check()?;
        Ok(Schedule { rule })
    }

    /// The same rate at every step.
    ///
    /// ```
    /// # use windlass::schedule::Schedule;
    /// assert_eq!(Schedule::constant(0.1)?.rate(1_000_000), 0.1);
    /// # Ok::<(), windlass::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] for a rate that is negative or not finite.
    pub fn constant(rate: f64) -> Result<Self, Error> {
        Self::new(Rule::Constant { rate })
    }

    /// Linear from 0 up to `rate` over the first `warm_up` steps (none for 0), then half a cosine down to 0 at step
    /// `steps`.
    ///
    /// # Errors
    /// [`Error::Setting`] for a rate that is negative or not finite, or `steps` not greater than `warm_up`.
    pub fn cosine_with_warm_up(rate: f64, steps: u64, warm_up: u64) -> Result<Self, Error> {
        if steps <= warm_up {
            return Err(Error::setting(
                "steps",
                steps,
                format!("greater than `warm_up`, which is {warm_up}"),
            ));
        }
        let cosine = Rule::Cosine { rate, final_rate: 0.0, steps: steps - warm_up };
        Self::new(if warm_up == 0 {
            cosine
        } else {
            Rule::WarmUp { steps: warm_up, start_factor: 0.0, then: Box::new(cosine) }
        })
    }

    /// The rule.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// The rate of a step, counted from 0.
    ///
    /// ```
    /// # use windlass::schedule::{Rule, Schedule};
    /// let schedule = Schedule::new(Rule::StepDecay { rate: 1.0, every: 10, factor: 0.5 })?;
    /// assert_eq!([0, 9, 10, 20].map(|step| schedule.rate(step)), [1.0, 1.0, 0.5, 0.25]);
    /// # Ok::<(), windlass::Error>(())
    /// ```
    pub fn rate(&self, step: u64) -> f64 {
        self.rule.rate(step)
    }
}

impl TryFrom<Rule> for Schedule {
    type Error = Error;

    fn try_from(rule: Rule) -> Result<Self, Error> {
        Schedule::new(rule)
    }
}

impl From<Schedule> for Rule {
    fn from(schedule: Schedule) -> Rule {
        schedule.rule
    }
}

impl Rule {
    fn rate(&self, step: u64) -> f64 {
        match *self {
            Rule::Constant { rate } => rate,
            Rule::StepDecay { rate, every, factor } => rate * factor.powf((step / every) as f64),
            Rule::MultiStep { rate, ref milestones, factor } => {
                let passed = milestones.partition_point(|&milestone| milestone <= step);
                rate * factor.powf(passed as f64)
            }
            Rule::Exponential { rate, factor } => rate * factor.powf(step as f64),
            Rule::Cosine { rate, final_rate, steps } => half_cosine(rate, final_rate, step, steps),
            Rule::OneCycle { peak_rate, warm_up, steps, start_factor, final_factor } => {
                if step < warm_up {
                    half_cosine(peak_rate * start_factor, peak_rate, step, warm_up)
                } else {
                    half_cosine(peak_rate, peak_rate * final_factor, step - warm_up, steps - warm_up)
                }
            }
            Rule::WarmUp { steps, start_factor, ref then } => {
                if step < steps {
                    let progress = step as f64 / steps as f64;
                    then.rate(0) * (start_factor + (1.0 - start_factor) * progress)
                } else {
                    then.rate(step - steps)
                }
            }
        }
    }

    fn check(&self) -> Result<(), Error> {
        match self {
            Rule::Constant { rate } => check_rate("constant.rate", *rate),
            Rule::StepDecay { rate, every, factor } => {
                check_rate("step_decay.rate", *rate)?;
                check_above("step_decay.every", *every, 0)?;
                check_factor("step_decay.factor", *factor, f64::MAX)
            }
            Rule::MultiStep { rate, milestones, factor } => {
                check_rate("multi_step.rate", *rate)?;
                if !milestones.is_sorted_by(|left, right| left < right) {
                    let value = format!("{milestones:?}");
                    return Err(Error::setting("multi_step.milestones", value, "in ascending order"));
                }
                check_factor("multi_step.factor", *factor, f64::MAX)?;
                let last = rate * factor.powf(milestones.len() as f64);
                check_rate("multi_step.rate after the last milestone", last)
            }
            Rule::Exponential { rate, factor } => {
                check_rate("exponential.rate", *rate)?;
                check_factor("exponential.factor", *factor, f64::MAX)
            }
            Rule::Cosine { rate, final_rate, steps } => {
                check_rate("cosine.rate", *rate)?;
                check_rate("cosine.final_rate", *final_rate)?;
                check_above("cosine.steps", *steps, 0)
            }
            Rule::OneCycle { peak_rate, warm_up, steps, start_factor, final_factor } => {
                check_rate("one_cycle.peak_rate", *peak_rate)?;
                check_above("one_cycle.warm_up", *warm_up, 0)?;
                check_above("one_cycle.steps", *steps, *warm_up)?;
                check_factor("one_cycle.start_factor", *start_factor, 1.0)?;
                check_factor("one_cycle.final_factor", *final_factor, 1.0)
            }
            Rule::WarmUp { steps, start_factor, then } => {
                check_above("warm_up.steps", *steps, 0)?;
                if !(0.0..=1.0).contains(start_factor) {
                    return Err(Error::setting("warm_up.start_factor", start_factor, "from 0 to 1"));
                }
                then.check()
            }
        }
    }
}

/// From `from` at step 0 to `to` at `steps` and after.
fn half_cosine(from: f64, to: f64, step: u64, steps: u64) -> f64 {
    if step >= steps {
        return to;
    }
    to + (from - to) * (1.0 + (PI * step as f64 / steps as f64).cos()) / 2.0
}

fn check_rate(setting: &str, rate: f64) -> Result<(), Error> {
    // Steps use the rate as an f32.
    if (rate as f32).is_finite() && rate >= 0.0 {
        Ok(())
    } else {
        Err(Error::setting(setting, rate, "at least 0, and finite as an f32"))
    }
}

fn check_factor(setting: &str, factor: f64, most: f64) -> Result<(), Error> {
    if factor > 0.0 && factor <= most {
        Ok(())
    } else if most == f64::MAX {
        Err(Error::setting(setting, factor, "finite and greater than 0"))
    } else {
        Err(Error::setting(setting, factor, format!("greater than 0 and at most {most}")))
    }
}

fn check_above(setting: &str, value: u64, bound: u64) -> Result<(), Error> {
    if value > bound { Ok(()) } else { Err(Error::setting(setting, value, format!("greater than {bound}"))) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(rule: Rule, expected: &[(u64, f64)]) {
        let schedule = Schedule::new(rule).unwrap();
        for &(step, expected) in expected {
            let got = schedule.rate(step);
            assert!(
                (got - expected).abs() <= 1e-12 * expected.abs(),
                "{:?} at {step}: {got}, not {expected}",
                schedule.rule()
            );
        }
    }

    // The expected values are those of PyTorch's StepLR, MultiStepLR, ExponentialLR, CosineAnnealingLR, LinearLR and
    // OneCycleLR.

    #[test]
    fn steps_of_one_factor() {
        check(Rule::Constant { rate: 0.4 }, &[(0, 0.4), (u64::MAX, 0.4)]);
        check(
            Rule::StepDecay { rate: 0.4, every: 3, factor: 0.5 },
            &[(0, 0.4), (2, 0.4), (3, 0.2), (5, 0.2), (6, 0.1), (9, 0.05)],
        );
        check(
            Rule::MultiStep { rate: 0.4, milestones: vec![3, 7], factor: 0.1 },
            &[(0, 0.4), (2, 0.4), (3, 0.04), (6, 0.04), (7, 0.004), (9, 0.004)],
        );
        check(
            Rule::Exponential { rate: 0.4, factor: 0.9 },
            &[(0, 0.4), (1, 0.36), (2, 0.324), (9, 0.15496819560000008)],
        );
    }

    #[test]
    fn cosine_goes_down_and_stays() {
        check(
            Rule::Cosine { rate: 0.4, final_rate: 0.01, steps: 100 },
            &[
                (0, 0.4),
                (10, 0.39045602067755497),
                (50, 0.205),
                (99, 0.010096220728682338),
                (100, 0.01),
                (u64::MAX, 0.01),
            ],
        );
    }

    #[test]
    fn one_cycle_goes_up_and_down() {
        check(
            Rule::OneCycle {
                peak_rate: 0.4,
                warm_up: 29,
                steps: 99,
                start_factor: 1.0 / 25.0,
                final_factor: 4e-6,
            },
            &[
                (0, 0.016),
                (10, 0.11806557938564033),
                (29, 0.4),
                (30, 0.39979861411380974),
                (50, 0.3175573802302928),
                (99, 1.6e-06),
                (100, 1.6e-06),
            ],
        );
    }

    #[test]
    fn warm_up_leads_to_any_rule() {
        let constant = Box::new(Rule::Constant { rate: 0.4 });
        check(
            Rule::WarmUp { steps: 4, start_factor: 0.25, then: constant },
            &[(0, 0.1), (1, 0.175), (2, 0.25), (3, 0.325), (4, 0.4), (9, 0.4)],
        );
        let decay = Box::new(Rule::StepDecay { rate: 0.4, every: 3, factor: 0.5 });
        check(
            Rule::WarmUp { steps: 2, start_factor: 0.5, then: decay },
            &[(0, 0.2), (1, 0.3), (2, 0.4), (4, 0.4), (5, 0.2)],
        );
        assert_eq!(Schedule::cosine_with_warm_up(0.4, 10, 0).unwrap().rate(0), 0.4);
    }

    #[test]
    fn parameters_out_of_range_are_refused() {
        let one_cycle = |warm_up, steps, start_factor, final_factor| Rule::OneCycle {
            peak_rate: 0.1,
            warm_up,
            steps,
            start_factor,
            final_factor,
        };
        let warm_up = |steps, start_factor, rate| Rule::WarmUp {
            steps,
            start_factor,
            then: Box::new(Rule::Constant { rate }),
        };
        for (rule, setting) in [
            (Rule::Constant { rate: -0.1 }, "constant.rate"),
            (Rule::Constant { rate: f64::NAN }, "constant.rate"),
            (Rule::Constant { rate: 1e300 }, "constant.rate"),
            (Rule::Constant { rate: f64::INFINITY }, "constant.rate"),
            (Rule::StepDecay { rate: -1.0, every: 1, factor: 0.5 }, "step_decay.rate"),
            (Rule::StepDecay { rate: 0.1, every: 0, factor: 0.5 }, "step_decay.every"),
            (Rule::StepDecay { rate: 0.1, every: 1, factor: 0.0 }, "step_decay.factor"),
            (Rule::MultiStep { rate: 0.1, milestones: vec![3, 3], factor: 0.5 }, "multi_step.milestones"),
            (Rule::MultiStep { rate: 0.1, milestones: vec![3, 1], factor: 0.5 }, "multi_step.milestones"),
            (Rule::MultiStep { rate: 0.1, milestones: vec![], factor: f64::NAN }, "multi_step.factor"),
            (
                Rule::MultiStep { rate: 0.1, milestones: vec![1, 2], factor: 1e20 },
                "multi_step.rate after the last milestone",
            ),
            (Rule::Exponential { rate: 0.1, factor: f64::INFINITY }, "exponential.factor"),
            (Rule::Exponential { rate: f64::NAN, factor: 0.9 }, "exponential.rate"),
            (Rule::Cosine { rate: 0.1, final_rate: 0.0, steps: 0 }, "cosine.steps"),
            (Rule::Cosine { rate: 0.1, final_rate: -0.1, steps: 1 }, "cosine.final_rate"),
            (one_cycle(0, 10, 0.1, 0.1), "one_cycle.warm_up"),
            (one_cycle(10, 10, 0.1, 0.1), "one_cycle.steps"),
            (one_cycle(3, 10, 1.1, 0.1), "one_cycle.start_factor"),
            (one_cycle(3, 10, 0.1, 0.0), "one_cycle.final_factor"),
            (warm_up(0, 0.0, 0.1), "warm_up.steps"),
            (warm_up(1, 1.5, 0.1), "warm_up.start_factor"),
            (warm_up(1, 0.0, -0.1), "constant.rate"),
        ] {
            let message = Schedule::new(rule.clone()).unwrap_err().to_string();
            assert!(message.starts_with(&format!("`{setting}` is ")), "{rule:?}: {message}");
        }
        assert_eq!(
            Schedule::cosine_with_warm_up(0.1, 5, 5).unwrap_err().to_string(),
            "`steps` is 5 but must be greater than `warm_up`, which is 5"
        );
    }

    #[test]
    fn serde_checks_what_it_reads() {
        let schedule = Schedule::cosine_with_warm_up(0.5, 10, 2).unwrap();
        let text = serde_json::to_string(&schedule).unwrap();
        assert_eq!(
            text,
            r#"{"kind":"warm_up","steps":2,"start_factor":0.0,"then":{"kind":"cosine","rate":0.5,"final_rate":0.0,"steps":8}}"#
        );
        assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), schedule);
        let error = serde_json::from_str::<Schedule>(r#"{"kind":"constant","rate":-1.0}"#).unwrap_err();
        assert!(error.to_string().contains("`constant.rate` is -1"), "{error}");
        assert!(serde_json::from_str::<Schedule>(r#"{"kind":"unheard of"}"#).is_err());
    }

    fn rules() -> impl Strategy<Value = Rule> {
        let rule = prop_oneof![
            (0.0..1.0, 1u64.., 0.01..1.0).prop_map(|(rate, every, factor)| Rule::StepDecay {
                rate,
                every,
                factor
            }),
            (0.0..1.0, 0.01..1.0).prop_map(|(rate, factor)| Rule::Exponential { rate, factor }),
            (0.0..1.0, 0.0..1.0, 1u64..).prop_map(|(a, b, steps)| Rule::Cosine {
                rate: f64::max(a, b),
                final_rate: f64::min(a, b),
                steps
            }),
            (0.0..1.0, 1u64..1000, 1u64..1000, 0.01..1.0, 0.01..1.0).prop_map(
                |(peak_rate, warm_up, rest, s, f)| {
                    let steps = warm_up + rest;
                    Rule::OneCycle { peak_rate, warm_up, steps, start_factor: s, final_factor: f }
                }
            ),
        ];
        (rule, prop::option::of((1u64..1000, 0.0..1.0))).prop_map(|(rule, warm_up)| match warm_up {
            None => rule,
            Some((steps, start_factor)) => Rule::WarmUp { steps, start_factor, then: Box::new(rule) },
        })
    }

    proptest! {
        #[test]
        fn rates_stay_between_0_and_the_largest(rule in rules(), step: u64, early in 0u64..2000) {
            let schedule = Schedule::new(rule).unwrap();
            for step in [step, early] {
                let rate = schedule.rate(step);
                prop_assert!((0.0..=1.0).contains(&rate), "{} at {}", rate, step);
            }
        }
    }
}
