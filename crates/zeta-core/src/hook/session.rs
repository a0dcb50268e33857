//! Which session a call is in: that of a hook, of a command, or of a server that an agent tool
//! started.
//!
//! A session is worked for by one process. Variables are inherited, also by a tool that runs inside
//! of another one, and the id of a session runs twice if it is resumed twice. So the process
//! decides.

use std::fmt::Write as _;

use super::turn::TURN;
use super::{Tool, agent_name, base_of_name, session_number, sha256, waiting};
use crate::evidence::{Found, Process, ProcessState, Processes, judge_process};
use crate::lease::optional_number;
use crate::name::Label;
use crate::record::Fields;

/// Keys of the process of the agent tool that a session of another process serves: of a `zeta run`
/// around the tool, or of a server that the tool started. First the word of what wrote them.
pub const TOOL_KEYS: [&str; 5] =
    ["tool_name", "tool_pid", "tool_pid_start_ticks", "tool_pidfs_ino", "tool_pid_ns"];
/// The word of a server, in place of that of a tool.
pub const BY_SERVER: &str = "mcp";
/// Programs that start another one, and do no work of an agent.
const LAUNCHERS: [&str; 10] =
    ["sh", "dash", "bash", "zsh", "ksh", "mksh", "fish", "busybox", "env", "timeout"];

/// Writes the process of the tool that a session serves into its record. What the hooks of another
/// process said about its turn and its question does not hold for this one.
pub fn set_tool(fields: &mut Fields<'_>, name: &str, tool: &Processes) {
    if tool_of(fields).is_none_or(|(_, known)| known != *tool) {
        fields.remove(TURN);
        waiting::clear(fields);
    }
    TOOL_KEYS.iter().for_each(|key| fields.remove(key));
    let Some(process) = tool.own else { return };
    let [name_key, pid, ticks, ino, pid_ns] = TOOL_KEYS;
    fields.set_text(name_key, name);
    fields.set_number(pid, process.pid.into());
    let more = [(ticks, process.start_ticks), (ino, process.pidfs_ino), (pid_ns, tool.pid_ns)];
    more.into_iter().filter_map(|(key, value)| Some((key, value?))).for_each(|(key, value)| {
        fields.set_number(key, value);
    });
}

/// Returns the word of what named the tool that a session serves, and the process of that tool.
pub fn tool_of(fields: &Fields<'_>) -> Option<(String, Processes)> {
    let [name, pid, ticks, ino, pid_ns] = TOOL_KEYS;
    let number = |key| optional_number(fields, key).ok().flatten();
    let pid = u32::try_from(number(pid)?).ok()?;
    let own = Some(Process { pid, start_ticks: number(ticks), pidfs_ino: number(ino) });
    let processes = Processes { own, child: None, pid_ns: number(pid_ns) };
    Some((fields.text(name)?.into_owned(), processes))
}

/// Returns the process of the tool whose hooks called, if any did: a server knows no turns.
pub fn hooked_tool_of(fields: &Fields<'_>) -> Option<Processes> {
    tool_of(fields).filter(|(name, _)| name != BY_SERVER).map(|(_, tool)| tool)
}

/// Whether a session is worked for by the process of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// By none: the process that is recorded has ended, or there is none.
    Free,
    /// By this one, or nothing shows that it is another one.
    Own,
    /// By another one, which has not provably ended.
    Taken,
}

/// Judges whether the recorded process of a session is that of a call. `life` is that of the
/// recorded one.
pub fn judge_seat(
    recorded: &Processes,
    call: &Processes,
    life: impl FnOnce() -> ProcessState,
) -> Seat {
    let Some(known) = recorded.own else { return Seat::Free };
    let is_same = |process: Process| {
        let (pidfs_ino, start_ticks) = (process.pidfs_ino, process.start_ticks);
        let found = Found::Something { ended: false, pidfs_ino, start_ticks };
        recorded.pid_ns == call.pid_ns
            && known.pid == process.pid
            && judge_process(&known, found) != ProcessState::Dead
    };
    match call.own {
        Some(process) if is_same(process) => Seat::Own,
        _ if life() == ProcessState::Dead => Seat::Free,
        Some(_) => Seat::Taken,
        None => Seat::Own,
    }
}

/// Judges the same for hooks where a server named the process. A tool may start its servers from a
/// process of its own, so the hooks of another process know better; but hooks below the named
/// process, while that lives, are those of a tool inside of it. `seat` is that of the process.
pub fn judge_seat_of_server(seat: Seat, is_above: impl FnOnce() -> bool) -> Seat {
    match seat {
        Seat::Taken if is_above() => Seat::Taken,
        _ => Seat::Free,
    }
}

/// Which of the sessions that a hook may be in it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfHook {
    /// That of the `zeta run` around its tool.
    Run,
    /// The one whose number is made of the tool and its session's id.
    Plain,
    /// The one whose number is also made of the process: the plain one runs in another process.
    OfProcess,
}

/// Decides which session a hook is in. `run` is `None` without a `zeta run` around the tool.
pub fn decide_hook(
    run: Option<Seat>,
    plain: impl FnOnce() -> Seat,
    of_process: impl FnOnce() -> Seat,
) -> OfHook {
    if run == Some(Seat::Own) {
        return OfHook::Run;
    }
    // A session that the process already works for stays the one, whatever became free meanwhile.
    let plain = plain();
    if plain == Seat::Own {
        return OfHook::Plain;
    }
    let of_process = of_process();
    match (of_process, run, plain) {
        (Seat::Own, _, _) => OfHook::OfProcess,
        (_, Some(Seat::Free), _) => OfHook::Run,
        (_, _, Seat::Taken) => OfHook::OfProcess,
        (_, _, _) => OfHook::Plain,
    }
}

/// Longest id of a session that is kept, in bytes.
const ID_MAX: usize = 128;

/// Returns whether the id that a tool gives its session may be kept, and given back to the tool as
/// an argument later: it looks like no option and like no path.
pub fn is_plain_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    id.len() <= ID_MAX
        && id.bytes().all(plain)
        && id.starts_with(|first: char| first.is_ascii_alphanumeric())
}

/// A session of an agent tool: the name of the agent, and the session's number.
pub type Named = (Label, String);

/// The sessions that a hook may be in besides that of a `zeta run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sessions {
    /// See [`OfHook::Plain`].
    pub plain: Named,
    /// See [`OfHook::OfProcess`]; `None` if the process is not known.
    pub of_process: Option<Named>,
}

impl Sessions {
    /// Names the sessions. `variables` are the agent and the session around the hook: the name is
    /// made of that of the agent. `None` if that makes none.
    pub fn of(
        tool: Tool,
        session: &str,
        process: Option<&Process>,
        variables: (Option<&str>, Option<&str>),
    ) -> Option<Sessions> {
        let of = |base: &str| {
            let named = |process| {
                let number = number_of(tool, session, base, process);
                Some((agent_name(base, &number)?, number))
            };
            let of_process = process.and_then(|process| named(Some(process)));
            Some(Sessions { plain: named(None)?, of_process })
        };
        let (Some(agent), around) = variables else { return of(tool.word()) };
        // Below its own environment, as in a command of the agent, it keeps its name.
        let own_base =
            around.and_then(|number| agent.strip_suffix(number.get(..8)?)?.strip_suffix('-'));
        let own = own_base.and_then(of).filter(|own| around.is_some_and(|around| own.has(around)));
        own.or_else(|| of(agent))
    }

    /// Returns whether one of them has this number.
    pub fn has(&self, number: &str) -> bool {
        self.plain.1 == number || self.of_process.as_ref().is_some_and(|one| one.1 == number)
    }
}

/// The number of a session, from all that tells it from others.
fn number_of(tool: Tool, session: &str, base: &str, process: Option<&Process>) -> String {
    let plain = session_number(tool, session);
    let base = base_of_name(base);
    if base == tool.word() && process.is_none() {
        return plain;
    }
    let mut text = format!("{plain}\0{base}");
    if let Some(Process { pid, start_ticks, pidfs_ino }) = process {
        let _ = write!(text, "\0{pid}\0{start_ticks:?}\0{pidfs_ino:?}");
    }
    let mut hex = sha256(&text);
    hex.truncate(32);
    hex
}

/// What the variables of a call say about its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inherited {
    /// Nothing.
    Nothing,
    /// A name, or a session that no record of the agent names: a person has set it.
    Given,
    /// The session that the record of the agent names. A tool inside of another one inherits it.
    Recorded,
}

/// What keeps the session of the nearest process above a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// A `zeta run`.
    Run,
    /// The hooks of an agent tool.
    Hooks,
}

/// Decides whether a call is in the session of the nearest process above it, and not in that of
/// its variables.
pub fn decide_above(inherited: Inherited, above: Keeper) -> bool {
    match (inherited, above) {
        (Inherited::Nothing, _) | (Inherited::Recorded, Keeper::Hooks) => true,
        // `zeta run` sets the variables itself, so they are those of a session inside of it.
        (Inherited::Recorded, Keeper::Run) | (Inherited::Given, _) => false,
    }
}

/// The processes between a server and the tool of the session that was found for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The word of the tool.
    pub tool: String,
    /// Whether the tool's process is above the server.
    pub is_below: bool,
    /// The names of the programs between both.
    pub between: Vec<String>,
}

/// Judges whether a server that a client calls was started by the tool itself, and not by another
/// tool that runs inside of it or beside it.
pub fn judge_client(way: &Way, client: Option<&str>) -> bool {
    let is_named = |client: &str| client.to_ascii_lowercase().contains(&way.tool);
    let launched = || way.between.iter().all(|name| is_launcher(name));
    client.is_some_and(is_named) || (way.is_below && launched())
}

/// Returns whether a program only starts another one.
pub fn is_launcher(name: &str) -> bool {
    LAUNCHERS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Moment;
    use crate::hook::turn::{self, Turn};
    use crate::presence::KIND;
    use ProcessState::{Alive, Dead, Unknown};
    use Seat::{Free, Own, Taken};

    fn of(pid: u32, ino: u64, pid_ns: u64) -> Processes {
        let own = Some(Process { pid, start_ticks: Some(9), pidfs_ino: Some(ino) });
        Processes { own, child: None, pid_ns: Some(pid_ns) }
    }

    #[test]
    fn a_session_is_worked_for_by_the_process_that_its_record_proves() {
        let none = Processes::default();
        let bare = |pid| Processes { own: Some(Process { pid, ..Process::default() }), ..none };
        for (recorded, call, life, seat) in [
            (none, of(7, 1, 4), Unknown, Free),
            (of(7, 1, 4), of(7, 1, 4), Alive, Own),
            (of(7, 1, 4), of(8, 2, 4), Alive, Taken),
            (of(7, 1, 4), of(8, 2, 4), Unknown, Taken),
            (of(7, 1, 4), of(8, 2, 4), Dead, Free),
            // The pid was given to another process; or the number is one of another namespace.
            (of(7, 1, 4), of(7, 2, 4), Dead, Free),
            (of(7, 1, 4), of(7, 1, 5), Unknown, Taken),
            // Nothing shows that it is another one.
            (bare(7), bare(7), Unknown, Own),
            (of(7, 1, 4), none, Alive, Own),
            (of(7, 1, 4), none, Dead, Free),
        ] {
            assert_eq!(judge_seat(&recorded, &call, || life), seat, "{recorded:?} {call:?}");
        }
    }

    #[test]
    fn hooks_take_the_place_that_a_server_named_unless_they_are_of_a_tool_inside() {
        for (seat, is_above, judged) in
            [(Free, true, Free), (Own, false, Free), (Taken, false, Free), (Taken, true, Taken)]
        {
            assert_eq!(judge_seat_of_server(seat, || is_above), judged, "{seat:?} {is_above}");
        }
    }

    #[test]
    fn a_hook_is_in_the_session_that_its_process_works_for() {
        for (run, plain, of_process, found) in [
            // The usual one; resumed after its process ended; resumed beside it.
            (None, Own, Free, OfHook::Plain),
            (None, Free, Free, OfHook::Plain),
            (None, Taken, Free, OfHook::OfProcess),
            (None, Taken, Own, OfHook::OfProcess),
            // The first process has ended: the second one keeps its own.
            (None, Free, Own, OfHook::OfProcess),
            // The tool of a `zeta run`, and one inside of it, also after that tool has ended.
            (Some(Free), Free, Free, OfHook::Run),
            (Some(Own), Free, Free, OfHook::Run),
            (Some(Taken), Free, Free, OfHook::Plain),
            (Some(Taken), Own, Free, OfHook::Plain),
            (Some(Free), Own, Free, OfHook::Plain),
            (Some(Free), Free, Own, OfHook::OfProcess),
            (Some(Taken), Taken, Free, OfHook::OfProcess),
        ] {
            let decided = decide_hook(run, || plain, || of_process);
            assert_eq!(decided, found, "{run:?} {plain:?} {of_process:?}");
        }
    }

    #[test]
    fn what_tells_two_sessions_apart_is_in_their_numbers() {
        let one = Process { pid: 7, start_ticks: Some(9), pidfs_ino: None };
        let of = |process: Process, variables: (Option<&str>, Option<&str>)| {
            Sessions::of(Tool::Claude, "s", Some(&process), variables).unwrap()
        };
        let alone = of(one, (None, None));
        assert_eq!(alone.plain.1, session_number(Tool::Claude, "s"));
        assert!(alone.plain.0.as_str().starts_with("claude-") && alone == of(one, (None, None)));
        for other in [
            of(Process { pid: 8, ..one }, (None, None)),
            of(Process { start_ticks: Some(10), ..one }, (None, None)),
        ] {
            assert_eq!(other.plain, alone.plain);
            assert_ne!(other.of_process.unwrap().1, alone.of_process.clone().unwrap().1);
        }
        // Inside of two other sessions, one id is two sessions.
        let inside = |agent| of(one, (Some(agent), Some("0a0a0a0a0a")));
        assert_ne!(inside("ann").plain.1, inside("ben").plain.1);
        assert!(inside("ann").plain.0.as_str().starts_with("ann-"));
        // Below its own environment it is the same one.
        for around in [alone, inside("ann"), inside(&"a".repeat(60))] {
            for (name, number) in [around.plain.clone(), around.of_process.clone().unwrap()] {
                assert_eq!(of(one, (Some(name.as_str()), Some(&number))), around);
            }
        }
    }

    #[test]
    fn the_nearest_tool_counts_and_not_the_variables_that_it_inherited() {
        use Inherited::{Given, Nothing, Recorded};
        for (inherited, above, counts) in [
            (Nothing, Keeper::Hooks, true),
            (Nothing, Keeper::Run, true),
            (Recorded, Keeper::Hooks, true),
            (Recorded, Keeper::Run, false),
            (Given, Keeper::Hooks, false),
            (Given, Keeper::Run, false),
        ] {
            assert_eq!(decide_above(inherited, above), counts, "{inherited:?} {above:?}");
        }
    }

    #[test]
    fn a_server_of_a_tool_inside_of_the_tool_is_not_the_tool_s() {
        let way = |is_below, between: &[&str]| Way {
            tool: "claude".to_owned(),
            is_below,
            between: between.iter().map(|name| (*name).to_owned()).collect(),
        };
        for (way, client, own) in [
            (way(true, &[]), "any", true),
            (way(true, &["sh", "env"]), "any", true),
            (way(true, &["codex", "bash"]), "codex-mcp-client", false),
            (way(false, &[]), "codex-mcp-client", false),
            // A tool may start its servers from a process of its own.
            (way(true, &["node"]), "Claude-Code", true),
            (way(false, &[]), "claude-code", true),
        ] {
            assert_eq!(judge_client(&way, Some(client)), own, "{way:?} {client}");
        }
        assert!(!judge_client(&way(true, &["codex"]), None));
    }

    #[test]
    fn the_process_of_a_tool_reads_back() {
        let mut fields = Fields::new(KIND);
        assert_eq!(tool_of(&fields), None);
        let tool = of(7, 1, 4);
        set_tool(&mut fields, "codex", &tool);
        assert_eq!(tool_of(&fields), Some(("codex".to_owned(), tool)));
        assert_eq!(hooked_tool_of(&fields), Some(tool));
        turn::note(&mut fields, Moment::Stop);
        for (name, tool, said) in [
            ("codex", tool, Some(Turn::Over)),
            // A server of the same process says nothing about turns, and takes nothing back.
            (BY_SERVER, tool, Some(Turn::Over)),
            (BY_SERVER, of(8, 2, 4), None),
        ] {
            set_tool(&mut fields, name, &tool);
            assert_eq!(turn::of(&fields), said, "{name}");
        }
        assert_eq!(hooked_tool_of(&fields), None);
        set_tool(&mut fields, "codex", &Processes::default());
        assert!(TOOL_KEYS.iter().all(|key| fields.raw(key).is_none()));
    }
}
