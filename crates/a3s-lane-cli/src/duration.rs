//! Durations as people write them: `250ms`, `30s`, `5m`, `2h`.

use std::time::Duration;

/// Reads a whole number followed by `ms`, `s`, `m` or `h`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!("expected a whole number and a unit, such as 500ms, 30s, 5m or 2h, got `{text}`")
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(unit_ms)
        .map(Duration::from_millis)
        .ok_or_else(wrong)
}

/// As [`parse`]; a number without a unit is seconds.
pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => parse(text).map_err(|_| {
            format!("expected seconds, or a whole number and a unit, such as 10, 500ms or 5m, got `{text}`")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_need_no_unit() {
        assert_eq!(parse_seconds("0"), Ok(Duration::ZERO));
        assert_eq!(parse_seconds("10"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_seconds("250ms"), Ok(Duration::from_millis(250)));
        let refusal = parse_seconds("soon").expect_err("not a time");
        assert!(
            refusal.contains("such as 10, 500ms or 5m, got `soon`"),
            "{refusal}"
        );
    }

    #[test]
    fn each_unit_is_read() {
        let millis = |text| parse(text).map(|duration| duration.as_millis());
        assert_eq!(millis("250ms"), Ok(250));
        assert_eq!(millis("30s"), Ok(30_000));
        assert_eq!(millis("5m"), Ok(300_000));
        assert_eq!(millis("2h"), Ok(7_200_000));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "30",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "1d",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            let refusal = parse(text).expect_err("must be refused");
            assert!(
                refusal.contains("such as 500ms, 30s, 5m or 2h"),
                "{refusal}"
            );
        }
    }
}
