//! JSON text in and out.

use serde_json::Value;

use crate::fault::Fault;

/// The value of a JSON text; no text is `null`.
///
/// Integers from -2^63 to 2^64 - 1 stay exact. Larger ones are refused: they would silently become another number.
pub(crate) fn parse(text: Option<&str>) -> Result<Value, Fault> {
    parse_named("payload", text)
}

/// As [`parse`], for a text that errors call `name`.
pub(crate) fn parse_named(name: &str, text: Option<&str>) -> Result<Value, Fault> {
    let Some(text) = text else {
        return Ok(Value::Null);
    };
    let value = serde_json::from_str(text)
        .map_err(|error| Fault::invalid_payload(format!("{name} is not valid JSON: {error}")))?;
    match inexact_integer(text) {
        None => Ok(value),
        Some(integer) => Err(Fault::invalid_payload(format!(
            "{name} holds the integer {integer}, which does not fit into 64 bits: pass it as a string"
        ))),
    }
}

/// The first integer of a valid JSON text that neither `i64` nor `u64` can hold.
fn inexact_integer(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = string_end(bytes, at),
            b'-' | b'0'..=b'9' => {
                let end = bytes[at..]
                    .iter()
                    .position(|byte| {
                        !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
                    })
                    .map_or(bytes.len(), |length| at + length);
                let number = &text[at..end];
                let is_integer = !number.contains(['.', 'e', 'E']);
                if is_integer && number.parse::<i64>().is_err() && number.parse::<u64>().is_err() {
                    return Some(number);
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    None
}

/// The index after the string that starts at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l29_integers_stay_exact_or_are_refused() {
        for text in [
            "18446744073709551615",
            "-9223372036854775808",
            "[9007199254740993]",
            "0",
            "-0",
        ] {
            let value = parse(Some(text)).expect("fits into 64 bits");
            if text != "-0" {
                assert_eq!(value.to_string(), text);
            }
        }
        for text in [
            "18446744073709551616",
            "-9223372036854775809",
            r#"{"a":[1,2,18446744073709551616]}"#,
        ] {
            let fault = parse(Some(text)).expect_err("does not fit into 64 bits");
            assert_eq!(fault.code, "INVALID_PAYLOAD");
        }
    }

    #[test]
    fn digits_inside_strings_and_floats_are_free() {
        for text in [
            r#""18446744073709551616""#,
            r#"{"18446744073709551616":"a\"99999999999999999999\\"}"#,
            "1e30",
            "18446744073709551616.0",
        ] {
            assert!(parse(Some(text)).is_ok(), "{text} was refused");
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in ["", "{", "NaN", "undefined", "1 2", "1e999", "'a'"] {
            let fault = parse(Some(text)).expect_err("is not JSON");
            assert_eq!(fault.code, "INVALID_PAYLOAD");
            assert!(
                fault.message.starts_with("payload is not valid JSON: "),
                "{}",
                fault.message
            );
        }
        assert_eq!(parse(None), Ok(Value::Null));
    }
}
