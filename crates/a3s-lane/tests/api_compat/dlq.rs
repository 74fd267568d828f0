use a3s_lane::{DeadLetter, DeadLetterQueue};
use chrono::{DateTime, Utc};

fn letter(id: &str) -> DeadLetter {
    let failed_at: DateTime<Utc> = Utc::now();
    DeadLetter {
        command_id: id.to_owned(),
        command_type: "t".to_owned(),
        lane_id: "l".to_owned(),
        error: "e".to_owned(),
        attempts: 2,
        failed_at,
    }
}

#[test]
fn traits() {
    crate::is_value::<DeadLetter>();
    crate::is_serde::<DeadLetter>();
    crate::is_shared::<DeadLetterQueue>();
    let copy = crate::through_json(&letter("a"));
    assert_eq!(
        (copy.command_id.as_str(), copy.attempts, copy.error.as_str()),
        ("a", 2, "e")
    );
}

#[tokio::test]
async fn a_bounded_queue_with_shared_handles() {
    let queue = DeadLetterQueue::new(2);
    let handle = queue.clone();
    assert!(crate::send(queue.is_empty()).await);
    for id in ["a", "b", "c"] {
        crate::send(queue.push(letter(id))).await;
    }
    let ids = |letters: Vec<DeadLetter>| -> Vec<String> {
        letters
            .into_iter()
            .map(|letter| letter.command_id)
            .collect()
    };
    assert_eq!(ids(crate::send(handle.list()).await), ["b", "c"]);
    assert_eq!(crate::send(handle.len()).await, 2);
    let oldest: Option<DeadLetter> = crate::send(handle.pop()).await;
    assert_eq!(oldest.map(|letter| letter.command_id), Some("b".to_owned()));
    crate::send(queue.clear()).await;
    assert!(handle.is_empty().await && handle.pop().await.is_none());
}
