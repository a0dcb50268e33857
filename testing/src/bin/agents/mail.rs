//! Messages to one agent in a terminal, one after the other: each begins a turn once, and how soon.
//!
//! Of two messages, one comes while the agent waits for a prompt, and zeta's terminal wakes it; the
//! other comes while its turn runs, and the hook at the end of the turn lets it go on.

use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::attended::{NAME, next, turn_is_over};
use crate::client::Client;
use crate::model::{Asked, Turn};
use crate::place::Place;
use crate::record::{MAIL, Record};
use crate::tool::{Terminal, Tool};

/// After so many messages comes a key of the person: without any, wakes become less frequent.
const IN_A_ROW: usize = 8;
/// How long no key may have come before a wake.
const KEYS_REST: Duration = Duration::from_secs(6);

/// What came of the messages of one kind.
#[derive(Default)]
struct Arrived {
    /// From the end of `zeta bus send`, or of the turn, to the request of the new turn, in
    /// milliseconds.
    took: Vec<u128>,
    /// Messages that another request brought once more.
    again: usize,
}

/// Sends so many messages of each kind.
pub fn play(tool: &Tool, place: &Place, count: usize, record: &mut Record) -> Outcome<()> {
    let terminal = tool.terminal.as_ref().ok_or("no scene uses this tool in a terminal")?;
    tool.before.map_or(Ok(()), |text| place.write(tool.settings, text))?;
    (terminal.prepare)(place)?;
    place.run_zeta(&["hook", "install", tool.name])?;
    let mut client = Client::start_in_terminal(place, tool, terminal, NAME)?;
    let mut asked = next(&mut client, terminal)?;
    let (mut idle, mut ending) = (Arrived::default(), Arrived::default());
    for number in 0..count {
        asked.answer(Turn::Say("Done.".to_owned()));
        turn_is_over(place)?;
        if number % IN_A_ROW == IN_A_ROW - 1 {
            // Ctrl-U, which leaves an empty line as it is.
            client.keys(b"\x15")?;
            thread::sleep(KEYS_REST);
        }
        thread::sleep(Duration::from_millis(fastrand::u64(1000..2000)));
        let text = format!("idle-{number}-");
        place.run_zeta(&["bus", "send", NAME, &text, "--as", "ann"])?;
        asked = idle.wait(&mut client, terminal, &text)?;
        let text = format!("ending-{number}-");
        place.run_zeta(&["bus", "send", NAME, &text, "--as", "ann"])?;
        asked.answer(Turn::Say("Done.".to_owned()));
        asked = ending.wait(&mut client, terminal, &text)?;
    }
    client.kill()?;
    let kinds = [("while it waits", idle), ("during its turn", ending)];
    for (kind, arrived) in kinds {
        let good = arrived.took.len() == count && arrived.again == 0;
        record.add(MAIL, good, &format!("{kind}: {}", arrived.shown(count)))?;
    }
    Ok(())
}

impl Arrived {
    /// Waits for the request that has a message, and times it.
    fn wait(&mut self, client: &mut Client, terminal: &Terminal, text: &str) -> Outcome<Asked> {
        let sent = Instant::now();
        loop {
            let asked = next(client, terminal)?;
            if asked.news.contains(&format!("| {text}")) {
                self.took.push(sent.elapsed().as_millis());
                return Ok(asked);
            }
            self.again += 1;
            asked.answer(Turn::Say("Done.".to_owned()));
        }
    }

    fn shown(mut self, count: usize) -> String {
        self.took.sort_unstable();
        let at = |part: usize| {
            let rank = (self.took.len() * part).div_ceil(100);
            self.took.get(rank.saturating_sub(1)).copied().unwrap_or_default()
        };
        let (p50, p99, max) = (at(50), at(99), at(100));
        let (arrived, again) = (self.took.len(), self.again);
        format!("{arrived} of {count}, {again} twice, p50 {p50} ms, p99 {p99} ms, max {max} ms")
    }
}
