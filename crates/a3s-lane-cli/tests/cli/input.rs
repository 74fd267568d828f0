//! Reading lines: refusals, comments, standard input, bounds.

use std::fs;

use crate::support::{Place, wait_until};

const GOOD: &str = "{\"lane\":\"query\",\"type\":\"echo\",\"payload\":1}\n";

fn lines_of(place: &Place) -> Vec<u64> {
    let mut lines: Vec<_> = place
        .results()
        .iter()
        .map(|result| result["line"].as_u64().expect("a number"))
        .collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_malformed_line_is_reported_with_its_number_and_the_rest_runs() {
    let place = Place::new();
    let done = place.run_lines(
        &format!("{GOOD}\n# a comment\n{{\"lane\":\n{GOOD}[1]\n{GOOD}"),
        &[],
    );
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(
        done.stderr.contains("refused   line 4: expected JSON: EOF"),
        "{}",
        done.stderr
    );
    assert!(
        done.stderr
            .contains("refused   line 6: expected an object, got a list"),
        "{}",
        done.stderr
    );
    assert_eq!(lines_of(&place), [1, 5, 7]);
    assert_eq!(done.counts("query"), [3, 0, 0, 0, 0, 0]);
    assert!(done.stdout.contains("2 lines refused"), "{}", done.stdout);
}

#[test]
fn strict_stops_reading_at_the_first_malformed_line() {
    let place = Place::new();
    let done = place.run_lines(
        &format!("{GOOD}{GOOD}nonsense\n{GOOD}nonsense\n"),
        &["--strict"],
    );
    assert_eq!(done.code, 2, "{}", done.stderr);
    assert_eq!(lines_of(&place), [1, 2]);
    assert_eq!(done.stderr.matches("refused").count(), 1, "{}", done.stderr);
    assert!(
        done.stdout
            .contains("1 line refused; input not read past line 3"),
        "{}",
        done.stdout
    );
}

#[test]
fn strict_is_content_with_good_input() {
    let done = Place::new().run_lines(GOOD, &["--strict"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
}

#[test]
fn an_unknown_lane_is_reported_with_the_known_ones() {
    let place = Place::new();
    let lanes = "[lanes.one]\npriority = 1\n[lanes.two]\npriority = 0\n";
    let lines = "{\"lane\":\"one\",\"type\":\"echo\"}\n{\"lane\":\"query\",\"type\":\"echo\"}\n";
    let done = place.run_lanes(lanes, lines, &[]);
    assert_eq!(done.code, 1);
    let text = "refused   line 2: unknown lane \"query\"; known lanes: two, one\n";
    assert!(done.stderr.contains(text), "{}", done.stderr);
    assert_eq!(lines_of(&place), [1]);
}

#[test]
fn an_unknown_type_and_a_wrong_payload_are_reported() {
    let place = Place::new();
    let lines = "{\"lane\":\"query\",\"type\":\"fetch\"}\n{\"lane\":\"query\",\"type\":\"exec\",\"payload\":{\"argv\":[1]}}\n";
    let done = place.run_lines(lines, &[]);
    assert_eq!(done.code, 1);
    let unknown = "refused   line 1: unknown type \"fetch\"; known types: echo, exec\n";
    assert!(done.stderr.contains(unknown), "{}", done.stderr);
    let wrong = "refused   line 2: payload.argv[0]: expected a string, got a number\n";
    assert!(done.stderr.contains(wrong), "{}", done.stderr);
    assert_eq!(lines_of(&place), Vec::<u64>::new());
}

#[test]
fn an_unknown_field_is_refused() {
    let done = Place::new().run_lines("{\"lane\":\"query\",\"type\":\"echo\",\"lnae\":1}\n", &[]);
    assert_eq!(done.code, 1);
    assert!(
        done.stderr
            .contains("line 1: unknown field \"lnae\"; known fields: lane, type, payload, expect")
    );
}

#[test]
fn refused_lines_are_reported_without_progress_too() {
    let done = Place::new().run_lines("x\n", &["--progress", "none"]);
    assert!(
        done.stderr.contains("refused   line 1: "),
        "{}",
        done.stderr
    );
}

#[test]
fn no_commands_are_no_failure() {
    let place = Place::new();
    let done = place.run_lines("\n# nothing\n", &[]);
    assert_eq!(done.code, 0);
    assert!(place.results().is_empty());
    assert!(done.stdout.contains("0 commands"), "{}", done.stdout);
}

#[test]
fn standard_input_is_read_with_a_dash_and_without_a_file() {
    for args in [
        &["run", "-", "-o", "results.jsonl"][..],
        &["run", "-o", "results.jsonl"],
    ] {
        let place = Place::new();
        let mut running = place.start(args);
        running.send(GOOD);
        // The result is there while the input is still open.
        wait_until("the first result is written", || {
            fs::read_to_string(place.path("results.jsonl")).is_ok_and(|text| text.ends_with('\n'))
        });
        running.send(GOOD);
        let done = running.finish();
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert_eq!(lines_of(&place), [1, 2]);
    }
}

#[test]
fn more_commands_than_may_be_in_flight_all_run() {
    let place = Place::new();
    let done = place.run_lines(&GOOD.repeat(500), &["--max-in-flight", "3"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(lines_of(&place), (1..=500).collect::<Vec<_>>());
}

#[test]
fn a_line_longer_than_the_bound_is_refused() {
    let place = Place::new();
    let long = "x".repeat(16 * 1024 * 1024 + 1);
    let done = place.run_lines(&format!("{GOOD}{long}\n{GOOD}"), &[]);
    assert_eq!(done.code, 1);
    assert!(
        done.stderr
            .contains("line 2: expected at most 16777216 bytes, got 16777217"),
        "{}",
        done.stderr
    );
    assert_eq!(lines_of(&place), [1, 3]);
}
