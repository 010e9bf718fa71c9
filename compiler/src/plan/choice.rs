//! The planner's choices: the candidates, their expected times and the reasons, to print them and to compare them with
//! measurements. The time models are defined with the algorithms.

use std::fmt;

use super::{Accuracy, Convolution, PlanOptions};
use crate::entity::NodeId;
use crate::graph::{Graph, Node, describe};

/// The choice of one algorithm. A node that is computed in parts has a choice for each part.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The node, in the graph of the plan.
    pub node: NodeId,
    /// The kernel that the choice decides.
    pub kernel: String,
    /// Whether the values that depend only on the node's weight are computed when parameters change instead of in each
    /// run.
    pub is_prepacked: bool,
    /// The candidates, of which one is taken.
    pub candidates: Vec<Candidate>,
}

/// An algorithm that was considered.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The algorithm.
    pub algorithm: Convolution,
    /// The time of one item on all threads according to the model, in microseconds; `None` if the algorithm is not
    /// possible.
    pub microseconds: Option<f64>,
    /// Why it was taken or not.
    pub verdict: Verdict,
}

/// Why a candidate was or was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Taken: the model predicts the least time.
    Fastest,
    /// Taken: it had the least measured time.
    MeasuredFastest,
    /// Taken: the options select it.
    Asked,
    /// Taken: it is the only candidate.
    Only,
    /// Not taken: the model predicts more time than for another.
    Slower,
    /// Not taken: another had less measured time.
    MeasuredSlower,
    /// Not taken: the options select another.
    NotAsked,
    /// Not possible if every result must be a sum of the products as written.
    Inaccurate,
    /// Not possible with groups.
    Groups,
    /// Not possible with a stride.
    Stride,
    /// Not possible with a dilation.
    Dilation,
    /// Not possible for an input whose channels are not contiguous.
    ChannelsFirst,
    /// Not possible with this window.
    Window,
}

impl Verdict {
    /// Whether the candidate was taken.
    pub fn is_taken(self) -> bool {
        match self {
            Verdict::Fastest | Verdict::MeasuredFastest | Verdict::Asked | Verdict::Only => true,
            Verdict::Slower
            | Verdict::MeasuredSlower
            | Verdict::NotAsked
            | Verdict::Inaccurate
            | Verdict::Groups
            | Verdict::Stride
            | Verdict::Dilation
            | Verdict::ChannelsFirst
            | Verdict::Window => false,
        }
    }

    /// Whether the candidate could be taken with other options at the same accuracy.
    pub fn is_possible(self) -> bool {
        self.is_taken() || matches!(self, Verdict::Slower | Verdict::MeasuredSlower | Verdict::NotAsked)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Fastest => "taken: the fastest by the model",
            Verdict::MeasuredFastest => "taken: measured to be the fastest",
            Verdict::Asked => "taken: the options ask for it",
            Verdict::Only => "taken: nothing else is possible",
            Verdict::Slower => "slower by the model",
            Verdict::MeasuredSlower => "another was measured to be faster",
            Verdict::NotAsked => "the options ask for another",
            Verdict::Inaccurate => "not with strict accuracy",
            Verdict::Groups => "not with groups",
            Verdict::Stride => "not with a stride",
            Verdict::Dilation => "not with a dilation",
            Verdict::ChannelsFirst => "not with channels first",
            Verdict::Window => "not with this window",
        })
    }
}

impl Choice {
    /// Decides according to the options, else the measurements, else the least time of the model. `times` are those of
    /// the candidates in sixteenths of a cycle, or why they are not possible. The first candidate is always possible,
    /// and is taken if the selected one is not.
    pub(super) fn decide(
        node: NodeId,
        kernel: String,
        is_prepacked: bool,
        options: &PlanOptions,
        tuned: Option<Convolution>,
        times: &[(Convolution, Result<usize, Verdict>)],
    ) -> Choice {
        let times: Vec<_> = times
            .iter()
            .map(|&(algorithm, time)| (algorithm, allowed(options.accuracy, algorithm, time)))
            .collect();
        let possible = || times.iter().filter_map(|&(algorithm, time)| Some((algorithm, time.ok()?)));
        let is_possible = |wanted: Convolution| possible().any(|(algorithm, _)| algorithm == wanted);
        let asked = match options.convolution {
            Convolution::ByCost => None,
            Convolution::Direct | Convolution::Im2col => Some(Convolution::Direct),
            winograd @ Convolution::Winograd(_) => Some(winograd),
        };
        let (taken, because, others) = match (asked, tuned.filter(|&tuned| is_possible(tuned))) {
            _ if possible().count() == 1 => (times[0].0, Verdict::Only, Verdict::Slower),
            (Some(asked), _) if is_possible(asked) => (asked, Verdict::Asked, Verdict::NotAsked),
            (Some(_), _) => (times[0].0, Verdict::Only, Verdict::NotAsked),
            (None, Some(tuned)) => (tuned, Verdict::MeasuredFastest, Verdict::MeasuredSlower),
            // If times are equal, the first is taken.
            (None, None) => {
                let fastest = possible().min_by_key(|&(_, time)| time);
                (fastest.map_or(times[0].0, |(algorithm, _)| algorithm), Verdict::Fastest, Verdict::Slower)
            }
        };
        let candidates = times
            .iter()
            .map(|&(algorithm, time)| Candidate {
                algorithm,
                microseconds: time.ok().map(|time| options.costs.microseconds(time)),
                verdict: match time {
                    Err(verdict) => verdict,
                    Ok(_) if algorithm == taken => because,
                    Ok(_) => others,
                },
            })
            .collect();
        Choice { node, kernel, is_prepacked, candidates }
    }

    /// The algorithm that was taken.
    pub fn taken(&self) -> Convolution {
        let taken = self.candidates.iter().find(|candidate| candidate.verdict.is_taken());
        taken.map_or(Convolution::Direct, |candidate| candidate.algorithm)
    }
}

fn allowed(
    accuracy: Accuracy,
    algorithm: Convolution,
    time: Result<usize, Verdict>,
) -> Result<usize, Verdict> {
    match (accuracy, algorithm) {
        (Accuracy::Strict, Convolution::Winograd(_)) => time.and(Err(Verdict::Inaccurate)),
        _ => time,
    }
}

/// Every choice of a plan, in node order. Prints as a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choices(pub Vec<Choice>);

impl fmt::Display for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|choice| choice.kernel.chars().count()).max().unwrap_or(0);
        for choice in &self.0 {
            for (index, candidate) in choice.candidates.iter().enumerate() {
                let kernel = if index == 0 { choice.kernel.as_str() } else { "" };
                let algorithm = candidate.algorithm.to_string();
                let time = match candidate.microseconds {
                    Some(microseconds) => format!("{microseconds:.1} µs"),
                    None => "-".to_owned(),
                };
                writeln!(f, "{kernel:width$}  {algorithm:13}  {time:>11}  {}", candidate.verdict)?;
            }
        }
        Ok(())
    }
}

/// The key of a node's algorithm in [`PlanOptions::tuned`]: everything that its speed depends on, except for the
/// machine and the number of items. `vector_bits` is the width of the target's vectors.
pub fn tuning_key(
    graph: &Graph,
    node: &Node,
    is_prepacked: bool,
    options: &PlanOptions,
    vector_bits: usize,
) -> String {
    format!(
        "{}; weights {}; {} bits, {:?}, {} threads",
        describe(graph, node),
        if is_prepacked { "prepacked" } else { "changing" },
        vector_bits,
        options.features,
        options.threads,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECT: Convolution = Convolution::Direct;
    const TWO: Convolution = Convolution::Winograd(2);
    const FOUR: Convolution = Convolution::Winograd(4);
    const TIMES: [(Convolution, Result<usize, Verdict>); 3] =
        [(DIRECT, Ok(96_000)), (TWO, Ok(60_000)), (FOUR, Ok(48_000))];

    fn decide(
        options: &PlanOptions,
        tuned: Option<Convolution>,
        times: &[(Convolution, Result<usize, Verdict>)],
    ) -> (Convolution, Vec<Verdict>) {
        let choice = Choice::decide(NodeId::new(3), "c1.conv".to_owned(), true, options, tuned, times);
        let taken: Vec<_> = choice.candidates.iter().filter(|one| one.verdict.is_taken()).collect();
        assert_eq!(taken.len(), 1, "one is taken of {choice:?}");
        assert_eq!(taken[0].algorithm, choice.taken());
        (choice.taken(), choice.candidates.iter().map(|candidate| candidate.verdict).collect())
    }

    fn forced(convolution: Convolution) -> PlanOptions {
        PlanOptions::default().convolution(convolution)
    }

    #[test]
    fn the_least_time_wins() {
        use Verdict::{Fastest, Slower};
        let options = PlanOptions::default();
        assert_eq!(decide(&options, None, &TIMES), (FOUR, vec![Slower, Slower, Fastest]));
        let even = [(DIRECT, Ok(5)), (TWO, Ok(5)), (FOUR, Ok(5))];
        assert_eq!(decide(&options, None, &even), (DIRECT, vec![Fastest, Slower, Slower]));
    }

    #[test]
    fn what_was_measured_goes_before_the_model() {
        use Verdict::{MeasuredFastest, MeasuredSlower};
        let expected = (TWO, vec![MeasuredSlower, MeasuredFastest, MeasuredSlower]);
        assert_eq!(decide(&PlanOptions::default(), Some(TWO), &TIMES), expected);
        // An algorithm that is not possible here is not taken.
        let (taken, _) = decide(&PlanOptions::default(), Some(Convolution::Winograd(7)), &TIMES);
        assert_eq!(taken, FOUR);
    }

    #[test]
    fn what_is_asked_for_goes_before_what_was_measured() {
        use Verdict::{Asked, NotAsked};
        for direct in [Convolution::Direct, Convolution::Im2col] {
            let expected = (DIRECT, vec![Asked, NotAsked, NotAsked]);
            assert_eq!(decide(&forced(direct), Some(TWO), &TIMES), expected);
        }
        assert_eq!(decide(&forced(FOUR), Some(TWO), &TIMES), (FOUR, vec![NotAsked, NotAsked, Asked]));
        let (taken, _) = decide(&forced(Convolution::Winograd(7)), None, &TIMES);
        assert_eq!(taken, DIRECT);
    }

    #[test]
    fn strict_accuracy_goes_before_everything() {
        use Verdict::{Inaccurate, Only};
        let expected = (DIRECT, vec![Only, Inaccurate, Inaccurate]);
        for convolution in [Convolution::ByCost, TWO, FOUR] {
            let options = forced(convolution).accuracy(Accuracy::Strict);
            for tuned in [None, Some(TWO), Some(FOUR)] {
                assert_eq!(decide(&options, tuned, &TIMES), expected);
            }
        }
    }

    #[test]
    fn what_is_not_possible_says_why() {
        use Verdict::{Groups, Only};
        let times = [(DIRECT, Ok(5)), (TWO, Err(Groups)), (FOUR, Err(Groups))];
        assert_eq!(decide(&forced(FOUR), Some(FOUR), &times), (DIRECT, vec![Only, Groups, Groups]));
    }

    #[test]
    fn prints_as_a_table() {
        let times = [(DIRECT, Ok(96_000)), (TWO, Err(Verdict::Stride)), (FOUR, Ok(48_000))];
        let options = PlanOptions::default();
        let of =
            |kernel: &str| Choice::decide(NodeId::new(3), kernel.to_owned(), true, &options, None, &times);
        let choices = Choices(vec![of("c1.conv"), of("layer2.c2.conv")]);
        let expected = "\
c1.conv         direct              2.0 µs  slower by the model
                Winograd 2x2             -  not with a stride
                Winograd 4x4        1.0 µs  taken: the fastest by the model
layer2.c2.conv  direct              2.0 µs  slower by the model
                Winograd 2x2             -  not with a stride
                Winograd 4x4        1.0 µs  taken: the fastest by the model
";
        assert_eq!(choices.to_string(), expected, "\n{choices}");
    }
}
