//! Help, wrong usage and the `lanes` subcommand.

use crate::support::Place;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

#[test]
fn help_documents_input_and_exit_status() {
    let help = Place::new().run(&["run", "--help"]);
    assert_eq!(help.code, 0);
    for needle in [
        "[FILE]",
        "--config <LANES.TOML>",
        "--output <RESULTS.JSONL>",
        "--strict",
        "--progress <PROGRESS>",
        "--verbose",
        "--max-in-flight <N>",
        "--grace <SECS>",
        "{\"lane\":\"query\",\"type\":\"exec\",\"payload\":{\"argv\":[\"wc\",\"-l\",\"README.md\"]}}",
        "timeout_ms",
        "expect ",
        "Exit status:",
        "  0    every command ended as expected",
        "  1    a command did not end as expected",
        "  2    wrong usage or configuration",
        "  130  interrupted by Ctrl-C",
    ] {
        assert!(
            help.stdout.contains(needle),
            "{needle} is missing:\n{}",
            help.stdout
        );
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    let place = Place::new();
    for args in [
        &["run", "--no-such-option"][..],
        &["run", "--progress", "loud"],
        &["run", "--max-in-flight", "0"],
        &["run", "--grace", "soon"],
        &["walk"],
        &[],
    ] {
        assert_eq!(place.run(args).code, 2, "{args:?}");
    }
}

#[test]
fn unreadable_input_exits_with_2() {
    let place = Place::new();
    let missing = place.run(&["run", "no-such-file.jsonl"]);
    assert_eq!(missing.code, 2);
    assert!(
        missing
            .stderr
            .starts_with("error: cannot read no-such-file.jsonl: "),
        "{}",
        missing.stderr
    );
    let directory = place.run(&["run", "."]);
    assert_eq!(directory.code, 2, "{}", directory.stderr);
}

#[test]
fn lanes_shows_the_built_in_lanes() {
    let lanes = Place::new().run(&["lanes"]);
    assert_eq!(lanes.code, 0);
    assert_eq!(
        lanes.row("system"),
        ["system", "0", "1", "5", "10m", "-", "-", "-", "-"]
    );
    assert_eq!(
        lanes.row("query"),
        [
            "query", "2", "1", "10", "10m", "2", "x,", "100ms", "*", "2", "up", "to", "1s", "-",
            "-", "-"
        ]
    );
    assert_eq!(
        lanes.row("prompt"),
        ["prompt", "5", "1", "2", "10m", "-", "-", "-", "-"]
    );
}

#[test]
fn printed_toml_is_the_built_in_configuration() {
    let place = Place::new();
    let printed = place.run(&["lanes", "--toml"]);
    assert_eq!(printed.code, 0);
    place.write("lanes.toml", &printed.stdout);
    let shown = place.run(&["lanes", "--config", "lanes.toml"]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    assert_eq!(shown.stdout, place.run(&["lanes"]).stdout);
}

#[test]
fn the_shipped_example_of_lanes_is_valid_and_runs() {
    let place = Place::new();
    let example = format!("{ROOT}/examples/lanes.toml");
    let shown = place.run(&["lanes", "--config", &example]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    let row = shown.row("model").join(" ");
    assert_eq!(
        row,
        "model 2 1 4 2m 1 x, 500ms * 2 up to 30s 10 per 1s, burst 2 - -"
    );
    assert_eq!(
        shown.row("report").join(" "),
        "report 9 0 1 - - - - within 1m"
    );
    assert!(
        shown.stdout.ends_with("dead letters kept: 50\n"),
        "{}",
        shown.stdout
    );

    let lines: String = ["control", "query", "model", "report"]
        .map(|lane| format!("{{\"lane\":\"{lane}\",\"type\":\"echo\"}}\n"))
        .concat();
    let done = place.run_lines(&lines, &["--config", &example]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(done.counts("total"), [4, 0, 0, 0, 0, 0]);
}
