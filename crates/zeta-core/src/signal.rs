//! Which signals a wrapper passes on to its command: those that the command has not got yet.

/// A signal that a wrapper received, and what is known about its receivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The kernel sent it: a key of the terminal, or the end of the terminal.
    pub from_kernel: bool,
    /// It says that the terminal is gone, and the wrapper leads the session: the kernel tells the
    /// leader alone.
    pub to_session_leader: bool,
    /// The command is in the process group of the wrapper.
    pub command_in_group: bool,
    /// Another process of the group has got it, too; `None` if there is none to look at.
    pub sent_to_all: Option<bool>,
}

/// Decides whether the wrapper passes a signal on. In doubt it does: a signal that comes twice is
/// better than one that never comes.
pub fn decide_pass_on(arrival: &Arrival) -> bool {
    let sent_to_all =
        arrival.sent_to_all.unwrap_or(arrival.from_kernel && !arrival.to_session_leader);
    !(sent_to_all && arrival.command_in_group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_passed_on_unless_the_command_has_got_it() {
        // from the kernel, to the leader of the session, command in the group, sent to all, passed
        for (from_kernel, to_session_leader, command_in_group, sent_to_all, passed) in [
            // kill PID, kill -- -PGID, and either without a witness.
            (false, false, true, Some(false), true),
            (false, false, true, Some(true), false),
            (false, false, true, None, true),
            // A key of the terminal.
            (true, false, true, Some(true), false),
            (true, false, true, None, false),
            // The terminal is gone: the leader alone is told, or the group in front.
            (true, true, true, Some(false), true),
            (true, true, true, None, true),
            (true, false, true, None, false),
            (false, true, true, Some(true), false),
            // A shell with job control has a group of its own.
            (false, false, false, Some(true), true),
            (true, false, false, None, true),
        ] {
            let arrival = Arrival { from_kernel, to_session_leader, command_in_group, sent_to_all };
            assert_eq!(decide_pass_on(&arrival), passed, "{arrival:?}");
        }
    }
}
