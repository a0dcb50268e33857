//! The bugs of the bus: an index that is believed, and messages that are not heard.

use super::bugs::{Bug, bug};

const INDEX: &str = "crates/zeta-bus/src/directory/index/mod.rs";
const ACQUIRE: &str = "crates/zeta-bus/src/claim/acquire.rs";

/// All of them.
pub const BUGS: [Bug; 11] = [
    bug(
        "an index that knows something is not compared",
        INDEX,
        "let same = names.whole && (names.count, names.set) == (live, set) && live == count;",
        "let same = live > 0;",
        &["-p", "zeta", "--test", "suite", "bus::mixed::a_claim_that_the_original"],
    ),
    bug(
        "a message that is gone stays in the index",
        INDEX,
        "known.keys().filter(|_| names.whole)",
        "known.keys().filter(|_| anew)",
        &["-p", "zeta", "--test", "suite", "bus::attack::a_message_that_goes_in_the_moment"],
    ),
    bug(
        "an index vouches for its names",
        INDEX,
        "(found == sum).then_some(text)",
        "(found == sum || sum != epoch).then_some(text)",
        &["-p", "zeta", "--test", "suite", "bus::index::whatever_happens"],
    ),
    bug(
        "an index vouches for its texts",
        "crates/zeta-bus/src/directory/index/line.rs",
        "pack.get(from..to).filter(|bytes| hash(bytes) == self.hash)?;",
        "pack.get(from..to)?;",
        &["-p", "zeta", "--test", "suite", "bus::index::whatever_happens"],
    ),
    bug(
        "a claim that cannot be read whole frees its item",
        "crates/zeta-core/src/bus/broken.rs",
        "        Err(_) => judge_broken(bytes, id, seen),
",
        "        Err(_) => Said::Nothing,
",
        &["-p", "zeta", "--test", "suite", "bus::decode::what_cannot_be_decoded"],
    ),
    bug(
        "messages of one time have any order",
        "crates/zeta-bus/src/messages/mod.rs",
        "let order = |view: &MessageView| (view.sent_us, view.stored_us);",
        "let order = |view: &MessageView| (view.sent_us, 0 * view.stored_us);",
        &["-p", "zeta", "--test", "suite", "bus::decode::messages_of_one_sender"],
    ),
    bug(
        "an acquire does not look at the directory",
        ACQUIRE,
        "            // The original cannot claim it from here on; what it claimed before is seen.
            index.refresh()?;
",
        "",
        &["-p", "zeta", "--test", "suite", "bus::attack::a_claim_that_cannot_be_read"],
    ),
    bug(
        "an index that was begun anew is read on from the old place",
        "crates/zeta-bus/src/directory/index/snapshot.rs",
        "if (at, sum) == (self.names, self.sum) {",
        "if at <= self.names {",
        &["-p", "zeta", "--test", "suite", "bus::attack::a_watcher_misses_nothing"],
    ),
    bug(
        "an acquire looks at the directory before it has the lock of the original",
        ACQUIRE,
        "            let legacy_lock = match LegacyLock::try_enter(self.bus, &request.item)? {
                Ok(legacy_lock) => legacy_lock,
                Err(_) if started.elapsed() < LEGACY_LOCK_LIMIT => {
                    drop(index);
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                }
                Err(occupied) => return Err(occupied.error(&request.item)),
            };
            // The original cannot claim it from here on; what it claimed before is seen.
            index.refresh()?;
",
        "            index.refresh()?;
            let legacy_lock = match LegacyLock::try_enter(self.bus, &request.item)? {
                Ok(legacy_lock) => legacy_lock,
                Err(_) if started.elapsed() < LEGACY_LOCK_LIMIT => {
                    drop(index);
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                }
                Err(occupied) => return Err(occupied.error(&request.item)),
            };
            // The original cannot claim it from here on; what it claimed before is seen.
",
        &["-p", "zeta", "--test", "suite", "faults::a_claim_of_the_original_right_before"],
    ),
    bug(
        "a second word of a sender has any date",
        "crates/zeta-bus/src/claim/message.rs",
        "message.timestamp = utc_ms(other_us + 1000);",
        "message.timestamp = utc_ms(dated_us);",
        &["-p", "zeta", "--test", "suite", "bus::clock::the_last_word"],
    ),
    bug(
        "the token of a handover is not remembered",
        "crates/zeta-state/src/lease/holder.rs",
        "
            .and_then(|()| section.remember(record.fencing_token.get()))",
        "",
        &["-p", "zeta", "--test", "suite", "bus::clock::a_token"],
    ),
];
