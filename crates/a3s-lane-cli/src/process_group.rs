//! A child process together with everything it starts.
//!
//! On Unix the child leads a process group of its own. The group is killed while its leader is still unreaped, so that
//! the group's number cannot have been given to somebody else. On Windows the process tree is killed by `taskkill`, best
//! effort: processes whose parent is gone are not found.

use std::io;
use std::process::ExitStatus;

use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// A running child; dropping it kills the whole group and reaps the child.
pub(crate) struct ProcessGroup {
    /// Present until the child was reaped.
    child: Option<Child>,
}

/// The child's ends of its pipes.
pub(crate) struct Pipes {
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    pub(crate) stderr: Option<ChildStderr>,
}

impl ProcessGroup {
    /// Starts the command as the leader of a new group.
    pub(crate) fn spawn(mut command: Command) -> io::Result<(Self, Pipes)> {
        #[cfg(unix)]
        command.process_group(0);
        command.kill_on_drop(true);
        let mut child = command.spawn()?;
        let pipes = Pipes {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
        };
        Ok((Self { child: Some(child) }, pipes))
    }

    /// Waits until the child has ended, without reaping it where the system allows.
    ///
    /// Cancel safe.
    pub(crate) async fn ended(&mut self) -> io::Result<()> {
        let Some(child) = self.child.as_mut() else {
            return Ok(());
        };
        system::ended(child).await
    }

    /// Kills what is left of the group and reaps the child.
    pub(crate) async fn finish(mut self) -> io::Result<ExitStatus> {
        self.kill();
        let result = match self.child.as_mut() {
            Some(child) => child.wait().await,
            None => Err(io::Error::other("the process was already reaped")),
        };
        self.child = None;
        result
    }

    /// Asks the group to end, where the system has a way to ask.
    pub(crate) fn terminate(&self) {
        #[cfg(unix)]
        if let Some(child) = &self.child {
            system::terminate_group(child);
        }
    }

    fn kill(&self) {
        if let Some(child) = &self.child {
            system::kill_group(child);
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
        let Some(mut child) = self.child.take() else {
            return;
        };
        // Without a runtime the program is ending and its parent reaps.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _reaped = child.wait().await;
            });
        }
    }
}

#[cfg(unix)]
mod system {
    use std::io;

    use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
    use tokio::process::Child;
    use tokio::signal::unix::{SignalKind, signal};

    /// The child's number, until it is reaped.
    fn pid(child: &Child) -> Option<Pid> {
        child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
    }

    pub(super) async fn ended(child: &Child) -> io::Result<()> {
        // Listening before looking: a child that ends in between is not missed.
        let mut changed = signal(SignalKind::child())?;
        while let Some(pid) = pid(child) {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            if waitid(WaitId::Pid(pid), options)?.is_some() {
                break;
            }
            changed.recv().await;
        }
        Ok(())
    }

    pub(super) fn kill_group(child: &Child) {
        send(child, Signal::KILL);
    }

    pub(super) fn terminate_group(child: &Child) {
        send(child, Signal::TERM);
    }

    fn send(child: &Child, signal: Signal) {
        if let Some(pid) = pid(child) {
            // It fails only when nobody is left to receive it.
            let _nobody_left = kill_process_group(pid, signal);
        }
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;
    use std::process::{Command, Stdio};

    use tokio::process::Child;

    pub(super) async fn ended(child: &mut Child) -> io::Result<()> {
        child.wait().await.map(drop)
    }

    pub(super) fn kill_group(child: &Child) {
        if let Some(id) = child.id() {
            // `kill_on_drop` still kills the child itself when this cannot be started.
            let _best_effort = Command::new("taskkill")
                .args(["/PID", &id.to_string(), "/T", "/F"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
    }
}
