use std::collections::BinaryHeap;

use a3s_lane::{PriorityItem, PriorityQueue};

/// Neither comparable nor cloneable: no bound on `T` is needed.
#[derive(Debug)]
struct Plain(u32);

#[test]
fn order_and_places() {
    let mut queue: PriorityQueue<Plain> = PriorityQueue::new();
    assert!(queue.is_empty());
    assert_eq!(queue.push(5, Plain(1)), 1);
    assert_eq!(queue.push(0, Plain(2)), 2);
    assert_eq!(queue.push(5, Plain(3)), 3);
    assert_eq!(queue.len(), 3);
    let values: Vec<u32> = queue.ordered().iter().map(|item| item.value().0).collect();
    assert_eq!(values, [2, 1, 3]);
    let mut first: PriorityItem<Plain> = queue.pop().expect("three are there");
    assert_eq!((first.priority(), first.sequence()), (0, 2));
    first.value_mut().0 = 20;
    queue.restore(first);
    assert_eq!(queue.pop().expect("it is back").into_value().0, 20);
    let older = queue.pop().expect("two are there");
    assert_eq!(older.value().0, 1);
    queue.restore(older);
    assert_eq!(queue.pop().expect("its old place").value().0, 1);
    queue.clear();
    assert!(queue.pop().is_none());
    assert_eq!(queue.push(1, Plain(9)), 1, "the count starts again");
    assert!(format!("{queue:?}").contains("PriorityQueue"));
    assert!(PriorityQueue::<Plain>::default().is_empty());
}

#[test]
fn items_fit_a_max_heap() {
    let mut queue = PriorityQueue::new();
    queue.push(3, Plain(3));
    queue.push(1, Plain(1));
    queue.push(1, Plain(2));
    let mut heap = BinaryHeap::new();
    while let Some(item) = queue.pop() {
        heap.push(item);
    }
    let order: Vec<u32> = std::iter::from_fn(|| heap.pop())
        .map(|item| item.into_value().0)
        .collect();
    assert_eq!(order, [1, 2, 3]);
}
