//! Hints are safe: what a text proposes is done here, word for word. It changes nothing but what is
//! zeta's, and leads to no second text that would.
//!
//! `cargo xtask tidy` reads every text of the code for programs that change files; this module runs
//! them, and asks the program itself whether each command of its own exists.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Place;
use crate::support::{Out, run};

/// What cannot be run here, by how it begins: it needs root and changes the machine, it signals a
/// process, or it begins a sandbox.
const NOT_RUN: [&str; 8] =
    ["sudo ", "gpasswd ", "systemd-", "sysctl ", "groupadd ", "kill ", "bwrap ", "unshare "];

/// The programs that a text may propose.
const PROGRAMS: [&str; 14] = [
    "zeta", "export", "env", "chmod", "rm", "mv", "chown", "getfacl", "getfattr", "df", "sudo",
    "kill", "gpasswd", "sysctl",
];

/// Situations that end with a hint: what is prepared, and the call. `$O` is a person's directory.
const SITUATIONS: [(&str, &str); 46] = [
    // A directory that is not zeta's, under every mode.
    ("chmod 755 $O", "$Z --state-dir $O status"),
    ("chmod 755 $O", "$Z --state-dir $O lease acquire a"),
    ("chmod 700 $O", "$Z --state-dir $O lease acquire a"),
    ("chmod 700 $O", "$Z --state-dir $O run -- true"),
    ("chmod 777 $O", "$Z --state-dir $O doctor"),
    ("chmod 700 $O", "$Z --state-dir $O doctor; $Z --state-dir $O doctor --fix"),
    ("chmod 755 $O", "$Z --state-dir $O doctor; $Z --state-dir $O doctor --fix"),
    ("chmod 700 $O", "$Z --state-dir $O init; $Z --state-dir $O --node n init"),
    ("chmod 777 $O", "$Z --state-dir $O/state lease acquire a"),
    ("chmod 770 $O", "$Z --state-dir $O/state run -- true"),
    ("chmod 755 $O", "$Z --bus-dir $O bus list"),
    ("chmod 777 $O", "$Z --bus-dir $O/bus bus list"),
    ("chmod 500 $O", "$Z --state-dir $O lease acquire a"),
    ("mkdir -m 755 $O/empty", "$Z --state-dir $O/empty lease acquire a"),
    ("mkdir -m 700 $O/empty", "$Z --state-dir $O/empty lease acquire a"),
    ("ln -s . $O/link", "$Z --state-dir $O/link/state lease acquire a"),
    ("ln -s . $O/link", "$Z --state-dir $O/link lease acquire a"),
    (":", "$Z --state-dir $O/precious lease acquire a"),
    (":", "$Z --state-dir $O/precious/state lease acquire a"),
    (":", "$Z --state-dir $O/none/state lease acquire a"),
    ("setfacl -m u:12399:rwx $O; chmod 700 $O", "$Z --state-dir $O lease acquire a"),
    ("ln $O/precious $O/second; mkdir -p $D/state", "$Z doctor"),
    // zeta's own, damaged or in a wrong mode.
    ("$Z init; chmod 755 $D/state", "$Z lease acquire a"),
    ("$Z init; chmod 770 $D/state", "$Z lease acquire a"),
    ("$Z init; rm -r $D/state/nodes", "$Z lease acquire a"),
    ("$Z init; rm -r $D/state/nodes", "$Z doctor"),
    ("$Z init; rm $D/state/README.md $D/state/local-node", "$Z doctor"),
    ("$Z init; echo x >$D/state/local-node.x; echo ' ' >$D/state/local-node", "$Z lease list"),
    ("$Z init; ln -s $O/precious $(echo $D/state/nodes/*)/a.lock", "$Z lease acquire a"),
    ("$Z init; echo x >$(echo $D/state/nodes/*)/a.lock", "$Z lease acquire a; $Z lease show a"),
    ("$Z init; cp $O/precious $(echo $D/state/nodes/*)/m.marker", "$Z status; $Z doctor"),
    ("$Z init; mkdir $D/.state.new-0123456789abcdef0123456789abcdef", "$Z doctor"),
    (
        "$Z bus publish --from a --topic x --topic-ttl 1h --payload 1; chmod 755 $D/bus",
        "$Z bus list",
    ),
    (
        "$Z bus publish --from a --topic x --topic-ttl 1h --payload 1; $Z bus subscribe --as b; \
         echo x >$D/bus/seen-b.json",
        "$Z bus subscribe --as b",
    ),
    // What stands where the original would put the lock of an item.
    ("$Z bus send b x; mkdir $D/bus/acquire-T-1.lock", "$Z claim acquire T-1 --as one"),
    ("$Z bus send b x; ln -s $O/precious $D/bus/acquire-T-1.lock", "$Z claim acquire T-1"),
    ("$Z bus send b x; mkfifo $D/bus/acquire-T-1.lock", "$Z claim acquire T-1 --as one"),
    // Leases, claims, messages.
    ("$Z lease acquire a --as one", "$Z lease acquire a --as two; $Z lease acquire a --wait 1ms"),
    ("$Z lease acquire a --as one", "$Z lease renew a --token 1; $Z lease check a --token 1"),
    ("$Z lease acquire a --as one --ttl 1ms --grace 0", "$Z status; $Z doctor; $Z lease renew a"),
    ("$Z claim acquire --item T-1 --as one", "$Z claim acquire --item T-1 --as two; $Z status"),
    ("$Z claim acquire --item T-1 --as one --ttl 1ms", "$Z claim release --item T-1 --as two"),
    (":", "$Z bus publish --topic nonsense --from a --payload '{}'; $Z bus read nothing"),
    ("$Z persona set p --task t; $Z marker set m", "$Z status; $Z marker clear x"),
    ("($Z run --as a -- sh -c 'kill -9 $PPID'); true", "$Z status; $Z doctor; $Z clean"),
    (":", "$Z nonsense; $Z lease; $Z schema nonsense; $Z --node none status; $Z node show"),
];

/// What a directory has in it: owner, mode, content and inode of everything.
type Seen = BTreeMap<PathBuf, (u32, u32, u64, Vec<u8>)>;

fn snapshot(path: &Path) -> Seen {
    let mut seen = Seen::new();
    let Ok(meta) = std::fs::symlink_metadata(path) else { return seen };
    let content = if meta.is_file() { std::fs::read(path).unwrap() } else { Vec::new() };
    seen.insert(path.to_owned(), (meta.uid(), meta.mode(), meta.ino(), content));
    if meta.is_dir() {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        seen.extend(entries.flat_map(|entry| snapshot(&entry.path())));
    }
    seen
}

/// The commands in a text: in single quotes, or the rest behind a colon.
fn commands(text: &str) -> Vec<String> {
    let is_command = |text: &str| {
        let mut words = text.split(' ');
        words.next().is_some_and(|word| PROGRAMS.contains(&word)) && words.next().is_some()
    };
    let quoted = text.split('\'').skip(1).step_by(2);
    let behind = text.match_indices(": ").map(|(at, _)| &text[at + 2..]);
    let from_start = std::iter::once(text);
    let found = quoted.chain(behind).chain(from_start).filter(|text| is_command(text));
    // `zeta never repairs …` is prose; a noun of zeta follows in a command.
    let nouns = NOUNS.split(' ').collect::<Vec<_>>();
    let real = |text: &&str| match text.strip_prefix("zeta ") {
        Some(rest) => rest
            .split([' ', ',', ';'])
            .next()
            .is_some_and(|word| nouns.contains(&word) || word.starts_with('-')),
        None => true,
    };
    let end = |text: &str| {
        let text = text.split("; ").next().unwrap_or_default();
        text.split(", ").next().unwrap_or_default().trim_end().to_owned()
    };
    found.filter(real).map(end).collect()
}

const NOUNS: &str = "lease claim bus run status heartbeat marker persona init doctor clean node \
                     creds guide schema demo completions man help";

/// The lines of an answer that propose something: hints, and the remedies of the doctor.
fn hints(out: &Out) -> Vec<String> {
    let both = format!("{}\n{}", out.out, out.err);
    both.lines()
        .filter_map(|line| line.split_once("-> "))
        .map(|(_, hint)| hint.to_owned())
        .collect()
}

/// Reports whether a text proposes to change something that is not zeta's.
fn changes_what_is_not_ours(place: &Place, text: &str) -> bool {
    let word = |word: &str| text.split([' ', ':', '\'']).any(|found| found == word);
    let changing = ["chmod", "chown", "mv", "rm", "setfacl"].into_iter().any(word)
        || ["move it", "remove it", "delete it", "away"].iter().any(|words| text.contains(words));
    let ours = ["/state", "/bus", "/.state.new-"]
        .iter()
        .any(|name| text.contains(&format!("{}{name}", place.dir.display())));
    changing && !ours && !text.contains("rm -r it")
}

#[test]
fn what_a_hint_proposes_changes_nothing_outside_and_leads_to_no_such_hint() {
    let (mut ran, mut not_run) = (BTreeSet::new(), BTreeSet::new());
    for (prepare, call) in SITUATIONS {
        let place = Place::new();
        let outside = place.dir.join("outside");
        let script = format!(
            "O=$D/outside; mkdir -m 700 $O && echo precious >$O/precious && mkdir $O/src || exit 9
             {{ {prepare}; }} >$D/said 2>&1"
        );
        assert_ne!(place.script(&script).status, 9, "{prepare}");
        let before = snapshot(&outside);
        let told = place.script(&format!("O=$D/outside; {call}"));
        assert_eq!(snapshot(&outside), before, "{prepare}; {call}: the call itself changed it");
        for hint in hints(&told) {
            let what = format!("{prepare}; {call}: {hint:?}");
            assert!(!changes_what_is_not_ours(&place, &hint), "{what}");
            for command in commands(&hint) {
                if NOT_RUN.iter().any(|start| command.starts_with(start)) {
                    not_run.insert(command);
                    continue;
                }
                // A place that is named is only looked at: another tree of this user may be there.
                let command = match command.starts_with("export ") {
                    true => format!("{command}; zeta status"),
                    false => command,
                };
                let script = format!("O=$D/outside; zeta() {{ $Z \"$@\"; }}; {command}");
                let mut limited =
                    place.command(&format!("exec timeout 2 sh -c '{}'", quoted(&script)));
                let out = run(&mut limited);
                assert_eq!(snapshot(&outside), before, "{what}: it changed what is not zeta's");
                for second in hints(&out) {
                    assert!(!changes_what_is_not_ours(&place, &second), "{what}: then {second:?}");
                }
                assert!(!out.err.contains("panicked"), "{what}: {out:?}");
                ran.insert(command);
            }
        }
        // So that its user can remove it.
        let _ = place.script("chmod 700 $D/outside");
    }
    assert!(ran.len() >= 20, "too few hints were met: {ran:#?}; not run: {not_run:#?}");
}

fn quoted(text: &str) -> String {
    text.replace('\'', r"'\''")
}

#[test]
fn each_command_of_zeta_in_a_text_exists_with_its_options() {
    let place = Place::new();
    let mut helps: BTreeMap<String, String> = BTreeMap::new();
    let mut help = |words: &str| {
        let made = || place.script(&format!("$Z {words} --help")).out;
        helps.entry(words.to_owned()).or_insert_with(made).clone()
    };
    let mut seen = BTreeSet::new();
    for text in texts() {
        for command in commands(&text) {
            let Some(rest) = command.strip_prefix("zeta ") else { continue };
            let words: Vec<&str> = rest.split(' ').collect();
            let plain = |word: &str| {
                !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
            };
            let Some(noun) = words.first().filter(|word| plain(word) && !word.starts_with('-'))
            else {
                continue;
            };
            let of_noun = help(noun);
            assert!(!of_noun.is_empty(), "{text:?}: there is no {noun:?}");
            let verb = words.get(1).filter(|word| plain(word) && !word.starts_with('-'));
            let of_verb = match verb {
                Some(verb) if of_noun.contains("Commands:") => {
                    let found = help(&format!("{noun} {verb}"));
                    assert!(!found.is_empty(), "{text:?}: {noun} has no verb {verb:?}");
                    found
                }
                _ => of_noun,
            };
            for option in words.iter().filter(|word| word.starts_with("--") && word.len() > 2) {
                let option = option.split(['=', ',', ';', ')']).next().unwrap();
                assert!(of_verb.contains(option), "{text:?}: {noun} {verb:?} has no {option}");
            }
            seen.insert(command);
        }
    }
    assert!(seen.len() > 40, "too few commands were found: {seen:#?}");
}

/// All string literals of the program that can be a hint.
fn texts() -> Vec<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut texts = Vec::new();
    let mut dirs = vec![crates.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() && name != "tests" && name != "target" && name != "demo" {
                dirs.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") && name != "tests.rs" {
                let code = std::fs::read_to_string(&path).unwrap();
                let code = code.split("#[cfg(test)]").next().unwrap();
                texts.extend(literals(code).into_iter().filter(|text| !text.contains('\n')));
            }
        }
    }
    texts
}

/// The string literals of a file, lines joined; comments have none.
fn literals(code: &str) -> Vec<String> {
    let without_comments: Vec<&str> =
        code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = without_comments.join("\n").replace("'\"'", "").replace("\\\"", "\u{1}");
    let parts = code.split('"').skip(1).step_by(2);
    let whole = |part: &str| {
        let lines: Vec<&str> = part.split("\\\n").map(str::trim_start).collect();
        lines.concat().replace('\u{1}', "\"")
    };
    parts.map(whole).collect()
}
