//! From JavaScript numbers and words to Rust values, without wrap-around.

use std::time::Duration;

/// The largest whole number that settings may have: a 32-bit one, so that it means the same on every platform.
pub(crate) const MAX: u32 = u32::MAX;

/// The largest of the counts that may go beyond [`MAX`].
const MAX_LARGE: u64 = (1 << 53) - 1;

/// `value` as a whole number of `low..=high`; the error names `field` and the range.
pub(crate) fn whole(field: &str, value: f64, low: u32, high: u32) -> Result<u32, String> {
    if value.fract() == 0.0 && value >= f64::from(low) && value <= f64::from(high) {
        // Whole and within the range of u32, so nothing is lost.
        Ok(value as u32)
    } else {
        Err(format!(
            "{field} must be an integer from {low} to {high} (got {})",
            shown(value)
        ))
    }
}

/// As [`whole`], for counts that may be large: up to 2^53 - 1, where a JavaScript number stops being exact.
pub(crate) fn large(field: &str, value: f64, low: u64) -> Result<u64, String> {
    if value.fract() == 0.0 && value >= low as f64 && value <= MAX_LARGE as f64 {
        // Whole and within the range of u64, so nothing is lost.
        Ok(value as u64)
    } else {
        Err(format!(
            "{field} must be an integer from {low} to {MAX_LARGE} (got {})",
            shown(value)
        ))
    }
}

/// `value` as a whole number that may be negative.
pub(crate) fn signed(field: &str, value: f64) -> Result<i32, String> {
    let (low, high) = (i32::MIN, i32::MAX);
    if value.fract() == 0.0 && value >= f64::from(low) && value <= f64::from(high) {
        // Whole and within the range of i32, so nothing is lost.
        Ok(value as i32)
    } else {
        Err(format!(
            "{field} must be an integer from {low} to {high} (got {})",
            shown(value)
        ))
    }
}

/// The meaning of `word`, which must be one of `known`; the error names `field` and those.
pub(crate) fn choice<T: Copy>(field: &str, word: &str, known: &[(&str, T)]) -> Result<T, String> {
    let found = known.iter().find(|(name, _)| *name == word);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let names: Vec<String> = known.iter().map(|(name, _)| format!("'{name}'")).collect();
        format!("{field} must be one of {} (got '{word}')", names.join(", "))
    })
}

/// `value` seconds, above 0; the error names `field` and the range.
pub(crate) fn seconds(field: &str, value: f64) -> Result<Duration, String> {
    let bad = || {
        format!(
            "{field} must be a number above 0 and up to {MAX} (got {})",
            shown(value)
        )
    };
    if value > 0.0 && value <= f64::from(MAX) {
        Duration::try_from_secs_f64(value).map_err(|_| bad())
    } else {
        Err(bad())
    }
}

/// `value` milliseconds, from 0; the error names `field` and the range.
pub(crate) fn millis(field: &str, value: f64) -> Result<Duration, String> {
    let bad = || {
        format!(
            "{field} must be a number from 0 to {MAX} (got {})",
            shown(value)
        )
    };
    if value >= 0.0 && value <= f64::from(MAX) {
        Duration::try_from_secs_f64(value / 1_000.0).map_err(|_| bad())
    } else {
        Err(bad())
    }
}

/// The number as JavaScript writes it.
fn shown(value: f64) -> String {
    if value.is_infinite() {
        let sign = if value < 0.0 { "-" } else { "" };
        format!("{sign}Infinity")
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l29_whole_numbers_never_wrap() {
        assert_eq!(whole("n", 0.0, 0, 255), Ok(0));
        assert_eq!(whole("n", 255.0, 0, 255), Ok(255));
        assert_eq!(whole("n", f64::from(MAX), 0, MAX), Ok(MAX));
        for bad in [
            256.0,
            -1.0,
            0.5,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            4_294_967_296.0,
        ] {
            assert!(whole("n", bad, 0, 255).is_err(), "{bad} was taken");
        }
        assert_eq!(
            whole("priority", f64::INFINITY, 0, 255),
            Err("priority must be an integer from 0 to 255 (got Infinity)".into())
        );
    }

    #[test]
    fn l29_large_and_signed_numbers_never_wrap() {
        assert_eq!(large("n", 9_007_199_254_740_991.0, 1), Ok((1 << 53) - 1));
        assert_eq!(large("n", 1.0, 1), Ok(1));
        for bad in [
            0.0,
            -1.0,
            1.5,
            9_007_199_254_740_992.0,
            f64::NAN,
            f64::INFINITY,
        ] {
            assert!(large("n", bad, 1).is_err(), "{bad} was taken");
        }
        assert_eq!(signed("n", -2_147_483_648.0), Ok(i32::MIN));
        assert_eq!(signed("n", 2_147_483_647.0), Ok(i32::MAX));
        for bad in [
            2_147_483_648.0,
            -2_147_483_649.0,
            0.5,
            f64::NAN,
            f64::INFINITY,
        ] {
            assert!(signed("n", bad).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn words_are_known_or_refused() {
        let known = [("one", 1), ("two", 2)];
        assert_eq!(choice("n", "two", &known), Ok(2));
        assert_eq!(
            choice("n", "Two", &known),
            Err("n must be one of 'one', 'two' (got 'Two')".into())
        );
    }

    #[test]
    fn l29_times_never_panic() {
        assert_eq!(seconds("t", 1.5), Ok(Duration::from_millis(1_500)));
        assert_eq!(millis("t", 0.5), Ok(Duration::from_micros(500)));
        assert_eq!(millis("t", 0.0), Ok(Duration::ZERO));
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert!(seconds("t", bad).is_err(), "{bad} s was taken");
            assert!(millis("t", bad).is_err(), "{bad} ms was taken");
        }
        assert!(seconds("t", 0.0).is_err());
    }
}
