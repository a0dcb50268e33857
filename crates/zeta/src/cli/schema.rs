//! `zeta schema`: the JSON Schemas of what `--json` prints, and of files that an operator writes.

use clap::Args;
use serde_json::Value;
use zeta_core::json::Object;
use zeta_core::record::quote;
use zeta_os::error::{Error, Kind, Result};

use super::{Call, Noun};

pub(super) const NOUN: Noun = Noun {
    name: "schema",
    about: "Print the JSON Schemas of what --json prints, and of files that an operator writes",
    build: SchemaArgs::augment_args,
    verbs: &[],
    run,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Without a name the command lists the names that have a schema. 'error' is the schema of every error,
'warning' that of a line that a command writes to standard error while it keeps running, 'mcp' that
of the answers of the tools of 'zeta mcp'. 'file posts', 'file persona', 'file repair-policy' and
'file install-manifest' are those of files that an operator writes; TOML is checked as the JSON of
the same keys and values.

Examples:
  zeta schema
  zeta schema lease acquire
  zeta schema file posts
  zeta schema --all > zeta-schemas.json")]
struct SchemaArgs {
    /// A command, as in 'lease acquire', or error, or warning, or a file, as in 'file posts'
    #[arg(value_name = "NAME", num_args = 0..=2)]
    name: Vec<String>,
    /// All schemas in one object
    #[arg(long, conflicts_with = "name")]
    all: bool,
}

/// A schema's name and its text.
type Schema = (&'static str, &'static str);

/// Makes one line of the table below; the file of `lease acquire` is `lease-acquire.json`.
macro_rules! schema {
    ($name:literal, $file:literal) => {
        ($name, include_str!(concat!("../../schemas/", $file, ".json")))
    };
}

const SCHEMAS: &[Schema] = &[
    schema!("bus clean", "bus-clean"),
    schema!("bus inbox", "bus-inbox"),
    schema!("bus join", "bus-join"),
    schema!("bus leave", "bus-leave"),
    schema!("bus list", "bus-list"),
    schema!("bus publish", "bus-publish"),
    schema!("bus read", "bus-read"),
    schema!("bus send", "bus-send"),
    schema!("bus status", "bus-status"),
    schema!("bus subscribe", "bus-subscribe"),
    schema!("bus wait", "bus-wait"),
    schema!("bus watch", "bus-watch"),
    schema!("claim acquire", "claim-acquire"),
    schema!("claim check", "claim-check"),
    schema!("claim handover", "claim-handover"),
    schema!("claim list", "claim-list"),
    schema!("claim release", "claim-release"),
    schema!("claim renew", "claim-renew"),
    schema!("clean", "clean"),
    schema!("cluster bridge", "cluster-bridge"),
    schema!("cluster compact", "cluster-compact"),
    schema!("cluster config", "cluster-config"),
    schema!("cluster init", "cluster-init"),
    schema!("cluster join", "cluster-join"),
    schema!("cluster status", "cluster-status"),
    schema!("completions", "completions"),
    schema!("creds guard", "creds-guard"),
    schema!("creds inspect", "creds-inspect"),
    schema!("creds passphrase", "creds-passphrase"),
    schema!("creds persist", "creds-persist"),
    schema!("creds pick", "creds-pick"),
    schema!("creds restore", "creds-restore"),
    schema!("creds verify", "creds-verify"),
    schema!("demo", "demo"),
    schema!("doctor", "doctor"),
    schema!("error", "error"),
    schema!("file install-manifest", "file-install-manifest"),
    schema!("file persona", "file-persona"),
    schema!("file posts", "file-posts"),
    schema!("file repair-policy", "file-repair-policy"),
    schema!("flash plan", "flash-plan"),
    schema!("flash write", "flash-write"),
    schema!("guide", "guide"),
    schema!("heartbeat", "heartbeat"),
    schema!("hook install", "hook-install"),
    schema!("hook run", "hook-run"),
    schema!("hook status", "hook-status"),
    schema!("hook uninstall", "hook-uninstall"),
    schema!("init", "init"),
    schema!("install plan", "install-plan"),
    schema!("install run", "install-run"),
    schema!("install status", "install-status"),
    schema!("lease acquire", "lease-acquire"),
    schema!("lease break", "lease-break"),
    schema!("lease check", "lease-check"),
    schema!("lease exec", "lease-exec"),
    schema!("lease list", "lease-list"),
    schema!("lease release", "lease-release"),
    schema!("lease renew", "lease-renew"),
    schema!("lease show", "lease-show"),
    schema!("lease wait", "lease-wait"),
    schema!("log", "log"),
    schema!("man", "man"),
    schema!("marker clear", "marker-clear"),
    schema!("marker get", "marker-get"),
    schema!("marker list", "marker-list"),
    schema!("marker set", "marker-set"),
    schema!("mcp", "mcp"),
    schema!("mcp install", "mcp-install"),
    schema!("mcp uninstall", "mcp-uninstall"),
    schema!("node deregister", "node-deregister"),
    schema!("node list", "node-list"),
    schema!("node register", "node-register"),
    schema!("node show", "node-show"),
    schema!("node steward", "node-steward"),
    schema!("persona clear", "persona-clear"),
    schema!("persona get", "persona-get"),
    schema!("persona list", "persona-list"),
    schema!("persona set", "persona-set"),
    schema!("post explain", "post-explain"),
    schema!("post list", "post-list"),
    schema!("post plan", "post-plan"),
    schema!("post rotate", "post-rotate"),
    schema!("post run", "post-run"),
    schema!("post tick", "post-tick"),
    schema!("repair check", "repair-check"),
    schema!("repair list", "repair-list"),
    schema!("repair log", "repair-log"),
    schema!("run", "run"),
    schema!("schema", "schema"),
    schema!("signature audit", "signature-audit"),
    schema!("signature beats", "signature-beats"),
    schema!("signature check", "signature-check"),
    schema!("signature install-hook", "signature-install-hook"),
    schema!("signature uninstall-hook", "signature-uninstall-hook"),
    schema!("signature write", "signature-write"),
    schema!("status", "status"),
    schema!("unit install", "unit-install"),
    schema!("unit render", "unit-render"),
    schema!("unit verify", "unit-verify"),
    schema!("warning", "warning"),
    schema!("watch", "watch"),
    schema!("web", "web"),
];

/// Returns the first or second words of all names.
pub(super) fn words(at: usize) -> Vec<String> {
    let names = SCHEMAS.iter().filter_map(|(name, _)| name.split(' ').nth(at));
    names.map(str::to_owned).collect()
}

fn run(call: &Call) -> Result<u8> {
    let args: SchemaArgs = call.args()?;
    if args.all {
        let one = |(name, text): &Schema| {
            let mut object = Object::new();
            object.text("name", name).raw("schema", &on_one_line(text)?);
            Ok(object.done())
        };
        let all = SCHEMAS.iter().map(one).collect::<Result<Vec<String>>>()?;
        call.out.data(&Object::new().list("schemas", all).done())?;
        return Ok(0);
    }
    if args.name.is_empty() {
        let names = || SCHEMAS.iter().map(|(name, _)| *name);
        let object = || Object::new().list("schemas", names().map(quote)).clone();
        call.out.either(object, || names().collect::<Vec<_>>().join("\n"))?;
        return Ok(0);
    }
    let name = args.name.join(" ");
    let Some((_, text)) = SCHEMAS.iter().find(|(known, _)| *known == name) else {
        return Err(Error::usage(format!("there is no schema of {name:?}"))
            .hint("see the names that have one: zeta schema"));
    };
    match call.out.json {
        true => call.out.data(&on_one_line(text)?)?,
        false => call.out.data(text.trim_end())?,
    }
    Ok(0)
}

/// Returns a schema on one line, for `--json`; the files have many lines.
fn on_one_line(text: &str) -> Result<String> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| Error::new(Kind::Fault, format!("a schema is not JSON: {error}")))?;
    Ok(value.to_string())
}
