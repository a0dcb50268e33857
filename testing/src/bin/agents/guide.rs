//! Replays a page of the documentation: what a person types, and what real agents do and read.
//!
//! A block of `console` has commands behind `~/shop $`, and what they print. A block of `text`
//! behind `<!-- claude 1 -->` is of that agent, which starts at its first block: `● Tool(argument)`
//! is a call, `● (starts)` its start, and the lines behind `⎿` are what its model reads then.
//! Numbers, times and ids differ from run to run and are not compared.

use std::collections::BTreeMap;
use std::path::Path;

use crate::Outcome;
use crate::client::Client;
use crate::model::{Asked, Turn};
use crate::page::plain;
use crate::place::Place;
use crate::tool::Tool;

/// The agents by their names on the page; one that was killed asks nothing any more.
type Agents<'a> = BTreeMap<&'a str, (Client, Option<Asked>)>;

/// What is typed or called, and what is printed or read then.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    /// The agent as in `claude 1`; nothing for the person.
    agent: Option<String>,
    act: String,
    shown: String,
}

/// Replays all steps of a page; returns how many there are.
pub fn replay(page: &str, place: &Place, tools: &[&Tool]) -> Outcome<usize> {
    let steps = steps(page);
    let mut agents = Agents::new();
    for step in &steps {
        let read = match &step.agent {
            None => person(step, place, &mut agents)?,
            Some(name) => {
                if !agents.contains_key(name.as_str()) {
                    agents.insert(name, start(name, place, tools)?);
                }
                let Some((client, asked)) = agents.get_mut(name.as_str()) else { continue };
                act(&step.act, name, place, tools, client, asked)?
            }
        };
        let read = place.as_on_a_page(&read);
        let same = match step.agent {
            None => plain(&read) == plain(&step.shown),
            Some(_) => plain(&read).contains(&plain(&step.shown)),
        };
        if !same {
            let (act, shown) = (&step.act, &step.shown);
            return Err(format!("after '{act}' the page has: {shown} but: {read}").into());
        }
    }
    end(agents)?;
    // A page without blocks would show nothing.
    match steps.len() {
        0 => Err("the page has no steps".into()),
        count => Ok(count),
    }
}

fn end(agents: Agents) -> Outcome<()> {
    for (name, (client, asked)) in agents {
        asked.map_or(Ok(()), |asked| client.end(asked)).map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(())
}

/// Types a command. The process that `kill -9` of the page names is the first agent, which has
/// another number here.
fn person(step: &Step, place: &Place, agents: &mut Agents) -> Outcome<String> {
    if step.act.starts_with("kill -9 ") {
        let (client, asked) = agents.get_mut("claude 1").ok_or("the first agent did not start")?;
        let known = place.run_zeta(&["status"])?.contains(&client.pid().to_string());
        client.kill()?;
        *asked = None;
        known.then_some(()).ok_or("zeta status does not show the process of the first agent")?;
        return Ok(String::new());
    }
    if step.act.contains("uninstall") {
        end(std::mem::take(agents))?;
    }
    let output = place.command("sh").args(["-c", &format!("exec 2>&1; {}", step.act)]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn tool_of<'a>(name: &str, tools: &[&'a Tool]) -> Outcome<&'a Tool> {
    let tool = tools.iter().find(|tool| name.starts_with(tool.name));
    Ok(tool.copied().ok_or_else(|| format!("the page wants a tool that is not here: {name}"))?)
}

fn start(name: &str, place: &Place, tools: &[&Tool]) -> Outcome<(Client, Option<Asked>)> {
    let mut client = Client::start(place, tool_of(name, tools)?, name)?;
    let asked = client.asked()?;
    Ok((client, Some(asked)))
}

/// Lets an agent do one thing; returns what its model reads then.
fn act(
    act: &str,
    name: &str,
    place: &Place,
    tools: &[&Tool],
    client: &mut Client,
    asked: &mut Option<Asked>,
) -> Outcome<String> {
    let tool = tool_of(name, tools)?;
    let (call, argument) = act.split_once('(').unwrap_or((act, ""));
    let argument = argument.strip_suffix(')').unwrap_or(argument);
    let turn = match call {
        "" => return Ok(asked.as_ref().map(|asked| asked.news.clone()).unwrap_or_default()),
        "Bash" => (tool.shell)(argument),
        "Write" | "apply_patch" => write(tool, &place.repo().join(argument)),
        _ => return Err(format!("the page lets an agent do '{act}'").into()),
    };
    let next = client.after(asked.take().ok_or("the agent was killed")?, turn)?;
    let news = next.news.clone();
    *asked = Some(next);
    Ok(news)
}

fn write(tool: &Tool, path: &Path) -> Turn {
    (tool.edit)(path, "a text")
}

/// Reads the steps of a page.
fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut agent = None;
    let mut fence = "";
    for line in page.lines() {
        if let Some(kind) = line.strip_prefix("```") {
            fence = if fence.is_empty() { kind } else { "" };
        } else if let Some(name) = line.strip_prefix("<!-- ").and_then(|l| l.strip_suffix(" -->")) {
            agent = Some(name.to_owned());
        } else if fence == "console" {
            match line.strip_prefix("~/shop $ ") {
                Some(act) => steps.push(step(None, act)),
                None => add(&mut steps, line),
            }
        } else if fence == "text" {
            match line.strip_prefix("● ") {
                Some(act) => steps.push(step(agent.clone(), act)),
                None => add(&mut steps, line.trim_start().trim_start_matches("⎿ ")),
            }
        }
    }
    steps
}

fn step(agent: Option<String>, act: &str) -> Step {
    Step { agent, act: act.to_owned(), shown: String::new() }
}

fn add(steps: &mut [Step], line: &str) {
    if let Some(step) = steps.last_mut() {
        step.shown.push_str(line);
        step.shown.push('\n');
    }
}
