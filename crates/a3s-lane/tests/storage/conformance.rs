use std::sync::Arc;

use a3s_lane::storage::{Durability, LocalStorage, Retention, Storage};
use a3s_lane::testing::{StorageLevel, storage_conformance};

async fn check(set: impl Fn(LocalStorage) -> LocalStorage) {
    let place = tempfile::tempdir().expect("a temporary directory");
    storage_conformance(StorageLevel::Complete, async |name: String| {
        let storage = LocalStorage::new(place.path().join(name)).await;
        Arc::new(set(storage.expect("it opens"))) as Arc<dyn Storage>
    })
    .await;
}

#[tokio::test]
async fn it_keeps_to_the_rules() {
    check(|storage| storage).await;
}

#[tokio::test]
async fn it_keeps_to_the_rules_with_everything_on() {
    check(|storage| {
        storage
            .with_durability(Durability::Relaxed)
            .with_results(Retention::new())
            .with_history(Retention::new())
    })
    .await;
}
