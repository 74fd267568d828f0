//! One histogram in bounded memory.

use hdrhistogram::Histogram;

use super::{HistogramPercentiles, HistogramStats};

/// Two significant digits: a bucket is at most 1/128 of its value wide, so its middle is right to 0.4 %.
const SIGNIFICANT_DIGITS: u8 = 2;
/// Buckets count whole millionths: for milliseconds that is nanoseconds.
const UNITS_PER_VALUE: f64 = 1e6;
/// Larger values share the last bucket.
const MAX_UNITS: u64 = i64::MAX as u64;

/// Count, sum, extremes and buckets of the recorded values. At most 60 KB, and 2 KB while all values are small.
#[derive(Debug, Clone)]
pub(super) struct Distribution {
    sum: f64,
    min: f64,
    max: f64,
    buckets: Histogram<u64>,
}

impl Distribution {
    pub(super) fn new() -> Self {
        Self {
            sum: 0.0,
            min: f64::MAX,
            max: f64::MIN,
            buckets: Histogram::new(SIGNIFICANT_DIGITS)
                .expect("the number of digits is between 0 and 5"),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Adds a value. One that is not finite is ignored, because it would spoil the sum for ever.
    pub(super) fn record(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        // `as` saturates: negative values land in bucket 0, huge ones in the last.
        let units = (value * UNITS_PER_VALUE).round() as u64;
        if self.buckets.record(units.min(MAX_UNITS)).is_err() {
            // Only a target whose `usize` cannot index the buckets gets here; count and extremes stay consistent.
            self.buckets.saturating_record(units);
        }
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        let added = self.buckets.add(&other.buckets);
        debug_assert!(
            added.is_ok(),
            "both sides resize and have the same precision"
        );
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    pub(super) fn stats(&self) -> HistogramStats {
        let count = self.buckets.len();
        if count == 0 {
            return HistogramStats::new();
        }
        let [p50, p90, p95, p99] = self.at_indexes([0.50, 0.90, 0.95, 0.99].map(|share| {
            // The product is rounded like the compatible definition rounds it: floor, then clamp.
            ((count as f64 * share) as u64).min(count - 1)
        }));
        HistogramStats {
            count,
            sum: self.sum,
            min: self.min,
            max: self.max,
            mean: self.sum / count as f64,
            percentiles: HistogramPercentiles { p50, p90, p95, p99 },
        }
    }

    /// The values at ascending indexes of the sorted values, in one pass over the buckets.
    fn at_indexes(&self, indexes: [u64; 4]) -> [f64; 4] {
        let mut found = [self.max; 4];
        let mut next = 0;
        let mut seen = 0;
        for bucket in self.buckets.iter_recorded() {
            seen += bucket.count_since_last_iteration();
            let middle = self.buckets.median_equivalent(bucket.value_iterated_to());
            while next < indexes.len() && indexes[next] < seen {
                // The extremes are exact, so a bucket's middle never lies outside of them.
                found[next] = (middle as f64 / UNITS_PER_VALUE).clamp(self.min, self.max);
                next += 1;
            }
            if next == indexes.len() {
                break;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn distribution(values: &[f64]) -> Distribution {
        let mut distribution = Distribution::new();
        for &value in values {
            distribution.record(value);
        }
        distribution
    }

    #[test]
    fn one_value_is_every_percentile() {
        let stats = distribution(&[12.345]).stats();
        assert_eq!(stats.count, 1);
        assert_eq!(
            (stats.sum, stats.min, stats.max, stats.mean),
            (12.345, 12.345, 12.345, 12.345)
        );
        assert_eq!(
            stats.percentiles,
            HistogramPercentiles {
                p50: 12.345,
                p90: 12.345,
                p95: 12.345,
                p99: 12.345
            }
        );
    }

    #[test]
    fn a_value_that_is_not_finite_is_ignored() {
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        assert_eq!(distribution(&odd).stats(), HistogramStats::new());
        let mut mixed = odd.to_vec();
        mixed.push(5.0);
        assert_eq!(distribution(&mixed).stats(), distribution(&[5.0]).stats());
    }

    #[test]
    fn extremes_and_tiny_values_do_not_panic() {
        let stats = distribution(&[0.0, -7.0, 1e-9, f64::MAX, f64::MIN_POSITIVE]).stats();
        assert_eq!((stats.count, stats.min, stats.max), (5, -7.0, f64::MAX));
        let p = stats.percentiles;
        for percentile in [p.p50, p.p90, p.p95, p.p99] {
            assert!(
                (stats.min..=stats.max).contains(&percentile),
                "{percentile}"
            );
        }
        let negative = distribution(&[-3.0, -2.0]).stats();
        assert_eq!(
            (negative.sum, negative.min, negative.max),
            (-5.0, -3.0, -2.0)
        );
        assert_eq!(
            negative.percentiles.p50, -2.0,
            "negative values share one bucket, clamped to the extremes"
        );
    }

    #[test]
    fn memory_is_bounded() {
        let mut distribution = Distribution::new();
        for exponent in -60..900 {
            distribution.record(2f64.powi(exponent));
        }
        assert!(distribution.buckets.distinct_values() * size_of::<u64>() <= 60_000);
    }

    fn close(actual: f64, exact: f64) -> bool {
        (actual - exact).abs() <= exact * 0.01 + 1e-6
    }

    proptest! {
        #![proptest_config(crate::seeds::cases(256))]

        #[test]
        fn figures_match_the_sorted_values(
            values in prop::collection::vec(prop_oneof![0.0..1.0f64, 0.0..1e4f64, 1e4..1e12f64], 1..400),
            split in 0usize..400,
        ) {
            let split = split.min(values.len());
            let mut merged = distribution(&values[..split]);
            merged.merge(&distribution(&values[split..]));
            let stats = merged.stats();

            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let exact = |share: f64| sorted[((sorted.len() as f64 * share) as usize).min(sorted.len() - 1)];
            prop_assert_eq!(stats.count as usize, sorted.len());
            prop_assert_eq!(stats.min, sorted[0]);
            prop_assert_eq!(stats.max, sorted[sorted.len() - 1]);
            let sum: f64 = values.iter().sum();
            prop_assert!((stats.sum - sum).abs() <= sum.abs() * 1e-9);
            prop_assert!(close(stats.percentiles.p50, exact(0.50)), "{} {}", stats.percentiles.p50, exact(0.50));
            prop_assert!(close(stats.percentiles.p90, exact(0.90)));
            prop_assert!(close(stats.percentiles.p95, exact(0.95)));
            prop_assert!(close(stats.percentiles.p99, exact(0.99)));
        }
    }
}
