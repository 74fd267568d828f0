//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
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
  2    wrong usage or configuration, unreadable input, unwritable output, a storage that cannot be used, or a line refused
       under --strict
  130  interrupted by Ctrl-C (143 by SIGTERM, 129 by SIGHUP)

The first Ctrl-C stops reading and starting; running commands may end within --grace, then they are stopped.
The second ends the run at once.";

const INSPECT_HELP: &str = "\
Exit status:
  0    the storage is whole
  1    the integrity check found damage, or the log is damaged or cannot be read
  2    wrong usage, or there is no storage that can be read";

const DLQ_HELP: &str = "\
Letters are listed oldest first. A filter that is not given asks for nothing.

Exit status:
  0    done
  1    a letter that was named is not there, or could not be retried
  2    wrong usage, or the storage cannot be used: there is none, another process has it, it is damaged";

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
    /// Show what a storage holds: pending commands by lane, dead letters, and whether the file is whole.
    #[command(after_help = INSPECT_HELP)]
    Inspect(InspectArgs),
    /// List, retry, discard, export or import the commands of a storage that failed for good.
    #[command(subcommand)]
    Dlq(DlqAction),
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
    /// Keep commands in this directory until they have ended, and first go on with what an earlier run left there.
    #[arg(long, value_name = "DIR")]
    pub(crate) storage: Option<PathBuf>,
    /// What a command that was read survives.
    #[arg(long, value_enum, default_value_t = DurabilityChoice::Full, requires = "storage")]
    pub(crate) durability: DurabilityChoice,
    #[command(flatten)]
    pub(crate) kept: Kept,
}

/// How long the storage knows what has ended.
#[derive(Debug, clap::Args)]
pub(crate) struct Kept {
    /// Forget outcomes that are older: seconds, or with a unit, such as 30m or 168h; their lines run again
    /// [default: never].
    #[arg(long, value_name = "AGE", value_parser = duration::parse_seconds, requires = "storage")]
    pub(crate) keep_results_for: Option<Duration>,
    /// Forget the oldest outcomes when there are more than so many; their lines run again [default: never].
    #[arg(long, value_name = "N", requires = "storage")]
    pub(crate) keep_results: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DurabilityChoice {
    /// A power cut: waits for the disk.
    Full,
    /// The end of the process: waits for the operating system only.
    Relaxed,
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

#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// Directory of the storage.
    #[arg(value_name = "DIR")]
    pub(crate) storage: PathBuf,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DlqAction {
    /// Show dead letters.
    #[command(after_help = DLQ_HELP)]
    List(DlqListArgs),
    /// Make the commands of dead letters pending again; the next `run --storage` runs them.
    #[command(after_help = DLQ_HELP)]
    Retry(DlqRetryArgs),
    /// Throw dead letters away.
    #[command(after_help = DLQ_HELP)]
    Discard(DlqDiscardArgs),
    /// Write dead letters as JSON lines; they stay.
    #[command(after_help = DLQ_HELP)]
    Export(DlqExportArgs),
    /// Keep the dead letters of JSON lines that `export` has written; what is there already is not kept twice.
    #[command(after_help = DLQ_HELP)]
    Import(DlqImportArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct StorageDir {
    /// Directory of the storage.
    #[arg(long = "storage", value_name = "DIR")]
    pub(crate) path: PathBuf,
}

/// Which dead letters are meant.
#[derive(Debug, clap::Args)]
pub(crate) struct LetterFilter {
    /// Only of these commands; may be given several times.
    #[arg(long, value_name = "ID")]
    pub(crate) id: Vec<String>,
    /// Only of this lane.
    #[arg(long, value_name = "LANE")]
    pub(crate) lane: Option<String>,
    /// Only of this type.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) command_type: Option<String>,
    /// Only with an error of this code, such as TIMEOUT.
    #[arg(long, value_name = "CODE")]
    pub(crate) code: Option<String>,
    /// Only those that failed at this time or later, such as 2030-01-31T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<DateTime<Utc>>,
    /// Only those that failed before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<DateTime<Utc>>,
    /// At most so many, the oldest ones.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DlqListArgs {
    #[command(flatten)]
    pub(crate) storage: StorageDir,
    #[command(flatten)]
    pub(crate) filter: LetterFilter,
    /// Print each letter whole, one JSON object a line, as `export` does.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What changes letters says which ones: a forgotten filter must not mean all.
#[derive(Debug, clap::Args)]
pub(crate) struct ChosenLetters {
    #[command(flatten)]
    pub(crate) filter: LetterFilter,
    /// All letters, where no filter is given.
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DlqRetryArgs {
    #[command(flatten)]
    pub(crate) storage: StorageDir,
    #[command(flatten)]
    pub(crate) letters: ChosenLetters,
    /// A JSON value to run the command with, instead of its old payload; needs exactly one --id.
    #[arg(long, value_name = "JSON", requires = "id")]
    pub(crate) payload: Option<String>,
    /// Print one JSON object a letter: `{"id", "retried", "error"}`.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DlqDiscardArgs {
    #[command(flatten)]
    pub(crate) storage: StorageDir,
    #[command(flatten)]
    pub(crate) letters: ChosenLetters,
    /// Print `{"discarded": N}`.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DlqExportArgs {
    #[command(flatten)]
    pub(crate) storage: StorageDir,
    #[command(flatten)]
    pub(crate) filter: LetterFilter,
    /// File to write, replacing it; - is standard output.
    #[arg(long, short, value_name = "LETTERS.JSONL", default_value = "-")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DlqImportArgs {
    #[command(flatten)]
    pub(crate) storage: StorageDir,
    /// File of JSON lines, or - for standard input.
    #[arg(value_name = "FILE", default_value = "-")]
    pub(crate) input: PathBuf,
    /// Print `{"imported": N}`.
    #[arg(long)]
    pub(crate) json: bool,
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
