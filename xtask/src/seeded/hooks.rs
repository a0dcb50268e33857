//! The bugs of hooks of agent tools: what is refused and to whom, which agent waits for a person,
//! and whose session a command is in.

use super::bugs::{Bug, bug};

const PLACE: &str = "crates/zeta-core/src/hook/place.rs";
const WAITING: &str = "crates/zeta-core/src/hook/waiting.rs";
const ANCESTOR: &str = "crates/zeta-state/src/presence/ancestor.rs";
const SESSION: &str = "crates/zeta-core/src/hook/session.rs";

const CORE: &[&str] = &["-p", "zeta-core", "--lib", "hook::"];

/// All of them.
pub const BUGS: [Bug; 27] = [
    bug(
        "a holder that may be dead is a reason to refuse",
        PLACE,
        "(Rule::Refuse, Life::Live) if !shared => {",
        "(Rule::Refuse, _) if !shared => {",
        CORE,
    ),
    bug(
        "of two agents that claimed one worktree both are stopped",
        PLACE,
        "(Rule::Refuse, Life::Live) if !shared => {",
        "(Rule::Refuse, Life::Live) if !shared || rule == Rule::Refuse => {",
        CORE,
    ),
    bug(
        "a claim covers the worktrees below it",
        PLACE,
        "root != worktree && root.starts_with(worktree);",
        "root != worktree && root == worktree;",
        CORE,
    ),
    bug(
        "a branch of another repository is claimed, too",
        PLACE,
        "of.same_repository != Some(false)",
        "of.same_repository != Some(false) || of.claim.own == of.claim.own",
        CORE,
    ),
    bug(
        "an edit of an hour ago is one of now",
        "crates/zeta-core/src/hook/edits.rs",
        "now_ms.checked_sub(edit.at_ms).is_some_and(|age_ms| age_ms <= WINDOW_MS)",
        "now_ms.checked_sub(edit.at_ms).is_some()",
        CORE,
    ),
    bug(
        "two agents that write one file do not learn it",
        "crates/zeta-core/src/hook/edits.rs",
        "edits.iter().filter(|edit| edit.path == *path);",
        "edits.iter().filter(|edit| edit.path != *path);",
        CORE,
    ),
    bug(
        "a dead agent waits for a person",
        WAITING,
        "    if liveness == Liveness::Gone {
        return None;
    }
",
        "",
        CORE,
    ),
    bug(
        "a reminder takes the place of the question",
        WAITING,
        "Question::General(_) if fields.raw(WAITS_FOR).is_some() => return,",
        "Question::General(_) if fields.raw(WAITS_SINCE).is_none() => return,",
        CORE,
    ),
    bug(
        "a hook before a tool leaves the agent waiting",
        "crates/zeta/src/hooks/mod.rs",
        "            faults.past(session.go_on(&handle))?;
",
        "",
        &["-p", "zeta", "--test", "suite", "hooks::attention::the_next_hook"],
    ),
    bug(
        "a record that another process holds turns the protection off",
        "crates/zeta/src/hooks/mod.rs",
        "            faults.past(session.go_on(&handle))?;
",
        "            session.go_on(&handle)?;
",
        &["-p", "zeta", "--test", "suite", "hooks::busy::a_record"],
    ),
    bug(
        "of two hooks at one end the second ends the turn",
        "crates/zeta-core/src/hook/turn.rs",
        "put_off_ns.checked_sub(began_ns)",
        "began_ns.checked_sub(put_off_ns)",
        CORE,
    ),
    bug(
        "a message is cut before it is escaped",
        "crates/zeta-core/src/hook/mail.rs",
        "let shown = cut(&quoted, ONE_MAX);",
        "let shown = quote_lines(&cut(text, ONE_MAX));",
        CORE,
    ),
    bug(
        "a call beside the question answers it",
        WAITING,
        "if cut(text, QUESTION_MAX) == asked",
        "if cut(text, QUESTION_MAX) != \"\"",
        CORE,
    ),
    bug(
        "what was said to all before a session wakes its agent",
        "crates/zeta-core/src/bus/recipient.rs",
        "true if !is_marked => Mail::OnRequest,",
        "true if !is_marked => Mail::Now,",
        &["-p", "zeta-core", "--lib", "bus::"],
    ),
    bug(
        "a process id alone puts a command into a session",
        ANCESTOR,
        "    process::life(&alone, &handle.ctx.host) == ProcessState::Alive
",
        "    process::life(&alone, &handle.ctx.host) != ProcessState::Unknown
",
        &["-p", "zeta", "--test", "suite", "hooks::commands::a_record_of_another_process"],
    ),
    bug(
        "a command of one user is in the session of another",
        ANCESTOR,
        "    if beat.ended || !own_uid || !is_here ",
        "    if beat.ended || !is_here ",
        &["-p", "zeta", "--test", "suite", "hooks::commands::a_record_of_another_process"],
    ),
    bug(
        "a session that has ended takes commands in",
        ANCESTOR,
        "    if beat.ended || !own_uid || !is_here ",
        "    if !own_uid || !is_here ",
        &["-p", "zeta", "--test", "suite", "hooks::commands::a_command_that_is_below_no"],
    ),
    bug(
        "of two sessions of a process the older one counts",
        ANCESTOR,
        "of_pid.max_by_key(|known| (is_preferred(known), known.beat_boot_ns))",
        "of_pid.min_by_key(|known| (is_preferred(known), known.beat_boot_ns))",
        &["-p", "zeta", "--test", "suite", "hooks::commands::of_two_sessions"],
    ),
    bug(
        "a session in two processes is one agent",
        SESSION,
        "        Some(_) => Seat::Taken,
",
        "        Some(_) => Seat::Own,
",
        CORE,
    ),
    bug(
        "a second process takes the first one's session when that has ended",
        SESSION,
        "        (Seat::Own, _, _) => OfHook::OfProcess,
",
        "",
        CORE,
    ),
    bug(
        "a tool inside of a zeta run is the agent of it",
        SESSION,
        "        (_, Some(Seat::Free), _) => OfHook::Run,
",
        "        (_, Some(_), _) => OfHook::Run,
",
        CORE,
    ),
    bug(
        "the commands of a tool inside of a tool are the outer one's",
        SESSION,
        "(Inherited::Nothing, _) | (Inherited::Recorded, Keeper::Hooks) => true,
",
        "(Inherited::Nothing, _) => true,
        (Inherited::Recorded, Keeper::Hooks) => false,
",
        CORE,
    ),
    bug(
        "a server of a tool inside of a tool is the outer one's",
        SESSION,
        "client.is_some_and(is_named) || (way.is_below && launched())",
        "client.is_some_and(is_named) || way.is_below || launched()",
        CORE,
    ),
    bug(
        "a server's own claims stop its tool",
        "crates/zeta/src/hooks/mod.rs",
        "match answer != Answer::Nothing && session.finds_servers() {",
        "match answer != Answer::Nothing && false {",
        &["-p", "zeta", "--test", "suite", "mcp::session::what_a_server_holds"],
    ),
    bug(
        "what was busy at the end of a session stays",
        "crates/zeta/src/hooks/mod.rs",
        "        session.release_left();
",
        "",
        &["-p", "zeta", "--test", "suite", "hooks::whose::one_busy_lease"],
    ),
    bug(
        "a directory of a subshell is that of the shell around it",
        "crates/zeta-core/src/hook/shell_text/mod.rs",
        "Step::Close => self.here = self.outer.pop().unwrap_or_default(),",
        "Step::Close => drop(self.outer.pop()),",
        CORE,
    ),
    bug(
        "a push behind a program that runs it is not found",
        "crates/zeta-core/src/hook/shell_text/prefix.rs",
        "words.get(before..).unwrap_or_default()",
        "words",
        CORE,
    ),
];
