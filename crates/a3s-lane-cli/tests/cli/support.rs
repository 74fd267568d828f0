//! A directory to run the binary in, and waiting with a limit.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Far beyond what any test needs; only a hang gets here.
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_a3s-lane");

/// A temporary working directory.
pub(crate) struct Place {
    dir: TempDir,
}

/// A finished run.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A run that goes on.
pub(crate) struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Stream,
    stderr: Stream,
}

struct Stream {
    text: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            dir: TempDir::new().expect("a temporary directory"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the test's file");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a file the run has written")
    }

    /// Starts the binary in this directory with its input open.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        start(self.dir.path(), args, &[])
    }

    /// Runs the binary in this directory with empty input.
    pub(crate) fn run(&self, args: &[&str]) -> Done {
        self.start(args).finish()
    }

    /// Runs the lines of `commands.jsonl`, given here, and writes `results.jsonl`.
    pub(crate) fn run_lines(&self, lines: &str, more_args: &[&str]) -> Done {
        self.write("commands.jsonl", lines);
        let mut args = vec!["run", "commands.jsonl", "--output", "results.jsonl"];
        args.extend_from_slice(more_args);
        self.run(&args)
    }

    /// As [`run_lines`](Self::run_lines), with the lanes given here.
    pub(crate) fn run_lanes(&self, lanes: &str, lines: &str, more_args: &[&str]) -> Done {
        self.write("lanes.toml", lanes);
        let mut args = vec!["--config", "lanes.toml"];
        args.extend_from_slice(more_args);
        self.run_lines(lines, &args)
    }

    /// The results in completion order.
    pub(crate) fn results(&self) -> Vec<Value> {
        let text = self.read("results.jsonl");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("a JSON object a line"))
            .collect()
    }

    /// The result of one line.
    pub(crate) fn result(&self, line: u64) -> Value {
        let results = self.results();
        let found = results.iter().find(|result| result["line"] == line);
        found
            .unwrap_or_else(|| panic!("no result of line {line}: {results:?}"))
            .clone()
    }
}

/// Starts the binary.
pub(crate) fn start(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Running {
    let mut command = Command::new(BINARY);
    command
        .args(args)
        .envs(env.iter().copied())
        .current_dir(dir);
    spawn(command)
}

/// Starts a program that runs the binary.
pub(crate) fn spawn(mut command: Command) -> Running {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    Running {
        stdin: child.stdin.take(),
        stdout: Stream::follow(child.stdout.take().expect("stdout is a pipe")),
        stderr: Stream::follow(child.stderr.take().expect("stderr is a pipe")),
        child,
    }
}

impl Stream {
    fn follow(mut pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let shared = Arc::clone(&text);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = pipe.read(&mut buffer) {
                shared
                    .lock()
                    .expect("no panic")
                    .push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
        });
        Self { text, reader }
    }

    fn so_far(&self) -> String {
        self.text.lock().expect("no panic").clone()
    }

    fn finish(self) -> String {
        self.reader.join().expect("the reader does not panic");
        let text = self.text.lock().expect("no panic");
        text.clone()
    }
}

impl Running {
    /// Writes to the run's standard input.
    pub(crate) fn send(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("the input is open");
        stdin
            .write_all(text.as_bytes())
            .expect("the run reads its input");
        stdin.flush().expect("the run reads its input");
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn stdout_so_far(&self) -> String {
        self.stdout.so_far()
    }

    pub(crate) fn stderr_so_far(&self) -> String {
        self.stderr.so_far()
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        let pid = rustix::process::Pid::from_raw(id).expect("a process id");
        rustix::process::kill_process(pid, signal).expect("the run is alive");
    }

    /// Waits for the end of a run that was killed.
    #[cfg(unix)]
    pub(crate) fn wait_killed(mut self) {
        self.child.wait().expect("the run is our child");
    }

    /// Waits for the end without closing the input.
    pub(crate) fn wait(mut self) -> Done {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the run is our child") {
                break status;
            }
            if began.elapsed() > LIMIT {
                self.child.kill().expect("the run is our child");
                panic!(
                    "the run does not end; stderr so far:\n{}",
                    self.stderr_so_far()
                );
            }
            thread::sleep(Duration::from_millis(5));
        };
        drop(self.stdin);
        Done {
            code: status.code().expect("the run ends by itself"),
            stdout: self.stdout.finish(),
            stderr: self.stderr.finish(),
        }
    }

    /// Closes the input and waits for the end.
    pub(crate) fn finish(mut self) -> Done {
        self.stdin = None;
        self.wait()
    }
}

impl Done {
    /// The cells of a lane's row in the table: name, done, failed, timed out, expected, retried, not run, percentiles.
    pub(crate) fn row(&self, lane: &str) -> Vec<String> {
        let rows = self.stdout.lines().map(|line| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        });
        let found = rows
            .into_iter()
            .find(|cells| cells.first().is_some_and(|name| name == lane));
        found.unwrap_or_else(|| panic!("no row of {lane}:\n{}", self.stdout))
    }

    /// The six counts of a lane's row.
    pub(crate) fn counts(&self, lane: &str) -> [u64; 6] {
        let row = self.row(lane);
        std::array::from_fn(|index| row[index + 1].parse().expect("a count"))
    }
}

/// Waits until the condition holds.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LIMIT, "never happened: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process exists and is not a zombie that nobody reaps.
#[cfg(unix)]
pub(crate) fn is_alive(pid: &str) -> bool {
    let listed = Command::new("ps")
        .args(["-o", "stat=", "-p", pid.trim()])
        .output()
        .expect("ps runs");
    let state = String::from_utf8_lossy(&listed.stdout).trim().to_owned();
    !state.is_empty() && !state.starts_with('Z')
}
