//! The bugs of sticks.

use super::bugs::{Bug, bug};

const BUNDLE: &str = "crates/zeta-flash/src/provenance/bundle.rs";
const LEAF: &str = "crates/zeta-flash/src/provenance/leaf.rs";
const KEY: &str = "crates/zeta-flash/src/provenance/key.rs";
const JSON: &str = "crates/zeta-flash/src/provenance/strict_json.rs";
const CRYPTOGRAPHY: &str = "crates/zeta-flash/src/provenance/cryptography.rs";

const ORDER: &str = "crates/zeta-core/src/flash/order.rs";
const SELECT: &str = "crates/zeta-core/src/flash/select.rs";
const WRITER: &str = "crates/zeta-flash/src/writer.rs";

const FLASH: &[&str] = &["-p", "zeta-core", "--lib", "flash::"];
const DISK: &[&str] = &["-p", "zeta-core", "--lib", "disk::"];
const WRITES: &[&str] = &["-p", "zeta-flash", "--lib", "writer::"];
const PROVENANCE: &[&str] = &["-p", "zeta-flash", "--lib", "provenance::"];

/// All bugs.
pub const BUGS: [Bug; 29] = [
    bug(
        "a bundle says twice of which image it is",
        JSON,
        "            if keys.contains(&key) {",
        "            if keys.len() > 100 && keys.contains(&key) {",
        PROVENANCE,
    ),
    bug(
        "one of several names of a certificate is enough",
        LEAF,
        "UniformResourceIdentifier(uri)]) if uri.as_str()",
        "UniformResourceIdentifier(uri), ..]) if uri.as_str()",
        PROVENANCE,
    ),
    bug(
        "one of two issuers is enough",
        LEAF,
        "            Some(text) if text == wanted => {}",
        "            Some(text) if text == wanted => return Ok(()),",
        PROVENANCE,
    ),
    bug(
        "a certificate for any purpose may sign an image",
        LEAF,
        "    if !extended.is_some_and(|extended| extended.0.contains(&CODE_SIGNING)) {",
        "    if extended.is_some_and(|extended| extended.0.is_empty()) {",
        PROVENANCE,
    ),
    bug(
        "the chain of a certificate ends below its root",
        BUNDLE,
        "        if !leaf::has_chain(certificate, then, at_s) {",
        "        if !leaf::has_chain(certificate, then, at_s) && at_s == 0 {",
        PROVENANCE,
    ),
    bug(
        "a root counts after its end",
        LEAF,
        "    if !(begin_s..=end_s).contains(&at_s) {",
        "    if begin_s > at_s || end_s == 0 {",
        PROVENANCE,
    ),
    bug(
        "a proof of a log contradicts its checkpoint",
        BUNDLE,
        "        if !is_same || is_second && proof.log_index != entry.log_index {",
        "        if !is_same && !is_second {",
        PROVENANCE,
    ),
    bug(
        "no log of certificates is asked for",
        BUNDLE,
        "    if roots.ctlogs.is_empty() {",
        "    if roots.ctlogs.len() < 100 {",
        PROVENANCE,
    ),
    bug(
        "no signature is compared with the digest of the image",
        CRYPTOGRAPHY,
        "        key.verify_prehash(digest, &signature).map_err(|_| wrong(scheme))",
        "        key.verify_prehash(digest, &signature).or(Ok(()))",
        PROVENANCE,
    ),
    bug(
        "a key has signed every image",
        KEY,
        "verify_prehash(image.bytes(), &signature).map_err(|_| {",
        "verify_prehash(image.bytes(), &signature).or(Ok(())).map_err(|(): ()| {",
        PROVENANCE,
    ),
    bug(
        "a disk is named by its place",
        SELECT,
        "    let is_place = asked.starts_with(\"/dev/\") && !asked.starts_with(BY_ID);",
        "    let is_place = false;",
        FLASH,
    ),
    bug(
        "the first of two disks of one name is written",
        SELECT,
        "        [one] => Ok(*one),",
        "        [one] | [one, _] => Ok(*one),",
        FLASH,
    ),
    bug(
        "what was made of a disk is not looked at",
        "crates/zeta-core/src/disk/judge.rs",
        "    if !PARTS.contains(&device.kind.as_str()) && !is_disk {",
        "    if device.kind == \"crypt\" && !is_disk {",
        DISK,
    ),
    bug(
        "what cannot be read of a disk is nothing",
        "crates/zeta-core/src/disk/judge.rs",
        "        Err(why) => vec![Reason::UnknownContent { path, why }],",
        "        Err(_) => Vec::new(),",
        DISK,
    ),
    bug(
        "an object without disks is a listing",
        "crates/zeta-core/src/disk/lsblk.rs",
        "    #[serde(deserialize_with = \"or_default\")]\n    pub blockdevices",
        "    #[serde(default, deserialize_with = \"or_default\")]\n    pub blockdevices",
        DISK,
    ),
    bug(
        "a disk without a name is one",
        "crates/zeta-flash/src/target.rs",
        "    if names.is_empty() {\n        reasons.push(Reason::NoIdentity);",
        "    if names.shown() == \"-\" {\n        reasons.push(Reason::NoIdentity);",
        &["-p", "zeta", "--test", "suite", "flash::refuse::"],
    ),
    bug(
        "a disk is opened beside its mount",
        "crates/zeta-os/src/disk/whole.rs",
        "    OFlags::EXCL.union(OFlags::CLOEXEC)",
        "    OFlags::CLOEXEC",
        &["-p", "zeta", "--test", "suite", "flash::disk::"],
    ),
    bug(
        "nobody looks again after a person answered",
        "crates/zeta/src/cli/flash.rs",
        "    if consent::plan(&staged.image, row, payload) != plan {",
        "    if row.names.is_empty() {",
        &["-p", "zeta", "--test", "suite", "flash::disk::"],
    ),
    bug(
        "the first block is written with the rest",
        ORDER,
        "    steps.extend(part(first, head).map(Step::Write));",
        "    steps.extend(part(0, head).map(Step::Write));",
        FLASH,
    ),
    bug(
        "what was written is not read back",
        ORDER,
        "    steps.extend(body.map(Step::Compare));\n",
        "",
        FLASH,
    ),
    bug(
        "a disk keeps the copy of its partition table",
        ORDER,
        "    steps.extend(part(tail, disk).map(Step::Clear));\n",
        "    let _ = tail;\n",
        FLASH,
    ),
    bug(
        "an image that changed is sealed",
        "crates/zeta-flash/src/image.rs",
        "        self.fingerprint.is_same(bytes, at as usize)\n",
        "        self.fingerprint.is_same(bytes, at as usize) || at > 0\n",
        WRITES,
    ),
    bug(
        "a disk that changed is sealed",
        WRITER,
        "        match self.disk.identity()? == self.seen {",
        "        match self.disk.identity()?.number == self.seen.number {",
        WRITES,
    ),
    bug(
        "a disk that returns other bytes is done",
        WRITER,
        "    if read == wanted {",
        "    if read.len() == wanted.len() {",
        WRITES,
    ),
    bug(
        "each stick has the id of its image",
        "crates/zeta-flash/src/staged.rs",
        "        let id = zeta_os::host::random()? as u32;",
        "        let id = 0x1234_5678;",
        &["-p", "zeta", "--test", "suite", "flash::file::"],
    ),
    bug(
        "a plan is a consent to any insertion",
        "crates/zeta-core/src/flash/consent.rs",
        "                (\"insertion of the disk\", diskseq),",
        "                (\"insertion of the disk\", diskseq.replace(|_: char| true, \"\")),",
        FLASH,
    ),
    bug(
        "the digest of a secret is in a plan",
        "crates/zeta-flash/src/payload.rs",
        "            sha256: (!item.secret).then(|| digest(&item.content)),",
        "            sha256: Some(digest(&item.content)),",
        &["-p", "zeta-flash", "--lib", "payload::"],
    ),
    bug(
        "a loop device over a disk is not looked at",
        "crates/zeta-os/src/disk.rs",
        "                Some(below) => listing.put_below(&shown.path(), &below.path()),",
        "                Some(_) => {}",
        &["-p", "zeta", "--test", "suite", "flash::disk::"],
    ),
    bug(
        "the partition is read again after the digest",
        "crates/zeta-flash/src/staged.rs",
        "        let mut volume = Zeroizing::new(image.take_partition());",
        "        let mut volume = Zeroizing::new(image.take_partition());\n        \
         image.read_at(&mut volume, esp.offset())?;",
        WRITES,
    ),
];
