//! The feature sets of a package that differ: the power set, with sets that turn on the same things joined.

use std::collections::{BTreeMap, BTreeSet};

/// Every distinct set of features, from none to all, each closed over the features that it turns on.
pub(crate) fn power_set(features: &BTreeMap<String, Vec<String>>) -> BTreeSet<BTreeSet<String>> {
    let names: Vec<&String> = features.keys().filter(|name| *name != "default").collect();
    (0_u32..1 << names.len())
        .map(|bits| {
            let chosen = names
                .iter()
                .enumerate()
                .filter(|(index, _)| bits & (1 << index) != 0)
                .map(|(_, name)| name.as_str());
            closure(features, chosen)
        })
        .collect()
}

/// These features and all that they turn on; optional dependencies are not features of ours.
pub(crate) fn closure<'a>(
    features: &'a BTreeMap<String, Vec<String>>,
    from: impl IntoIterator<Item = &'a str>,
) -> BTreeSet<String> {
    let mut closed = BTreeSet::new();
    let mut open: Vec<&str> = from.into_iter().collect();
    while let Some(name) = open.pop() {
        let Some(turned_on) = features.get(name) else {
            continue;
        };
        if closed.insert(name.to_owned()) {
            open.extend(turned_on.iter().map(String::as_str));
        }
    }
    closed.remove("default");
    closed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features() -> BTreeMap<String, Vec<String>> {
        let list = [
            ("default", vec!["charts", "store"]),
            ("charts", vec!["numbers", "dep:plot"]),
            ("numbers", vec![]),
            ("store", vec!["dep:disk"]),
        ];
        list.into_iter()
            .map(|(name, on)| (name.to_owned(), on.into_iter().map(str::to_owned).collect()))
            .collect()
    }

    #[test]
    fn sets_that_turn_on_the_same_things_are_one() {
        let sets = power_set(&features());
        let shown: Vec<String> = sets
            .iter()
            .map(|set| set.iter().map(String::as_str).collect::<Vec<_>>().join("+"))
            .collect();
        assert_eq!(
            shown,
            [
                "",
                "charts+numbers",
                "charts+numbers+store",
                "numbers",
                "numbers+store",
                "store"
            ]
        );
    }

    #[test]
    fn default_turns_on_everything_here() {
        assert_eq!(closure(&features(), ["default"]).len(), 3);
    }
}
