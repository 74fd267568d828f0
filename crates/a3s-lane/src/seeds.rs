//! Random tests that can be repeated, and that play as much as they are said to.

use std::cell::Cell;
use std::io::Write;

use proptest::test_runner::{Config, RngSeed};

thread_local! {
    static OPERATIONS: Cell<usize> = const { Cell::new(0) };
}

/// Counts an operation. A case is played on the thread of its test.
pub(crate) fn count_operation() {
    OPERATIONS.set(OPERATIONS.get() + 1);
}

/// Without the default features fewer are played: one run of the tests has those with them too.
const SHARE: u32 = if cfg!(feature = "distributed") { 1 } else { 5 };

/// How many cases to run, and from which seed; both are printed. `PROPTEST_CASES` asks for more cases,
/// `PROPTEST_RNG_SEED` for the cases of an earlier run.
pub(crate) fn cases(cases: u32) -> Config {
    let asked = Config::default();
    let cases = cases.saturating_mul(asked.cases.max(256) / 256) / SHARE;
    let seed = match asked.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => rand_seed(),
    };
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        // What is found becomes a test with a name: a seed means other operations as soon as a strategy changes.
        failure_persistence: None,
        ..asked
    };
    announce(&config);
    config
}

/// How often a tenth of the cases is played on, for as long as there were too few operations.
const EXTENSIONS: u64 = 10;

/// Plays a property until that took `least` operations: how many there are in so many cases is random, too. Fails if twice the cases
/// are not enough.
pub(crate) fn plays(cases: Config, least: usize, play: impl Fn(Config)) {
    let least = least / SHARE as usize;
    let RngSeed::Fixed(seed) = cases.rng_seed else {
        unreachable!("`cases` sets a seed");
    };
    OPERATIONS.set(0);
    play(cases.clone());
    for extension in 1..=EXTENSIONS {
        if OPERATIONS.get() >= least {
            break;
        }
        let more = Config {
            cases: cases.cases.div_ceil(10),
            rng_seed: RngSeed::Fixed(seed.wrapping_add(extension)),
            ..cases.clone()
        };
        announce(&more);
        play(more);
    }
    let operations = OPERATIONS.get();
    print(&format!("{operations} random operations"));
    assert!(
        operations >= least,
        "{operations} random operations, not {least}"
    );
}

fn announce(config: &Config) {
    if let RngSeed::Fixed(seed) = config.rng_seed {
        print(&format!("{} cases, PROPTEST_RNG_SEED={seed}", config.cases));
    }
}

fn rand_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};

    RandomState::new().hash_one(std::time::SystemTime::now())
}

/// Not by `println!`: the output of a test that passes must be seen too.
fn print(what: &str) {
    let test = std::thread::current();
    let name = test.name().unwrap_or_default();
    let _ = writeln!(std::io::stdout(), "{name}: {what}");
}

/// Properties as `proptest!` takes them, each of which must play its number of operations. That macro would take the number
/// of cases from the environment as it stands there.
macro_rules! properties {
    (cases: $cases:expr, least: $least:expr; $($(#[$attribute:meta])* fn $name:ident($($input:pat_param in $strategy:expr),+ $(,)?) $body:block)*) => {
        $(
            $(#[$attribute])*
            fn $name() {
                $crate::seeds::plays($crate::seeds::cases($cases), $least, |cases| {
                    let mut runner = ::proptest::test_runner::TestRunner::new(cases);
                    let played = runner.run(&($($strategy,)+), |($($input,)+)| {
                        $body
                        Ok(())
                    });
                    if let Err(failure) = played {
                        panic!("{failure}\n{runner}");
                    }
                });
            }
        )*
    };
}
pub(crate) use properties;
