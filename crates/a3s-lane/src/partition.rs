//! Which partition of a [`DistributedQueue`](crate::distributed::DistributedQueue) a command belongs to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use crate::command::Command;

/// The number of a partition, counted from 0.
pub type PartitionId = usize;

/// Chooses the partition of a command.
#[async_trait]
pub trait Partitioner: Send + Sync {
    /// A partition below `num_partitions`; 0 if there are no partitions.
    ///
    /// # Cancel safety
    ///
    /// The partitioners of this crate do not wait. Dropping the future before it is polled has no effect.
    async fn partition(&self, command: &dyn Command, num_partitions: usize) -> PartitionId;
}

/// `number % num_partitions`, and 0 when there are none.
fn modulo(number: usize, num_partitions: usize) -> PartitionId {
    number.checked_rem(num_partitions).unwrap_or(0)
}

/// Deals commands out one partition after the other, starting with 0.
///
/// Even, and blind to what a command is: commands of one type are spread over all partitions.
#[derive(Debug, Default)]
pub struct RoundRobinPartitioner {
    next: AtomicUsize,
}

impl RoundRobinPartitioner {
    /// A partitioner that starts with partition 0.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Partitioner for RoundRobinPartitioner {
    async fn partition(&self, _command: &dyn Command, num_partitions: usize) -> PartitionId {
        modulo(self.next.fetch_add(1, Ordering::Relaxed), num_partitions)
    }
}

/// Keeps all commands of one type in one partition, so that they keep their order.
///
/// The partition is the 64-bit FNV-1a hash of the command type's UTF-8 bytes, modulo the number of partitions. It is
/// the same in every process, on every platform and in every release.
///
/// # Examples
///
/// ```
/// use a3s_lane::{HashPartitioner, JsonCommand, Partitioner};
///
/// # tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(async {
/// let command = JsonCommand::new("email", serde_json::Value::Null);
/// assert_eq!(HashPartitioner::new().partition(&command, 8).await, 7);
/// # });
/// ```
#[derive(Debug, Default, Clone, Copy)]
pub struct HashPartitioner;

impl HashPartitioner {
    /// The partitioner has no settings.
    pub fn new() -> Self {
        Self
    }
}

fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[async_trait]
impl Partitioner for HashPartitioner {
    async fn partition(&self, command: &dyn Command, num_partitions: usize) -> PartitionId {
        // In u64, so that 32-bit platforms choose alike; the remainder is below a usize.
        let hash = fnv_1a(command.command_type().as_bytes());
        hash.checked_rem(num_partitions as u64).unwrap_or(0) as PartitionId
    }
}

/// Lets a function of the command's type choose; its result is taken modulo the number of partitions.
///
/// # Examples
///
/// ```
/// use a3s_lane::{CustomPartitioner, JsonCommand, Partitioner};
///
/// # tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(async {
/// let partitioner = CustomPartitioner::new(|command_type| command_type.len());
/// let command = JsonCommand::new("email", serde_json::Value::Null);
/// assert_eq!(partitioner.partition(&command, 3).await, 2);
/// # });
/// ```
pub struct CustomPartitioner<F>
where
    F: Fn(&str) -> usize + Send + Sync,
{
    func: F,
}

impl<F> CustomPartitioner<F>
where
    F: Fn(&str) -> usize + Send + Sync,
{
    /// A partitioner that asks `func` about each command's type.
    pub fn new(func: F) -> Self {
        Self { func }
    }
}

#[async_trait]
impl<F> Partitioner for CustomPartitioner<F>
where
    F: Fn(&str) -> usize + Send + Sync,
{
    async fn partition(&self, command: &dyn Command, num_partitions: usize) -> PartitionId {
        modulo((self.func)(command.command_type()), num_partitions)
    }
}

/// How the partitions of a queue are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionStrategy {
    /// One after the other: [`RoundRobinPartitioner`].
    RoundRobin,
    /// By command type: [`HashPartitioner`].
    Hash,
    /// No preference. With several partitions they are filled one after the other.
    None,
}

/// How many partitions a queue has and how they are filled.
#[derive(Debug, Clone)]
pub struct PartitionConfig {
    /// The number of partitions. A queue treats 0 as 1.
    pub num_partitions: usize,
    /// How they are filled.
    pub strategy: PartitionStrategy,
}

impl PartitionConfig {
    /// `num_partitions` partitions filled by `strategy`.
    pub fn new(num_partitions: usize, strategy: PartitionStrategy) -> Self {
        Self {
            num_partitions,
            strategy,
        }
    }

    /// One partition per processor, filled one after the other.
    pub fn auto() -> Self {
        Self::round_robin(num_cpus::get())
    }

    /// Partitions filled by command type.
    pub fn hash(num_partitions: usize) -> Self {
        Self::new(num_partitions, PartitionStrategy::Hash)
    }

    /// Partitions filled one after the other.
    pub fn round_robin(num_partitions: usize) -> Self {
        Self::new(num_partitions, PartitionStrategy::RoundRobin)
    }

    /// A single partition.
    pub fn none() -> Self {
        Self::new(1, PartitionStrategy::None)
    }

    /// A new partitioner of the strategy.
    pub fn create_partitioner(&self) -> Arc<dyn Partitioner> {
        match self.strategy {
            PartitionStrategy::Hash => Arc::new(HashPartitioner::new()),
            PartitionStrategy::RoundRobin | PartitionStrategy::None => {
                Arc::new(RoundRobinPartitioner::new())
            }
        }
    }
}

impl Default for PartitionConfig {
    /// The same as [`auto`](Self::auto).
    fn default() -> Self {
        Self::auto()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::command::JsonCommand;

    async fn choose(partitioner: &dyn Partitioner, command_type: &str, partitions: usize) -> usize {
        let command = JsonCommand::new(command_type, Value::Null);
        partitioner.partition(&command, partitions).await
    }

    #[tokio::test]
    async fn round_robin_deals_out_in_order() {
        let partitioner = RoundRobinPartitioner::new();
        let mut chosen = Vec::new();
        for _ in 0..7 {
            chosen.push(choose(&partitioner, "same", 3).await);
        }
        assert_eq!(chosen, [0, 1, 2, 0, 1, 2, 0]);
    }

    #[tokio::test]
    async fn round_robin_survives_its_counter_wrapping() {
        let partitioner = RoundRobinPartitioner {
            next: AtomicUsize::new(usize::MAX),
        };
        assert!(choose(&partitioner, "a", 3).await < 3);
        assert_eq!(choose(&partitioner, "a", 3).await, 0);
    }

    /// The published test vectors of FNV-1a: another hash would move commands between partitions at an upgrade.
    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(fnv_1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv_1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv_1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[tokio::test]
    async fn a_type_keeps_its_hash_partition() {
        let mut used = [0; 8];
        for number in 0..1000 {
            let command_type = format!("type-{number}");
            let chosen = choose(&HashPartitioner, &command_type, 8).await;
            assert_eq!(
                chosen,
                choose(&HashPartitioner::new(), &command_type, 8).await
            );
            used[chosen] += 1;
        }
        assert!(
            used.iter().all(|count| (60..190).contains(count)),
            "uneven: {used:?}"
        );
    }

    #[tokio::test]
    async fn a_custom_function_is_taken_modulo() {
        let partitioner = CustomPartitioner::new(|command_type: &str| command_type.len());
        assert_eq!(choose(&partitioner, "four", 3).await, 1);
        let largest = CustomPartitioner::new(|_: &str| usize::MAX);
        assert_eq!(choose(&largest, "a", 1).await, 0);
    }

    #[tokio::test]
    async fn no_partitions_is_partition_zero() {
        assert_eq!(choose(&RoundRobinPartitioner::new(), "a", 0).await, 0);
        assert_eq!(choose(&HashPartitioner, "a", 0).await, 0);
        assert_eq!(
            choose(&CustomPartitioner::new(|_: &str| 7), "a", 0).await,
            0
        );
    }

    #[tokio::test]
    async fn the_strategy_decides_the_partitioner() {
        let hash = PartitionConfig::hash(64).create_partitioner();
        let first = choose(&*hash, "a", 64).await;
        assert_eq!(first, choose(&*hash, "a", 64).await);
        let dealing = [
            PartitionConfig::round_robin(64),
            PartitionConfig::new(64, PartitionStrategy::None),
        ];
        for config in dealing {
            let partitioner = config.create_partitioner();
            assert_eq!(choose(&*partitioner, "a", 64).await, 0);
            assert_eq!(choose(&*partitioner, "a", 64).await, 1);
        }
    }

    #[test]
    fn configurations_have_their_defaults() {
        let parts = |config: PartitionConfig| (config.num_partitions, config.strategy);
        assert_eq!(parts(PartitionConfig::none()), (1, PartitionStrategy::None));
        assert_eq!(
            parts(PartitionConfig::hash(5)),
            (5, PartitionStrategy::Hash)
        );
        let auto = (num_cpus::get(), PartitionStrategy::RoundRobin);
        assert_eq!(parts(PartitionConfig::auto()), auto);
        assert_eq!(parts(PartitionConfig::default()), auto);
    }
}
