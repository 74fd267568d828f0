//! Finds which key of a TOML text a byte offset belongs to, so that an error can name lane, key, line and column.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The keys that lead to `offset`, outermost first; empty when the text is not TOML or the offset is outside every key.
pub(crate) fn keys_at(text: &str, offset: usize) -> Vec<String> {
    let mut keys = Vec::new();
    if let Ok(root) = DeTable::parse(text) {
        descend(root.get_ref(), offset, &mut keys);
    }
    keys
}

fn descend(table: &DeTable<'_>, offset: usize, keys: &mut Vec<String>) {
    for (key, value) in table.iter() {
        if holds(&key.span(), offset) || extent(value).iter().any(|span| holds(span, offset)) {
            keys.push(key.get_ref().to_string());
            if let DeValue::Table(inner) = value.get_ref() {
                descend(inner, offset, keys);
            }
            return;
        }
    }
}

/// The spans a value covers. The span of a `[header]` table is only its header, so the spans of its entries belong to it.
fn extent(value: &Spanned<DeValue<'_>>) -> Vec<Range<usize>> {
    let mut spans = vec![value.span()];
    if let DeValue::Table(table) = value.get_ref() {
        for (key, inner) in table.iter() {
            spans.push(key.span());
            spans.extend(extent(inner));
        }
    }
    spans
}

fn holds(span: &Range<usize>, offset: usize) -> bool {
    span.contains(&offset)
}

/// The line and column of a byte offset, both counted from 1; columns count characters.
pub(crate) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[queue]\ndlq_size = 3\n[lanes.query]\npriority = 2\nretry = { max_retries = 1 }\n\n[lanes.x]\npriority = 1\n";

    fn path(needle: &str) -> String {
        keys_at(TEXT, TEXT.find(needle).expect("the needle is in the text")).join(".")
    }

    #[test]
    fn keys_and_values_are_found_through_headers_and_inline_tables() {
        assert_eq!(path("dlq_size"), "queue.dlq_size");
        assert_eq!(path("3\n"), "queue.dlq_size");
        assert_eq!(path("2\n"), "lanes.query.priority");
        assert_eq!(path("max_retries"), "lanes.query.retry.max_retries");
        assert_eq!(path("priority = 1"), "lanes.x.priority");
        assert_eq!(path("[lanes.x]"), "lanes.x");
    }

    #[test]
    fn positions_count_from_one() {
        assert_eq!(line_and_column("ä = 1\nb = 2", 0), (1, 1));
        assert_eq!(line_and_column("ä = 1\nb = 2", 3), (1, 3));
        assert_eq!(line_and_column("ä = 1\nb = 2", 7), (2, 1));
    }
}
