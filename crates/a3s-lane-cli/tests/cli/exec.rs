//! The `exec` handler with real processes.

use serde_json::{Value, json};

use crate::support::{Place, is_alive, wait_until};

fn exec(payload: Value) -> String {
    format!(
        "{}\n",
        json!({"lane": "session", "type": "exec", "payload": payload})
    )
}

/// Runs one command in the session lane, which has no retries; returns the exit status of the run and its result.
fn run(payload: Value) -> (i32, Value) {
    let place = Place::new();
    let done = place.run_lines(&exec(payload), &[]);
    (done.code, place.result(1))
}

#[test]
fn success_returns_exit_code_and_output() {
    let (code, result) = run(json!({"argv": ["sh", "-c", "echo out; echo err >&2"]}));
    assert_eq!((code, &result["status"]), (0, &json!("completed")));
    let output = json!({
        "exit_code": 0, "stdout": "out\n", "stderr": "err\n", "stdout_truncated": false, "stderr_truncated": false,
    });
    assert_eq!(result["result"], output);
}

#[test]
fn a_failure_has_the_end_of_stderr_and_keeps_the_output() {
    let (code, result) =
        run(json!({"argv": ["sh", "-c", "echo half done; echo no luck >&2; exit 3"]}));
    assert_eq!(
        (code, &result["status"], &result["code"]),
        (1, &json!("failed"), &json!("COMMAND_ERROR"))
    );
    assert_eq!(
        result["error"],
        "Command execution error: exit code 3: no luck"
    );
    assert_eq!(result["result"]["exit_code"], 3);
    assert_eq!(result["result"]["stdout"], "half done\n");
}

#[test]
fn death_by_signal_is_a_failure() {
    let (code, result) = run(json!({"argv": ["sh", "-c", "kill -9 $$"]}));
    assert_eq!((code, &result["status"]), (1, &json!("failed")));
    assert_eq!(
        result["error"],
        "Command execution error: killed by signal 9"
    );
    assert_eq!(result["result"]["exit_code"], Value::Null);
    assert_eq!(result["result"]["signal"], 9);
}

#[test]
fn stdin_env_cwd_and_argv_reach_the_process() {
    let place = Place::new();
    std::fs::create_dir(place.path("inner")).expect("a directory");
    let script =
        "cat; printf '%s|%s|' \"$A3S_A\" \"$A3S_B\"; basename \"$PWD\"; printf '%s,' \"$0\" \"$@\"";
    let payload = json!({
        "argv": ["sh", "-c", script, "zero", "a b", "*"],
        "env": {"A3S_A": "1", "A3S_B": "two words"},
        "cwd": "inner",
        "stdin": "from stdin\n",
    });
    let done = place.run_lines(&exec(payload), &[]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(
        place.result(1)["result"]["stdout"],
        "from stdin\n1|two words|inner\nzero,a b,*,"
    );
}

#[test]
fn the_environment_is_inherited_and_stdin_is_empty() {
    let (code, result) = run(json!({"argv": ["sh", "-c", "test -n \"$PATH\" && cat"]}));
    assert_eq!((code, &result["result"]["stdout"]), (0, &json!("")));
}

#[test]
fn a_process_need_not_read_its_input() {
    let (code, result) = run(json!({"argv": ["true"], "stdin": "x".repeat(1_000_000)}));
    assert_eq!((code, &result["status"]), (0, &json!("completed")));
}

#[test]
fn input_and_output_larger_than_a_pipe_flow_at_once() {
    let text = "0123456789abcde\n".repeat(40_000);
    let (code, result) = run(json!({"argv": ["cat"], "stdin": text}));
    assert_eq!(code, 0);
    assert_eq!(
        result["result"]["stdout"].as_str().map(str::len),
        Some(text.len())
    );
}

#[test]
fn long_output_is_cut_at_a_mebibyte_and_marked() {
    let script = "head -c 1048576 /dev/zero; head -c 1048577 /dev/zero >&2";
    let (code, result) = run(json!({"argv": ["sh", "-c", script]}));
    assert_eq!(code, 0);
    let output = &result["result"];
    assert_eq!(output["stdout"].as_str().map(str::len), Some(1_048_576));
    assert_eq!(output["stderr"].as_str().map(str::len), Some(1_048_576));
    assert_eq!(
        (&output["stdout_truncated"], &output["stderr_truncated"]),
        (&json!(false), &json!(true))
    );
}

#[test]
fn output_that_is_not_utf_8_is_replaced() {
    let (_, result) = run(json!({"argv": ["printf", "a\\377b"]}));
    assert_eq!(result["result"]["stdout"], "a\u{FFFD}b");
}

#[test]
fn what_cannot_start_says_why() {
    let (_, result) = run(json!({"argv": ["pwd"], "cwd": "no/such/directory"}));
    let error = result["error"].as_str().expect("a text");
    assert!(
        error.starts_with("cannot start pwd in no/such/directory: "),
        "{error}"
    );
    assert_eq!(result["attempts"], 1);
}

/// A process with a child and a grandchild, all of which would run for minutes.
const FAMILY: &str = "sh -c 'sleep 300 & echo $! > grandchild.tmp; mv grandchild.tmp grandchild; wait' & \
    echo $$ > leader; echo partly done; wait";

fn assert_family_is_gone(place: &Place) {
    for name in ["leader", "grandchild"] {
        let pid = place.read(name);
        wait_until(&format!("{name} is gone"), || !is_alive(&pid));
    }
}

#[test]
fn the_payload_timeout_kills_the_whole_process_group() {
    let place = Place::new();
    let done = place.run_lines(
        &exec(json!({"argv": ["sh", "-c", FAMILY], "timeout_ms": 3000})),
        &[],
    );
    assert_eq!(done.code, 1);
    let result = place.result(1);
    assert_eq!(
        (&result["status"], &result["code"]),
        (&json!("timeout"), &json!("TIMEOUT"))
    );
    assert_eq!(result["error"], "Command timed out after 3s");
    assert_eq!(result["result"]["stdout"], "partly done\n");
    assert_eq!(done.counts("session"), [0, 0, 1, 0, 0, 0]);
    assert_family_is_gone(&place);
}

#[test]
fn the_lane_timeout_kills_the_whole_process_group() {
    let place = Place::new();
    let lanes = "[lanes.session]\npriority = 0\ntimeout_ms = 3000\n";
    let done = place.run_lanes(lanes, &exec(json!({"argv": ["sh", "-c", FAMILY]})), &[]);
    assert_eq!(done.code, 1);
    let result = place.result(1);
    assert_eq!(
        (&result["status"], &result["code"]),
        (&json!("timeout"), &json!("TIMEOUT"))
    );
    assert_eq!(result["result"]["stdout"], "partly done\n");
    assert_family_is_gone(&place);
}

#[test]
fn what_a_process_leaves_in_the_background_ends_with_it() {
    let place = Place::new();
    let script = "sleep 300 & echo $! > grandchild; echo done";
    let done = place.run_lines(&exec(json!({"argv": ["sh", "-c", script]})), &[]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(place.result(1)["result"]["stdout"], "done\n");
    let pid = place.read("grandchild");
    wait_until("the background process is gone", || !is_alive(&pid));
}

#[test]
fn the_query_lane_retries_and_the_others_do_not() {
    let place = Place::new();
    let script = "echo x >> tries-$A3S_LANE; exit 1";
    let line = |lane: &str| {
        let payload = json!({"argv": ["sh", "-c", script], "env": {"A3S_LANE": lane}});
        format!(
            "{}\n",
            json!({"lane": lane, "type": "exec", "payload": payload})
        )
    };
    let lanes = ["system", "control", "query", "session", "skill", "prompt"];
    let done = place.run_lines(&lanes.map(line).concat(), &[]);
    assert_eq!(done.code, 1);
    for (index, lane) in lanes.iter().enumerate() {
        let attempts = if *lane == "query" { 3 } else { 1 };
        let result = place.result(index as u64 + 1);
        assert_eq!(result["attempts"], attempts, "{lane}");
        assert_eq!(
            place.read(&format!("tries-{lane}")).lines().count(),
            attempts,
            "{lane}"
        );
        assert_eq!(
            done.counts(lane),
            [0, 1, 0, 0, attempts as u64 - 1, 0],
            "{lane}"
        );
    }
    assert!(
        done.stderr
            .contains("attempt 3 after: Command execution error: exit code 1"),
        "{}",
        done.stderr
    );
}

#[test]
fn a_command_that_recovers_completes() {
    let place = Place::new();
    let script = "if [ -e tried ]; then echo recovered; else : > tried; exit 1; fi";
    let line = json!({"lane": "query", "type": "exec", "payload": {"argv": ["sh", "-c", script]}});
    let done = place.run_lines(&format!("{line}\n"), &[]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let result = place.result(1);
    assert_eq!(
        (&result["attempts"], &result["result"]["stdout"]),
        (&json!(2), &json!("recovered\n"))
    );
    assert_eq!(done.counts("query"), [1, 0, 0, 0, 1, 0]);
}
