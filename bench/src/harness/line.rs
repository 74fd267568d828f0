//! One line of the report: what each contestant gave, and whether the budget holds.

use super::contest::Series;
use super::stats::{Spread, median, pairwise};

/// What a number means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Unit {
    /// Commands per second; more is better.
    PerSecond,
    /// Nanoseconds; less is better.
    Nanoseconds,
    /// Bytes; less is better.
    Bytes,
    /// Allocations; less is better.
    Allocations,
    /// Milliseconds of processor time per second; less is better.
    CpuMillisPerSecond,
    /// Wake-ups per second; less is better.
    WakeupsPerSecond,
    /// Percent of what is right; less is better.
    Percent,
}

impl Unit {
    /// The value as people read it.
    pub(crate) fn show(self, value: f64) -> String {
        if value.is_nan() {
            return "-".into();
        }
        match self {
            Self::PerSecond if value >= 1e6 => format!("{:.2}M/s", value / 1e6),
            Self::PerSecond if value >= 1e4 => format!("{:.0}k/s", value / 1e3),
            Self::PerSecond if value >= 1e3 => format!("{:.1}k/s", value / 1e3),
            Self::PerSecond => format!("{value:.1}/s"),
            Self::Nanoseconds if value >= 1e6 => format!("{:.2} ms", value / 1e6),
            Self::Nanoseconds if value >= 1e3 => format!("{:.2} us", value / 1e3),
            Self::Nanoseconds => format!("{value:.1} ns"),
            Self::Bytes => format!("{value:.0} B"),
            Self::Allocations => format!("{value:.2}"),
            Self::CpuMillisPerSecond => format!("{value:.2} ms/s"),
            Self::WakeupsPerSecond => format!("{value:.1}/s"),
            Self::Percent => format!("{value:.2} %"),
        }
    }

    /// The key of the unit in the JSON.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::PerSecond => "commands_per_second",
            Self::Nanoseconds => "nanoseconds",
            Self::Bytes => "bytes",
            Self::Allocations => "allocations",
            Self::CpuMillisPerSecond => "cpu_milliseconds_per_second",
            Self::WakeupsPerSecond => "wakeups_per_second",
            Self::Percent => "percent",
        }
    }
}

/// What the budget is about.
#[derive(Debug, Clone)]
pub(crate) enum Budget {
    /// No budget: the line explains another one.
    None,
    /// ours / floor must reach this.
    FloorAtLeast(f64),
    /// ours / floor must not pass this.
    FloorAtMost(f64),
    /// The value itself must not pass this.
    AtMost(f64),
    /// ours - floor must stay below this, taken round by round.
    ExtraBelow(f64),
    /// ours must reach a share of another series of ours; the floor's share is told beside it.
    ShareOf {
        ours: Series,
        floor: Option<Series>,
        least: f64,
    },
}

/// One line of the table.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// The row it belongs to, as `--rows` takes it.
    pub(crate) row: &'static str,
    /// What was measured.
    pub(crate) label: String,
    pub(crate) unit: Unit,
    pub(crate) ours: Series,
    /// The least that the work costs without any queue.
    pub(crate) floor: Option<Series>,
    /// The published crate.
    pub(crate) peer: Option<Series>,
    pub(crate) budget: Budget,
}

/// A budget, what came out and whether that is within the budget.
pub(crate) struct Verdict {
    pub(crate) budget: String,
    pub(crate) got: String,
    pub(crate) met: bool,
}

impl Line {
    /// The ratio of the medians, ours / other.
    pub(crate) fn ratio(&self, other: Option<&Series>) -> Option<f64> {
        let ratio = median(&self.ours.values) / median(&other?.values);
        ratio.is_finite().then_some(ratio)
    }

    /// The ratios ours / floor of each round.
    pub(crate) fn floor_spread(&self) -> Option<Spread> {
        let spread = pairwise(&self.ours.values, &self.floor.as_ref()?.values);
        spread.median.is_finite().then_some(spread)
    }

    /// Judges the line, `None` when it has no budget.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        let ours = median(&self.ours.values);
        let floor = self.ratio(self.floor.as_ref()).unwrap_or(f64::NAN);
        Some(match &self.budget {
            Budget::None => return None,
            Budget::FloorAtLeast(least) => Verdict {
                budget: format!(">= {least} x floor"),
                got: format!("{floor:.2} x"),
                met: floor >= *least,
            },
            Budget::FloorAtMost(most) => Verdict {
                budget: format!("<= {most} x floor"),
                got: format!("{floor:.2} x"),
                met: floor <= *most,
            },
            Budget::AtMost(most) => Verdict {
                budget: format!("<= {}", self.unit.show(*most)),
                got: self.unit.show(ours),
                met: ours <= *most,
            },
            Budget::ExtraBelow(limit) => {
                let floors = self.floor.iter().flat_map(|floor| &floor.values);
                let extra: Vec<f64> = self
                    .ours
                    .values
                    .iter()
                    .zip(floors)
                    .map(|(ours, floor)| ours - floor)
                    .collect();
                let extra = median(&extra);
                Verdict {
                    budget: format!("floor + < {}", self.unit.show(*limit)),
                    got: format!("{extra:+.2}"),
                    met: extra < *limit,
                }
            }
            Budget::ShareOf {
                ours: reference,
                floor: floor_reference,
                least,
            } => {
                let share = ours / median(&reference.values);
                let floors = self.floor.as_ref().zip(floor_reference.as_ref());
                let floor = floors.map_or(String::new(), |(floor, reference)| {
                    let share = median(&floor.values) / median(&reference.values);
                    format!(" (floor {share:.2} x)")
                });
                Verdict {
                    budget: format!(">= {least} x {}", reference.name),
                    got: format!("{share:.2} x{floor}"),
                    met: share >= *least,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, values: &[f64]) -> Series {
        Series {
            name: name.into(),
            commands: 1,
            scaled: false,
            values: values.to_vec(),
        }
    }

    fn met(budget: Budget, ours: f64, floor: f64) -> bool {
        let line = Line {
            row: "row",
            label: "label".into(),
            unit: Unit::PerSecond,
            ours: series("ours", &[ours; 3]),
            floor: Some(series("floor", &[floor; 3])),
            peer: None,
            budget,
        };
        line.verdict().expect("a budget was given").met
    }

    #[test]
    fn each_budget_holds_at_its_limit_and_fails_past_it() {
        assert!(met(Budget::FloorAtLeast(1.5), 3.0, 2.0));
        assert!(!met(Budget::FloorAtLeast(1.5), 2.9, 2.0));
        assert!(met(Budget::FloorAtMost(1.5), 3.0, 2.0));
        assert!(!met(Budget::FloorAtMost(1.5), 3.1, 2.0));
        assert!(met(Budget::AtMost(3.0), 3.0, 2.0));
        assert!(!met(Budget::AtMost(2.9), 3.0, 2.0));
        assert!(met(Budget::ExtraBelow(1.0), 2.5, 2.0));
        assert!(!met(Budget::ExtraBelow(1.0), 3.0, 2.0));
        let share = || Budget::ShareOf {
            ours: series("1k", &[10.0]),
            floor: None,
            least: 0.8,
        };
        assert!(met(share(), 8.0, 2.0));
        assert!(!met(share(), 7.9, 2.0));
    }

    #[test]
    fn a_missing_floor_never_meets_a_ratio() {
        assert!(!met(Budget::FloorAtLeast(0.0), 1.0, f64::NAN));
        assert!(!met(Budget::FloorAtMost(9.0), 1.0, f64::NAN));
        assert!(!met(Budget::ExtraBelow(9.0), 1.0, f64::NAN));
    }
}
