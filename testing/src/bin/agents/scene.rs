//! What two agents of one tool play: one claims, the other tries, the first is killed.

use std::fs;

use serde_json::{Value, json};

use crate::Outcome;
use crate::client::Client;
use crate::model::{Asked, Turn};
use crate::place::Place;
use crate::record::{
    EDIT, END, GOES_ON, GREETING, KILLED, MAIL, NAME, PRESENCE, PUSH, REMOVED, Record, SERVER,
    UNINSTALL, WARNING,
};
use crate::tool::Tool;

/// The first agent claims these files,
const FILES: &str = "zeta claim acquire --path 'src/**'";
/// and later a branch with an item.
const BRANCH: &str = "zeta claim acquire ISSUE-12 --branch main --worktree \"$PWD\"";

/// Plays all of it.
pub fn play(tool: &Tool, place: &Place, record: &mut Record) -> Outcome<()> {
    let settings = place.home().join(tool.settings);
    tool.before.map_or(Ok(()), |text| place.write(tool.settings, text))?;
    place.offer(tool)?;
    place.run_zeta(&["mcp", "install", tool.name])?;
    let before = fs::read(&settings).ok();
    place.run_zeta(&["hook", "install", tool.name])?;

    let mut first = Client::start(place, tool, "first")?;
    let asked = first.asked()?;
    let holder = place.live_soon(1)?.pop().ok_or("zeta status does not know the first agent")?;
    // While a model does not answer, its agent lives, and holds what it claimed.
    let first_waits = first.after(asked, (tool.shell)(FILES))?;

    let mut second = Client::start(place, tool, "second")?;
    let asked = second.asked()?;
    let me = here(tool, place, &holder, record)?;
    if tool.can(GREETING) {
        record.add(GREETING, asked.news.contains(&holder), &line_with(&asked, &holder))?;
    }
    let asked = name(tool, place, &mut second, asked, &me, record)?;
    let asked = mail(tool, place, &mut second, asked, &me, record)?;
    let asked = server(tool, &mut second, asked, (&holder, &me), record)?;
    let asked = edit(tool, place, &mut second, asked, &holder, record)?;
    let _first_waits = first.after(first_waits, (tool.shell)(BRANCH))?;
    let asked = push(tool, place, &mut second, asked, &holder, record)?;
    let asked = killed(tool, place, first, &mut second, asked, record)?;
    let asked = removed(tool, place, &mut second, asked, record)?;
    let asked = goes_on(tool, place, &mut second, asked, &me, record)?;
    second.end(asked)?;
    let live = place.live()?;
    record.add(END, !live.contains(&me), &format!("{me} is not in {live:?}"))?;
    place.run_zeta(&["hook", "uninstall", tool.name])?;
    let after = fs::read(&settings).ok();
    let seen = format!("{}: {:?} bytes", tool.settings, after.as_ref().map(Vec::len));
    record.add(UNINSTALL, before == after, &seen)
}

/// Finds the agent that is not the holder.
fn here(tool: &Tool, place: &Place, holder: &str, record: &mut Record) -> Outcome<String> {
    let live = place.live_soon(2)?;
    let me = live.iter().find(|name| *name != holder).cloned();
    let good = live.iter().all(|name| name.starts_with(tool.name));
    record.add(PRESENCE, good && me.is_some(), &live.join(", "))?;
    me.ok_or_else(|| "zeta status does not know the second agent".into())
}

/// Claims an item by a command of the agent: it is the agent's.
fn name(
    tool: &Tool,
    place: &Place,
    second: &mut Client,
    asked: Asked,
    me: &str,
    record: &mut Record,
) -> Outcome<Asked> {
    let asked = second.after(asked, (tool.shell)("zeta claim acquire ISSUE-13"))?;
    let claims: Value = serde_json::from_str(&place.run_zeta(&["claim", "list", "--json"])?)?;
    let claim = claims.pointer("/claims/0");
    let text = |key: &str| claim.and_then(|claim| claim.get(key)).and_then(Value::as_str);
    let good = text("from") == Some(me) && text("session").is_some();
    record.add(NAME, good, &format!("{:?} {:?} {}", text("from"), text("session"), asked.news))?;
    Ok(asked)
}

/// Sends a message, and lets the agent use a tool: the model reads it then.
fn mail(
    tool: &Tool,
    place: &Place,
    second: &mut Client,
    asked: Asked,
    me: &str,
    record: &mut Record,
) -> Outcome<Asked> {
    place.run_zeta(&["bus", "send", me, "main-is-red", "--as", "ann"])?;
    let asked = second.after(asked, (tool.shell)("true"))?;
    if tool.can(MAIL) {
        let read = asked.news.contains("| main-is-red");
        record.add(MAIL, read, &line_with(&asked, "main-is-red"))?;
    }
    Ok(asked)
}

/// Sends a message, and lets the model end the turn: the turn goes on with the message.
fn goes_on(
    tool: &Tool,
    place: &Place,
    second: &mut Client,
    asked: Asked,
    me: &str,
    record: &mut Record,
) -> Outcome<Asked> {
    if !tool.can(GOES_ON) {
        return Ok(asked);
    }
    place.run_zeta(&["bus", "send", me, "one-more", "--as", "ann"])?;
    let asked = second.after(asked, Turn::Say("Done.".to_owned()))?;
    record.add(GOES_ON, asked.news.contains("| one-more"), &line_with(&asked, "one-more"))?;
    Ok(asked)
}

/// Claims the files of the first agent by the server: it is refused, as the agent that hooks know.
fn server(
    tool: &Tool,
    second: &mut Client,
    asked: Asked,
    (holder, me): (&str, &str),
    record: &mut Record,
) -> Outcome<Asked> {
    let call = Turn::Call((tool.served)("claim"), json!({"paths": ["src/**"]}));
    let asked = second.after(asked, call)?;
    let good = asked.news.contains(holder) && asked.news.contains(&format!("You are {me} "));
    record.add(SERVER, good, &line_with(&asked, holder))?;
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
