//! Runs contestants in turns: A B C, B C A, C A B, ...

use std::time::{Duration, Instant};

use super::options::Options;

/// A slow contestant gets fewer commands, so that one sample of it takes about this long.
const SAMPLE_LIMIT: Duration = Duration::from_millis(900);

/// Takes one sample with the given number of commands; returns one value per measure.
type Sample<'a> = Box<dyn FnMut(usize) -> Vec<f64> + 'a>;

struct Entry<'a> {
    name: String,
    commands: usize,
    least: usize,
    sample: Sample<'a>,
}

/// Everything one contestant gave for one measure.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// Who was measured.
    pub(crate) name: String,
    /// Commands (or iterations) per sample.
    pub(crate) commands: usize,
    /// Whether it got fewer commands than the others because it is slow.
    pub(crate) scaled: bool,
    /// One value per round.
    pub(crate) values: Vec<f64>,
}

/// Contestants that are compared with each other and therefore sampled alternately.
pub(crate) struct Contest<'a> {
    title: String,
    rounds: usize,
    limit: Duration,
    entries: Vec<Entry<'a>>,
}

impl<'a> Contest<'a> {
    /// An empty contest.
    pub(crate) fn new(title: impl Into<String>, options: &Options) -> Self {
        Self {
            title: title.into(),
            rounds: options.rounds,
            limit: SAMPLE_LIMIT,
            entries: Vec::new(),
        }
    }

    /// Changes how long a sample of a slow contestant may take.
    pub(crate) fn with_sample_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Adds a contestant that takes `commands` per sample however long that lasts.
    pub(crate) fn enter(
        &mut self,
        name: impl Into<String>,
        commands: usize,
        sample: impl FnMut(usize) -> Vec<f64> + 'a,
    ) {
        self.enter_slow(name, commands, commands, sample);
    }

    /// Adds a contestant that may turn out to be slow: then it takes fewer commands per sample, but at least `least`.
    pub(crate) fn enter_slow(
        &mut self,
        name: impl Into<String>,
        commands: usize,
        least: usize,
        sample: impl FnMut(usize) -> Vec<f64> + 'a,
    ) {
        self.entries.push(Entry {
            name: name.into(),
            commands,
            least: least.min(commands),
            sample: Box::new(sample),
        });
    }

    /// Fits the sample sizes, warms up and takes all rounds.
    pub(crate) fn run(mut self) -> Outcome {
        eprint!("{:<52}", self.title);
        let wanted: Vec<usize> = self.entries.iter().map(|entry| entry.commands).collect();
        for entry in &mut self.entries {
            entry.fit(self.limit);
        }

        let count = self.entries.len();
        let mut samples: Vec<Vec<Vec<f64>>> = vec![Vec::new(); count];
        for round in 0..=self.rounds {
            eprint!(".");
            for turn in 0..count {
                let index = (round + turn) % count;
                let entry = &mut self.entries[index];
                let values = (entry.sample)(entry.commands);
                if round > 0 {
                    samples[index].push(values);
                }
            }
        }
        eprintln!();

        let rows = self.entries.iter().zip(wanted).zip(samples);
        Outcome {
            results: rows
                .map(|((entry, wanted), samples)| ContestantResult {
                    name: entry.name.clone(),
                    commands: entry.commands,
                    scaled: entry.commands < wanted,
                    samples,
                })
                .collect(),
        }
    }
}

impl Entry<'_> {
    /// Lowers `commands` so that one sample stays within the limit.
    fn fit(&mut self, limit: Duration) {
        let pilot = (self.commands / 20).max(self.least);
        if pilot >= self.commands {
            return;
        }
        let begin = Instant::now();
        (self.sample)(pilot);
        self.commands = fitted(self.commands, self.least, pilot, begin.elapsed(), limit);
    }
}

/// How many of `commands` fit into `limit` when `pilot` of them took `elapsed`; not below `least`.
fn fitted(
    commands: usize,
    least: usize,
    pilot: usize,
    elapsed: Duration,
    limit: Duration,
) -> usize {
    let expected = elapsed.mul_f64(commands as f64 / pilot as f64);
    // Setting up a sample is in `expected` too, so only clearly slow contestants are cut.
    if expected <= limit * 2 {
        return commands;
    }
    let share = limit.as_secs_f64() / expected.as_secs_f64();
    ((commands as f64 * share) as usize).max(least)
}

struct ContestantResult {
    name: String,
    commands: usize,
    scaled: bool,
    samples: Vec<Vec<f64>>,
}

/// What a contest measured.
pub(crate) struct Outcome {
    results: Vec<ContestantResult>,
}

impl Outcome {
    /// The values that `name` gave for the measure at `index`.
    ///
    /// # Panics
    ///
    /// If no such contestant was entered.
    pub(crate) fn series(&self, name: &str, index: usize) -> Series {
        let result = self.results.iter().find(|result| result.name == name);
        let result = result.unwrap_or_else(|| panic!("no contestant is called {name}"));
        Series {
            name: result.name.clone(),
            commands: result.commands,
            scaled: result.scaled,
            values: result.samples.iter().map(|sample| sample[index]).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn options() -> Options {
        Options::parse(["--rounds".to_owned(), "3".to_owned()].into_iter()).expect("valid")
    }

    #[test]
    fn contestants_take_turns_and_the_warm_up_is_not_kept() {
        let order = RefCell::new(String::new());
        let mut contest = Contest::new("order", &options());
        for name in ["a", "b", "c"] {
            let order = &order;
            contest.enter(name, 1, move |_| {
                order.borrow_mut().push_str(name);
                vec![order.borrow().len() as f64]
            });
        }
        let outcome = contest.run();
        assert_eq!(*order.borrow(), "abcbcacababc");
        assert_eq!(outcome.series("a", 0).values, [6.0, 8.0, 10.0]);
    }

    #[test]
    fn only_a_slow_contestant_is_cut_and_never_below_its_least() {
        let limit = Duration::from_secs(1);
        let fitted =
            |least, seconds| fitted(1000, least, 100, Duration::from_secs_f64(seconds), limit);
        assert_eq!(fitted(1, 0.1), 1000);
        assert_eq!(fitted(1, 0.2), 1000);
        assert_eq!(fitted(1, 0.5), 200);
        assert_eq!(fitted(300, 0.5), 300);
    }

    #[test]
    fn a_contestant_without_a_least_keeps_its_commands() {
        let mut contest = Contest::new("slow", &options()).with_sample_limit(Duration::ZERO);
        contest.enter("fixed", 40, |commands| vec![commands as f64]);
        contest.enter_slow("cut", 40, 10, |commands| vec![commands as f64]);
        let outcome = contest.run();
        let fixed = outcome.series("fixed", 0);
        assert!(!fixed.scaled && fixed.values == [40.0; 3], "{fixed:?}");
        let cut = outcome.series("cut", 0);
        assert!(cut.scaled && cut.values == [10.0; 3], "{cut:?}");
    }
}
