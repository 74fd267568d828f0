//! Runs with a storage, and what is in one.

mod faults;
mod kept;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Done, Place, wait_until};

const LANES: &str =
    "[lanes.a]\npriority = 1\nmax_concurrency = 1\n[lanes.b]\npriority = 2\nmax_concurrency = 1\n";

/// A line whose command runs a script under this id.
fn script(lane: &str, id: &str, script: &str) -> String {
    let argv = json!({ "argv": ["sh", "-c", script] });
    let line = json!({"lane": lane, "type": "exec", "payload": argv, "options": {"id": id}});
    format!("{line}\n")
}

fn run(place: &Place, lines: &str, more_args: &[&str]) -> Done {
    let mut args = vec!["--storage", "store"];
    args.extend_from_slice(more_args);
    place.run_lanes(LANES, lines, &args)
}

/// Runs `a3s-lane dlq` on the storage of this place.
fn dlq(place: &Place, action: &str, more_args: &[&str]) -> Done {
    let mut args = vec!["dlq", action, "--storage", "store"];
    args.extend_from_slice(more_args);
    place.run(&args)
}

fn inspect(place: &Place) -> Value {
    let done = place.run(&["inspect", "store", "--json"]);
    assert_eq!(done.code, 0, "{done:?}");
    serde_json::from_str(&done.stdout).expect("one JSON object")
}

/// Leaves four dead letters: `a1`, `b1`, `a2` and, with another code, `a3`.
fn with_letters() -> Place {
    let place = Place::new();
    let lines = [
        script("a", "a1", "exit 1"),
        script("b", "b1", "exit 2"),
        script("a", "a2", "exit 3"),
        script("a", "a3", "sleep 300").replace("\"payload\":{", "\"payload\":{\"timeout_ms\":50,"),
    ];
    // One after the other, so that the letters have an order.
    for line in lines {
        let done = run(&place, &line, &[]);
        assert_eq!(done.code, 1, "{done:?}");
    }
    place
}

fn listed(place: &Place, filter: &[&str]) -> Vec<String> {
    let mut args = vec!["--json"];
    args.extend_from_slice(filter);
    let done = dlq(place, "list", &args);
    assert_eq!(done.code, 0, "{done:?}");
    let letters = done.stdout.lines().map(|line| {
        let letter: Value = serde_json::from_str(line).expect("a JSON object a line");
        letter["command_id"].as_str().expect("a text").to_owned()
    });
    letters.collect()
}

#[test]
fn a_directory_without_a_storage_is_an_error_and_stays_as_it_is() {
    let place = Place::new();
    for args in [
        &["inspect", "store"][..],
        &["dlq", "list", "--storage", "store"],
        &["dlq", "retry", "--storage", "store", "--all"],
        &["dlq", "discard", "--storage", "store", "--all"],
        &["dlq", "export", "--storage", "store"],
        &["dlq", "import", "--storage", "store"],
    ] {
        let done = place.run(args);
        assert_eq!(done.code, 2, "{args:?}: {done:?}");
        assert_eq!(done.stderr, "error: there is no storage in store\n");
    }
    assert!(!place.path("store").exists());
    for args in [
        &["run", "--durability", "relaxed"][..],
        &["run", "--storage", "store", "--durability", "none"],
        &["dlq", "list"],
        &["dlq"],
        &["inspect"],
        &["dlq", "list", "--storage", "store", "--since", "yesterday"],
        &[
            "dlq",
            "retry",
            "--storage",
            "store",
            "--payload",
            "1",
            "--lane",
            "a",
        ],
    ] {
        assert_eq!(place.run(args).code, 2, "{args:?}");
    }
}

#[test]
fn help_documents_filters_and_exit_status() {
    let place = Place::new();
    let help = place.run(&["dlq", "retry", "--help"]);
    for needle in [
        "--storage <DIR>",
        "--id <ID>",
        "--lane <LANE>",
        "--type <TYPE>",
        "--code <CODE>",
        "--since <TIME>",
        "--until <TIME>",
        "--limit <N>",
        "--payload <JSON>",
        "--all",
        "Exit status:",
        "  1    a letter that was named is not there",
    ] {
        assert!(help.stdout.contains(needle), "{needle}:\n{}", help.stdout);
    }
    let help = place.run(&["inspect", "--help"]);
    assert!(
        help.stdout
            .contains("  1    the integrity check found damage")
    );
    let help = place.run(&["run", "--help"]);
    for needle in ["--storage <DIR>", "--durability <DURABILITY>"] {
        assert!(help.stdout.contains(needle), "{needle}:\n{}", help.stdout);
    }
}

#[test]
fn a_run_leaves_its_dead_letters_and_nothing_pending() {
    let place = Place::new();
    let lines = script("a", "good", "echo done") + &script("b", "bad", "echo why >&2; exit 3");
    let done = run(&place, &lines, &["--durability", "relaxed"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert_eq!(place.result(1)["id"], "good");
    let text =
        "latest failures:\n  b  exec bad  1 attempt: Command execution error: exit code 3: why";
    assert!(done.stdout.contains(text), "{}", done.stdout);

    let found = inspect(&place);
    assert_eq!(
        (&found["pending"], &found["dead_letters"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(
        (&found["lanes"], &found["problems"]),
        (&json!([]), &json!([]))
    );
    let text = place.run(&["inspect", "store"]).stdout;
    assert!(
        text.contains("pending: 0\n") && text.ends_with("integrity: ok\n"),
        "{text}"
    );

    let list = dlq(&place, "list", &[]);
    let rows: Vec<Vec<&str>> = list
        .stdout
        .lines()
        .map(|it| it.split_whitespace().collect())
        .collect();
    assert_eq!(rows.len(), 2, "{}", list.stdout);
    assert_eq!(rows[1][..3], ["bad", "b", "exec"]);
    assert_eq!(rows[1][4..6], ["1", "COMMAND_ERROR"]);
    let letter: Value =
        serde_json::from_str(&dlq(&place, "list", &["--json"]).stdout).expect("JSON");
    assert_eq!(
        letter["payload"],
        json!({"argv": ["sh", "-c", "echo why >&2; exit 3"]})
    );
}

#[test]
fn filters_choose_letters() {
    let place = with_letters();
    let all = dlq(&place, "list", &["--json"]).stdout;
    let second: Value = serde_json::from_str(all.lines().nth(1).expect("four")).expect("JSON");
    let time = second["failed_at"].as_str().expect("a time");
    for (filter, ids) in [
        (&[][..], &["a1", "b1", "a2", "a3"][..]),
        (&["--id", "a2", "--id", "b1"], &["b1", "a2"]),
        (&["--lane", "a"], &["a1", "a2", "a3"]),
        (&["--type", "echo"], &[]),
        (&["--code", "TIMEOUT"], &["a3"]),
        (&["--since", time], &["b1", "a2", "a3"]),
        (&["--until", time], &["a1"]),
        (&["--limit", "2", "--lane", "a"], &["a1", "a2"]),
    ] {
        assert_eq!(listed(&place, filter), ids, "{filter:?}");
    }
    assert_eq!(
        dlq(&place, "list", &["--lane", "c"]).stdout,
        "no dead letters\n"
    );
}

#[test]
fn a_retried_letter_is_pending_until_the_next_run() {
    let place = with_letters();
    let done = dlq(&place, "retry", &[]);
    assert_eq!(done.code, 2, "{done:?}");
    assert!(
        done.stderr.contains("give a filter, or --all"),
        "{}",
        done.stderr
    );

    let done = dlq(&place, "retry", &["--id", "a1", "--id", "nobody"]);
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (1, "1 pending again\n"),
        "{}",
        done.stderr
    );
    assert!(
        done.stderr.starts_with("not retried: nobody: "),
        "{}",
        done.stderr
    );
    let edited = r#"{"argv": ["sh", "-c", "echo mended"]}"#;
    let done = dlq(
        &place,
        "retry",
        &["--id", "b1", "--payload", edited, "--json"],
    );
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(done.stdout, "{\"id\":\"b1\",\"retried\":true}\n");
    assert_eq!(listed(&place, &[]), ["a2", "a3"]);
    let found = inspect(&place);
    assert_eq!(found["pending"], 2);
    assert_eq!(found["lanes"][0]["lane_id"], "a");

    let done = run(&place, "", &[]);
    assert_eq!(done.code, 1, "one of them fails again: {done:?}");
    assert!(done.stdout.contains("; 2 resumed"), "{}", done.stdout);
    assert!(
        done.stderr.contains("resumed   2 of an earlier run"),
        "{}",
        done.stderr
    );
    assert_eq!(done.counts("b"), [1, 0, 0, 0, 0, 0]);
    let results = place.results();
    let mended = results
        .iter()
        .find(|it| it["id"] == "b1")
        .expect("its result");
    assert_eq!(mended["result"]["stdout"], "mended\n");
    assert!(mended.get("line").is_none(), "{mended}");
    assert_eq!(listed(&place, &[]), ["a2", "a3", "a1"]);
    assert_eq!(inspect(&place)["pending"], 0);
}

#[test]
fn discarding_needs_a_choice_and_says_how_many() {
    let place = with_letters();
    assert_eq!(dlq(&place, "discard", &[]).code, 2);
    assert_eq!(dlq(&place, "discard", &["--all", "--lane", "a"]).code, 2);
    let done = dlq(&place, "discard", &["--lane", "a", "--limit", "2"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "2 discarded\n"));
    let done = dlq(&place, "discard", &["--id", "a1"]);
    assert_eq!((done.code, done.stdout.as_str()), (1, "0 discarded\n"));
    let done = dlq(&place, "discard", &["--all", "--json"]);
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (0, "{\"discarded\":2}\n")
    );
    assert_eq!(inspect(&place)["dead_letters"], 0);
}

#[test]
fn letters_move_as_text() {
    let place = with_letters();
    let done = dlq(
        &place,
        "export",
        &["--lane", "a", "--output", "letters.jsonl"],
    );
    assert_eq!((done.code, done.stdout.as_str()), (0, "3 exported\n"));
    let text = place.read("letters.jsonl");
    assert_eq!(dlq(&place, "export", &["--lane", "a"]).stdout, text);
    assert_eq!(listed(&place, &[]).len(), 4, "they stay");

    let other = Place::new();
    run(&other, "", &[]);
    other.write("letters.jsonl", &text);
    let done = dlq(&other, "import", &["letters.jsonl"]);
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (0, "3 imported\n"),
        "{}",
        done.stderr
    );
    assert_eq!(dlq(&other, "export", &[]).stdout, text);
    let mut import = other.start(&["dlq", "import", "--storage", "store", "--json"]);
    import.send(&text);
    assert_eq!(import.finish().stdout, "{\"imported\":0}\n");
    other.write("letters.jsonl", &format!("{text}oops\n"));
    let done = dlq(&other, "import", &["letters.jsonl"]);
    assert_eq!(done.code, 2, "{done:?}");
    assert!(
        done.stderr.contains("line 4 is no dead letter"),
        "{}",
        done.stderr
    );
    let done = dlq(&other, "import", &["no-such-file"]);
    assert!(
        done.stderr.starts_with("error: cannot read no-such-file: "),
        "{}",
        done.stderr
    );
}

#[test]
fn a_line_that_comes_again_does_not_run_again() {
    let place = Place::new();
    let note = |id: &str, end: &str| script("a", id, &format!("echo {id} >> ran; exit {end}"));
    let lines = note("one", "0") + &note("two", "1") + &note("one", "0");
    let done = run(&place, &lines, &[]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(
        done.stdout.contains("1 line known already"),
        "{}",
        done.stdout
    );
    let again = run(&place, &(lines + &note("three", "0")), &[]);
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.stdout.contains("1 command in"), "{}", again.stdout);
    assert!(
        again.stdout.contains("3 lines known already"),
        "{}",
        again.stdout
    );
    assert!(
        again
            .stderr
            .contains("known     line 2: its command is a dead letter"),
        "{}",
        again.stderr
    );
    assert_eq!(place.read("ran"), "one\ntwo\nthree\n");
}

#[test]
fn a_storage_belongs_to_one_process() {
    let place = Place::new();
    let mut running = place.start(&["run", "--storage", "store"]);
    running.send("{\"lane\":\"query\",\"type\":\"echo\"}\n");
    wait_until("the run has a storage", || {
        place.path("store/lanes.db").exists()
    });
    for args in [
        &["dlq", "list", "--storage", "store"][..],
        &["run", "--storage", "store"],
    ] {
        let done = place.run(args);
        assert_eq!(done.code, 2, "{args:?}: {done:?}");
        assert!(done.stderr.contains("another process"), "{}", done.stderr);
    }
    assert_eq!(running.finish().code, 0);
    assert_eq!(dlq(&place, "list", &[]).stdout, "no dead letters\n");
}

#[test]
fn what_an_interrupt_leaves_is_resumed() {
    let place = Place::new();
    place.write("lanes.toml", LANES);
    // The first time it runs until it is stopped.
    let long = "echo run >> long; [ -e go ] && exit 0; : > ready; sleep 300";
    let lines = script("a", "long", long) + &script("a", "next", "echo next >> ran");
    place.write("commands.jsonl", &lines);
    let args = [
        "run",
        "commands.jsonl",
        "-c",
        "lanes.toml",
        "--storage",
        "store",
        "--grace",
        "0",
    ];
    let running = place.start(&args);
    wait_until("the first command runs", || place.path("ready").exists());
    running.signal(Signal::INT);
    let done = running.wait();
    assert_eq!(done.code, 130, "{done:?}");
    let text = "interrupted: 1 stopped, 1 pending\nthey are kept: a3s-lane run --storage store goes on with them\n";
    assert!(done.stdout.ends_with(text), "{}", done.stdout);
    assert_eq!(inspect(&place)["pending"], 2);
    assert_eq!(inspect(&place)["dead_letters"], 0);

    place.write("go", "");
    let done = run(&place, "", &[]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(place.results().len(), 2);
    // A stopped attempt does not count.
    assert!(
        place.results().iter().all(|it| it["attempts"] == 1),
        "{:?}",
        place.results()
    );
    assert_eq!(
        (place.read("long"), place.read("ran")),
        ("run\nrun\n".into(), "next\n".into())
    );
}

#[test]
fn the_second_interrupt_leaves_commands_in_the_storage() {
    let place = Place::new();
    place.write("lanes.toml", LANES);
    place.write(
        "commands.jsonl",
        &script("a", "long", ": > ready; sleep 300"),
    );
    let args = [
        "run",
        "commands.jsonl",
        "-c",
        "lanes.toml",
        "--storage",
        "store",
        "--grace",
        "100",
    ];
    let running = place.start(&args);
    wait_until("the command runs", || place.path("ready").exists());
    running.signal(Signal::INT);
    wait_until("the run says that it was interrupted", || {
        running
            .stderr_so_far()
            .contains("interrupted: waiting for 1 running")
    });
    running.signal(Signal::INT);
    let done = running.wait();
    assert_eq!(done.code, 130, "{done:?}");
    assert_eq!(
        (
            &inspect(&place)["pending"],
            &inspect(&place)["dead_letters"]
        ),
        (&json!(1), &json!(0))
    );
}

#[test]
fn what_a_killed_run_left_is_resumed_and_what_had_ended_is_not() {
    let place = Place::new();
    place.write("lanes.toml", LANES);
    let mut lines: String = (0..5)
        .map(|n| script("a", &format!("quick{n}"), &format!("echo quick{n} >> ran")))
        .collect();
    lines += &script(
        "a",
        "slow",
        "echo slow >> ran; [ -e go ] || { : > ready; sleep 300; }",
    );
    lines += &script("a", "fails", "echo fails >> ran; exit 1")
        .replace("\"lane\"", "\"expect\":\"failed\",\"lane\"");
    lines += &script(
        "b",
        "other",
        "until [ -e go ]; do sleep 0.02; done; echo other >> ran",
    );
    place.write("commands.jsonl", &lines);
    let args = [
        "run",
        "commands.jsonl",
        "-c",
        "lanes.toml",
        "--storage",
        "store",
    ];
    let running = place.start(&args);
    wait_until("the slow command runs", || place.path("ready").exists());
    running.signal(Signal::KILL);
    running.wait_killed();
    assert_eq!(inspect(&place)["pending"], 3);

    place.write("go", "");
    let done = run(&place, &lines, &[]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(
        done.stdout.contains("; 3 resumed; 8 lines known already"),
        "{}",
        done.stdout
    );
    assert_eq!(inspect(&place)["pending"], 0);
    let ran = place.read("ran");
    let count = |word: &str| ran.lines().filter(|line| *line == word).count();
    for n in 0..5 {
        assert_eq!(count(&format!("quick{n}")), 1, "{ran}");
    }
    assert_eq!((count("slow"), count("fails")), (2, 1), "{ran}");
    assert!((1..=2).contains(&count("other")), "{ran}");
    assert_eq!(listed(&place, &[]), ["fails"]);
}

#[test]
fn stored_commands_of_other_lanes_stay() {
    let place = with_letters();
    dlq(&place, "retry", &["--id", "b1"]);
    place.write("lanes.toml", "[lanes.a]\npriority = 1\n");
    let done = place.run(&["run", "-c", "lanes.toml", "--storage", "store"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(
        done.stdout.contains("1 left in the storage"),
        "{}",
        done.stdout
    );
    assert_eq!(inspect(&place)["pending"], 1);
}

/// The session in the guide, line by line.
#[test]
fn the_session_of_the_guide_is_what_happens() {
    const GUIDE: &str = include_str!("../../../../docs/cli.md");
    let place = Place::new();
    let failing = json!({"lane": "query", "type": "exec", "payload": {"argv": ["sh", "-c", "exit 1"]}, "options": {"id": "n1"}});
    place.write("commands.jsonl", &format!("{failing}\n"));
    let (_, rest) = GUIDE.split_once("```text\n$ ").expect("a session");
    let (session, _) = rest.split_once("```").expect("its end");
    for step in session.split("\n$ ") {
        let (command, shown) = step.split_once('\n').unwrap_or((step, ""));
        let program = env!("CARGO_BIN_EXE_a3s-lane");
        let script = command.replacen("a3s-lane", "\"$0\"", 1);
        let output = std::process::Command::new("sh")
            .args(["-c", &script, program])
            .current_dir(place.path(""))
            .output()
            .expect("a shell");
        let said = String::from_utf8_lossy(&output.stdout);
        if !shown.trim().is_empty() {
            assert_eq!(words(&said), words(shown), "{command}");
        }
    }
    assert_eq!(
        (
            &inspect(&place)["pending"],
            &inspect(&place)["dead_letters"]
        ),
        (&json!(0), &json!(0))
    );
}

/// The words of each line, times left out.
fn words(text: &str) -> Vec<Vec<&str>> {
    let is_time = |word: &str| word.len() == 20 && word.ends_with('Z');
    let lines = text
        .lines()
        .map(|line| line.split_whitespace().filter(|word| !is_time(word)));
    lines
        .map(Iterator::collect)
        .filter(|line: &Vec<&str>| !line.is_empty())
        .collect()
}
