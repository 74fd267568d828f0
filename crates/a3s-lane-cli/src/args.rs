//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::duration;

const RUN_HELP: &str = "\
Input: one JSON object a line; blank lines and lines that start with `#` are skipped.
  {\"lane\":\"query\",\"type\":\"exec\",\"payload\":{\"argv\":[\"wc\",\"-l\",\"README.md\"]}}
  lane     the lane that runs the command
  type     exec or echo
  payload  exec: argv (list of strings, required), env (object of strings, added to the environment),
                 cwd, stdin (strings), timeout_ms (per attempt)
           echo: anything; it is the result
  expect   completed (default), failed, timeout or expired: an outcome that was expected does not fail the run
  options  id, priority, key, delay_ms, ttl_ms, timeout_ms, progress_timeout_ms, cost, preemptible, unique

Exit status:
  0    every command ended as expected
  1    a command did not end as expected, or a line was refused
  2    wrong usage or configuration, unreadable input, unwritable output, or a line refused under --strict
  130  interrupted by Ctrl-C (143 by SIGTERM, 129 by SIGHUP)

The first Ctrl-C stops reading and starting; running commands may end within --grace, then they are stopped.
The second ends the run at once.";

/// Run commands through priority lanes.
#[derive(Debug, Parser)]
#[command(name = "a3s-lane", version, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) action: Action,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Run commands, one JSON object a line, and print a table per lane.
    #[command(after_help = RUN_HELP)]
    Run(RunArgs),
    /// Show the lanes that `run` would use.
    Lanes(LanesArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// File of JSON lines, or - for standard input.
    #[arg(value_name = "FILE", default_value = "-")]
    pub(crate) input: PathBuf,
    /// Lanes to use, a TOML file [default: the built-in lanes, see `a3s-lane lanes`].
    #[arg(long, short, value_name = "LANES.TOML")]
    pub(crate) config: Option<PathBuf>,
    /// Write one JSON object per command as it ends, replacing the file; - writes to standard output and moves the table
    /// to standard error.
    #[arg(long, short, value_name = "RESULTS.JSONL")]
    pub(crate) output: Option<PathBuf>,
    /// Stop reading at the first line that is refused; commands of earlier lines still run.
    #[arg(long)]
    pub(crate) strict: bool,
    /// What to show on standard error while commands run.
    #[arg(long, value_enum, default_value_t = ProgressChoice::Auto)]
    pub(crate) progress: ProgressChoice,
    /// Also show each command that starts and each that ends.
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// Commands that may be read but not ended; reading pauses there [their lines together: 64 MiB].
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) max_in_flight: u32,
    /// How long running commands may go on after the first Ctrl-C: seconds, or with a unit, such as 500ms or 5m.
    #[arg(long, value_name = "SECS", default_value = "10", value_parser = duration::parse_seconds, alias = "drain-timeout")]
    pub(crate) grace: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressChoice {
    /// Bars on a terminal, plain otherwise.
    Auto,
    /// A live line per lane.
    Bars,
    /// A line for each failure, retry and lane under pressure, and a status line every five seconds.
    Plain,
    /// Only refused lines and errors.
    None,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LanesArgs {
    /// Lanes to show, a TOML file [default: the built-in lanes].
    #[arg(long, short, value_name = "LANES.TOML")]
    pub(crate) config: Option<PathBuf>,
    /// Print the built-in lanes as TOML, to start an own file from.
    #[arg(long, conflicts_with = "config")]
    pub(crate) toml: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn definitions_are_consistent() {
        Args::command().debug_assert();
    }
}
