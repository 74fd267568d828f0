//! Medians, percentiles and pairwise ratios.

/// The middle value (mean of the two middle ones), NaN for no values.
pub(crate) fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The value below which the fraction `q` of the values lies (nearest rank), NaN for no values.
pub(crate) fn quantile(values: &[f64], q: f64) -> f64 {
    let sorted = sorted(values);
    if sorted.is_empty() {
        return f64::NAN;
    }
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// Smallest, middle and largest of the ratios of two series taken round by round.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

/// The spread of `left[i] / right[i]`: values of one round were taken seconds apart, so they share the machine's mood.
pub(crate) fn pairwise(left: &[f64], right: &[f64]) -> Spread {
    let ratios: Vec<f64> = left.iter().zip(right).map(|(l, r)| l / r).collect();
    Spread {
        min: ratios.iter().copied().fold(f64::INFINITY, f64::min),
        median: median(&ratios),
        max: ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_odd_and_even_counts() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn quantile_is_the_nearest_rank() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.5), 50.0);
        assert_eq!(quantile(&values, 0.99), 99.0);
        assert_eq!(quantile(&values, 1.0), 100.0);
    }

    #[test]
    fn pairwise_compares_round_by_round() {
        let spread = pairwise(&[2.0, 9.0, 4.0], &[1.0, 3.0, 4.0]);
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.0, 3.0));
    }
}
