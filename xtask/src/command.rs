//! Runs one outside program: shows it, waits for it with a limit, and turns its failure into a sentence.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, IsTerminal, PipeReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// No single program of ours needs longer; one that does hangs.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// Lines of a failed program that are said again in its error. Test runners name what failed in their last lines.
const LAST_LINES: usize = 40;

/// How long the output of a program that has ended is waited for: one that it left running may hold the pipe.
const REST: Duration = Duration::from_secs(2);

/// A program with its arguments, folder and environment.
pub(crate) struct Run {
    command: Command,
    shown: String,
    /// What to do when the program is not there.
    hint: &'static str,
}

impl Run {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref();
        Self {
            command: Command::new(program),
            shown: program.to_string_lossy().into_owned(),
            hint: "install it and put it on PATH",
        }
    }

    /// Cargo, the one that runs this task.
    pub(crate) fn cargo() -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut run = Self::new(cargo);
        run.shown = "cargo".to_owned();
        run
    }

    pub(crate) fn npm() -> Self {
        Self::new(if cfg!(windows) { "npm.cmd" } else { "npm" })
            .hint("install Node.js 18 or newer, which brings npm")
    }

    pub(crate) fn hint(mut self, hint: &'static str) -> Self {
        self.hint = hint;
        self
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        let arg = arg.as_ref();
        self.shown.push(' ');
        self.shown.push_str(&arg.to_string_lossy());
        self.command.arg(arg);
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        let value = value.as_ref();
        self.shown = format!("{key}={} {}", value.to_string_lossy(), self.shown);
        self.command.env(key, value);
        self
    }

    pub(crate) fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// The line that tells what is run.
    pub(crate) fn headline(&self) -> String {
        format!("$ {}", self.shown)
    }

    /// Runs it with our own output and fails unless it succeeds. Where nobody watches, the error has the last lines of the output, so
    /// that they stand at the end of a long log too.
    pub(crate) fn run(mut self) -> Result<()> {
        println!("{}", self.headline());
        if std::io::stdout().is_terminal() {
            return self.finish(String::new);
        }
        let (reader, writer) = std::io::pipe()?;
        self.command.stdout(writer.try_clone()?).stderr(writer);
        let passed_on = PassedOn::start(reader);
        self.finish(|| passed_on.end())
    }

    /// Runs it with its output in this file instead of ours.
    pub(crate) fn run_into(mut self, file: &Path) -> Result<()> {
        let output = File::create(file).with_context(|| format!("create {}", file.display()))?;
        self.command.stdout(output.try_clone()?).stderr(output);
        self.finish(|| last_lines(file))
    }

    /// Starts it, waits for its end and fails unless it succeeds. `last` is asked for its last lines once it has ended.
    fn finish(mut self, last: impl FnOnce() -> String) -> Result<()> {
        // A child must never wait for someone to type.
        self.command.stdin(Stdio::null());
        let spawned = self.command.spawn();
        let shown = self.shown;
        // Our ends of the pipe: it ends when those of the child do.
        drop(self.command);
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("`{shown}` cannot be run: {}", self.hint)
            }
            Err(error) => return Err(error).with_context(|| format!("run `{shown}`")),
        };
        let status = wait(&mut child)?;
        let last = last();
        let how = match status {
            Some(status) if status.success() => return Ok(()),
            Some(status) => format!("ended with {status}"),
            None => format!("was stopped after {} minutes", LIMIT.as_secs() / 60),
        };
        if last.is_empty() {
            bail!("`{shown}` {how}");
        }
        bail!("`{shown}` {how}; its last lines:\n{last}")
    }

    /// Runs it quietly and returns what it printed; its errors go to our own output.
    pub(crate) fn read(mut self) -> Result<String> {
        self.command.stdin(Stdio::null()).stderr(Stdio::inherit());
        let output = self
            .command
            .output()
            .with_context(|| format!("run `{}`: {}", self.shown, self.hint))?;
        if !output.status.success() {
            bail!("`{}` ended with {}", self.shown, output.status);
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Runs it without any output; `None` unless it is there and succeeds.
    pub(crate) fn probe(mut self) -> Option<String> {
        self.command.stdin(Stdio::null()).stderr(Stdio::null());
        let output = self
            .command
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// How it ended; `None` if it was stopped at the limit.
fn wait(child: &mut Child) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > LIMIT {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        sleep(Duration::from_millis(20));
    }
}

/// The last lines of this file, none if it cannot be read.
fn last_lines(file: &Path) -> String {
    let bytes = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines = Vec::from_iter(text.lines().map(str::trim_end));
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

/// The output of a program on its way to ours.
struct PassedOn {
    last: Arc<Mutex<VecDeque<String>>>,
    reading: thread::JoinHandle<()>,
}

impl PassedOn {
    fn start(reader: PipeReader) -> Self {
        let last = Arc::new(Mutex::new(VecDeque::with_capacity(LAST_LINES)));
        let kept = Arc::clone(&last);
        let reading = thread::spawn(move || {
            let mut reader = BufReader::new(reader);
            let mut line = Vec::new();
            while reader
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
            {
                // Nobody is left to tell when our own output is closed.
                let _ = std::io::stdout().write_all(&line);
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == LAST_LINES {
                    kept.pop_front();
                }
                kept.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
            }
        });
        Self { last, reading }
    }

    fn end(self) -> String {
        let start = Instant::now();
        while !self.reading.is_finished() && start.elapsed() < REST {
            sleep(Duration::from_millis(5));
        }
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        Vec::from_iter(last.iter().map(String::as_str)).join("\n")
    }
}

/// Every file on PATH with one of these names, in the order of PATH.
pub(crate) fn on_path(names: &[String]) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .flat_map(|dir| names.iter().map(move |name| dir.join(name)))
        .filter(|file| file.is_file())
        .collect()
}
