use std::sync::Arc;

use a3s_lane::{
    Command, CustomPartitioner, HashPartitioner, JsonCommand, PartitionConfig, PartitionId,
    PartitionStrategy, Partitioner, RoundRobinPartitioner,
};
use async_trait::async_trait;

/// As a user of 0.4 wrote one.
struct ByLength;

#[async_trait]
impl Partitioner for ByLength {
    async fn partition(&self, command: &dyn Command, num_partitions: usize) -> PartitionId {
        command.command_type().len() % num_partitions
    }
}

fn command(kind: &str) -> JsonCommand {
    JsonCommand::new(kind, serde_json::Value::Null)
}

async fn place(partitioner: &dyn Partitioner, kind: &str, count: usize) -> PartitionId {
    crate::send(partitioner.partition(&command(kind), count)).await
}

fn made<T: Default>() -> T {
    T::default()
}

#[tokio::test]
async fn each_partitioner() {
    let turn = RoundRobinPartitioner::new();
    let mut places = Vec::new();
    for _ in 0..4 {
        places.push(place(&turn, "t", 3).await);
    }
    assert_eq!(places, [0, 1, 2, 0]);
    let first = place(&HashPartitioner::new(), "a", 100).await;
    assert_eq!(first, place(&HashPartitioner, "a", 100).await);
    assert_eq!(first, place(&made::<HashPartitioner>(), "a", 100).await);
    assert!(place(&RoundRobinPartitioner::default(), "a", 1).await == 0);
    let custom = CustomPartitioner::new(|kind: &str| kind.len() + 100);
    assert_eq!(place(&custom, "abc", 10).await, 3);
    assert_eq!(place(&ByLength, "abc", 10).await, 3);
}

#[tokio::test]
async fn configs() {
    crate::is_value::<PartitionConfig>();
    fn is_plain<T: Copy + Eq + std::fmt::Debug>() {}
    is_plain::<PartitionStrategy>();
    let PartitionConfig {
        num_partitions,
        strategy,
    } = PartitionConfig::new(3, PartitionStrategy::Hash);
    assert_eq!((num_partitions, strategy), (3, PartitionStrategy::Hash));
    let auto = PartitionConfig::auto();
    assert_eq!(auto.num_partitions, num_cpus::get());
    assert_eq!(auto.strategy, PartitionStrategy::RoundRobin);
    assert_eq!(
        PartitionConfig::default().num_partitions,
        auto.num_partitions
    );
    let hash = PartitionConfig::hash(4);
    assert_eq!(
        (hash.num_partitions, hash.strategy),
        (4, PartitionStrategy::Hash)
    );
    let turn = PartitionConfig::round_robin(5);
    assert_eq!(
        (turn.num_partitions, turn.strategy),
        (5, PartitionStrategy::RoundRobin)
    );
    let none = PartitionConfig::none();
    assert_eq!(
        (none.num_partitions, none.strategy),
        (1, PartitionStrategy::None)
    );
    let made: Arc<dyn Partitioner> = turn.create_partitioner();
    assert_eq!(place(&*made, "t", 5).await, 0);
    assert_eq!(place(&*made, "t", 5).await, 1);
    assert_eq!(place(&*none.create_partitioner(), "t", 1).await, 0);
    let made = hash.create_partitioner();
    assert_eq!(
        place(&*made, "t", 4).await,
        place(&HashPartitioner, "t", 4).await
    );
}
