//! The bugs that the tests must catch: each one removes a rule from the code, as a careless cleanup
//! might, and names the tests that must fail.

/// A rule that is removed from one file.
pub struct Bug {
    /// The name of the bug.
    pub name: &'static str,
    /// The file that holds the rule.
    pub file: &'static str,
    /// The text of the rule, which occurs once in the file.
    pub from: &'static str,
    /// The text that replaces it.
    pub to: &'static str,
    /// The arguments of `cargo test` for the tests that must fail.
    pub tests: &'static [&'static str],
}

const GUARD: &str = "crates/zeta-state/src/directory/guard.rs";
const TREE: &str = "crates/zeta-state/src/directory/tree.rs";
const FILES: &str = "crates/zeta-os/src/files.rs";
const OPEN_BENEATH: &str = "crates/zeta-os/src/open_beneath.rs";
const DECIDE: &str = "crates/zeta-core/src/lease/decide.rs";
const EVIDENCE: &str = "crates/zeta-core/src/evidence.rs";

const PROPOSAL: &str = "crates/zeta-registration/src/node/proposal.rs";
const GIT: &str = "crates/zeta-registration/src/git/mod.rs";

const CORE: &[&str] = &["-p", "zeta-core", "--lib"];

pub(super) const fn bug(
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    tests: &'static [&'static str],
) -> Bug {
    Bug { name, file, from, to, tests }
}

/// All bugs.
pub const BUGS: [Bug; 51] = [
    bug(
        "a silent screen is a turn that is over",
        "crates/zeta-core/src/terminal/wake.rs",
        "self.has_mail && self.turn == Some(Turn::Over)",
        "self.has_mail && self.turn != Some(Turn::Running)",
        &["-p", "zeta-core", "--lib", "terminal::wake"],
    ),
    bug(
        "a line goes to whatever has the terminal",
        "crates/zeta-core/src/terminal/wake.rs",
        "if !seen.tool_is_there =>",
        "if left > 0 && !seen.tool_is_there =>",
        &["-p", "zeta-core", "--lib", "terminal::wake"],
    ),
    bug(
        "two agents wake each other without a pause",
        "crates/zeta-core/src/terminal/wake.rs",
        ".max(pause_ms(seen.wakes).saturating_sub(seen.since_wake_ms))",
        "",
        &["-p", "zeta-core", "--lib", "terminal::wake"],
    ),
    bug(
        "keys that look like a report leave the line empty",
        "crates/zeta-core/src/terminal/line.rs",
        "self.unclear |= !is_report;",
        "",
        &["-p", "zeta-core", "--lib", "terminal::line"],
    ),
    bug(
        "a record of any owner is believed",
        TREE,
        "if !base.trusts(stat.st_uid) {",
        "if !base.trusts(stat.st_uid) && stat.st_uid == 0 {",
        &["-p", "zeta", "--test", "suite", "it::files::a_record_that_is_no_plain_file"],
    ),
    bug(
        "the ticket of a dead waiter counts",
        "crates/zeta-state/src/lease/queue.rs",
        "over || process::life(&processes, host) == ProcessState::Dead",
        "over",
        &["-p", "zeta", "--test", "suite", "ops::clean::tickets_of_killed_waiters"],
    ),
    bug(
        "numbers of another pid namespace are compared",
        "crates/zeta-os/src/process.rs",
        "if recorded.pid_ns.is_none() || recorded.pid_ns != host.pid_ns {",
        "if recorded.pid_ns.is_none() || host.pid_ns.is_none() {",
        &["-p", "zeta", "--test", "suite", "it::identity::a_holder_in_another_pid_namespace"],
    ),
    bug(
        "the lock of a killed call ends a wait for a claim",
        "crates/zeta-bus/src/claim/acquire.rs",
        "Err(busy) if busy.kind == Kind::Busy && left_ms.is_some_and(|left_ms| left_ms > 0) => {",
        "Err(busy) if busy.kind == Kind::Lost && left_ms.is_some_and(|left_ms| left_ms > 0) => {",
        &["-p", "zeta", "--test", "suite", "bus::claims::the_lock_of_a_killed_call"],
    ),
    bug(
        "a kept token file is believed although another has its name",
        "crates/zeta-state/src/directory/guard/memory.rs",
        "((opened.st_dev, opened.st_ino) == (named.st_dev, named.st_ino)).then_some((fd, opened))",
        "((opened.st_dev, opened.st_ino) != (0, named.st_ino)).then_some((fd, opened))",
        &["-p", "zeta", "--test", "suite", "it::files::a_token_file_that_was_replaced"],
    ),
    bug(
        "nothing is locked",
        GUARD,
        "let attempt = || lock_within(&guard.fd, Duration::ZERO);",
        "let attempt = || flock(&guard.fd, FlockOperation::Unlock);",
        &["-p", "zeta", "--test", "suite", "it::race::eight_take_turns"],
    ),
    bug(
        "no look at the guard after the commit",
        GUARD,
        "            });
        }
        self.check_place(place, true)
",
        "            });
        }
        Ok(())
",
        &[
            "-p",
            "zeta",
            "--test",
            "suite",
            "it::files::a_guard_that_vanishes_under_a_grant_grants_nothing",
        ],
    ),
    bug(
        "a release by unlink",
        GUARD,
        "match self.take_in(place.dir, file) {",
        "match unlinkat(place.dir, file, AtFlags::empty()) {",
        &["-p", "zeta", "--test", "suite", "it::review::a_release_in_a_removed_guard"],
    ),
    bug(
        "an absent record is written over",
        GUARD,
        "temp, dir, file, RenameFlags::NOREPLACE)",
        "temp, dir, file, RenameFlags::empty())",
        &[
            "-p",
            "zeta",
            "--test",
            "suite",
            "it::files::a_guard_that_vanishes_under_a_grant_grants_nothing",
        ],
    ),
    bug(
        "the token is not remembered",
        "crates/zeta-state/src/lease/acquire/mod.rs",
        "
            .and_then(|()| section.remember(record.fencing_token.get()))",
        "",
        &["-p", "zeta", "--test", "suite", "it::time::tokens_grow_past_everything_that_is_known"],
    ),
    bug(
        "orphans of the killed stay",
        GUARD,
        "if !self.guard.swept.replace(true) {",
        "if self.guard.swept.replace(true) {",
        &["-p", "zeta", "--test", "suite", "it::kill::orphaned_temps_are_swept"],
    ),
    bug(
        "the lock of a fork outlives its section",
        GUARD,
        "        let _ = flock(&self.guard.fd, FlockOperation::Unlock);
        // Nobody",
        "        // Nobody",
        &["-p", "zeta", "--test", "suite", "it::exec::", "it::flock::"],
    ),
    bug(
        "a write that failed is published",
        FILES,
        "            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    // The umask",
        "            Err(_) => break,
        }
    }
    // The umask",
        &["-p", "zeta", "--test", "suite", "it::files::a_full_file_system"],
    ),
    bug(
        "a FIFO is waited for",
        OPEN_BENEATH,
        "pub const RECORD: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)",
        "pub const RECORD: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)",
        &["-p", "zeta", "--test", "suite", "it::files::a_record_that_is_no_plain_file"],
    ),
    bug(
        "no cap on what is read",
        TREE,
        "    bytes.clear();
    let fd = match open_below",
        "    bytes.clear();
    let max = max << 40;
    let fd = match open_below",
        &["-p", "zeta", "--test", "suite", "it::files::a_record_that_cannot_be_believed"],
    ),
    bug(
        "a second hard link is taken",
        TREE,
        "if stat.st_nlink > 1 {",
        "if stat.st_nlink > 1000 {",
        &["-p", "zeta", "--test", "suite", "it::files::a_record_that_is_no_plain_file"],
    ),
    bug(
        "links on the way are followed",
        OPEN_BENEATH,
        "        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS",
        "        | ResolveFlags::NO_MAGICLINKS",
        &["-p", "zeta", "--test", "suite", "it::files::links_and_acls_inside_the_tree"],
    ),
    bug(
        "links on the way are followed without openat2",
        OPEN_BENEATH,
        "let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        at =",
        "let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        at =",
        &["-p", "zeta", "--test", "suite", "it::files::links_and_acls_inside_the_tree"],
    ),
    bug(
        "the wall clock decides the age",
        EVIDENCE,
        "(Some(age_ms), _) if comparable && proven => Age::Ms(age_ms),",
        "(Some(age_ms), _) if comparable && age_ms == u64::MAX => Age::Ms(age_ms),",
        CORE,
    ),
    bug(
        "the number of a time namespace proves its clock",
        EVIDENCE,
        "is_none_or(|ino| ino == FIRST_TIME_NS)",
        "is_none_or(|ino| ino > 0)",
        CORE,
    ),
    bug(
        "a process is its number",
        EVIDENCE,
        "(Some(then), Some(now)) => Some(then == now),
        _ => match",
        "_ if true => Some(true),
        _ => match",
        CORE,
    ),
    bug(
        "a dead wrapper frees its living child's lease",
        EVIDENCE,
        "(_, ProcessState::Alive) | (Some(ProcessState::Alive), _) => ProcessState::Alive,",
        "(Some(ProcessState::Dead), _) => ProcessState::Dead,
            (_, ProcessState::Alive) | (Some(ProcessState::Alive), _) => ProcessState::Alive,",
        CORE,
    ),
    bug(
        "unknown robs before the TTL",
        DECIDE,
        "if life == ProcessState::Dead {",
        "if life != ProcessState::Alive {",
        CORE,
    ),
    bug(
        "no grace for a holder that lives",
        DECIDE,
        "if life == ProcessState::Unknown {
        return Standing::Grantable(Cause::Expired);",
        "if life != ProcessState::Dead {
        return Standing::Grantable(Cause::Expired);",
        CORE,
    ),
    bug(
        "an attempt of another session is the same",
        DECIDE,
        "        && record.session == ask.session
",
        "",
        CORE,
    ),
    bug(
        "a void record is answered again",
        DECIDE,
        "        && record.fencing_token.get() >= highest
",
        "",
        CORE,
    ),
    bug(
        "a damaged record is free",
        DECIDE,
        "aged(age, DAMAGED_TTL_MS, Cause::DamagedExpired, HeldWhy::Damaged)",
        "aged(age, 0, Cause::DamagedExpired, HeldWhy::Damaged)",
        &["-p", "zeta", "--test", "suite", "it::files::a_record_that_cannot_be_believed"],
    ),
    bug(
        "every temp has the same name",
        GUARD,
        "format!(\"{}{:032x}-{count}\", layout::TEMP_PREFIX, self.random)",
        "format!(\"{}{:032x}-{count}\", layout::TEMP_PREFIX, 7)",
        &["-p", "zeta", "--test", "attacks", "leaf::a07_planted_temp_names"],
    ),
    bug(
        "a temp that stands there is written over",
        FILES,
        "OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;",
        "OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;",
        &["-p", "zeta", "--test", "attacks", "leaf::a07_every_creating_open"],
    ),
    bug(
        "a ticket is opened where it stands",
        "crates/zeta-state/src/lease/queue.rs",
        "OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;",
        "OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW;",
        &["-p", "zeta", "--test", "attacks", "leaf::a07_every_creating_open"],
    ),
    bug(
        "a record is truncated, then written",
        GUARD,
        "        let committed = write_temp(self.guard.fd.as_fd(), &temp, text.as_bytes(), mode)
            .and_then(|()| self.rename(&temp, dir, file, replaces));
",
        "        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::TRUNC;
        let committed = match replaces {
            true => rustix::fs::openat(dir, file, flags, mode)
                .and_then(|fd| rustix::io::write(&fd, text.as_bytes()).map(|_| ())),
            false => write_temp(self.guard.fd.as_fd(), &temp, text.as_bytes(), mode)
                .and_then(|()| self.rename(&temp, dir, file, replaces)),
        };
",
        &["-p", "zeta", "--test", "attacks", "place::a15_no_inode_left"],
    ),
    bug(
        "looked at first, opened after",
        OPEN_BENEATH,
        "    if way() == COMPONENTS {
        return open_by",
        "    let seen = rustix::fs::statat(dir, path, AtFlags::SYMLINK_NOFOLLOW)?;
    if rustix::fs::FileType::from_raw_mode(seen.st_mode) == rustix::fs::FileType::Symlink {
        return Err(Errno::LOOP);
    }
    if way() < 9 {
        return openat(dir, path, flags.difference(OFlags::NOFOLLOW), Mode::empty());
    }
    if way() == COMPONENTS {
        return open_by",
        &["-p", "zeta", "--test", "attacks", "race::a20_exchanged_while_walked"],
    ),
    bug(
        "a mode is set by name",
        FILES,
        "if mode.as_raw_mode() & 0o077 != 0 { fchmod(&fd, mode) } else",
        "let by_name = || rustix::fs::chmodat(dir, temp, mode, AtFlags::empty());
    drop(fd);
    if mode.as_raw_mode() & 0o077 != 0 { by_name() } else",
        &["-p", "zeta", "--test", "attacks", "leaf::a07_every_creating_open"],
    ),
    bug(
        "a claim by a second link",
        GUARD,
        "            return renameat_with(&self.guard.fd, temp, dir, file, RenameFlags::NOREPLACE);
",
        "            return rustix::fs::linkat(&self.guard.fd, temp, dir, file, AtFlags::empty())
                .and_then(|()| unlinkat(&self.guard.fd, temp, AtFlags::empty()));
",
        &["-p", "zeta", "--test", "attacks", "leaf::a07_every_creating_open"],
    ),
    bug(
        "directories are inherited by commands",
        OPEN_BENEATH,
        "    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
",
        "    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
",
        &["-p", "zeta", "--test", "attacks", "lock::a19_lock_inherited"],
    ),
    bug(
        "no other way without openat2",
        OPEN_BENEATH,
        "Err(Errno::NOSYS | Errno::PERM) => {",
        "Err(Errno::NOSYS | Errno::PERM) if tries > 9 => {",
        &["-p", "zeta", "--test", "attacks", "race::a20_a_kernel_without_openat2"],
    ),
    bug(
        "a file is planted through a link",
        "crates/zeta-creds/src/file_writer/path.rs",
        "let open = || openat(&self.fd, name, DIRECTORY, Mode::empty());",
        "let open = || openat(&self.fd, name, rustix::fs::OFlags::DIRECTORY, Mode::empty());",
        &["-p", "zeta", "--test", "suite", "creds::race::a_directory"],
    ),
    bug(
        "a file with two names is replaced",
        "crates/zeta-creds/src/file_writer/existing.rs",
        "FileType::RegularFile if stat.st_nlink != 1 => {",
        "FileType::RegularFile if stat.st_nlink == 0 => {",
        &["-p", "zeta", "--test", "suite", "creds::plant::each_trap"],
    ),
    bug(
        "the temps of the living are swept",
        "crates/zeta-os/src/temp_file.rs",
        "    flock(&fd, FlockOperation::NonBlockingLockExclusive)?;
",
        "    let _ = flock(&fd, FlockOperation::NonBlockingLockExclusive);
",
        &["-p", "zeta", "--test", "suite", "creds::plant::a_run_that_is_killed"],
    ),
    bug(
        "a broken blob becomes the backup",
        "crates/zeta-creds/src/blob.rs",
        "Found::Bytes(old) if valid(&old) => {",
        "Found::Bytes(old) if valid(&old) || !old.is_empty() => {",
        &["-p", "zeta", "--test", "suite", "creds::blob::a_valid_file"],
    ),
    bug(
        "a terminal stays silent",
        "crates/zeta-creds/src/prompt.rs",
        "tcsetattr(self.terminal, OptionalActions::Flush, &self.before);",
        "tcgetattr(self.terminal).map(|_| &self.before);",
        &["-p", "zeta", "--test", "suite", "creds::secret::giving_up"],
    ),
    bug(
        "whoever holds a secret can be dumped",
        "crates/zeta-os/src/hardening.rs",
        "set_dumpable_behavior(DumpableBehavior::NotDumpable);",
        "set_dumpable_behavior(DumpableBehavior::Dumpable);",
        &["-p", "zeta", "--test", "suite", "creds::secret::a_process"],
    ),
    bug(
        "a view believes that it knows all after events were lost",
        "crates/zeta-state/src/presence/view.rs",
        "if dirty.lost {",
        "if dirty.lost && dirty.itself {",
        &["-p", "zeta", "--test", "suite", "it::view::lost_events_cost_no_state"],
    ),
    bug(
        "the lease is not checked before a pull request is opened",
        PROPOSAL,
        "    still().map_err(ProposeError::Unclear)?;",
        "    drop(still);",
        &[
            "-p",
            "zeta",
            "--test",
            "suite",
            "node::faults::a_lease_that_was_lost_during_the_push_opens_nothing",
        ],
    ),
    bug(
        "a push takes no heed of the tip",
        GIT,
        "let lease = format!(\"--force-with-lease={reference}:{}\", expected.unwrap_or(\"\"));",
        "let (lease, _) = (\"--force\".to_owned(), expected);",
        &[
            "-p",
            "zeta",
            "--test",
            "suite",
            "node::faults::a_branch_that_another_pushed_meanwhile_is_not_overwritten",
        ],
    ),
    bug(
        "a pull request of our own is not remembered",
        "crates/zeta-core/src/registration/decide.rs",
        "if opened == Some(&*pull.url) { From::Ours } else { pull.from }",
        "if opened == Some(\"\") { From::Ours } else { pull.from }",
        &["-p", "zeta-core", "--lib", "registration::tests::a_stranger_s_neither"],
    ),
    bug(
        "a command gets a signal twice that was sent to its whole group",
        "crates/zeta-core/src/signal.rs",
        "!(sent_to_all && arrival.command_in_group)",
        "!(sent_to_all && arrival.command_in_group && arrival.from_kernel)",
        &["-p", "zeta-core", "--lib", "signal::tests::a_signal_is_passed_on"],
    ),
];
