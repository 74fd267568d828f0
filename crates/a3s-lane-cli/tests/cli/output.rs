//! The results file, the table and the progress display.

use serde_json::json;

use crate::support::Place;

const ECHO: &str = "{\"lane\":\"query\",\"type\":\"echo\",\"payload\":{\"k\":[1,null]}}\n";
const NO_PROGRAM: &str = "{\"lane\":\"query\",\"type\":\"exec\",\"payload\":{\"argv\":[\"a3s-lane-no-such-program\"]}}\n";

#[test]
fn a_completed_command_has_all_fields() {
    let place = Place::new();
    let done = place.run_lines(ECHO, &[]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let mut result = place.result(1);
    let fields = result.as_object_mut().expect("an object");
    for time in ["wait_ms", "run_ms"] {
        let value = fields
            .remove(time)
            .and_then(|value| value.as_f64())
            .expect("a number");
        assert!(value >= 0.0, "{time}: {value}");
    }
    let rest = json!({
        "line": 1, "lane": "query", "type": "echo", "status": "completed", "ok": true, "attempts": 1,
        "result": {"k": [1, null]},
    });
    assert_eq!(result, rest);
}

#[test]
fn a_failed_command_has_error_and_code() {
    let place = Place::new();
    let done = place.run_lines(NO_PROGRAM, &[]);
    assert_eq!(done.code, 1);
    let result = place.result(1);
    assert_eq!(result["status"], "failed");
    assert_eq!(result["ok"], false);
    assert_eq!(result["code"], "UNRECOVERABLE");
    // The lane retries, but a program that does not exist is not tried again.
    assert_eq!(result["attempts"], 1);
    let error = result["error"].as_str().expect("a text");
    assert!(
        error.starts_with("cannot start a3s-lane-no-such-program: "),
        "{error}"
    );
    assert!(result.get("result").is_none(), "{result}");
    assert_eq!(done.counts("query"), [0, 1, 0, 0, 0, 0]);
    assert!(
        done.stdout
            .contains("latest failures:\n  query  exec (line 1)  1 attempt: cannot start"),
        "{}",
        done.stdout
    );
}

#[test]
fn an_expected_failure_is_no_failure_of_the_run() {
    let place = Place::new();
    let expected = NO_PROGRAM.replace("}}\n", "},\"expect\":\"failed\"}\n");
    let done = place.run_lines(&expected, &[]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(done.counts("query"), [0, 0, 0, 1, 0, 0]);
    assert_eq!(place.result(1)["ok"], true);
    assert!(
        done.stderr.contains("expected  line 1  query  "),
        "{}",
        done.stderr
    );
    assert!(!done.stdout.contains("latest failures"), "{}", done.stdout);
}

#[test]
fn an_outcome_other_than_the_expected_fails_the_run() {
    for (expect, line) in [("failed", ECHO), ("timeout", ECHO), ("timeout", NO_PROGRAM)] {
        let place = Place::new();
        let line = format!(
            "{},\"expect\":\"{expect}\"}}\n",
            line.trim_end().strip_suffix('}').expect("an object")
        );
        let done = place.run_lines(&line, &[]);
        assert_eq!(done.code, 1, "{line}");
        assert_eq!(place.result(1)["ok"], false, "{line}");
        assert_eq!(done.counts("query"), [0, 1, 0, 0, 0, 0], "{line}");
    }
}

#[test]
fn results_can_go_to_standard_output() {
    let place = Place::new();
    place.write("commands.jsonl", ECHO);
    let done = place.run(&["run", "commands.jsonl", "--output", "-"]);
    assert_eq!(done.code, 0);
    assert_eq!(done.stdout.lines().count(), 1, "{}", done.stdout);
    let record: serde_json::Value = serde_json::from_str(&done.stdout).expect("one JSON object");
    assert_eq!(record["status"], "completed");
    assert!(done.stderr.contains("1 command in "), "{}", done.stderr);
}

#[test]
fn an_earlier_results_file_is_replaced() {
    let place = Place::new();
    place.write("results.jsonl", &"old\n".repeat(100));
    place.run_lines(ECHO, &[]);
    assert_eq!(place.results().len(), 1);
}

#[test]
fn a_mistake_elsewhere_leaves_the_earlier_results_alone() {
    let place = Place::new();
    place.write("results.jsonl", "old\n");
    assert_eq!(
        place
            .run(&["run", "missing.jsonl", "-o", "results.jsonl"])
            .code,
        2
    );
    assert_eq!(place.run_lines(ECHO, &["-c", "missing.toml"]).code, 2);
    assert_eq!(place.read("results.jsonl"), "old\n");
}

#[test]
fn the_input_is_never_overwritten() {
    let place = Place::new();
    place.write("commands.jsonl", ECHO);
    let done = place.run(&["run", "commands.jsonl", "-o", "./commands.jsonl"]);
    assert_eq!(done.code, 2);
    assert!(done.stderr.contains("it is the input"), "{}", done.stderr);
    assert_eq!(place.read("commands.jsonl"), ECHO);
}

#[cfg(target_os = "linux")]
#[test]
fn results_that_cannot_be_written_end_the_run() {
    let place = Place::new();
    place.write("commands.jsonl", &ECHO.repeat(50));
    let done = place.run(&[
        "run",
        "commands.jsonl",
        "-o",
        "/dev/full",
        "--max-in-flight",
        "1",
    ]);
    assert_eq!(done.code, 2, "{}", done.stderr);
    assert!(
        done.stderr.contains("error: cannot write /dev/full: "),
        "{}",
        done.stderr
    );
    assert!(
        done.stdout.contains("input not read past line 1"),
        "{}",
        done.stdout
    );
}

#[test]
fn progress_chooses_what_is_shown() {
    let lines = format!("{ECHO}{NO_PROGRAM}");
    let stderr = |args: &[&str]| Place::new().run_lines(&lines, args).stderr;
    let failed = "failed    line 2  query  a3s-lane-no-such-program: cannot start";

    let plain = stderr(&[]);
    assert!(
        plain.contains(failed) && !plain.contains("line 1"),
        "{plain}"
    );
    assert_eq!(stderr(&["--progress", "plain"]).matches(failed).count(), 1);
    assert_eq!(stderr(&["--progress", "none"]), "");
    // Bars need a terminal, but what happened is told in any case.
    assert_eq!(stderr(&["--progress", "bars"]).matches(failed).count(), 1);

    let verbose = stderr(&["--verbose"]);
    for text in [
        "started   query  echo (line 1)\n",
        "started   query  exec (line 2)\n",
        "completed line 1  query  echo",
        failed,
    ] {
        assert!(verbose.contains(text), "{text} is missing:\n{verbose}");
    }
}

#[test]
fn every_lane_has_a_row_and_percentiles_where_something_ran() {
    let done = Place::new().run_lines(ECHO, &[]);
    for lane in ["system", "control", "session", "skill", "prompt"] {
        assert_eq!(
            done.row(lane)[1..],
            ["0", "0", "0", "0", "0", "0", "-", "-", "-", "-"]
        );
    }
    let query = done.row("query");
    assert_eq!(query.len(), 7 + 4 * 2, "{query:?}");
    assert!(
        query[8..]
            .iter()
            .step_by(2)
            .all(|unit| ["us", "ms", "s"].contains(&unit.as_str())),
        "{query:?}"
    );
}
