//! An older value of a node that is sent again: its signature is good, and its counter is not.
//!
//! A node writes its records in one order, with a counter that grows. The store numbers them in the
//! same order. So a value with a higher number and a lower counter was sent again by another hand.
//! A store that lost values shows older ones, too; it has another epoch, and says so.

/// The epoch and the counter of the writer.
pub type Counter = (u64, u64);

/// A value that was taken, with the signature of its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The epoch of the cluster in which it was read.
    pub store_epoch: u64,
    /// Its number in the store.
    pub sequence: u64,
    /// Its counter.
    pub counter: Counter,
}

/// What a value is beside those that were taken before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// It is newer, or the same one.
    Newer,
    /// It is an older one as the store has it: what is known stays.
    Older,
    /// It is an older one that was sent again.
    Replayed,
}

/// Judges a value beside the last one that was taken of its record.
pub fn judge_record(last: Mark, value: Mark) -> Order {
    let same_store = last.store_epoch == value.store_epoch;
    if same_store && value.sequence == last.sequence {
        return Order::Newer;
    }
    match (value.counter > last.counter, same_store && value.sequence > last.sequence) {
        (_, false) if same_store => Order::Older,
        (true, _) => Order::Newer,
        (false, true) => Order::Replayed,
        (false, false) if value.counter == last.counter => Order::Newer,
        (false, false) => Order::Older,
    }
}

/// Judges the first value that is seen of a record, beside the last one that was taken of its node:
/// the record may be one that its node took back.
pub fn judge_node(last: Mark, value: Mark) -> Order {
    let same_store = last.store_epoch == value.store_epoch;
    match value.counter > last.counter {
        true => Order::Newer,
        // It stood there before, and was missed.
        false if same_store && value.sequence <= last.sequence => Order::Newer,
        false if same_store => Order::Replayed,
        false => Order::Older,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(store_epoch: u64, sequence: u64, counter: Counter) -> Mark {
        Mark { store_epoch, sequence, counter }
    }

    #[test]
    fn an_older_value_that_is_sent_again_takes_no_place() {
        let last = mark(3, 41, (3, 77));
        for (value, record, node) in [
            (mark(3, 42, (3, 78)), Order::Newer, Order::Newer),
            (mark(3, 41, (3, 77)), Order::Newer, Order::Newer),
            (mark(3, 42, (4, 1)), Order::Newer, Order::Newer),
            // Sent again: an older one, the same one, one of a former epoch.
            (mark(3, 42, (3, 76)), Order::Replayed, Order::Replayed),
            (mark(3, 42, (3, 77)), Order::Replayed, Order::Replayed),
            (mark(3, 42, (2, 99)), Order::Replayed, Order::Replayed),
            // It stood there before the last one.
            (mark(3, 40, (3, 76)), Order::Older, Order::Newer),
            // In a store that lost values the same one may have any number, and an older one may be
            // all that is left.
            (mark(4, 9, (3, 77)), Order::Newer, Order::Older),
            (mark(4, 99, (3, 76)), Order::Older, Order::Older),
            (mark(4, 9, (3, 76)), Order::Older, Order::Older),
            (mark(4, 9, (4, 1)), Order::Newer, Order::Newer),
        ] {
            assert_eq!(judge_record(last, value), record, "{value:?}");
            assert_eq!(judge_node(last, value), node, "{value:?}");
        }
    }
}
