//! The contract of `--json`: every answer is one object on one line that fits its schema.
//!
//! [`check`] runs the built program and compares its answer with the schema that the same program
//! prints. Each other file of this folder checks the commands of one subject.

mod bus;
mod claim;
mod cluster;
mod contract;
mod creds;
mod docs;
mod files;
mod hooks;
mod install;
mod lease;
mod node;
mod post;
mod presence;
mod repair;
mod schemas;
mod units;
mod upkeep;
mod web;

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use jsonschema::Validator;
use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use crate::support::{Out, Sandbox, run};

/// The program's schemas by name, as `zeta schema --all` prints them.
fn exported() -> &'static BTreeMap<String, Value> {
    static EXPORTED: OnceLock<BTreeMap<String, Value>> = OnceLock::new();
    EXPORTED.get_or_init(|| {
        let out = run(Command::new(env!("CARGO_BIN_EXE_zeta")).args(["schema", "--all"]));
        assert_eq!(out.status, 0, "{out:?}");
        let all: Value = serde_json::from_str(&out.out).unwrap();
        let entries = all["schemas"].as_array().unwrap().iter();
        let entry =
            |entry: &Value| (entry["name"].as_str().unwrap().to_owned(), entry["schema"].clone());
        entries.map(entry).collect()
    })
}

/// The reasons why a value does not fit a schema; none if it fits.
pub fn misfits(name: &str, value: &Value) -> Vec<String> {
    static BUILT: OnceLock<BTreeMap<&str, Validator>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let build = |schema: &Value| {
            let options = jsonschema::draft202012::options().should_validate_formats(true);
            options.build(schema).unwrap()
        };
        exported().iter().map(|(name, schema)| (name.as_str(), build(schema))).collect()
    });
    let schema = built.get(name).unwrap_or_else(|| panic!("there is no schema of {name:?}"));
    let reason = |error: jsonschema::ValidationError<'_>| {
        format!("{name}, at {:?}: {error}", error.instance_path().as_str())
    };
    schema.iter_errors(value).map(reason).collect()
}

/// Gives write permission on the state directory to all users: every command refuses it then.
pub fn loosen(sandbox: &Sandbox) {
    std::fs::set_permissions(&sandbox.state, Permissions::from_mode(0o777)).unwrap();
}

/// Takes back what [`loosen`] gave.
pub fn tighten(sandbox: &Sandbox) {
    std::fs::set_permissions(&sandbox.state, Permissions::from_mode(0o700)).unwrap();
}

/// Makes the record of a lease one of an earlier boot of this machine.
pub fn age_by_a_boot(sandbox: &Sandbox, lease: &str) {
    let later = ("renewed_boot_ns", Some("8000000000000000"));
    sandbox.forge_keys(lease, &[("boot_id", Some("\"another\"")), later]);
}

/// A guard that this test is inside of, so that no command enters it.
pub struct Locked(File);

impl Locked {
    pub fn new(guard: &Path) -> Locked {
        let file = File::open(guard).unwrap();
        flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
        Locked(file)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        flock(&self.0, FlockOperation::Unlock).unwrap();
    }
}

/// The name of the schema for a call: its noun, or its noun and its verb.
fn name_of(args: &[&str]) -> String {
    let two = args.get(..2).map(|words| words.join(" ")).unwrap_or_default();
    if exported().contains_key(&two) { two } else { args[0].to_owned() }
}

/// Runs `zeta --json ARGS` in a sandbox and returns its answer. `args` begins with the noun.
///
/// The answer must be one object on one line of stdout (of stderr for `run`, `lease exec` and
/// `creds guard`), fit the schema of the command, and have keys in snake_case; the process must end
/// with `status`, and an error must say the same number.
#[track_caller]
pub fn check(sandbox: &Sandbox, args: &[&str], status: i32) -> Value {
    let out = sandbox.zeta(&[&["--json"], args].concat());
    judge(args, &out, status)
}

/// As [`check`], for a call that the test started itself, with the option `--json`.
#[track_caller]
pub fn judge(args: &[&str], out: &Out, status: i32) -> Value {
    assert_eq!(out.status, status, "zeta {args:?}: {out:?}");
    let lines: Vec<&str> = if is_wrapper(args) {
        // Stdout belongs to the other command; notes for people stand on stderr, too.
        out.err.split_inclusive('\n').filter(|line| line.starts_with('{')).collect()
    } else {
        out.out.split_inclusive('\n').collect()
    };
    assert!(lines.len() == 1 && lines[0].ends_with('\n'), "zeta {args:?}: not one line: {out:?}");
    judge_line(args, lines[0], status)
}

/// Reports whether the command runs another command, whose output is on stdout.
fn is_wrapper(args: &[&str]) -> bool {
    let wraps =
        matches!(args, ["lease", "exec", ..] | ["creds", "guard", ..] | ["post", "run", ..]);
    args[0] == "run" || wraps
}

/// Compares one line with the contract. A stream has several.
#[track_caller]
fn judge_line(args: &[&str], line: &str, status: i32) -> Value {
    let answer: Value = serde_json::from_str(line)
        .unwrap_or_else(|error| panic!("zeta {args:?} printed no JSON ({error}): {line:?}"));
    assert!(answer.is_object(), "zeta {args:?} printed no object: {line}");
    assert_eq!(misfits(&name_of(args), &answer), [""; 0], "zeta {args:?}: {line}");
    let mut odd = Vec::new();
    odd_keys(&answer, &mut odd);
    assert!(args[0] == "schema" || odd.is_empty(), "zeta {args:?}: keys {odd:?} in {line}");
    // A record that was read may have a key of that name.
    if answer.get("error").is_some() && (status != 0 || is_wrapper(args)) {
        assert_eq!(misfits("error", &answer), [""; 0], "zeta {args:?}: {line}");
        assert_eq!(answer["exit_status"], status, "zeta {args:?}: {line}");
    } else {
        // A list can be printed and still have found something unsafe.
        let found = answer.get("findings").and_then(Value::as_array).is_some_and(|f| !f.is_empty());
        assert!(
            status == 0 || found,
            "zeta {args:?} ended with {status} and says no error: {line}"
        );
    }
    answer
}

/// The keys that are not snake_case, but for those in payloads and in whole messages of the bus,
/// which the original defines.
fn odd_keys(value: &Value, odd: &mut Vec<String>) {
    let is_snake = |key: &str| {
        key.starts_with(|c: char| c.is_ascii_lowercase())
            && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    for (key, inner) in value.as_object().into_iter().flatten() {
        let of_a_message =
            ["expiresAt", "inReplyTo"].contains(&key.as_str()) && value.get("topic").is_some();
        if !is_snake(key) && !of_a_message {
            odd.push(key.clone());
        }
        if key != "payload" {
            odd_keys(inner, odd);
        }
    }
    value.as_array().into_iter().flatten().for_each(|inner| odd_keys(inner, odd));
}
