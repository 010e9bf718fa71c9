//! Dumps requested by the environment. A test cannot change its own environment, so each starts this test file again
//! with the variables set, running only [`child`].

use std::process::{Command, Output};

use windlass_compiler::dump::{DIRECTORY_VARIABLE, Dump, STAGES_VARIABLE, Stage};

#[test]
fn child() {
    let dump = Dump::from_environment();
    dump.stage(Stage::Graph, "net", || "the graph".to_owned());
    dump.stage(Stage::Plan, "net", || "the plan".to_owned());
}

fn run_child(stages: &str, directory: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(STAGES_VARIABLE, stages)
        .env(DIRECTORY_VARIABLE, directory)
        .output()
        .unwrap()
}

#[track_caller]
fn check(stages: &str, directory: &str, expected: &str) {
    let output = run_child(stages, directory);
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
}

#[test]
fn nothing_is_dumped_unasked() {
    check("", "", "");
}

#[test]
fn requested_stages_go_to_the_standard_error() {
    check("plan", "", "; plan: net\nthe plan\n\n");
    check("all", "", "; graph: net\nthe graph\n\n; plan: net\nthe plan\n\n");
}

#[test]
fn an_unknown_stage_is_one_line_and_the_others_hold() {
    check(
        "plans,graph",
        "",
        "windlass: warning: WINDLASS_DUMP: there is no stage `plans` to dump; the stages are `graph`, `passes`, \
         `plan`, `kernels`, `clif`, `asm` and `all`\n; graph: net\nthe graph\n\n",
    );
}

#[test]
fn a_directory_that_cannot_be_made_is_reported_once() {
    let file = std::env::current_exe().unwrap();
    let output = run_child("all", &file.join("below").display().to_string());
    assert!(output.status.success());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("windlass: warning: cannot write the dump "), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn one_process_after_another_dumps_into_the_same_directory() {
    let directory = std::env::temp_dir().join(format!("windlass-dumps-{}", std::process::id()));
    for _ in 0..2 {
        assert!(run_child("graph,plan", &directory.display().to_string()).status.success());
    }
    let mut names: Vec<String> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    std::fs::remove_dir_all(&directory).unwrap();
    names.sort();
    assert_eq!(
        names,
        ["000-graph-net.graph", "001-plan-net.plan", "002-graph-net.graph", "003-plan-net.plan"]
    );
}
