//! Outputs and updates: values with several names, and updates that read values which other updates overwrite.

use windlass_compiler::graph::Graph;
use windlass_compiler::pass::Mode;

use crate::check::{Agreement, Expectation};
use crate::numbers::Values;

/// Checks a graph with parameters `a`, `b` and `c` of 37 elements, a batch `x` of the same length, and the given lines.
#[track_caller]
fn check(lines: &str) {
    let parameter = |name: &str| {
        format!("  %{name} = parameter {{name = \"{name}\", shape = \"[37]\", init = \"xavier_uniform\"}}\n")
    };
    let text = format!(
        "graph ends {{\n  %x = input {{name = \"x\", type = \"f32[N, 37]\"}}\n  \
         %rate = input {{name = \"learning_rate\", role = \"control\", type = \"f32[]\"}}\n{}{}{}{lines}\n}}\n",
        parameter("a"),
        parameter("b"),
        parameter("c")
    );
    let graph: Graph = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
    Expectation::new(&graph, &[1, 3], Values::Integers, Agreement::Exact)
        .check_variants(Mode::Training, lines);
}

const SGD: &str = "{momentum = 0.0, nesterov = false, weight_decay = 0.0}";

#[test]
fn parameters_that_change_places() {
    check("update \"a\" = %b\nupdate \"b\" = %a");
    check("update \"a\" = %b\nupdate \"b\" = %c\nupdate \"c\" = %a");
    check("update \"b\" = %a\nupdate \"c\" = %b");
    check("update \"c\" = %b\nupdate \"b\" = %a\noutput \"old c\" = %c");
}

#[test]
fn old_values_of_what_is_updated() {
    check(&format!("%1 = sgd(%a, %c, %rate) {SGD}\nupdate \"a\" = %1\nupdate \"b\" = %a"));
    check(&format!(
        "%1 = sgd(%a, %c, %rate) {SGD}\nupdate \"a\" = %1\noutput \"old\" = %a\noutput \"new\" = %1"
    ));
    check(&format!("%1 = sgd(%a, %c, %rate) {SGD}\n%2 = bias(%x, %a)\nupdate \"a\" = %1\noutput \"y\" = %2"));
    check(&format!("%1 = sgd(%a, %c, %rate) {SGD}\n%2 = bias(%x, %1)\nupdate \"a\" = %1\noutput \"y\" = %2"));
    let reshaped = "%1 = reshape(%a) {shape = \"[37, 1]\"}";
    check(&format!("{reshaped}\n%2 = sgd(%a, %c, %rate) {SGD}\nupdate \"a\" = %2\noutput \"old\" = %1"));
}

#[test]
fn one_new_value_for_several_parameters() {
    check(&format!("%1 = sgd(%a, %c, %rate) {SGD}\nupdate \"a\" = %1\nupdate \"b\" = %1"));
    check(&format!("%1 = sgd(%a, %b, %rate) {SGD}\nupdate \"a\" = %1\nupdate \"b\" = %1\noutput \"y\" = %1"));
    check("%1 = unary(%a) {kind = \"square\"}\nupdate \"a\" = %1\nupdate \"b\" = %1");
    // Each parameter is the other's gradient.
    check(&format!(
        "%1 = sgd(%a, %b, %rate) {SGD}\n%2 = sgd(%b, %a, %rate) {SGD}\nupdate \"a\" = %1\nupdate \"b\" = %2"
    ));
}

#[test]
fn new_values_that_are_no_step() {
    check("update \"a\" = %a");
    check("%1 = sum_channels(%x)\nupdate \"a\" = %1\noutput \"y\" = %1\noutput \"again\" = %1");
    check(
        "%1 = constant {shape = \"[]\", values = [2.0]}\n%2 = binary(%a, %1) {kind = \"multiply\"}\nupdate \"a\" = %2",
    );
    check(
        "%1 = unary(%a) {kind = \"negate\"}\n%2 = bias(%x, %1)\n%3 = sum_channels(%2)\nupdate \"a\" = %3\noutput \"y\" = %2",
    );
}

#[test]
fn statistics_stored_where_they_do_not_belong() {
    let norm = "%1, %2, %3, %4, %5 = batch_norm_training(%x, %a, %a, %b, %c) {epsilon = 1.0, momentum = 0.5}";
    let near = |lines: &str| {
        let parameter = |name: &str| {
            format!(
                "%{name} = state {{name = \"{name}.running_var\", shape = \"[37]\", init = \"xavier_uniform\"}}\n"
            )
        };
        let text = format!(
            "graph ends {{\n%x = input {{name = \"x\", type = \"f32[N, 37]\"}}\n{}{}{}{norm}\n{lines}\noutput \"y\" = %1\n}}\n",
            parameter("a"),
            parameter("b"),
            parameter("c")
        );
        let graph: Graph = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
        Expectation::new(&graph, &[2, 5], Values::Reals, Agreement::Within(1e-5))
            .check_variants(Mode::Training, lines);
    };
    near("update \"b.running_var\" = %4\nupdate \"c.running_var\" = %5");
    near("update \"b.running_var\" = %5\nupdate \"c.running_var\" = %4");
    near("update \"a.running_var\" = %4\nupdate \"b.running_var\" = %2");
    near("update \"c.running_var\" = %3\nupdate \"a.running_var\" = %5");
}
