//! The bugs of installations: what is wiped, and what a cut leaves.

use super::bugs::{Bug, bug};

const NEXT: &str = "crates/zeta-core/src/install/next.rs";
const PLAN: &str = "crates/zeta-core/src/install/plan.rs";
const JOURNAL: &str = "crates/zeta-core/src/install/journal.rs";
const KEY: &str = "crates/zeta-core/src/install/key.rs";
const ROUTE: &str = "crates/zeta-core/src/install/route.rs";
const OBSERVE: &str = "crates/zeta-install/src/observe.rs";
const STICK: &str = "crates/zeta-install/src/stick.rs";
const RUN: &str = "crates/zeta-install/src/run.rs";
const WRITER: &str = "crates/zeta-install/src/journal.rs";
const NODE: &str = "crates/zeta-install/src/step/node.rs";
const DISK: &str = "crates/zeta-install/src/step/disk.rs";

const CORE: &[&str] = &["-p", "zeta-core", "--lib", "install::tests"];
const MANIFEST: &[&str] = &["-p", "zeta-install", "--lib", "manifest::tests"];
const PLAIN: &[&str] = &["-p", "zeta", "--test", "suite", "install::plain"];
const HOSTILE: &[&str] = &["-p", "zeta", "--test", "suite", "install::hostile::a_"];
const DISKS: &[&str] = &["-p", "zeta", "--test", "suite", "install::disks"];
const CHAIN: &[&str] = &["-p", "zeta", "--test", "suite", "chain::"];
const CUT: &[&str] = &["-p", "zeta", "--test", "suite", "install::cut::a_"];

/// All bugs.
pub const BUGS: [Bug; 19] = [
    bug(
        "a disk is wiped that changed since the consent",
        NEXT,
        "let is_same = disk.signatures() == chosen.signatures;",
        "let is_same = disk.id == chosen.id;",
        CORE,
    ),
    bug(
        "a foreign file system is formatted over after a cut",
        NEXT,
        "seen.content.is_empty() || own\n",
        "seen.content.is_empty() || own || table.part_of(seen).is_some()\n",
        CORE,
    ),
    bug(
        "a step that is done is begun again",
        NEXT,
        "!is_done || (step.needs_mounts() && seen.is_mounted && !seen.holds.contains(step))",
        "!is_done || (seen.is_mounted && !seen.holds.contains(step))",
        CORE,
    ),
    bug(
        "a disk without a serial number is chosen",
        PLAN,
        "if !disk.id.is_known() {",
        "if disk.id.size == 0 {",
        CORE,
    ),
    bug(
        "the name of a node is no part of the consent",
        PLAN,
        "std::iter::once(\"wipe\".into()).chain(ids).chain(names).collect();",
        "std::iter::once(\"wipe\".into()).chain(ids).chain(names.take(0)).collect();",
        CORE,
    ),
    bug(
        "a gap in a journal is passed over",
        JOURNAL,
        "read.filter(|line| line.n == journal.lines + 1)",
        "read.filter(|line| line.n > journal.lines)",
        CORE,
    ),
    bug(
        "a disk is chosen without the key",
        KEY,
        "must(\"ace.disks.data\", ",
        "may(\"ace.disks.data\", ",
        MANIFEST,
    ),
    bug(
        "a longer range hides an overlap of addresses",
        ROUTE,
        "mask(self.bits.min(other.bits))",
        "mask(self.bits.max(other.bits))",
        CORE,
    ),
    bug(
        "a file of the stick is taken without its digest",
        STICK,
        "manifest.check(&listed.name, &bytes)",
        "Ok::<_, std::fmt::Error>(listed)",
        PLAIN,
    ),
    bug(
        "a check that failed stops nothing",
        RUN,
        "        if wrong.is_empty() {\n",
        "        if wrong.len() < Check::ALL.len() {\n",
        DISKS,
    ),
    bug(
        "a tool of a killed call works beside the next one",
        WRITER,
        "fcntl_setfd(&file, FdFlags::empty())",
        "fcntl_setfd(&file, FdFlags::CLOEXEC)",
        CUT,
    ),
    bug(
        "an older file system comes back in a new partition",
        DISK,
        "chain(table.parts.iter().flat_map(edge))",
        "chain(table.parts.iter().take(0).flat_map(edge))",
        DISKS,
    ),
    bug(
        "a node is registered under the name of its configuration",
        NODE,
        "\"--repo {} --maintainer {} --flake-host {}\",",
        "\"--repo {} --maintainer {} --host-name --flake-host {}\",",
        CHAIN,
    ),
    bug(
        "a network that is none is found behind the wipe",
        STICK,
        "        stick.network().map_err(|error| wrong(error.text))?;\n",
        "",
        PLAIN,
    ),
    bug(
        "a login comes back to where a copy of it was",
        "crates/zeta-creds/src/verbs/collect.rs",
        "read.contains(place) && may_be_remembered",
        "!read.is_empty() && may_be_remembered",
        &["-p", "zeta", "--test", "suite", "creds::login::"],
    ),
    bug(
        "a forge gets the token of another server",
        "crates/zeta-core/src/creds/gh_hosts.rs",
        "name.eq_ignore_ascii_case(server)",
        "!name.is_empty() && !server.is_empty()",
        &["-p", "zeta-core", "--lib", "creds::gh_hosts"],
    ),
    bug(
        "a consent counts for what came onto the disk after it",
        RUN,
        "changed(known, &moment.plan.chosen)",
        "changed(known, known)",
        HOSTILE,
    ),
    bug(
        "a part of something larger is wiped",
        OBSERVE,
        "known.chain(is_unread.then_some(unread))",
        "known.take(0).chain(is_unread.then_some(unread))",
        HOSTILE,
    ),
    bug(
        "the end is written where nothing is mounted",
        NEXT,
        "        None if !seen.is_mounted => Action::Mount,\n",
        "",
        CORE,
    ),
];
