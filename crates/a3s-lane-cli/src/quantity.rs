//! Times and sizes as people read them.

/// `412 us`, `3.1 ms`, `1.20 s`, `4m 05s`: three digits are enough to compare lanes.
pub(crate) fn millis(value_ms: f64) -> String {
    if value_ms < 1.0 {
        format!("{:.0} us", value_ms * 1_000.0)
    } else if value_ms < 100.0 {
        format!("{value_ms:.1} ms")
    } else if value_ms < 1_000.0 {
        format!("{value_ms:.0} ms")
    } else if value_ms < 60_000.0 {
        format!("{:.2} s", value_ms / 1_000.0)
    } else {
        let seconds = (value_ms / 1_000.0).round();
        format!("{:.0}m {:02.0}s", (seconds / 60.0).floor(), seconds % 60.0)
    }
}

/// A duration the way a configuration file writes it.
pub(crate) fn exact(duration: std::time::Duration) -> String {
    let value_ms = duration.as_millis();
    match value_ms {
        0 => "0".to_owned(),
        _ if value_ms.is_multiple_of(3_600_000) => format!("{}h", value_ms / 3_600_000),
        _ if value_ms.is_multiple_of(60_000) => format!("{}m", value_ms / 60_000),
        _ if value_ms.is_multiple_of(1_000) => format!("{}s", value_ms / 1_000),
        _ => format!("{value_ms}ms"),
    }
}

/// The first `limit` characters of a text, on one line.
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    let flat: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(limit + 1)
        .collect();
    if flat.chars().count() <= limit {
        return flat;
    }
    let mut cut: String = flat.chars().take(limit.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_keep_three_digits() {
        assert_eq!(millis(0.4123), "412 us");
        assert_eq!(millis(3.13), "3.1 ms");
        assert_eq!(millis(314.0), "314 ms");
        assert_eq!(millis(1_200.0), "1.20 s");
        assert_eq!(millis(245_000.0), "4m 05s");
    }

    #[test]
    fn exact_durations_use_the_largest_whole_unit() {
        assert_eq!(exact(Duration::ZERO), "0");
        assert_eq!(exact(Duration::from_millis(1_500)), "1500ms");
        assert_eq!(exact(Duration::from_secs(90)), "90s");
        assert_eq!(exact(Duration::from_secs(600)), "10m");
        assert_eq!(exact(Duration::from_secs(7_200)), "2h");
    }

    #[test]
    fn one_line_has_no_control_characters_and_a_bound() {
        assert_eq!(one_line("a\nb\x1b[31m", 20), "a b [31m");
        assert_eq!(one_line("abcdef", 4), "abc…");
        assert_eq!(one_line("abcd", 4), "abcd");
    }
}
