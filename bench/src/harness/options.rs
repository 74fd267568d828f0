//! The command line.

use std::path::PathBuf;

/// What the user asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    /// Names of the rows to run; empty means all.
    pub(crate) rows: Vec<String>,
    /// Measured rounds per contest, after one warm-up round.
    pub(crate) rounds: usize,
    /// Fewer commands and rounds: a smoke test of the harness, not a measurement.
    pub(crate) quick: bool,
    /// Commands of the row `churn`.
    pub(crate) churn: usize,
    /// Where the JSON goes.
    pub(crate) json: PathBuf,
    /// Only name the rows.
    pub(crate) list: bool,
}

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
usage: a3s-lane-bench [--rows a,b] [--rounds N] [--quick] [--churn N] [--json FILE] [--list]

  --rows a,b    run only these rows (see --list)
  --rounds N    measured rounds per row, after one warm-up round [default: 7, quick: 3]
  --quick       a fifth of the commands, 3 rounds: checks the harness, measures little
  --churn N     commands of the row churn [default: 1000000]
  --json FILE   where the results go [default: bench/target/results.json]
  --list        name the rows and stop";

impl Options {
    /// Reads the arguments after the program's name.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments;
        let mut rounds = None;
        let mut options = Self {
            rows: Vec::new(),
            rounds: 0,
            quick: false,
            churn: 1_000_000,
            json: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/results.json")),
            list: false,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--rows" => {
                    options.rows = value()?
                        .split(',')
                        .map(|row| row.trim().to_owned())
                        .collect()
                }
                "--rounds" => {
                    let text = value()?;
                    let count = text.parse().ok().filter(|count| *count > 0);
                    rounds = Some(count.ok_or(format!(
                        "--rounds: a number above 0 is needed, got {text:?}"
                    ))?);
                }
                "--quick" => options.quick = true,
                "--churn" => {
                    let text = value()?;
                    options.churn = text
                        .parse()
                        .map_err(|_| format!("--churn: a number is needed, got {text:?}"))?;
                }
                "--json" => options.json = PathBuf::from(value()?),
                "--list" => options.list = true,
                other => return Err(format!("unknown argument {other:?}\n{USAGE}")),
            }
        }
        options.rounds = rounds.unwrap_or(if options.quick { 3 } else { 7 });
        Ok(options)
    }

    /// `full`, or a fifth of it in a quick run.
    pub(crate) fn scale(&self, full: usize) -> usize {
        if self.quick { full.div_ceil(5) } else { full }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options, String> {
        Options::parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn defaults_and_every_option() {
        assert_eq!(
            parse("").map(|o| (o.rounds, o.quick, o.list, o.rows.len())),
            Ok((7, false, false, 0))
        );
        let all = parse("--rows a,b --rounds 9 --quick --json x.json --list").expect("valid");
        assert_eq!(all.rows, ["a", "b"]);
        assert_eq!((all.rounds, all.quick, all.list), (9, true, true));
        assert_eq!(all.json, PathBuf::from("x.json"));
    }

    #[test]
    fn quick_takes_fewer_rounds_unless_told() {
        assert_eq!(parse("--quick").map(|o| o.rounds), Ok(3));
        assert_eq!(parse("--quick").map(|o| o.scale(100)), Ok(20));
        assert_eq!(parse("").map(|o| o.scale(100)), Ok(100));
    }

    #[test]
    fn bad_arguments_are_refused() {
        assert!(parse("--rounds 0").is_err());
        assert!(parse("--rounds").is_err());
        assert!(parse("--nope").is_err());
    }
}
