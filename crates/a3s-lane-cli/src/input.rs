//! Reads lines from a file or standard input on a thread of its own, with bounded memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::request::{LaneNames, Request};

/// A line may be this long, in bytes; a longer one is refused.
pub(crate) const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Lines that are read ahead of the run loop.
const READ_AHEAD_LINES: usize = 16;

/// What the reader found.
#[derive(Debug)]
pub(crate) enum Item {
    Request(Box<Request>),
    /// A line that is not a command.
    Refused {
        line: u64,
        message: String,
    },
    /// The input ended early.
    Broken(String),
}

/// An opened input.
pub(crate) struct Input {
    reader: Box<dyn BufRead + Send>,
    name: String,
    is_file: bool,
}

impl Input {
    /// Opens a file, or standard input for `-`.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        if path.as_os_str() == "-" {
            return Ok(Self {
                reader: Box::new(BufReader::new(io::stdin())),
                name: "standard input".to_owned(),
                is_file: false,
            });
        }
        let name = path.display().to_string();
        let cannot = |error: io::Error| format!("cannot read {name}: {error}");
        let file = File::open(path).map_err(cannot)?;
        let metadata = file.metadata().map_err(cannot)?;
        if metadata.is_dir() {
            return Err(format!("cannot read {name}: it is a directory"));
        }
        Ok(Self {
            reader: Box::new(BufReader::with_capacity(64 * 1024, file)),
            is_file: metadata.is_file(),
            name,
        })
    }

    /// Whether all of the input is there already.
    pub(crate) fn is_file(&self) -> bool {
        self.is_file
    }

    /// Starts reading. The channel closes at the end of the input; the thread ends when the receiver is dropped, at the
    /// latest with the next line.
    pub(crate) fn spawn(self, lanes: LaneNames) -> mpsc::Receiver<Item> {
        let (sender, receiver) = mpsc::channel(READ_AHEAD_LINES);
        let lanes = Arc::new(lanes);
        std::thread::spawn(move || {
            let mut lines = Lines::new(self.reader, LINE_BYTES_MAX);
            loop {
                let item = match lines.next() {
                    Ok(None) => return,
                    Ok(Some(Line { number, content })) => match content {
                        Ok(bytes) => match Request::parse(number, &bytes, &lanes) {
                            Ok(request) => Item::Request(Box::new(request)),
                            Err(message) => Item::Refused {
                                line: number,
                                message,
                            },
                        },
                        Err(message) => Item::Refused {
                            line: number,
                            message,
                        },
                    },
                    Err(error) => Item::Broken(format!(
                        "cannot read {} past line {}: {error}",
                        self.name, lines.number
                    )),
                };
                let ends = matches!(item, Item::Broken(_));
                if sender.blocking_send(item).is_err() || ends {
                    return;
                }
            }
        });
        receiver
    }
}

struct Line {
    number: u64,
    content: Result<Vec<u8>, String>,
}

/// Splits a stream into lines without ever holding more than `bytes_max` of one.
struct Lines<R> {
    reader: R,
    bytes_max: usize,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    fn new(reader: R, bytes_max: usize) -> Self {
        Self {
            reader,
            bytes_max,
            number: 0,
        }
    }

    /// The next line that is neither blank nor a comment, or `None` at the end.
    fn next(&mut self) -> io::Result<Option<Line>> {
        while let Some(content) = self.read()? {
            self.number += 1;
            let content = content.map(|bytes| match bytes.strip_prefix(b"\xEF\xBB\xBF") {
                Some(rest) if self.number == 1 => rest.to_vec(),
                _ => bytes,
            });
            if let Ok(bytes) = &content {
                let text = bytes.trim_ascii();
                if text.is_empty() || text.starts_with(b"#") {
                    continue;
                }
            }
            let number = self.number;
            return Ok(Some(Line { number, content }));
        }
        Ok(None)
    }

    /// One line without its end, or `None` at the end of the stream.
    fn read(&mut self) -> io::Result<Option<Result<Vec<u8>, String>>> {
        let mut bytes = Vec::new();
        let mut seen: u64 = 0;
        loop {
            let available = match self.reader.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = &available[..end.unwrap_or(available.len())];
            seen += part.len() as u64;
            if seen <= self.bytes_max as u64 {
                bytes.extend_from_slice(part);
            } else {
                bytes = Vec::new();
            }
            let at_end_of_stream = available.is_empty();
            let used = end.map_or(available.len(), |end| end + 1);
            self.reader.consume(used);
            if at_end_of_stream && seen == 0 {
                return Ok(None);
            }
            if at_end_of_stream || end.is_some() {
                break;
            }
        }
        if seen > self.bytes_max as u64 {
            return Ok(Some(Err(format!(
                "expected at most {} bytes, got {seen}",
                self.bytes_max
            ))));
        }
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        Ok(Some(Ok(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8], bytes_max: usize) -> Vec<(u64, Result<String, String>)> {
        // A small buffer makes lines span several reads.
        let mut lines = Lines::new(BufReader::with_capacity(3, text), bytes_max);
        let mut found = Vec::new();
        while let Some(line) = lines.next().expect("reading from memory cannot fail") {
            let content = line
                .content
                .map(|bytes| String::from_utf8(bytes).expect("the test's lines are UTF-8"));
            found.push((line.number, content));
        }
        found
    }

    fn ok(number: u64, text: &str) -> (u64, Result<String, String>) {
        (number, Ok(text.to_owned()))
    }

    #[test]
    fn blank_lines_and_comments_count_but_are_skipped() {
        let found = lines(b"\xEF\xBB\xBFone\r\n\n  # note\n\t\n {two}\nlast", 100);
        assert_eq!(found, [ok(1, "one"), ok(5, " {two}"), ok(6, "last")]);
    }

    #[test]
    fn the_empty_stream_has_no_line() {
        assert_eq!(lines(b"", 10), []);
        assert_eq!(lines(b"\n\n", 10), []);
    }

    #[test]
    fn a_line_past_the_bound_is_refused_and_the_next_is_read() {
        let found = lines(b"123456\n1234567\nabc\n12345678", 6);
        let refused = |number, bytes| {
            (
                number,
                Err(format!("expected at most 6 bytes, got {bytes}")),
            )
        };
        assert_eq!(
            found,
            [ok(1, "123456"), refused(2, 7), ok(3, "abc"), refused(4, 8)]
        );
    }
}
