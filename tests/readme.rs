//! What the README claims: its commands exist with their options, and its table of ops is the code's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

use std::path::{Path, PathBuf};
use std::process::Command;
use striate::op::Case;
use striate::ops;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

/// `cargo test` puts examples beside the folder of the tests' own programs.
fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let folder = tests.parent().and_then(Path::parent).unwrap().join("examples");
    folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

#[test]
fn commands_exist_with_their_options() {
    let mut seen = 0;
    for line in readme().lines().filter_map(|l| l.trim().strip_prefix("cargo run --release --example ")) {
        let (name, arguments) = line.split_once(" -- ").unwrap_or((line, ""));
        let help = Command::new(example(name)).arg("--help").output().unwrap_or_else(|e| panic!("{name}: {e}"));
        let help = String::from_utf8(help.stdout).unwrap();
        for option in arguments.split_whitespace().filter(|a| a.starts_with("--")) {
            assert!(help.contains(option), "{name} has no {option}:\n{help}");
        }
        seen += 1;
    }
    assert!(seen >= 6, "the README shows how to run the examples");
}

#[test]
fn scripts_and_links_exist() {
    let text = readme();
    assert!(text.contains("bash tests/run.sh") && root().join("tests/run.sh").exists());
    for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter(|l| !l.contains("://")) {
        assert!(root().join(link).exists(), "{link}");
    }
}

/// A row an op: what it has, from its declaration and its cases.
fn table() -> String {
    let mut rows = vec![
        "| op | CPU | GPU | gradient | fused with an activation | cases |".to_string(),
        "| --- | --- | --- | --- | --- | --- |".to_string(),
    ];
    let relu = ops::unary::activation::<ops::unary::Relu>();
    for d in ops::all() {
        let cases: Vec<Case> = (d.cases)();
        let op = &cases[0].op;
        let gpu = if op.view().is_some() { "no work" } else { "yes" };
        let cpu = if op.view().is_some() { "no work" } else { "f32, f64" };
        let gradient = d.no_gradient.map_or("yes".to_string(), |why| format!("no: {why}"));
        let fused = if op.with_activation(relu).is_some() { "yes" } else { "" };
        rows.push(format!("| {} | {cpu} | {gpu} | {gradient} | {fused} | {} |", d.name, cases.len()));
    }
    rows.join("\n")
}

/// Holds the text between two marks to `want`, or writes it.
fn hold(begin: &str, end: &str, want: &str) {
    let text = readme();
    let start = text.find(begin).unwrap() + begin.len();
    let stop = text.find(end).unwrap_or(start);
    if std::env::var("STRIATE_UPDATE_README").is_ok() {
        let tail = text[stop..].trim_start_matches('\n');
        std::fs::write(root().join("README.md"), format!("{}{want}\n{tail}", &text[..start])).unwrap();
        return;
    }
    let have = text.get(start..stop).unwrap_or_default();
    assert!(
        have == want,
        "a table of the README is out of date; write it anew with\n  STRIATE_UPDATE_README=1 cargo test --test readme"
    );
}

/// One test, as both write the same file.
#[test]
fn the_tables_of_ops_are_the_codes() {
    hold("when it is out of date -->\n", "\n<!-- end of ops -->", &table());
    #[cfg(feature = "onnx")]
    {
        let ops = striate::io::onnx::Onnx::ops().join(", ");
        hold("if the list is out of date -->\n", "\n<!-- end of ops of ONNX -->", &ops);
    }
}
