//! The bugs of the bus: an index that is believed, and messages that are not heard.

use super::bugs::{Bug, bug};

const INDEX: &str = "crates/zeta-bus/src/directory/index/mod.rs";

/// All of them.
pub const BUGS: [Bug; 8] = [
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
        "crates/zeta-bus/src/claim/acquire.rs",
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
];
