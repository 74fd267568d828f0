//! Output of a process, kept up to a bound.

use std::collections::VecDeque;

/// Bytes kept of each output stream of a process, from its start.
pub(crate) const KEPT_BYTES: usize = 1024 * 1024;
/// Bytes kept from the end, for error messages.
const TAIL_BYTES: usize = 2 * 1024;

/// The first [`KEPT_BYTES`] and the last few bytes of a stream.
#[derive(Debug, Default)]
pub(crate) struct BoundedText {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    truncated: bool,
}

impl BoundedText {
    /// Takes the next bytes of the stream.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let room = KEPT_BYTES - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.truncated |= bytes.len() > room;
        let recent = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        let excess = (self.tail.len() + recent.len()).saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess);
        self.tail.extend(recent);
    }

    /// Marks the text as incomplete although it is below the bound.
    pub(crate) fn mark_truncated(&mut self) {
        self.truncated = true;
    }

    /// The kept start; bytes that are not UTF-8 become U+FFFD.
    pub(crate) fn text(&self) -> String {
        let mut bytes = self.head.as_slice();
        if self.truncated
            && let Err(error) = std::str::from_utf8(bytes)
            && error.error_len().is_none()
        {
            // The bound cut a character in two.
            bytes = &bytes[..error.valid_up_to()];
        }
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// Whether bytes are missing from [`text`](Self::text).
    pub(crate) fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// The end of the stream, without surrounding white space.
    pub(crate) fn tail(&self) -> String {
        let bytes: Vec<u8> = self.tail.iter().copied().collect();
        // The ring may begin inside a character.
        let start = bytes
            .iter()
            .position(|byte| byte & 0xC0 != 0x80)
            .unwrap_or(0);
        String::from_utf8_lossy(&bytes[start..]).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_text_is_kept_whole() {
        let mut text = BoundedText::default();
        text.push(b"one\n");
        text.push(b"two\n");
        assert_eq!(text.text(), "one\ntwo\n");
        assert_eq!(text.tail(), "one\ntwo");
        assert!(!text.is_truncated());
    }

    #[test]
    fn long_text_keeps_its_start_and_its_end() {
        let mut text = BoundedText::default();
        text.push(b"start");
        for _ in 0..3 {
            text.push(&vec![b'x'; KEPT_BYTES / 2]);
        }
        text.push(b"end");
        assert_eq!(text.text().len(), KEPT_BYTES);
        assert!(text.text().starts_with("startx"));
        assert_eq!(text.tail().len(), TAIL_BYTES);
        assert!(text.tail().ends_with("xend"));
        assert!(text.is_truncated());
    }

    #[test]
    fn exactly_the_bound_is_not_truncated() {
        let mut text = BoundedText::default();
        text.push(&vec![b'x'; KEPT_BYTES]);
        assert!(!text.is_truncated());
        text.push(b"x");
        assert!(text.is_truncated());
    }

    #[test]
    fn a_character_across_the_bound_is_left_out() {
        let mut text = BoundedText::default();
        text.push(&vec![b'x'; KEPT_BYTES - 1]);
        text.push("ä".as_bytes());
        assert_eq!(text.text().len(), KEPT_BYTES - 1);
        assert!(text.is_truncated());
    }
}
