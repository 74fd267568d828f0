//! What a run and `dlq` leave of what an application keeps in the same storage.

use rusqlite::Connection;
use serde_json::Value;

use super::{LANES, Place, dlq, inspect, run, script, wait_until};

/// Changes the tables by hand.
fn change(place: &Place, statements: &str) {
    let file = Connection::open(place.path("store/lanes.db")).expect("it opens");
    file.execute_batch(statements).expect("changed");
}

#[test]
fn letters_are_kept_however_many_there_are() {
    let place = Place::new();
    let done = run(&place, &script("a", "first", "exit 1"), &[]);
    assert_eq!(done.code, 1, "{done:?}");
    let text = dlq(&place, "export", &[]).stdout;
    let mut letter: Value = serde_json::from_str(&text).expect("one letter");
    let mut text = String::new();
    for number in 0..10_000 {
        letter["command_id"] = number.to_string().into();
        text += &format!("{letter}\n");
    }
    place.write("letters.jsonl", &text);
    let done = dlq(&place, "import", &["letters.jsonl"]);
    assert_eq!(done.stdout, "10000 imported\n", "{done:?}");
    assert_eq!(inspect(&place)["dead_letters"], 10_001);
    let done = run(&place, &script("a", "last", "exit 1"), &[]);
    assert_eq!(done.code, 1, "{done:?}");
    assert_eq!(inspect(&place)["dead_letters"], 10_002);
    // One that no run has made.
    let done = run(&place, &script("a", "9999", "exit 1"), &[]);
    assert_eq!(done.code, 0, "{done:?}");
    let known = "known     line 1: its command is a dead letter";
    assert!(done.stderr.contains(known), "{}", done.stderr);
}

/// Otherwise lines would run again.
#[test]
fn outcomes_are_kept_however_many_and_old_they_are() {
    let place = Place::new();
    let lines = |ids: &[&str]| -> String {
        let lines = ids
            .iter()
            .map(|id| script("a", id, &format!("echo {id} >> ran")));
        lines.collect()
    };
    assert_eq!(run(&place, &lines(&["old", "one"]), &[]).code, 0);
    // As after 200,000 more of them, ten years later.
    change(
        &place,
        "UPDATE results SET settled_at = settled_at - 10 * 365 * 86400000000000 WHERE id = 'old';
         INSERT INTO results SELECT 200000, 'far', type, lane, settled_at, code, error, result
             FROM results WHERE id = 'one';",
    );
    let done = run(&place, &lines(&["old", "one", "far", "new"]), &[]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(
        done.stdout.contains("3 lines known already"),
        "{}",
        done.stdout
    );
    assert_eq!(place.read("ran"), "old\none\nnew\n");
    assert_eq!(inspect(&place)["results"], 4);
}

/// Of one that has failed in this run.
#[test]
fn a_dead_letter_is_known_when_its_outcome_is_forgotten() {
    let place = Place::new();
    place.write("lanes.toml", LANES);
    let options = ["--storage", "store", "--keep-results", "0"];
    let mut args = vec!["run", "-", "--config", "lanes.toml"];
    args.extend(options);
    let mut run = place.start(&args);
    let fails = script("a", "fails", "echo x >> ran; exit 1");
    run.send(&fails);
    wait_until("it is told", || run.stderr_so_far().contains("failed"));
    run.send(&script("a", "other", "true"));
    run.send(&fails);
    let done = run.finish();
    assert_eq!(done.code, 1, "{done:?}");
    let known = "known     line 3: its command is a dead letter";
    assert!(done.stderr.contains(known), "{}", done.stderr);
    assert_eq!(place.read("ran"), "x\n");
    assert_eq!(inspect(&place)["dead_letters"], 1);
}

#[test]
fn outcomes_are_forgotten_as_the_options_say() {
    let ids = ["old", "one", "two", "three"];
    for (options, runs_again) in [
        (&["--keep-results-for", "24h"][..], &["old"][..]),
        (&["--keep-results", "2"], &["old", "one", "two"]),
        (&["--keep-results", "0"], &ids),
        (&[], &[]),
    ] {
        let place = Place::new();
        let lines: String = ids
            .iter()
            .map(|id| script("a", id, &format!("echo {id} >> ran")))
            .collect();
        assert_eq!(run(&place, &lines, &[]).code, 0);
        let two_days = 2 * 86_400_000_000_000_u64;
        change(
            &place,
            &format!("UPDATE results SET settled_at = settled_at - {two_days} WHERE id = 'old'"),
        );
        // What is over is deleted when one is added.
        let more = script("a", "more", "true");
        assert_eq!(run(&place, &more, options).code, 0);
        let _none = std::fs::remove_file(place.path("ran"));
        let done = run(&place, &lines, &[]);
        assert_eq!(done.code, 0, "{done:?}");
        let ran = std::fs::read_to_string(place.path("ran")).unwrap_or_default();
        let ran: Vec<&str> = ran.lines().collect();
        assert_eq!(ran, runs_again, "{options:?}");
    }
    let place = Place::new();
    for options in [["--keep-results", "1"], ["--keep-results-for", "1h"]] {
        let done = place.run(&["run", options[0], options[1]]);
        assert_eq!(done.code, 2, "without a storage: {done:?}");
    }
}
