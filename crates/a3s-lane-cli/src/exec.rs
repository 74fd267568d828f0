//! The `exec` handler: runs a process.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use a3s_lane::{CommandContext, LaneError, Result};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, Command};
use tokio_util::sync::CancellationToken;

use crate::bounded_text::BoundedText;
use crate::payload::ExecSpec;
use crate::process_group::ProcessGroup;

/// How long to read on after the group is dead. Only a process that left the group can keep the pipes open, and its
/// output is not waited for.
const READ_ON: Duration = Duration::from_secs(2);

/// Runs the process of one attempt to its end. What it writes is a sign of life; asked to stop, it is terminated.
///
/// `leave` receives what a process that did not succeed left behind: exit code and output.
///
/// # Errors
///
/// `CommandError` for a non-zero exit or a signal, `Timeout` after the payload's `timeout_ms`, `UnrecoverableJob` when
/// there is no such program or directory, `Cancelled` when `kill` fires.
///
/// # Cancel safety
///
/// Dropping the future kills the process group.
pub(crate) async fn run(
    spec: &ExecSpec,
    context: &CommandContext,
    kill: &CancellationToken,
    leave: &(dyn Fn(Value) + Sync),
) -> Result<Value> {
    let (group, pipes) =
        ProcessGroup::spawn(command(spec)).map_err(|error| cannot_start(spec, &error))?;
    let mut capture = Capture {
        stdout: Mutex::default(),
        stderr: Mutex::default(),
        status: None,
        leave: Some(leave),
    };
    let input = spec.stdin.as_deref().unwrap_or_default().as_bytes();
    let ended = tokio::select! {
        ended = until_end(group, input, pipes, &capture, context) => ended,
        () = kill.cancelled() => return Err(LaneError::Cancelled("the run was interrupted".to_owned())),
        limit = limit(spec.timeout) => return Err(LaneError::Timeout(limit)),
    };
    let status = ended.map_err(|error| {
        LaneError::CommandError(format!("cannot wait for {}: {error}", spec.argv[0]))
    })?;
    capture.status = Some(status);
    if status.success() {
        capture.leave = None;
        return Ok(capture.value());
    }
    let reason = describe(status);
    let tail = capture.stderr().tail();
    let text = if tail.is_empty() {
        reason
    } else {
        format!("{reason}: {tail}")
    };
    Err(LaneError::CommandError(text))
}

fn command(spec: &ExecSpec) -> Command {
    let mut command = Command::new(&spec.argv[0]);
    command
        .args(&spec.argv[1..])
        .envs(spec.env.iter().map(|(name, value)| (name, value)));
    if let Some(cwd) = &spec.cwd {
        command.current_dir(cwd);
    }
    let stdin = if spec.stdin.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    };
    command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn cannot_start(spec: &ExecSpec, error: &io::Error) -> LaneError {
    let place = spec
        .cwd
        .as_ref()
        .map_or_else(String::new, |cwd| format!(" in {}", cwd.display()));
    let text = format!("cannot start {}{place}: {error}", spec.argv[0]);
    match error.kind() {
        // Trying again will not make the program appear.
        io::ErrorKind::NotFound
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::NotADirectory => LaneError::unrecoverable_job(text),
        _ => LaneError::CommandError(text),
    }
}

/// Never ends without a limit.
async fn limit(timeout: Option<Duration>) -> Duration {
    match timeout {
        Some(timeout) => {
            tokio::time::sleep(timeout).await;
            timeout
        }
        None => std::future::pending().await,
    }
}

async fn until_end(
    mut group: ProcessGroup,
    input: &[u8],
    pipes: crate::process_group::Pipes,
    capture: &Capture<'_>,
    context: &CommandContext,
) -> io::Result<ExitStatus> {
    let io = async {
        tokio::join!(
            feed(pipes.stdin, input),
            pump(pipes.stdout, &capture.stdout, context),
            pump(pipes.stderr, &capture.stderr, context),
        );
    };
    tokio::pin!(io);
    let stop = context.cancellation();
    let (mut io_done, mut is_asked) = (false, false);
    loop {
        tokio::select! {
            () = &mut io, if !io_done => io_done = true,
            () = stop.cancelled(), if !is_asked => {
                is_asked = true;
                group.terminate();
            }
            ended = group.ended() => {
                ended?;
                break;
            }
        }
    }
    // A command is done when its process is: what it left in the background would hold the pipes open.
    let status = group.finish().await?;
    if !io_done && tokio::time::timeout(READ_ON, io).await.is_err() {
        lock(&capture.stdout).mark_truncated();
        lock(&capture.stderr).mark_truncated();
    }
    Ok(status)
}

async fn feed(stdin: Option<ChildStdin>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        // A process need not read its input; its exit code tells whether it minded.
        let _closed_early = stdin.write_all(input).await;
    }
}

async fn pump(
    stream: Option<impl AsyncRead + Unpin>,
    text: &Mutex<BoundedText>,
    context: &CommandContext,
) {
    let Some(mut stream) = stream else {
        return;
    };
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => return,
            Ok(read) => {
                context.heartbeat();
                lock(text).push(&buffer[..read]);
            }
            Err(_) => {
                lock(text).mark_truncated();
                return;
            }
        }
    }
}

fn lock(text: &Mutex<BoundedText>) -> MutexGuard<'_, BoundedText> {
    text.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the process wrote so far; handed to `leave` on every exit path but success.
struct Capture<'a> {
    stdout: Mutex<BoundedText>,
    stderr: Mutex<BoundedText>,
    status: Option<ExitStatus>,
    leave: Option<&'a (dyn Fn(Value) + Sync)>,
}

impl Capture<'_> {
    fn stderr(&self) -> MutexGuard<'_, BoundedText> {
        lock(&self.stderr)
    }

    fn value(&self) -> Value {
        let (stdout, stderr) = (lock(&self.stdout), lock(&self.stderr));
        let mut value = json!({
            "exit_code": self.status.and_then(|status| status.code()),
            "stdout": stdout.text(),
            "stderr": stderr.text(),
            "stdout_truncated": stdout.is_truncated(),
            "stderr_truncated": stderr.is_truncated(),
        });
        if let Some(signal) = self.status.and_then(signal) {
            value["signal"] = signal.into();
        }
        value
    }
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            leave(self.value());
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), signal(status)) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended without an exit code".to_owned(),
    }
}

#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_status: ExitStatus) -> Option<i32> {
    None
}
