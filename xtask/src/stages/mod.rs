//! The stages in the order in which they run.

mod docs;
mod lint;
mod node;
mod package;
mod python;
mod rust;

use anyhow::{Result, bail};

use crate::house::House;

/// One step with a name of its own.
pub(crate) struct Stage {
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn(&House) -> Result<()>,
}

impl Stage {
    const fn new(
        group: &'static str,
        name: &'static str,
        about: &'static str,
        run: fn(&House) -> Result<()>,
    ) -> Self {
        Self {
            group,
            name,
            about,
            run,
        }
    }
}

/// Every test of every language.
pub(crate) fn tests() -> Vec<Stage> {
    vec![
        Stage::new(
            "rust",
            "rust-default",
            "tests with the default features",
            rust::default,
        ),
        Stage::new(
            "rust",
            "rust-minimal",
            "tests of the core without features",
            rust::minimal,
        ),
        Stage::new(
            "rust",
            "rust-all",
            "tests of the core with all features",
            rust::all,
        ),
        Stage::new(
            "rust",
            "rust-doc",
            "examples in the Rust documentation",
            rust::doc,
        ),
        Stage::new(
            "rust",
            "rust-model",
            "model checking of the tokio shell",
            rust::model,
        ),
        Stage::new(
            "rust",
            "rust-package",
            "the packed crate in an empty project",
            package::rust,
        ),
        Stage::new(
            "python",
            "python-wheel",
            "the wheel in empty environments of every CPython",
            python::wheel,
        ),
        Stage::new(
            "python",
            "python-tests",
            "pytest against the installed wheel",
            python::tests,
        ),
        Stage::new(
            "node",
            "node-tests",
            "node:test on the built addon",
            node::tests,
        ),
        Stage::new(
            "node",
            "node-types",
            "tsc over the declarations",
            node::types,
        ),
        Stage::new(
            "node",
            "node-pack",
            "the packed tarballs in an empty folder",
            node::pack,
        ),
        Stage::new(
            "docs",
            "docs-pages",
            "the tests run the code of every page",
            docs::pages,
        ),
        Stage::new(
            "docs",
            "docs-map",
            "the files of the scheduler are those that it says to read",
            docs::map,
        ),
        Stage::new(
            "docs",
            "first-command",
            "the README's first command",
            docs::first_command,
        ),
    ]
}

/// The checks, then the tests.
pub(crate) fn checks_and_tests() -> Vec<Stage> {
    let mut every = vec![
        Stage::new("lint", "format", "rustfmt changes nothing", lint::format),
        Stage::new("lint", "spelling", "typos finds nothing", lint::spelling),
        Stage::new("lint", "clippy", "clippy without warnings", lint::clippy),
        Stage::new("lint", "bench", "the benchmarks compile", lint::bench),
        Stage::new(
            "lint",
            "rustdoc",
            "documentation without warnings",
            lint::rustdoc,
        ),
        Stage::new(
            "lint",
            "features",
            "every set of features compiles",
            lint::features,
        ),
        Stage::new(
            "lint",
            "rust-version",
            "the declared Rust version suffices",
            lint::rust_version,
        ),
        Stage::new(
            "lint",
            "dependencies",
            "bans, licences and sources",
            lint::dependencies,
        ),
        Stage::new(
            "lint",
            "workflows",
            "zizmor over the workflows",
            lint::workflows,
        ),
    ];
    every.extend(tests());
    every
}

/// The stages with these names, or of these groups; all of them without a name.
pub(crate) fn select(every: Vec<Stage>, names: &[String]) -> Result<Vec<Stage>> {
    for name in names {
        if !every
            .iter()
            .any(|stage| name == stage.name || name == stage.group)
        {
            bail!("there is no stage or group {name}; --list shows them");
        }
    }
    let wanted = |stage: &Stage| {
        names.is_empty()
            || names
                .iter()
                .any(|name| name == stage.name || name == stage.group)
    };
    Ok(every.into_iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(stages: Vec<Stage>) -> Vec<&'static str> {
        stages.into_iter().map(|stage| stage.name).collect()
    }

    #[test]
    fn a_group_and_a_stage_are_chosen_by_name() {
        let chosen = select(tests(), &["rust-doc".to_owned(), "node".to_owned()]);
        assert_eq!(
            names(chosen.expect("both exist")),
            ["rust-doc", "node-tests", "node-types", "node-pack"]
        );
    }

    #[test]
    fn an_unknown_name_is_refused() {
        assert!(select(tests(), &["no-such-stage".to_owned()]).is_err());
    }

    #[test]
    fn every_name_is_used_once() {
        let mut all = names(checks_and_tests());
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
