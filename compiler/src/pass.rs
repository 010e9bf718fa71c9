//! The pass driver: runs the passes in order, and times, verifies and reports each one.
//!
//! The passes themselves are in [`crate::passes`].

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::GraphError;
use crate::graph::{Graph, verify};
use crate::passes::{self, Pass};

/// What a graph is optimised for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Forward only; parameters are fixed during a run.
    Inference,
    /// Forward, backward and update.
    Training,
}

/// Which passes run. All are on by default. Turning one off changes a program's speed, and its results only by
/// rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PassOptions {
    /// Evaluates constant expressions and removes identities ([`passes::constant_fold`], [`passes::simplify`]).
    pub constant_fold: bool,
    /// Computes equal expressions once ([`passes::cse`]).
    pub cse: bool,
    /// Removes dead code ([`passes::dce`]).
    pub dce: bool,
    /// Folds batch normalisation into weights, for inference ([`passes::fold_batch_norm`]).
    pub fold_batch_norm: bool,
    /// Moves average pooling before pointwise convolutions ([`passes::pool_first`]).
    pub pool_first: bool,
    /// Merges scans, and moves products out of them ([`passes::merge_scans`], [`passes::move_out_of_scans`]).
    pub scans: bool,
    /// Fuses bias, residual sum and activation into products ([`passes::fuse_epilogue`]).
    pub fuse: bool,
    /// Fuses element-wise operators on vectors ([`passes::fuse_elementwise`]).
    pub fuse_elementwise: bool,
    /// Fuses gradients of activations into those of batch normalisations, in training ([`passes::fuse_norm_grad`]).
    pub fuse_norm_grad: bool,
    /// Rewrites ReLU gradients to use a value that is kept anyway, in training ([`passes::release_relu`]).
    pub release_relu: bool,
    /// Keeps only sign masks for ReLU gradients, in training ([`passes::relu_bits`]).
    pub relu_bits: bool,
    /// Verifies the graph after each pass; by default where debug assertions are on.
    pub verify: bool,
}

impl Default for PassOptions {
    fn default() -> Self {
        PassOptions {
            constant_fold: true,
            cse: true,
            dce: true,
            fold_batch_norm: true,
            pool_first: true,
            scans: true,
            fuse: true,
            fuse_elementwise: true,
            fuse_norm_grad: true,
            release_relu: true,
            relu_bits: true,
            verify: cfg!(debug_assertions),
        }
    }
}

impl PassOptions {
    /// Only the passes a mode requires: no optimisation.
    pub const NONE: PassOptions = PassOptions {
        constant_fold: false,
        cse: false,
        dce: false,
        fold_batch_norm: false,
        pool_first: false,
        scans: false,
        fuse: false,
        fuse_elementwise: false,
        fuse_norm_grad: false,
        release_relu: false,
        relu_bits: false,
        verify: cfg!(debug_assertions),
    };

    crate::setters! {
        constant_fold: bool;
        cse: bool;
        dce: bool;
        fold_batch_norm: bool;
        pool_first: bool;
        scans: bool;
        fuse: bool;
        fuse_elementwise: bool;
        fuse_norm_grad: bool;
        release_relu: bool;
        relu_bits: bool;
        verify: bool;
    }
}

/// A pass that has run. Prints as `cse: 31 → 28 nodes in 12.3µs`.
#[derive(Clone, Copy, Debug)]
pub struct Passed<'a> {
    /// Its index in the pipeline.
    pub index: usize,
    /// Its name.
    pub name: &'static str,
    /// Its input.
    pub before: &'a Graph,
    /// Its result.
    pub after: &'a Graph,
    /// The time it took, without verification.
    pub elapsed: Duration,
}

impl fmt::Display for Passed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = (self.before.nodes().len(), self.after.nodes().len());
        write!(f, "{}: {before} → {after} nodes in {:.1?}", self.name, self.elapsed)
    }
}

/// The passes in order. Each comment gives the reason for a pass's position.
fn pipeline(mode: Mode, options: &PassOptions) -> impl Iterator<Item = (&'static str, Pass)> {
    let inference = mode == Mode::Inference;
    let fold_batch_norm = inference && options.fold_batch_norm;
    let lines: [(bool, &'static str, Pass); 15] = [
        // First: a dropout between two operators hides from later passes that they are adjacent.
        (inference, "inference", passes::inference),
        // Before all passes that change the bodies of scans, which differentiation adds twice.
        (!inference && options.scans, "merge_scans", passes::merge_scans),
        // Before all passes that look for single uses: dead code counts as a use.
        (options.dce, "dce", passes::dce),
        (options.constant_fold, "constant_fold", passes::constant_fold),
        // After folding, which exposes more constant ones and zeros.
        (options.constant_fold, "simplify", passes::simplify),
        // Before all passes on products, which move as a whole.
        (options.scans, "move_out_of_scans", passes::move_out_of_scans),
        // Before fusion, which would hide product and bias. Requires fixed parameters.
        (fold_batch_norm, "fold_batch_norm", passes::fold_batch_norm),
        // After folding, which leaves convolution and pool adjacent; before the passes that remove what it leaves.
        (options.pool_first, "pool_first", passes::pool_first),
        // Before the passes that handle other gradients of activations, and that remove what it leaves.
        (!inference && options.fuse_norm_grad, "fuse_norm_grad", passes::fuse_norm_grad),
        // After all passes that create nodes, which may duplicate others.
        (options.cse, "cse", passes::cse),
        // Cleans up, so that fusion sees true use counts.
        (options.dce, "dce", passes::dce),
        // After all passes that change use counts.
        (!inference && options.release_relu, "release_relu", passes::release_relu),
        // Handles the values that only ReLU gradients still need.
        (!inference && options.relu_bits, "relu_bits", passes::relu_bits),
        // After the passes above, which cannot look into epilogues.
        (options.fuse, "fuse_epilogue", passes::fuse_epilogue),
        // Last: epilogues are better, as they read nothing from memory.
        (options.fuse_elementwise, "fuse_elementwise", passes::fuse_elementwise),
    ];
    lines.into_iter().filter(|(enabled, ..)| *enabled).map(|(_, name, pass)| (name, pass))
}

/// Runs the passes on a graph and reports each to `observe`, for example [`crate::dump::Dump::passed`].
///
/// ```
/// use windlass_compiler::graph::{Builder, Layer};
/// use windlass_compiler::pass::{Mode, PassOptions, optimize};
///
/// let mut builder = Builder::new("net");
/// let x = builder.input("x", &[4])?;
/// let y = builder.layer("f1", &Layer::linear(2), x)?;
/// let y = builder.layer("f1", &Layer::Relu, y)?;
/// builder.output("y", y)?;
///
/// let graph = optimize(&builder.finish()?, Mode::Inference, &PassOptions::default(), &mut |_| {})?;
/// assert!(graph.to_string().contains(r#"linear(%0, %1, %2) {epilogue = ["bias", "relu"]}"#));
/// # Ok::<(), windlass_compiler::error::GraphError>(())
/// ```
///
/// # Errors
/// [`GraphError::Invalid`] with the pass's name when a pass breaks the graph: a bug in Windlass.
pub fn optimize(
    graph: &Graph,
    mode: Mode,
    options: &PassOptions,
    observe: &mut dyn FnMut(&Passed<'_>),
) -> Result<Graph, GraphError> {
    run(graph, pipeline(mode, options), options.verify, observe)
}

fn run(
    graph: &Graph,
    passes: impl Iterator<Item = (&'static str, Pass)>,
    check: bool,
    observe: &mut dyn FnMut(&Passed<'_>),
) -> Result<Graph, GraphError> {
    let mut current = graph.clone();
    for (index, (name, pass)) in passes.enumerate() {
        let blame = |error| GraphError::Invalid { reason: format!("after the pass `{name}`: {error}") };
        let start = Instant::now();
        let after = passes::scans::apply(&current, pass).map_err(blame)?;
        let elapsed = start.elapsed();
        observe(&Passed { index, name, before: &current, after: &after, elapsed });
        if check {
            verify(&after).map_err(blame)?;
        }
        current = after;
    }
    Ok(current)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(mode: Mode, options: &PassOptions) -> Vec<&'static str> {
        pipeline(mode, options).map(|(name, _)| name).collect()
    }

    #[test]
    fn switches_and_mode_choose_the_passes() {
        let all = PassOptions::default();
        assert_eq!(
            names(Mode::Inference, &all),
            [
                "inference",
                "dce",
                "constant_fold",
                "simplify",
                "move_out_of_scans",
                "fold_batch_norm",
                "pool_first",
                "cse",
                "dce",
                "fuse_epilogue",
                "fuse_elementwise"
            ]
        );
        assert_eq!(
            names(Mode::Training, &all),
            [
                "merge_scans",
                "dce",
                "constant_fold",
                "simplify",
                "move_out_of_scans",
                "pool_first",
                "fuse_norm_grad",
                "cse",
                "dce",
                "release_relu",
                "relu_bits",
                "fuse_epilogue",
                "fuse_elementwise"
            ]
        );
        assert_eq!(names(Mode::Inference, &PassOptions::NONE), ["inference"]);
        assert!(names(Mode::Training, &PassOptions::NONE).is_empty());
        let some = all.dce(false).fuse(false).constant_fold(false);
        assert_eq!(
            names(Mode::Inference, &some),
            ["inference", "move_out_of_scans", "fold_batch_norm", "pool_first", "cse", "fuse_elementwise"]
        );
    }

    #[test]
    fn every_pass_of_the_pipeline_is_listed_under_its_name() {
        let options = PassOptions::default();
        let modes = [Mode::Inference, Mode::Training];
        for (name, pass) in modes.into_iter().flat_map(|mode| pipeline(mode, &options)) {
            let listed = passes::ALL.iter().find(|(known, _)| *known == name);
            assert!(listed.is_some_and(|(_, listed)| std::ptr::fn_addr_eq(*listed, pass)), "{name}");
        }
    }

    #[test]
    fn a_failing_pass_is_named() {
        fn failing(graph: &Graph) -> Result<Graph, GraphError> {
            Err(GraphError::UnknownName { name: graph.name().to_owned() })
        }
        let passes = [("dce", passes::dce as Pass), ("failing", failing)];
        let mut seen = Vec::new();
        let result = run(&Graph::new("g"), passes.into_iter(), true, &mut |passed| seen.push(passed.name));
        let error = result.unwrap_err().to_string();
        assert!(
            error.contains("after the pass `failing`: there is no parameter or state named `g`"),
            "{error}"
        );
        assert_eq!(seen, ["dce"]);
    }
}
