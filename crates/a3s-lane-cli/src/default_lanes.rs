//! The lanes that are used when no configuration file is given.

/// The text of the built-in configuration, which `a3s-lane lanes --toml` prints.
pub(crate) const TEXT: &str = include_str!("default_lanes.toml");

#[cfg(test)]
mod tests {
    use a3s_lane::{EventEmitter, QueueManagerBuilder};

    use super::*;
    use crate::config::Config;

    #[tokio::test]
    async fn names_and_limits_are_those_of_the_library() {
        let ours = Config::parse(TEXT, "built-in lanes").expect("the built-in lanes are valid");
        let library = QueueManagerBuilder::new(EventEmitter::new(1))
            .with_default_lanes()
            .build()
            .await
            .expect("the default lanes build")
            .stats()
            .await
            .expect("stats of an idle queue");
        let mut names: Vec<_> = library.lanes.keys().cloned().collect();
        names.sort_unstable();
        let mut our_names: Vec<_> = ours.lanes.iter().map(|lane| lane.name.clone()).collect();
        our_names.sort_unstable();
        assert_eq!(our_names, names);
        for lane in &ours.lanes {
            let status = &library.lanes[&lane.name];
            assert_eq!(lane.config.min_concurrency, status.min, "{}", lane.name);
            assert_eq!(lane.config.max_concurrency, status.max, "{}", lane.name);
        }
        let order: Vec<_> = ours
            .lanes
            .iter()
            .map(|lane| (lane.priority, lane.name.as_str()))
            .collect();
        assert_eq!(
            order,
            [
                (0, "system"),
                (1, "control"),
                (2, "query"),
                (3, "session"),
                (4, "skill"),
                (5, "prompt")
            ]
        );
    }
}
