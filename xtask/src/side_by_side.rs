//! Runs programs at the same time and shows what each of them prints in one piece.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread::{self, ScopedJoinHandle};

use anyhow::{Context, Result, bail};

use crate::command::Run;

/// Runs these at the same time, each to its end, also when another one fails. The failure of one that could not even be prepared is
/// reported with those of the others.
///
/// The output of the first one is ours. That of the others goes to files in `work` and is shown, in order, after the first has ended.
pub(crate) fn side_by_side(work: &Path, all: Vec<(String, Result<Run>)>) -> Result<()> {
    let mut ready = Vec::new();
    let mut failed = Vec::new();
    for (name, run) in all {
        match run {
            Ok(run) => ready.push((name, run)),
            Err(error) => failed.push(error.context(name)),
        }
    }
    thread::scope(|scope| {
        let mut ready = ready.into_iter();
        let first = ready.next();
        let others: Vec<_> = ready
            .map(|(name, run)| {
                let file = work.join(format!("{name}.log"));
                let heading = format!("{name}\n{}", run.headline());
                let into = file.clone();
                let running = scope.spawn(move || run.run_into(&into).context(name));
                Kept {
                    heading,
                    file,
                    running,
                }
            })
            .collect();
        if let Some((name, run)) = first {
            println!("{name}");
            failed.extend(run.run().context(name).err());
        }
        for other in others {
            failed.extend(other.end());
        }
    });
    if failed.is_empty() {
        return Ok(());
    }
    let texts: Vec<String> = failed.iter().map(|error| format!("{error:#}")).collect();
    bail!("{}", texts.join("\n"))
}

/// A program that runs, and the file with its output.
struct Kept<'scope> {
    heading: String,
    file: PathBuf,
    running: ScopedJoinHandle<'scope, Result<()>>,
}

impl Kept<'_> {
    /// Waits for its end and shows its output; what went wrong.
    fn end(self) -> Vec<anyhow::Error> {
        let ended = self
            .running
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        println!("{}", self.heading);
        let shown = show(&self.file);
        [ended, shown].into_iter().filter_map(Result::err).collect()
    }
}

fn show(file: &Path) -> Result<()> {
    let copied = File::open(file)
        .and_then(|mut output| std::io::copy(&mut output, &mut std::io::stdout().lock()));
    copied
        .map(drop)
        .with_context(|| format!("show {}", file.display()))
}

#[cfg(all(test, unix))]
mod tests {
    use std::process::Command;

    use super::*;

    /// Set to its folder where a test runs in a process of its own, whose output can be read and is no terminal.
    const INSIDE: &str = "XTASK_SIDE_BY_SIDE";

    /// `await COMMAND...` in a script: a minute at most, then the script fails.
    const AWAIT: &str = r#"
        await() {
            tries=0
            until "$@"; do
                tries=$((tries + 1))
                [ "$tries" -lt 6000 ] || exit 7
                sleep 0.01
            done
        }"#;

    /// `ME OTHER LINES STATUS`: writes a line to each output, then waits until the other one has done so too. Neither gets far unless
    /// both run at the same time.
    const IN_TURNS: &str = r#"
        for line in $(seq "$3"); do
            echo "$1 out $line"
            echo "$1 err $line" >&2
            : > "$1-$line"
            await [ -e "$2-$line" ]
        done
        echo "$1 ends"
        exit "$4""#;

    fn sh(dir: &Path, script: &str) -> Run {
        Run::new("sh")
            .args(["-c", &format!("{AWAIT}{script}"), "sh"])
            .dir(dir)
    }

    fn in_turns(dir: &Path, [me, other]: [&str; 2], lines: usize, status: i32) -> Run {
        sh(dir, IN_TURNS)
            .args([me, other])
            .args([lines.to_string(), status.to_string()])
    }

    /// What is shown of one that ran in turns.
    fn shown(me: &str, lines: usize, run: &Run) -> String {
        let lines = (1..=lines).map(|line| format!("{me} out {line}\n{me} err {line}\n"));
        let lines = String::from_iter(lines);
        format!("the {me}\n{}\n{lines}{me} ends\n", run.headline())
    }

    /// Runs these, which are called the first, the second and so on.
    fn run(dir: &Path, all: impl IntoIterator<Item = Result<Run>>) -> Result<()> {
        let names = ["the first", "the second", "the third"].map(str::to_owned);
        side_by_side(dir, names.into_iter().zip(all).collect())
    }

    /// An empty folder for this test.
    fn dir(test: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("xtask-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("make a folder");
        dir
    }

    /// Runs this test in a process of its own, what it prints.
    fn printed_inside(test: &str, dir: &Path) -> String {
        let (_, module) = module_path!().split_once("::").expect("inside a crate");
        let inside = Command::new(std::env::current_exe().expect("this program"))
            .args([&format!("{module}::{test}"), "--exact", "--nocapture"])
            .env(INSIDE, dir)
            .output()
            .expect("run this program");
        let printed = String::from_utf8(inside.stdout).expect("text");
        assert!(inside.status.success(), "{printed}");
        printed
    }

    #[test]
    fn they_run_at_the_same_time_and_each_output_is_in_one_piece() {
        const LINES: usize = 50;
        let test = "they_run_at_the_same_time_and_each_output_is_in_one_piece";
        let inside = std::env::var_os(INSIDE).map(PathBuf::from);
        let dir = inside.clone().unwrap_or_else(|| dir("pieces"));
        let first = in_turns(&dir, ["first", "second"], LINES, 0);
        let second = in_turns(&dir, ["second", "first"], LINES, 0);
        if inside.is_some() {
            return run(&dir, [Ok(first), Ok(second)]).expect("both succeed");
        }
        let both = shown("first", LINES, &first) + &shown("second", LINES, &second);
        let printed = printed_inside(test, &dir);
        assert!(printed.contains(&both), "{printed}");
        std::fs::remove_dir_all(dir).expect("remove the folder");
    }

    #[test]
    fn every_failure_is_reported_with_its_last_lines() {
        let test = "every_failure_is_reported_with_its_last_lines";
        let inside = std::env::var_os(INSIDE).map(PathBuf::from);
        let dir = inside.clone().unwrap_or_else(|| dir("failures"));
        let first = in_turns(&dir, ["first", "second"], 1, 3);
        let second = in_turns(&dir, ["second", "first"], 1, 4);
        if inside.is_some() {
            let error = run(&dir, [Ok(first), Ok(second)]).expect_err("both fail");
            return println!("{error}");
        }
        let said = [(&first, "first", 3), (&second, "second", 4)].map(|(run, me, status)| {
            let command = run.headline().split_off(2);
            format!(
                "the {me}: `{command}` ended with exit status: {status}; its last lines:\n\
                 {me} out 1\n{me} err 1\n{me} ends\n"
            )
        });
        let printed = printed_inside(test, &dir);
        let shown = shown("first", 1, &first) + &shown("second", 1, &second);
        assert!(printed.contains(&(shown + &said.concat())), "{printed}");
        std::fs::remove_dir_all(dir).expect("remove the folder");
    }

    #[test]
    fn the_second_runs_to_its_end_when_the_first_has_failed() {
        let dir = dir("end");
        let first = sh(&dir, "\necho $$ > new && mv new pid && exit 3");
        // The first one's process is there until its failure has been seen.
        let gone = r#"
            await [ -e pid ]
            gone() { ! kill -0 "$(cat pid)" 2> kill.txt; }
            await gone
            : > ended"#;
        let second = sh(&dir, gone);
        let error = run(&dir, [Ok(first), Ok(second)]).expect_err("the first fails");
        assert!(error.to_string().starts_with("the first: "), "{error}");
        assert!(!error.to_string().contains("the second"), "{error}");
        assert!(dir.join("ended").exists());
        std::fs::remove_dir_all(dir).expect("remove the folder");
    }

    #[test]
    fn the_others_run_when_one_cannot_be_prepared_or_started() {
        let dir = dir("missing");
        let missing = Run::new("no-such-program").hint("install it");
        let last = sh(&dir, "\n: > ended");
        let all = [Err(anyhow::anyhow!("no wheel")), Ok(last), Ok(missing)];
        let error = run(&dir, all).expect_err("two fail");
        assert_eq!(
            error.to_string(),
            "the first: no wheel\nthe third: `no-such-program` cannot be run: install it"
        );
        assert!(dir.join("ended").exists());
        std::fs::remove_dir_all(dir).expect("remove the folder");
    }
}
