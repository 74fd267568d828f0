//! Code blocks of Markdown pages, as programs that can run.
//!
//! The info string of a block is its language and, after a space, at most one word: `continues` appends the block to
//! the one before it, `fragment` says that it is not a program.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// One program on one page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snippet {
    /// The line of its first fence, from 1.
    pub(crate) line: usize,
    pub(crate) code: String,
}

/// The programs in one of these languages, in the order of the page.
pub(crate) fn programs(text: &str, languages: &[&str]) -> Result<Vec<Snippet>> {
    let mut found: Vec<Snippet> = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else {
            continue;
        };
        let mut code = String::new();
        loop {
            match lines.next() {
                Some((_, "```")) => break,
                Some((_, line)) => {
                    code.push_str(line);
                    code.push('\n');
                }
                None => bail!("the block in line {} has no end", index + 1),
            }
        }
        let mut words = info.split_whitespace();
        if !words
            .next()
            .is_some_and(|language| languages.contains(&language))
        {
            continue;
        }
        match (words.next(), found.last_mut()) {
            (None, _) => found.push(Snippet {
                line: index + 1,
                code,
            }),
            (Some("continues"), Some(before)) => before.code.push_str(&code),
            (Some("fragment"), _) => {}
            (Some(word), _) => bail!(
                "line {}: {word} is neither continues nor fragment",
                index + 1
            ),
        }
    }
    Ok(found)
}

/// README.md and every page under docs/.
pub(crate) fn pages(root: &Path) -> Result<Vec<PathBuf>> {
    let mut pages = vec![root.join("README.md")];
    let mut open = vec![root.join("docs")];
    while let Some(dir) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
Text
```python
a = 1
```
```sh
ignored
```
```python continues
b = a
```
```python fragment
...
```
```py
c = 2
```
";

    #[test]
    fn blocks_of_one_language_in_order() {
        let found = programs(PAGE, &["python", "py"]).expect("a valid page");
        let expected = [(2, "a = 1\nb = a\n"), (14, "c = 2\n")].map(|(line, code)| Snippet {
            line,
            code: code.to_owned(),
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn an_open_block_is_an_error() {
        assert!(programs("```python\na", &["python"]).is_err());
    }

    #[test]
    fn an_unknown_word_is_an_error() {
        assert!(programs("```js skip\n```\n", &["js"]).is_err());
    }

    #[test]
    fn another_language_is_passed_over() {
        assert_eq!(
            programs("```rust,no_run\nx\n```\n", &["js"]).expect("valid"),
            []
        );
    }
}
