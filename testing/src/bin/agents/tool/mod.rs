//! The agent tools: how each is prepared and started, and how its model calls its tools.

mod claude;
mod codex;
mod copilot;
mod gemini;
mod opencode;

use std::path::Path;
use std::process::Command;

use crate::Outcome;
use crate::model::Turn;
use crate::place::Place;
use crate::record::{
    Capability, EDIT, END, GOES_ON, GREETING, KILLED, MAIL, NAME, PRESENCE, PUSH, REMOVED, SERVER,
    UNINSTALL, WAITS, WARNING, WOKEN,
};

/// An agent tool.
pub struct Tool {
    /// Its word in zeta.
    pub name: &'static str,
    /// Its program, from the command line.
    pub program: String,
    /// What goes before its arguments, from the command line.
    pub first_args: Vec<String>,
    /// Writes what it needs to run into the home.
    pub prepare: fn(&Place) -> Outcome<()>,
    /// Adds the arguments and the environment for one prompt, with the model at a port.
    pub arguments: fn(&Place, u16, &mut Command),
    /// The file that `zeta hook install` changes, below the home.
    pub settings: &'static str,
    /// What is in that file before.
    pub before: Option<&'static str>,
    /// Makes the model write a file with the tool's own means.
    pub edit: fn(&Path, &str) -> Turn,
    /// Makes the model run a shell command.
    pub shell: fn(&str) -> Turn,
    /// The name that the model calls a tool of the server `zeta` by.
    pub served: fn(&str) -> String,
    /// How it is used by hand in a terminal; `None` if no scene does that.
    pub terminal: Option<Terminal>,
    /// What the tool cannot do; `docs/use/hooks.md` says so.
    pub lacks: &'static [Capability],
}

/// How a tool is used by hand in a terminal.
pub struct Terminal {
    /// Writes into the home what it would ask for at its first start.
    pub prepare: fn(&Place) -> Outcome<()>,
    /// Adds the arguments and the environment for a first prompt, with the model at a port.
    pub arguments: fn(u16, &mut Command),
    /// Makes the model run a command that the tool asks its person about, and that prints `it-ran`.
    pub asks: fn() -> Turn,
    /// Words of the requests, with tools, in which the tool asks for a title of the conversation.
    pub title: Option<&'static str>,
}

impl Tool {
    /// Reads `NAME=PROGRAM [ARGUMENT...]`.
    pub fn parse(given: &str) -> Outcome<Tool> {
        let (name, program) = given.split_once('=').ok_or("a tool is given as NAME=PROGRAM")?;
        let mut words = program.split(' ').map(str::to_owned);
        let program = words.next().unwrap_or_default();
        let known = [claude::TOOL, codex::TOOL, gemini::TOOL, copilot::TOOL, opencode::TOOL];
        let tool = known.into_iter().find(|tool| tool.name == name);
        let tool = tool.ok_or_else(|| format!("no tool is called '{name}'"))?;
        Ok(Tool { program, first_args: words.collect(), ..tool })
    }

    /// Reports whether the tool can do something.
    pub fn can(&self, what: Capability) -> bool {
        !self.lacks.contains(&what)
    }

    /// Lists what the scenes try with this tool.
    pub fn tried(&self) -> Vec<Capability> {
        let all = [
            PRESENCE, GREETING, NAME, MAIL, SERVER, EDIT, PUSH, WARNING, KILLED, REMOVED, GOES_ON,
            END, UNINSTALL,
        ];
        let in_terminal = [WOKEN, WAITS].into_iter().filter(|_| self.terminal.is_some());
        all.into_iter().chain(in_terminal).filter(|what| self.can(what)).collect()
    }
}
