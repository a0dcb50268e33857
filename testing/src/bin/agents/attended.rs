//! What an agent in a terminal plays, as a person uses it: a message wakes it when its turn is
//! over, and it asks its person before a command.

use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::client::Client;
use crate::model::{Asked, Turn};
use crate::place::Place;
use crate::record::{Record, WAITS, WOKEN};
use crate::tool::{Terminal, Tool};

/// The name of the agent.
pub const NAME: &str = "otto";
/// How long the question may take to come.
const LIMIT: Duration = Duration::from_secs(20);

/// Plays both.
pub fn play(tool: &Tool, place: &Place, record: &mut Record) -> Outcome<()> {
    let Some(terminal) = &tool.terminal else { return Ok(()) };
    (terminal.prepare)(place)?;
    place.run_zeta(&["hook", "install", tool.name])?;
    let mut client = Client::start_in_terminal(place, tool, terminal, NAME)?;
    next(&mut client, terminal)?.answer(Turn::Say("Done.".to_owned()));
    turn_is_over(place)?;
    let id = place.run_zeta(&["bus", "send", NAME, "wake-up", "--as", "ann"])?;
    let sent = Instant::now();
    let asked = next(&mut client, terminal)?;
    let took = sent.elapsed().as_millis();
    let status = place.run_zeta(&["bus", "status", id.trim(), "--json"])?;
    let good = asked.news.contains("| wake-up") && status.contains(r#""woken_by":"pty""#);
    record.add(WOKEN, good, &format!("after {took} ms: {status} {}", asked.news))?;
    asked.answer((terminal.asks)());
    let mut shown = String::new();
    soon("no agent waits for a person", || {
        shown = place.waits()?.unwrap_or_default();
        Ok(!shown.is_empty())
    })?;
    soon("the answer ends no wait", || {
        // Gemini CLI takes no key at once, and Codex shows no question shortly after a key.
        thread::sleep(Duration::from_secs(2));
        client.keys(b"\r")?;
        thread::sleep(Duration::from_millis(300));
        Ok(place.waits()?.is_none())
    })?;
    let asked = next(&mut client, terminal)?;
    let good = shown.contains(NAME) && asked.news.contains("it-ran");
    record.add(WAITS, good, &format!("{shown}; {}", asked.news))?;
    client.kill()?;
    place.run_zeta(&["hook", "uninstall", tool.name]).map(drop)
}

/// Waits for the next request of the conversation, and answers those for a title of it.
pub fn next(client: &mut Client, terminal: &Terminal) -> Outcome<Asked> {
    loop {
        let asked = client.asked()?;
        match terminal.title {
            Some(title) if asked.news.contains(title) => {
                asked.answer(Turn::Say("A title".to_owned()));
            }
            _ => return Ok(asked),
        }
    }
}

/// Waits until the agent waits for a prompt.
pub fn turn_is_over(place: &Place) -> Outcome<()> {
    soon("the turn is not over", || place.turn_is_over(NAME))
}

/// Waits until something is so.
fn soon(otherwise: &str, mut is_so: impl FnMut() -> Outcome<bool>) -> Outcome<()> {
    let begun = Instant::now();
    while !is_so()? {
        if begun.elapsed() > LIMIT {
            return Err(otherwise.into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
