//! The live lines on a terminal, which `script` makes.

use std::process::{Command, Stdio};

use crate::support::{BINARY, Place, Running, spawn, wait_until};

/// Runs the lines of `commands.jsonl` on a terminal of its own; `None` where there is no `script`.
fn on_a_terminal(place: &Place) -> Option<Running> {
    let known = Command::new("script")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if !known.is_ok_and(|status| status.success()) {
        let must = std::env::var_os("A3S_LANE_SKIP_NOTHING").is_some();
        assert!(!must, "there is no program `script`");
        println!("skipped: there is no program `script`");
        return None;
    }
    let line = "stty cols 120 rows 40 && exec \"$LANE\" run commands.jsonl --config lanes.toml --output results.jsonl";
    let mut command = Command::new("script");
    command
        .args(["-qec", line, "/dev/null"])
        .env("LANE", BINARY)
        .env("SHELL", "/bin/sh")
        .env("TERM", "xterm")
        .current_dir(place.path(""));
    Some(spawn(command))
}

#[test]
fn a_terminal_shows_a_bar_of_each_lane_while_it_runs_and_then_the_table_alone() {
    let place = Place::new();
    place.write(
        "lanes.toml",
        "[lanes.busy]\npriority = 1\nmax_concurrency = 2\n[lanes.idle]\npriority = 2\nmax_concurrency = 3\n",
    );
    let command = r#"{"lane":"busy","type":"exec","payload":{"argv":["sh","-c","until test -e go; do sleep 0.01; done"]}}"#;
    place.write("commands.jsonl", &format!("{command}\n"));
    let Some(running) = on_a_terminal(&place) else {
        return;
    };
    wait_until("the lines say what runs", || {
        let shown = running.stdout_so_far();
        ["1 read, 1 running", "■", "1/2", "0/3"]
            .iter()
            .all(|part| shown.contains(part))
    });
    place.write("go", "");
    let done = running.finish();
    assert_eq!(done.code, 0, "{}", done.stdout);
    let (_, rest) = done.stdout.rsplit_once("1 command in").expect("a summary");
    assert!(!rest.contains(['■', '·']), "{rest:?}");
    assert_eq!(place.results().len(), 1);
}
