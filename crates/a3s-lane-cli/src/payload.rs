//! What the built-in handlers take.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::quantity;

/// The types of commands there are handlers for.
pub(crate) const TYPES: [&str; 2] = ["echo", "exec"];

/// The checked payload of one command.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Payload {
    /// Returns the value.
    Echo(Value),
    /// Runs a process.
    Exec(ExecSpec),
}

/// A process to run.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct ExecSpec {
    /// Program and arguments; never empty.
    pub(crate) argv: Vec<String>,
    /// Added to the inherited environment.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) stdin: Option<String>,
    /// Limit of one attempt.
    pub(crate) timeout: Option<Duration>,
}

impl Payload {
    /// Checks the payload of a command of type `kind`, one of [`TYPES`]; the error names the field.
    pub(crate) fn parse(kind: &str, payload: Value) -> Result<Self, String> {
        match kind {
            "echo" => Ok(Self::Echo(payload)),
            "exec" => ExecSpec::parse(payload).map(Self::Exec),
            _ => Err(format!(
                "unknown type {kind:?}; known types: {}",
                TYPES.join(", ")
            )),
        }
    }

    /// The payload that was parsed.
    pub(crate) fn to_value(&self) -> Value {
        match self {
            Self::Echo(value) => value.clone(),
            Self::Exec(spec) => spec.to_value(),
        }
    }

    /// A short text for people.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Echo(value) => quantity::one_line(&format!("echo {value}"), 60),
            Self::Exec(spec) => {
                let words: Vec<_> = spec.argv.iter().map(|word| quoted(word)).collect();
                quantity::one_line(&words.join(" "), 60)
            }
        }
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

impl ExecSpec {
    fn to_value(&self) -> Value {
        let mut fields = Map::new();
        fields.insert("argv".to_owned(), self.argv.clone().into());
        if !self.env.is_empty() {
            let env = self.env.iter().cloned();
            let env: Map<String, Value> = env.map(|(name, value)| (name, value.into())).collect();
            fields.insert("env".to_owned(), env.into());
        }
        // It came as text.
        if let Some(cwd) = self.cwd.as_ref().and_then(|cwd| cwd.to_str()) {
            fields.insert("cwd".to_owned(), cwd.into());
        }
        if let Some(stdin) = &self.stdin {
            fields.insert("stdin".to_owned(), stdin.as_str().into());
        }
        if let Some(timeout) = self.timeout {
            let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            fields.insert("timeout_ms".to_owned(), millis.into());
        }
        fields.into()
    }

    fn parse(payload: Value) -> Result<Self, String> {
        let Value::Object(fields) = payload else {
            return Err(format!(
                "payload: expected an object with argv, got {}",
                kind_of(&payload)
            ));
        };
        let mut spec = Self::default();
        for (field, value) in fields {
            match field.as_str() {
                "argv" => spec.argv = argv(value)?,
                "env" => spec.env = env(value)?,
                "cwd" => spec.cwd = Some(PathBuf::from(string("payload.cwd", value)?)),
                "stdin" => spec.stdin = Some(text("payload.stdin", value)?),
                "timeout_ms" => spec.timeout = Some(timeout(&value)?),
                _ => {
                    return Err(format!(
                        "payload.{field}: unknown field; exec takes argv, env, cwd, stdin and timeout_ms"
                    ));
                }
            }
        }
        if spec.argv.is_empty() {
            return Err("payload.argv: expected a list of at least one string".to_owned());
        }
        Ok(spec)
    }
}

fn argv(value: Value) -> Result<Vec<String>, String> {
    let Value::Array(words) = value else {
        return Err(format!(
            "payload.argv: expected a list of strings, got {}",
            kind_of(&value)
        ));
    };
    let argv: Vec<_> = words
        .into_iter()
        .enumerate()
        .map(|(index, word)| string(&format!("payload.argv[{index}]"), word))
        .collect::<Result<_, _>>()?;
    match argv.first() {
        Some(program) if program.is_empty() => {
            Err("payload.argv[0]: expected a program, got \"\"".to_owned())
        }
        _ => Ok(argv),
    }
}

fn env(value: Value) -> Result<Vec<(String, String)>, String> {
    let fields: Map<String, Value> = match value {
        Value::Object(fields) => fields,
        other => {
            return Err(format!(
                "payload.env: expected an object of strings, got {}",
                kind_of(&other)
            ));
        }
    };
    fields
        .into_iter()
        .map(|(name, value)| {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(format!(
                    "payload.env: expected a name without `=` and NUL, got {name:?}"
                ));
            }
            let value = string(&format!("payload.env.{name}"), value)?;
            Ok((name, value))
        })
        .collect()
}

fn timeout(value: &Value) -> Result<Duration, String> {
    match value.as_u64() {
        Some(millis) if millis > 0 => Ok(Duration::from_millis(millis)),
        _ => Err(format!(
            "payload.timeout_ms: expected a whole number of at least 1, got {value}"
        )),
    }
}

fn text(field: &str, value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(format!(
            "{field}: expected a string, got {}",
            kind_of(&other)
        )),
    }
}

/// Text for the operating system, which ends strings at NUL.
fn string(field: &str, value: Value) -> Result<String, String> {
    let text = text(field, value)?;
    if text.contains('\0') {
        return Err(format!("{field}: expected a string without NUL"));
    }
    Ok(text)
}

/// The JSON type of a value, with its article.
pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(payload: Value) -> String {
        Payload::parse("exec", payload).expect_err("the payload must be refused")
    }

    #[test]
    fn every_field_is_read() {
        let payload = json!({"argv": ["a", "b"], "env": {"K": "v"}, "cwd": "/d", "stdin": "in\u{0}", "timeout_ms": 5});
        let expected = ExecSpec {
            argv: vec!["a".to_owned(), "b".to_owned()],
            env: vec![("K".to_owned(), "v".to_owned())],
            cwd: Some(PathBuf::from("/d")),
            stdin: Some("in\0".to_owned()),
            timeout: Some(Duration::from_millis(5)),
        };
        let parsed = Payload::parse("exec", payload.clone());
        assert_eq!(parsed, Ok(Payload::Exec(expected)));
        let values = [payload, json!({"argv": ["a"]})];
        for value in values {
            let parsed = Payload::parse("exec", value.clone()).expect("it is valid");
            assert_eq!(parsed.to_value(), value);
        }
    }

    #[test]
    fn errors_name_the_field() {
        let ok = json!(["true"]);
        for (payload, text) in [
            (
                json!(null),
                "payload: expected an object with argv, got null",
            ),
            (
                json!({}),
                "payload.argv: expected a list of at least one string",
            ),
            (
                json!({"argv": "ls"}),
                "payload.argv: expected a list of strings, got a string",
            ),
            (
                json!({"argv": ["a", 1]}),
                "payload.argv[1]: expected a string, got a number",
            ),
            (
                json!({"argv": [""]}),
                "payload.argv[0]: expected a program, got \"\"",
            ),
            (
                json!({"argv": ["a\u{0}b"]}),
                "payload.argv[0]: expected a string without NUL",
            ),
            (
                json!({"argv": ok, "env": []}),
                "payload.env: expected an object of strings, got a list",
            ),
            (
                json!({"argv": ok, "env": {"A": true}}),
                "payload.env.A: expected a string, got a boolean",
            ),
            (
                json!({"argv": ok, "env": {"A=B": "c"}}),
                "payload.env: expected a name without `=` and NUL, got \"A=B\"",
            ),
            (
                json!({"argv": ok, "cwd": 1}),
                "payload.cwd: expected a string, got a number",
            ),
            (
                json!({"argv": ok, "stdin": {}}),
                "payload.stdin: expected a string, got an object",
            ),
            (
                json!({"argv": ok, "timeout_ms": 0}),
                "payload.timeout_ms: expected a whole number of at least 1, got 0",
            ),
            (
                json!({"argv": ok, "args": []}),
                "payload.args: unknown field; exec takes argv, env, cwd, stdin and timeout_ms",
            ),
        ] {
            assert_eq!(refusal(payload), text);
        }
    }

    #[test]
    fn descriptions_are_short_and_quoted() {
        let exec = |argv: Value| {
            Payload::parse("exec", json!({"argv": argv})).map(|payload| payload.describe())
        };
        assert_eq!(
            exec(json!(["wc", "-l", "a b"])),
            Ok("wc -l 'a b'".to_owned())
        );
        assert_eq!(
            exec(json!(["x".repeat(100)])).map(|text| text.chars().count()),
            Ok(60)
        );
    }
}
