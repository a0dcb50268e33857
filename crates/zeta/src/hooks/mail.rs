//! Gives the model of an agent its mail in the middle of a turn, and lets a turn go on while there
//! is some.

use serde_json::Value;
use zeta_core::bus::{Means, is_for_many, topic};
use zeta_core::hook::mail::{Letter, MailRule, quote};
use zeta_core::hook::{Answer, Event, Moment, Tool};

use super::session::Session;
use zeta_bus::directory::delivery_log::Delivery;
use zeta_bus::messages::inbox::{self, Given, Selection};
use zeta_bus::messages::{Listing, MessageView};
use zeta_os::error::{Kind, Result};
use zeta_os::host;
use zeta_state::presence::tool_session::HOOK_LIMIT;

/// Prints the answer to an event, and the mail of the agent with it where the tool gives it to its
/// model. It is printed before it is recorded as given: a call that is killed loses nothing.
pub(super) fn print(
    tool: Tool,
    session: &Session,
    event: &Event,
    rule: MailRule,
    answer: Answer,
    print: &mut dyn FnMut(&Answer) -> Result<()>,
) -> Result<()> {
    let moment = event.moment;
    match moment {
        Moment::Stop if !event.inner => stop(tool, session, event, rule, print),
        _ if rule != MailRule::Deliver || event.inner || !reaches_model(tool, moment) => {
            print(&answer)
        }
        // After each tool only the marks are looked at: that costs one listing.
        Moment::AfterTool if inbox::marked(&session.ctx.bus_dir, session.name()).is_empty() => {
            print(&answer)
        }
        _ => {
            let handed = Given { as_state: Delivery::Handed, wakes_by: None };
            give(session, handed, &mut |text| {
                let text = text.map_or(Answer::Nothing, Answer::Tell);
                print(&answer.clone().and(text))
            })
        }
    }
}

/// Returns whether a text that a hook answers at this moment reaches the model of the tool. At a
/// stop it is the reason to go on.
pub(super) fn reaches_model(tool: Tool, moment: Moment) -> bool {
    match tool {
        Tool::Claude | Tool::Codex | Tool::Gemini => matches!(
            moment,
            Moment::SessionStart | Moment::Prompt | Moment::AfterTool | Moment::Stop
        ),
        Tool::OpenCode => moment == Moment::AfterTool,
        Tool::Cursor => matches!(moment, Moment::SessionStart | Moment::AfterTool),
        Tool::Copilot => false,
    }
}

/// Ends a turn, or lets it go on with the mail that is there, a few times in a row at most.
fn stop(
    tool: Tool,
    session: &Session,
    event: &Event,
    rule: MailRule,
    print: &mut dyn FnMut(&Answer) -> Result<()>,
) -> Result<()> {
    // A turn of the model has ended, so it has read what hooks gave it before.
    let recorded = inbox::mark_handed_read(&session.ctx.bus_dir, session.name());
    let mut goes_on = false;
    let given = match rule == MailRule::Deliver && reaches_model(tool, Moment::Stop) {
        true => go_on(session, event, &mut |text| {
            print(&Answer::Refuse(text))?;
            goes_on = true;
            Ok(())
        }),
        false => Ok(()),
    };
    // After the look for mail: a message that came in between finds the turn over, and wakes.
    let ended = if goes_on { Ok(()) } else { session.turn_ends(event.again) };
    ended.and(given).and(recorded)
}

/// Lets the turn go on if there is mail, unless it went on too often: `say` gets the text.
fn go_on(
    session: &Session,
    event: &Event,
    say: &mut dyn FnMut(String) -> Result<()>,
) -> Result<()> {
    let Some(times) = session.put_off(event.again)? else { return Ok(()) };
    let handed = Given { as_state: Delivery::Handed, wakes_by: Some(Means::Hook) };
    give(session, handed, &mut |text| {
        let Some(text) = text else { return Ok(()) };
        // Where this cannot be written, the turn would go on for ever.
        session.turn_goes_on(times)?;
        say(text)
    })
}

/// Gives the agent its mail: `say` gets the text for its model, `None` if there is no mail.
fn give(
    session: &Session,
    record: Given,
    say: &mut dyn FnMut(Option<String>) -> Result<()>,
) -> Result<()> {
    let (dir, name) = (&session.ctx.bus_dir, session.name());
    let mut said = false;
    let now = Selection { now: true, busy_limit: Some(HOOK_LIMIT), ..Selection::default() };
    let given = inbox::take(dir, name, &now, record, |listing| {
        said = true;
        let letters = letters(listing);
        if letters.is_empty() {
            return say(None).map(|()| Vec::new());
        }
        let (text, count) = quote(name, &letters);
        say(Some(text))?;
        Ok(letters.into_iter().take(count).map(|letter| letter.id).collect())
    });
    match given {
        Err(error) if !said => {
            say(None)?;
            // Another hook of this session, or a subscriber, gives it its mail right now.
            if error.kind == Kind::Busy { Ok(()) } else { Err(error) }
        }
        given => given,
    }
}

/// The messages as they are quoted.
fn letters(listing: &Listing) -> Vec<Letter> {
    let now_us = host::wall_us();
    let letter = |seen: &MessageView| {
        let envelope = &seen.envelope;
        let text = envelope.payload.get("text").and_then(Value::as_str);
        Letter {
            id: envelope.id.clone(),
            from: envelope.from.clone(),
            to: is_for_many(&envelope.to).then(|| envelope.to.clone()),
            age_s: u64::try_from((now_us - seen.sent_us) / 1_000_000).unwrap_or(0),
            text: match text.filter(|_| envelope.topic == topic::TEXT) {
                Some(text) => text.to_owned(),
                None => format!("[{}] {}", envelope.topic, envelope.payload),
            },
        }
    };
    listing.messages.iter().map(letter).collect()
}
