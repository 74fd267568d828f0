//! One line of the input.

use std::collections::HashMap;

use a3s_lane::SubmitOptions;
use serde_json::Value;

use crate::command_options;
use crate::config::Config;
use crate::outcome::Status;
use crate::payload::{Payload, kind_of};

/// How many known lanes an error lists.
const NAMES_LISTED_MAX: usize = 20;

/// A checked line.
#[derive(Debug)]
pub(crate) struct Request {
    /// Number of the line, counted from 1.
    pub(crate) line: u64,
    /// Length of the line in bytes.
    pub(crate) bytes: usize,
    /// Index of the lane in the configuration.
    pub(crate) lane: usize,
    pub(crate) kind: String,
    pub(crate) payload: Payload,
    /// The outcome that does not fail the run.
    pub(crate) expect: Status,
    /// The id that the line gives its command.
    pub(crate) id: Option<String>,
    pub(crate) options: SubmitOptions,
}

/// The names of the lanes, most urgent first.
#[derive(Debug)]
pub(crate) struct LaneNames {
    index: HashMap<String, usize>,
    listed: String,
}

impl LaneNames {
    pub(crate) fn of(config: &Config) -> Self {
        let names = || config.lanes.iter().map(|lane| lane.name.clone());
        let mut listed = names()
            .take(NAMES_LISTED_MAX)
            .collect::<Vec<_>>()
            .join(", ");
        if config.lanes.len() > NAMES_LISTED_MAX {
            listed.push_str(&format!(
                " and {} more",
                config.lanes.len() - NAMES_LISTED_MAX
            ));
        }
        let index = names()
            .enumerate()
            .map(|(index, name)| (name, index))
            .collect();
        Self { index, listed }
    }
}

impl Request {
    /// Checks a line; the error says what is wrong, without the line's number.
    pub(crate) fn parse(line: u64, bytes: &[u8], lanes: &LaneNames) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            format!(
                "expected UTF-8 text, but byte {} is not",
                error.valid_up_to() + 1
            )
        })?;
        let value: Value = serde_json::from_str(text).map_err(|error| not_json(&error))?;
        let Value::Object(fields) = value else {
            return Err(format!("expected an object, got {}", kind_of(&value)));
        };
        let (mut lane, mut kind, mut payload, mut expect) =
            (None, None, Value::Null, Status::Completed);
        let (mut id, mut options) = (None, SubmitOptions::new());
        for (field, value) in fields {
            match field.as_str() {
                "lane" => lane = Some(string("lane", value)?),
                "type" => kind = Some(string("type", value)?),
                "payload" => payload = value,
                "expect" => expect = expectation(&value)?,
                "options" => {
                    id = value["id"].as_str().map(str::to_owned);
                    options = command_options::parse(value)?;
                }
                _ => {
                    return Err(format!(
                        "unknown field {field:?}; known fields: lane, type, payload, expect, options"
                    ));
                }
            }
        }
        let name = lane.ok_or("missing field \"lane\"")?;
        let kind = kind.ok_or("missing field \"type\"")?;
        let lane = *lanes
            .index
            .get(&name)
            .ok_or_else(|| format!("unknown lane {name:?}; known lanes: {}", lanes.listed))?;
        let payload = Payload::parse(&kind, payload)?;
        Ok(Self {
            line,
            bytes: bytes.len(),
            lane,
            kind,
            payload,
            expect,
            id,
            options,
        })
    }
}

fn not_json(error: &serde_json::Error) -> String {
    // A line is a document of its own, so only the column helps.
    let text = error.to_string();
    let cause = text.split(" at line ").next().unwrap_or_default();
    format!("expected JSON: {cause} at column {}", error.column())
}

fn string(field: &str, value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(format!(
            "{field}: expected a string, got {}",
            kind_of(&other)
        )),
    }
}

fn expectation(value: &Value) -> Result<Status, String> {
    match value.as_str() {
        Some("completed") => Ok(Status::Completed),
        Some("failed") => Ok(Status::Failed),
        Some("timeout") => Ok(Status::Timeout),
        Some("expired") => Ok(Status::Expired),
        _ => Err(format!(
            "expect: expected \"completed\", \"failed\", \"timeout\" or \"expired\", got {value}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::default_lanes;

    fn parse(text: &[u8]) -> Result<Request, String> {
        let config =
            Config::parse(default_lanes::TEXT, "test").expect("the built-in lanes are valid");
        Request::parse(7, text, &LaneNames::of(&config))
    }

    #[test]
    fn a_whole_line_is_read() {
        let request = parse(br#"{"lane":"query","type":"echo","payload":[1],"expect":"failed"}"#)
            .expect("the line is valid");
        assert_eq!(
            (request.line, request.lane, request.kind.as_str()),
            (7, 2, "echo")
        );
        assert_eq!(request.payload, Payload::Echo(serde_json::json!([1])));
        assert_eq!(request.expect, Status::Failed);
    }

    #[test]
    fn payload_and_expect_are_optional() {
        let request = parse(br#"{"lane":"query","type":"echo"}"#).expect("the line is valid");
        assert_eq!(request.payload, Payload::Echo(Value::Null));
        assert_eq!(request.expect, Status::Completed);
    }

    #[test]
    fn errors_say_what_would_be_right() {
        for (line, text) in [
            ("", "expected JSON: EOF while parsing a value at column 0"),
            ("[]", "expected an object, got a list"),
            (
                r#"{"lane":"query","type":"echo"} x"#,
                "expected JSON: trailing characters at column 32",
            ),
            (r#"{"type":"echo"}"#, "missing field \"lane\""),
            (r#"{"lane":"query"}"#, "missing field \"type\""),
            (
                r#"{"lane":1,"type":"echo"}"#,
                "lane: expected a string, got a number",
            ),
            (
                r#"{"lane":"query","type":"echo","id":1}"#,
                "unknown field \"id\"; known fields: lane, type, payload, expect, options",
            ),
            (
                r#"{"lane":"qery","type":"echo"}"#,
                "unknown lane \"qery\"; known lanes: system, control, query, session, skill, prompt",
            ),
            (
                r#"{"lane":"query","type":"shell"}"#,
                "unknown type \"shell\"; known types: echo, exec",
            ),
            (
                r#"{"lane":"query","type":"echo","expect":"ok"}"#,
                "expect: expected \"completed\", \"failed\", \"timeout\" or \"expired\", got \"ok\"",
            ),
        ] {
            assert_eq!(parse(line.as_bytes()).expect_err(line), text, "{line}");
        }
        assert_eq!(
            parse(b"{\xff}").expect_err("not UTF-8"),
            "expected UTF-8 text, but byte 2 is not"
        );
    }
}
