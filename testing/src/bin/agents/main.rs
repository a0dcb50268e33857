//! Real agent tools, with zeta's hooks, against a stand-in of their models on loopback.
//!
//! `cargo xtask agents` brings the tools and starts this program in a network that has loopback
//! only. `model` is the stand-in, `tool` has one file per tool, `place` is the home and the
//! repository of a scene, `client` is a running tool and `screen` its terminal. `scene` is what two
//! agents play, and `attended` what one plays with its person. `mail` measures
//! how soon messages begin turns, and `guide` replays a page of the documentation.

mod attended;
mod client;
mod guide;
mod mail;
mod model;
#[path = "../../page.rs"]
mod page;
mod place;
mod record;
mod scene;
mod screen;
mod tool;

use std::path::Path;
use std::process::ExitCode;

use self::place::Place;
use self::record::Record;
use self::tool::Tool;

/// The result type of this program; an error ends a scene with its text.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "usage: agents ZETA RESULTS [guide=PAGE|mail=COUNT] NAME=PROGRAM...

  ZETA      the program zeta
  RESULTS   a file for the results: tool, capability, ok or FAILED, what was seen
  PAGE      docs/use/ten-minutes.md, to replay it with claude and codex
  COUNT     send so many messages of each kind, and play nothing else
  NAME      claude, codex, gemini, copilot or opencode
  PROGRAM   the program of the tool, and what goes before its arguments, with blanks between
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [zeta, results, tools @ ..] = args.as_slice() else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    match play(Path::new(zeta), Path::new(results), tools) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("agents: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Plays the page, or the scenes of each tool; true if all that was tried works.
fn play(zeta: &Path, results: &Path, given: &[String]) -> Outcome<bool> {
    only_loopback()?;
    let mut record = Record::create(results)?;
    let page = given.iter().find_map(|given| given.strip_prefix("guide="));
    let count = given.iter().find_map(|given| given.strip_prefix("mail="));
    let count = count.map(str::parse::<usize>).transpose()?;
    let is_tool =
        |given: &&String| !["guide=", "mail="].iter().any(|other| given.starts_with(other));
    let tools = given.iter().filter(is_tool);
    let tools = tools.map(|given| Tool::parse(given)).collect::<Outcome<Vec<Tool>>>()?;
    let tools: Vec<&Tool> = tools.iter().collect();
    let place = Place::make(zeta, &tools)?;
    let Some(page) = page else {
        for tool in tools {
            record.begin(tool.name);
            let played = match count {
                Some(count) => mail::play(tool, &place, count, &mut record),
                None => scene::play(tool, &place, &mut record)
                    .and_then(|()| attended::play(tool, &place, &mut record)),
            };
            if let Err(error) = played {
                record.broken(tool, &error.to_string())?;
                place.show_output();
            }
        }
        return Ok(record.good());
    };
    record.begin("guide");
    match guide::replay(&std::fs::read_to_string(page)?, &place, &tools) {
        Ok(steps) => record.add("page", true, &format!("{steps} steps"))?,
        Err(error) => record.add("page", false, &error.to_string())?,
    }
    Ok(record.good())
}

/// Nothing may leave this machine: a tool that reaches its maker's servers shows something else.
fn only_loopback() -> Outcome<()> {
    let routes = std::fs::read_to_string("/proc/net/route")?;
    match routes.lines().nth(1) {
        None => Ok(()),
        Some(_) => Err("this network leads out of the machine; see cargo xtask agents".into()),
    }
}
