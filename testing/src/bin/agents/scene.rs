//! What two agents of one tool play: one claims, the other tries, the first is killed.

use std::fs;

use crate::Outcome;
use crate::client::Client;
use crate::model::Asked;
use crate::place::Place;
use crate::record::{
    EDIT, END, GREETING, KILLED, NAME, PRESENCE, PUSH, REMOVED, Record, UNINSTALL, WARNING,
};
use crate::tool::Tool;

/// How the first agent claims an item and a branch.
const CLAIM: &str = "claim acquire ISSUE-12 --branch main --worktree \"$PWD\"";

/// Plays all of it.
pub fn play(tool: &Tool, place: &Place, record: &mut Record) -> Outcome<()> {
    let settings = place.home().join(tool.settings);
    let before = fs::read(&settings).ok();
    place.run_zeta(&["hook", "install", tool.name])?;

    // Where the commands of the agent have no session, zeta gives one from outside.
    let session = (!tool.can(NAME)).then_some("nadia");
    let mut first = Client::start(place, tool, "first", session)?;
    let asked = first.asked()?;
    // The first model is not answered any more: its agent lives, and holds what it claimed.
    // The tool's shell may have another path than the tool.
    let claim = format!("{} {CLAIM}", place.zeta().display());
    let waits = first.after(asked, (tool.shell)(&claim))?;
    let said = |error| format!("{error}; its model reads: {}", waits.news);
    let holder = holder(place).map_err(said)?;

    let mut second = Client::start(place, tool, "second", None)?;
    let asked = second.asked()?;
    let me = here(tool, place, &holder, record)?;
    if tool.can(GREETING) {
        record.add(GREETING, asked.news.contains(&holder), &line_with(&asked, &holder))?;
    }
    let asked = match tool.can(NAME) {
        true => name(tool, &mut second, asked, &me, record)?,
        false => asked,
    };
    let asked = edit(tool, place, &mut second, asked, &holder, record)?;
    let asked = push(tool, place, &mut second, asked, &holder, record)?;
    let asked = killed(tool, place, first, &mut second, asked, record)?;
    let asked = removed(tool, place, &mut second, asked, record)?;
    second.end(asked)?;
    let agents = place.agents()?;
    let lives = agents.iter().any(|(name, state)| *name == me && state == "live");
    record.add(END, !lives, &format!("{me} in {agents:?}"))?;
    place.run_zeta(&["hook", "uninstall", tool.name])?;
    let after = fs::read(&settings).ok();
    let seen = format!("{}: {:?} bytes", tool.settings, after.as_ref().map(Vec::len));
    record.add(UNINSTALL, before == after, &seen)
}

/// Returns the agent that holds the claim.
fn holder(place: &Place) -> Outcome<String> {
    let claims: serde_json::Value =
        serde_json::from_str(&place.run_zeta(&["claim", "list", "--json"])?)?;
    let holder = claims.pointer("/claims/0/from").and_then(serde_json::Value::as_str);
    Ok(holder.ok_or("the first agent claimed nothing")?.to_owned())
}

/// Finds the agent that is not the holder.
fn here(tool: &Tool, place: &Place, holder: &str, record: &mut Record) -> Outcome<String> {
    let agents = place.agents()?;
    let mut live = agents.iter().filter(|(name, state)| name != holder && state == "live");
    let me = live.next().map(|(name, _)| name.clone());
    let good = me.as_ref().is_some_and(|me| me.starts_with(tool.name));
    record.add(PRESENCE, good, &format!("{agents:?}"))?;
    me.ok_or_else(|| "zeta status does not know the second agent".into())
}

fn name(
    tool: &Tool,
    second: &mut Client,
    asked: Asked,
    me: &str,
    record: &mut Record,
) -> Outcome<Asked> {
    let asked = second.after(asked, (tool.shell)("echo name=$ZETA_AGENT,$ZETA_SESSION"))?;
    let wanted = format!("name={me},");
    record.add(NAME, asked.news.contains(&wanted), &line_with(&asked, &wanted))?;
    Ok(asked)
}

fn edit(
    tool: &Tool,
    place: &Place,
    second: &mut Client,
    asked: Asked,
    holder: &str,
    record: &mut Record,
) -> Outcome<Asked> {
    let path = place.new_file();
    let asked = second.after(asked, (tool.edit)(&path, "second"))?;
    let refused = asked.news.contains(holder) && !path.exists();
    record.add(EDIT, refused, &line_with(&asked, holder))?;
    Ok(asked)
}

/// Commits, and pushes.
fn push(
    tool: &Tool,
    place: &Place,
    second: &mut Client,
    asked: Asked,
    holder: &str,
    record: &mut Record,
) -> Outcome<Asked> {
    let (head, pushed) = (place.head()?, place.pushed()?);
    let commit = "git commit -q --allow-empty -m second && echo committed";
    let asked = second.after(asked, (tool.shell)(commit))?;
    let committed = place.head()? != head;
    if tool.can(WARNING) {
        let warned = committed && asked.news.contains(holder);
        record.add(WARNING, warned, &line_with(&asked, holder))?;
    }
    let asked = second.after(asked, (tool.shell)("git push -q origin main"))?;
    let refused = committed && place.pushed()? == pushed && asked.news.contains(holder);
    record.add(PUSH, refused, &line_with(&asked, holder))?;
    Ok(asked)
}

/// Kills the holder, and tries the edit again.
fn killed(
    tool: &Tool,
    place: &Place,
    mut first: Client,
    second: &mut Client,
    asked: Asked,
    record: &mut Record,
) -> Outcome<Asked> {
    first.kill()?;
    let path = place.new_file();
    let asked = second.after(asked, (tool.edit)(&path, "second"))?;
    let text = fs::read_to_string(&path).unwrap_or_default();
    record.add(KILLED, text.trim() == "second", &line_with(&asked, "new.txt"))?;
    Ok(asked)
}

/// Takes the program away, and lets the agent run a command.
fn removed(
    tool: &Tool,
    place: &Place,
    second: &mut Client,
    asked: Asked,
    record: &mut Record,
) -> Outcome<Asked> {
    let (there, away) = (place.zeta(), place.zeta().with_extension("away"));
    fs::rename(&there, &away)?;
    let asked = second.after(asked, (tool.shell)("printf 'it-%s' ran"));
    fs::rename(&away, &there)?;
    let asked = asked?;
    record.add(REMOVED, asked.news.contains("it-ran"), &line_with(&asked, "it-ran"))?;
    Ok(asked)
}

/// Returns the line of the request that has a word; without one, all of it.
fn line_with(asked: &Asked, word: &str) -> String {
    let line = asked.news.lines().find(|line| line.contains(word));
    line.unwrap_or(&asked.news).to_owned()
}
