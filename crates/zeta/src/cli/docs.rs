//! The texts about `zeta` itself: shell completions and manual pages.

use std::path::{Path, PathBuf};

use clap::{Arg, Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Call, Noun, command, complete};
use zeta_core::json::Object;
use zeta_os::error::{Error, Kind, Result};

pub(super) const COMPLETIONS: Noun = Noun {
    name: "completions",
    about: "Print completions for a shell",
    build: CompletionsArgs::augment_args,
    verbs: &[],
    run: run_completions,
};

pub(super) const MAN: Noun = Noun {
    name: "man",
    about: "Print or write the manual pages",
    build: ManArgs::augment_args,
    verbs: &[],
    run: run_man,
};

#[derive(Debug, Args)]
#[command(after_help = "\
In bash, fish and zsh, Tab also completes what exists: leases, claimed items, agents, markers
and nodes.

Examples:
  zeta completions bash > zeta.bash   # belongs in ~/.local/share/bash-completion/completions
  zeta completions zsh > _zeta        # belongs in a directory of $fpath
  zeta completions fish > zeta.fish   # belongs in ~/.config/fish/completions")]
struct CompletionsArgs {
    /// bash, elvish, fish, powershell or zsh
    #[arg(value_name = "SHELL")]
    shell: String,
}

fn run_completions(call: &Call) -> Result<u8> {
    let args: CompletionsArgs = call.args()?;
    let shell: Shell = args.shell.to_ascii_lowercase().parse().map_err(|_| {
        Error::usage(format!(
            "shell {:?} is not supported: give bash, elvish, fish, powershell or zsh",
            args.shell
        ))
    })?;
    let script = match complete::script(shell) {
        Some(script) => script.to_owned(),
        None => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut whole(), "zeta", &mut script);
            String::from_utf8_lossy(&script).into_owned()
        }
    };
    let object = || {
        let mut object = Object::new();
        object.text("shell", &shell.to_string()).text("script", &script);
        object
    };
    call.out.either(object, || script.trim_end().to_owned())?;
    Ok(0)
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta man > zeta.1       # all pages; read them with: man -l zeta.1
  zeta man --dir man1     # belongs in /usr/local/share/man/man1")]
struct ManArgs {
    /// Write one page per command into this directory instead of printing all pages
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

fn run_man(call: &Call) -> Result<u8> {
    let args: ManArgs = call.args()?;
    let mut pages = Vec::new();
    collect(&whole(), "zeta", &mut pages)?;
    let Some(dir) = args.dir else {
        let all: Vec<&str> = pages.iter().map(|(_, page)| page.trim_end()).collect();
        let all = all.join("\n");
        call.out.either(|| object(&pages, None), || all)?;
        return Ok(0);
    };
    let failed = |path: &Path, error: std::io::Error| {
        Error::new(Kind::Fault, format!("cannot write {}: {error}", path.display()))
    };
    std::fs::create_dir_all(&dir).map_err(|error| failed(&dir, error))?;
    for (name, page) in &pages {
        let path = dir.join(format!("{name}.1"));
        std::fs::write(&path, page).map_err(|error| failed(&path, error))?;
    }
    let text = || format!("{} pages in {}", pages.len(), dir.display());
    call.out.either(|| object(&pages, Some(&dir)), text)?;
    Ok(0)
}

fn object(pages: &[(String, String)], dir: Option<&Path>) -> Object {
    let mut object = Object::new();
    let page = |(name, text): &(String, String)| {
        let mut object = Object::new();
        object.text("name", name);
        match dir {
            Some(dir) => {
                let file = dir.join(format!("{name}.1"));
                object.text("file", &file.to_string_lossy());
            }
            None => {
                object.text("page", text);
            }
        }
        object.done()
    };
    object.list("pages", pages.iter().map(page));
    object
}

/// Builds the whole command line, every deferred part included.
fn whole() -> Command {
    let mut root = command().disable_help_subcommand(true);
    root.build();
    root
}

fn collect(command: &Command, name: &str, pages: &mut Vec<(String, String)>) -> Result<()> {
    let mut page = Vec::new();
    render(command, &mut page)
        .map_err(|error| Error::new(Kind::Fault, format!("cannot render {name}: {error}")))?;
    pages.push((name.to_owned(), String::from_utf8_lossy(&page).into_owned()));
    for verb in command.get_subcommands() {
        collect(verb, &format!("{name}-{}", verb.get_name()), pages)?;
    }
    Ok(())
}

/// Renders a page as the library does, but for the synopsis, which the library prints without the
/// values of options, and for what follows the options: it has lines of its own.
fn render(command: &Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    // The display name that building gave the verb ("zeta-lease-acquire") is the page's title.
    let man = Man::new(command.clone()).source(concat!("zeta ", env!("CARGO_PKG_VERSION")));
    man.render_title(page)?;
    man.render_name_section(page)?;
    page.extend_from_slice(synopsis(command).as_bytes());
    man.render_description_section(page)?;
    if command.get_arguments().any(|arg| !arg.is_hide_set()) {
        man.render_options_section(page)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(page)?;
    }
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    page.extend_from_slice(sections(&after).as_bytes());
    Ok(())
}

/// Returns the section of the synopsis: each option with its value.
fn synopsis(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let mut words = vec![format!("\\fB{name}\\fR")];
    let (places, options): (Vec<&Arg>, Vec<&Arg>) = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set())
        .partition(|arg| arg.is_positional());
    words.extend(options.iter().map(|arg| match arg.is_required_set() {
        true => arg.to_string(),
        false => format!("[{arg}]"),
    }));
    words.extend(places.iter().map(ToString::to_string));
    if command.has_subcommands() {
        words.push("<COMMAND>".to_owned());
    }
    format!(".SH SYNOPSIS\n{}\n", words.join(" ").replace('-', "\\-"))
}

/// Returns the text after the options as sections of a page, each line as it is.
fn sections(after: &str) -> String {
    let mut page = String::new();
    let mut section = "";
    for line in after.lines() {
        let wanted = match line {
            "Example:" | "Examples:" => "EXAMPLES",
            _ if section.is_empty() => "NOTES",
            _ => section,
        };
        if wanted != section {
            page.push_str(&format!(
                "{}.SH {wanted}\n.nf\n",
                if section.is_empty() { "" } else { ".fi\n" }
            ));
            section = wanted;
        }
        if !line.starts_with("Example") || !line.ends_with(':') {
            let line = line.strip_prefix("  ").unwrap_or(line);
            let safe = line.replace('\\', "\\e").replace('-', "\\-");
            let start = if safe.starts_with(['.', '\'']) { "\\&" } else { "" };
            page.push_str(&format!("{start}{safe}\n"));
        }
    }
    if !section.is_empty() {
        page.push_str(".fi\n");
    }
    page
}
