//! The shipped session: what the first command of the README runs.

use std::path::Path;

use crate::support::{Place, start};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const LANES: [&str; 6] = ["system", "control", "query", "session", "skill", "prompt"];

#[test]
fn the_session_ends_as_expected_and_leaves_nothing_behind() {
    let place = Place::new();
    let output = place.path("results.jsonl");
    let output = output.to_str().expect("a UTF-8 path");
    let mark = format!("{output}-mark");
    let env = [
        ("A3S_LANE_TEST_MARK", mark.as_str()),
        ("TMPDIR", place.path("").to_str().expect("a UTF-8 path")),
    ]
    .map(|(name, value)| (name, value.to_owned()));
    let env: Vec<_> = env
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let done = start(
        Path::new(ROOT),
        &["run", "examples/session.jsonl", "-o", output],
        &env,
    )
    .finish();
    assert_eq!(done.code, 0, "{}\n{}", done.stdout, done.stderr);

    let results = place.results();
    assert_eq!(results.len(), 200);
    let count = |predicate: &dyn Fn(&serde_json::Value) -> bool| {
        results.iter().filter(|result| predicate(result)).count()
    };
    assert_eq!(count(&|result| result["ok"] == true), 200);
    // A few fail, a few time out, a few succeed only when tried again.
    assert!(count(&|result| result["status"] == "failed") >= 5);
    assert!(count(&|result| result["status"] == "timeout") >= 3);
    assert!(
        count(&|result| result["status"] == "completed" && result["attempts"].as_u64() > Some(1))
            >= 3
    );
    for lane in LANES {
        let [completed, failed, timed_out, expected, _, not_run] = done.counts(lane);
        assert!(completed > 15 && expected > 0, "{lane}:\n{}", done.stdout);
        assert_eq!([failed, timed_out, not_run], [0, 0, 0], "{lane}");
        assert_eq!(
            count(&|result| result["lane"] == lane) as u64,
            completed + expected
        );
    }

    let left: Vec<_> = std::fs::read_dir(place.path(""))
        .expect("the temporary directory")
        .flatten()
        .collect();
    assert_eq!(left.len(), 1, "only the results are left: {left:?}");
    #[cfg(target_os = "linux")]
    crate::support::wait_until("no process of the session is left", || {
        processes_with(&mark) == 0
    });
}

/// Live processes whose environment has the mark.
#[cfg(target_os = "linux")]
fn processes_with(mark: &str) -> usize {
    let processes = std::fs::read_dir("/proc")
        .expect("Linux has /proc")
        .flatten();
    let marked = processes.filter(|process| {
        // A zombie's environment reads as empty.
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|entry| entry.ends_with(mark.as_bytes()))
    });
    marked.count()
}
