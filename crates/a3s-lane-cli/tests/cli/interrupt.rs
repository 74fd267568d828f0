//! Ctrl-C and termination.

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Done, Place, Running, is_alive, wait_until};

const LANES: &str = "[lanes.a]\npriority = 1\nmax_concurrency = 1\nretry = { max_retries = 5 }\n";
/// Runs until the test makes the file `go`.
const UNTIL_GO: &str = ": > ready; until [ -e go ]; do sleep 0.02; done; echo finished";
/// Runs for minutes and has a child.
const LONG: &str = "sleep 300 & echo $! > child.tmp; mv child.tmp child; : > ready; wait";

fn start(place: &Place, script: &str, more_args: &[&str]) -> Running {
    place.write("lanes.toml", LANES);
    let mut exec = json!({"lane": "a", "type": "exec", "payload": {"argv": ["sh", "-c", script]}});
    if script == LONG {
        // Being killed is not the failure that the line expects.
        exec["expect"] = "failed".into();
    }
    let echo = json!({"lane": "a", "type": "echo"});
    place.write("commands.jsonl", &format!("{exec}\n{echo}\n{echo}\n"));
    let mut args = vec![
        "run",
        "commands.jsonl",
        "-c",
        "lanes.toml",
        "-o",
        "results.jsonl",
    ];
    args.extend_from_slice(more_args);
    let running = place.start(&args);
    wait_until("the first command runs", || place.path("ready").exists());
    running
}

fn wait_for_notice(running: &Running) {
    wait_until("the run says that it was interrupted", || {
        running
            .stderr_so_far()
            .contains("interrupted: waiting for 1 running")
    });
}

fn assert_not_run(place: &Place, line: u64) {
    let result = place.result(line);
    assert_eq!(
        (&result["status"], &result["attempts"]),
        (&json!("not_run"), &json!(0)),
        "{result}"
    );
}

fn assert_left(done: &Done, stopped: u64, pending: u64) {
    let text = format!("\ninterrupted: {stopped} stopped, {pending} pending\n");
    assert!(done.stdout.contains(&text), "{}", done.stdout);
}

#[test]
fn the_first_lets_running_commands_finish_and_starts_no_more() {
    let place = Place::new();
    let running = start(&place, UNTIL_GO, &[]);
    running.signal(Signal::INT);
    wait_for_notice(&running);
    place.write("go", "");
    let done = running.wait();
    assert_eq!(done.code, 130, "{}", done.stderr);
    assert_eq!(place.result(1)["result"]["stdout"], "finished\n");
    assert_not_run(&place, 2);
    assert_not_run(&place, 3);
    assert_eq!(done.counts("a"), [1, 0, 0, 0, 0, 2]);
    assert_left(&done, 0, 2);
    assert!(
        done.stdout.contains("1 command in ") && done.stdout.contains("2 not run"),
        "{}",
        done.stdout
    );
    assert!(!done.stdout.contains("latest failures"), "{}", done.stdout);
}

#[test]
fn the_second_kills_process_groups() {
    let place = Place::new();
    let running = start(&place, LONG, &[]);
    running.signal(Signal::INT);
    wait_for_notice(&running);
    running.signal(Signal::INT);
    let done = running.wait();
    assert_eq!(done.code, 130, "{}", done.stderr);
    let result = place.result(1);
    assert_eq!(
        (&result["status"], &result["attempts"]),
        (&json!("failed"), &json!(1)),
        "{result}"
    );
    assert_eq!(result["ok"], false, "{result}");
    assert_not_run(&place, 2);
    assert_eq!(done.counts("a"), [0, 1, 0, 0, 0, 2]);
    assert_left(&done, 1, 2);
    assert!(!done.stdout.contains("latest failures"), "{}", done.stdout);
    let child = place.read("child");
    wait_until("the child is gone", || !is_alive(&child));
}

#[test]
fn the_grace_time_ends_what_does_not_finish() {
    let place = Place::new();
    let running = start(&place, LONG, &["--grace", "50ms"]);
    running.signal(Signal::INT);
    let done = running.wait();
    assert_eq!(done.code, 130, "{}", done.stderr);
    assert!(
        done.stderr
            .contains("the grace time has passed: stopping what runs"),
        "{}",
        done.stderr
    );
    let result = place.result(1);
    assert_eq!(
        (&result["status"], &result["code"], &result["attempts"]),
        (&json!("failed"), &json!("INTERRUPTED"), &json!(1)),
        "{result}"
    );
    assert_not_run(&place, 2);
    assert_left(&done, 1, 2);
    let child = place.read("child");
    wait_until("the child is gone", || !is_alive(&child));
}

#[test]
fn termination_kills_at_once() {
    let place = Place::new();
    let running = start(&place, LONG, &[]);
    running.signal(Signal::TERM);
    let done = running.wait();
    assert_eq!(done.code, 143, "{}", done.stderr);
    assert_eq!(done.counts("a"), [0, 1, 0, 0, 0, 2]);
    let child = place.read("child");
    wait_until("the child is gone", || !is_alive(&child));
}

#[test]
fn a_command_between_two_attempts_is_not_tried_again() {
    let place = Place::new();
    place.write("lanes.toml", "[lanes.a]\npriority = 1\nretry = { max_retries = 1, initial_delay_ms = 3600000, max_delay_ms = 3600000 }\n");
    let line = json!({"lane": "a", "type": "exec", "payload": {"argv": ["sh", "-c", "echo x >> tries; exit 4"]}});
    let mut running = place.start(&[
        "run",
        "-",
        "-c",
        "lanes.toml",
        "-o",
        "results.jsonl",
        "--verbose",
    ]);
    running.send(&format!("{line}\n"));
    wait_until("the first attempt has run", || place.path("tries").exists());
    // The input is still open and the retry is an hour away: only the signal ends the run.
    running.signal(Signal::INT);
    let done = running.wait();
    assert_eq!(done.code, 130, "{}", done.stderr);
    assert_eq!(place.read("tries"), "x\n");
    let result = place.result(1);
    let error = result["error"].as_str().expect("a text");
    assert!(
        error.starts_with(
            "the run was interrupted before a retry: Command execution error: exit code 4"
        ),
        "{error}"
    );
    assert_eq!(result["code"], "INTERRUPTED");
    assert_left(&done, 0, 1);
}

#[test]
fn a_lane_with_grace_is_asked_before_it_is_stopped() {
    let place = Place::new();
    let tidy = "trap 'echo tidied; exit 3' TERM; : > ready; while :; do sleep 0.02; done";
    let lanes = format!("{LANES}grace = \"60s\"\n");
    let line = json!({"lane": "a", "type": "exec", "payload": {"argv": ["sh", "-c", tidy]}});
    place.write("lanes.toml", &lanes);
    place.write("commands.jsonl", &format!("{line}\n"));
    let running = place.start(&[
        "run",
        "commands.jsonl",
        "-c",
        "lanes.toml",
        "-o",
        "results.jsonl",
        "--grace",
        "0",
    ]);
    wait_until("the command runs", || place.path("ready").exists());
    running.signal(Signal::INT);
    let done = running.wait();
    assert_eq!(done.code, 130, "{}", done.stderr);
    let result = place.result(1);
    assert_eq!(
        (
            &result["code"],
            &result["result"]["stdout"],
            &result["result"]["exit_code"]
        ),
        (&json!("INTERRUPTED"), &json!("tidied\n"), &json!(3)),
        "{result}"
    );
    assert_left(&done, 1, 0);
}

#[test]
fn an_idle_run_ends_although_its_input_is_open() {
    let place = Place::new();
    let mut running = place.start(&["run", "--verbose"]);
    running.send("{\"lane\":\"query\",\"type\":\"echo\"}\n");
    wait_until("the command has run", || {
        running.stderr_so_far().contains("completed line 1")
    });
    running.signal(Signal::INT);
    let done = running.wait();
    assert_eq!(done.code, 130);
    assert_eq!(done.counts("query"), [1, 0, 0, 0, 0, 0]);
    assert!(
        done.stdout.contains("\ninterrupted: nothing was left\n"),
        "{}",
        done.stdout
    );
}
