//! Claims on paths as the original sees them: each pattern is the claim of an item, by messages.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::place::original_holders;
use crate::support::{Out, Sandbox, run, wait_for};

/// A repository, a tree and a bus.
struct Repo {
    sandbox: Sandbox,
    top: PathBuf,
    bus: PathBuf,
}

impl Repo {
    fn new() -> Repo {
        let sandbox = Sandbox::new();
        let (top, bus) = (sandbox.dir.join("repo"), sandbox.dir.join("bus"));
        std::fs::create_dir_all(top.join(".git")).unwrap();
        Repo { sandbox, top, bus }
    }

    fn cmd(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.cmd(args);
        command.current_dir(&self.top);
        command
    }

    fn ends(&self, status: i32, args: &[&str]) -> Out {
        let out = run(&mut self.cmd(args));
        assert_eq!(out.status, status, "zeta {args:?}: {out:?}");
        out
    }

    /// The files of the claims.
    fn grants(&self) -> Vec<String> {
        let names = |dir: PathBuf| {
            let entries = std::fs::read_dir(dir).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        };
        let node = self.sandbox.node();
        let of_node: Vec<String> = names(node.clone());
        names(node.join(of_node.iter().find(|name| name.ends_with(".grants")).unwrap()))
    }

    /// Claims paths as `agent`; the token.
    fn claim(&self, agent: &str, args: &[&str]) -> String {
        let args = [&["claim", "acquire", "--as", agent], args].concat();
        let out = self.ends(0, &args);
        assert!(!out.err.contains("announced"), "{out:?}");
        out.out.trim().to_owned()
    }

    /// Who has a pattern to the original.
    fn original(&self, pattern: &str) -> Vec<String> {
        original_holders(&self.bus, &format!("path:repo:{pattern}"))
    }

    /// Item and holder of all claims that zeta lists.
    fn listed(&self) -> Vec<(String, String)> {
        let list = self.ends(0, &["claim", "list", "--json"]).out;
        let list: Value = serde_json::from_str(&list).unwrap();
        let text = |claim: &Value, key: &str| claim[key].as_str().unwrap().to_owned();
        let claims = list["claims"].as_array().unwrap().iter();
        claims.map(|claim| (text(claim, "item_id"), text(claim, "from"))).collect()
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(item, from)| ((*item).to_owned(), (*from).to_owned())).collect()
}

#[test]
fn a_claim_on_paths_is_an_item_of_the_original_for_each_pattern() {
    let repo = Repo::new();
    let paths = ["--path", "src/**", "--path", "README.md"];
    let token = repo.claim("ann", &paths);
    for pattern in ["src/", "README.md/"] {
        assert_eq!(repo.original(pattern), ["ann"], "{pattern}");
    }
    let (src, readme) = ("path:repo:src/", "path:repo:README.md/");
    assert_eq!(repo.listed(), pairs(&[(readme, "ann"), (src, "ann")]));
    let status = repo.ends(0, &["bus", "status"]).out;
    assert!(status.contains(src) && status.contains(readme), "{status}");
    let other = repo.ends(2, &["claim", "acquire", "path:repo:other", "--as", "bob"]);
    assert!(other.err.contains("--path PATTERN"), "two claims would have one name: {other:?}");
    // An item of the text of the pattern is another thing.
    let item = repo.ends(0, &["claim", "acquire", "src/**", "--as", "bob"]).out;
    assert_eq!(repo.listed(), pairs(&[(readme, "ann"), (src, "ann"), ("src/**", "bob")]));
    let renewed = repo.ends(0, &[&["claim", "renew", "--token", &token], &paths[..]].concat());
    assert_eq!((renewed.err.as_str(), repo.original("src/")), ("", vec!["ann".to_owned()]));
    repo.ends(0, &[&["claim", "release", "--token", &token], &paths[..]].concat());
    assert_eq!((repo.original("src/"), repo.original("README.md/")), (vec![], vec![]));
    assert_eq!(repo.listed(), pairs(&[("src/**", "bob")]));
    repo.ends(0, &["claim", "release", "src/**", "--token", item.trim()]);
    // At once again: the claim is the newer word.
    let token = repo.claim("ann", &paths);
    assert_eq!(repo.original("src/"), ["ann"]);
    // A release that was killed before it said so: the next one says it, and so does clean.
    let mut names =
        std::fs::read_dir(repo.sandbox.node()).unwrap().map(|name| name.unwrap().path());
    let grants = names.find(|path| path.extension().is_some_and(|end| end == "grants")).unwrap();
    let grant = std::fs::read_dir(grants).unwrap().next().unwrap().unwrap();
    std::fs::remove_file(grant.path()).unwrap();
    assert_eq!(repo.original("src/"), ["ann"]);
    assert_eq!(repo.listed(), []);
    repo.ends(5, &["claim", "release", "--path", "src/**", "--token", &token]);
    assert_eq!((repo.original("src/"), repo.original("README.md/").len()), (vec![], 1));
    repo.ends(0, &["bus", "clean", "--expired"]);
    assert_eq!(repo.original("README.md/"), [""; 0]);
}

#[test]
fn a_pattern_that_another_claim_of_the_agent_has_stays_announced() {
    let repo = Repo::new();
    let both = repo.claim("ann", &["--shared", "--path", "src/", "--path", "docs/"]);
    let one = repo.claim("ann", &["--shared", "--path", "src/"]);
    let bob = repo.claim("bob", &["--shared", "--path", "src/"]);
    let shared = ["claim", "release", "--shared", "--path", "src/"];
    repo.ends(0, &[&shared[..], &["--path", "docs/", "--token", &both]].concat());
    assert_eq!((repo.original("src/"), repo.original("docs/")), (repo.both(), vec![]));
    repo.ends(0, &[&shared[..], &["--token", &one]].concat());
    assert_eq!(repo.original("src/"), ["bob"]);
    repo.ends(0, &[&shared[..], &["--token", &bob]].concat());
    assert_eq!(repo.original("src/"), [""; 0]);
}

impl Repo {
    fn both(&self) -> Vec<String> {
        ["ann", "bob"].map(str::to_owned).to_vec()
    }
}

#[test]
fn claims_that_end_without_a_release_end_for_the_original_too() {
    let repo = Repo::new();
    let zeta = env!("CARGO_BIN_EXE_zeta");
    let claim = format!("{zeta} claim acquire --path src/ >&2");
    repo.ends(0, &["run", "--as", "ann", "--", "sh", "-c", &claim]);
    assert_eq!(repo.original("src/"), [""; 0], "the session has ended");
    // One that expires: the next claim ends it, also one of the same agent.
    repo.claim("ann", &["--path", "src/", "--ttl", "100ms"]);
    wait_for("it is free", || {
        let check = repo.cmd(&["claim", "check", "--path", "src/"]).output().unwrap();
        check.status.success()
    });
    let bob = repo.claim("bob", &["--path", "src/a"]);
    assert_eq!((repo.original("src/"), repo.original("src/a/")), (vec![], vec!["bob".to_owned()]));
    repo.ends(0, &["claim", "release", "--path", "src/a", "--token", &bob]);
    let killed = format!("{claim}; kill -9 $PPID; kill -9 $$");
    let mut command = repo.cmd(&["run", "--as", "ann", "--", "sh", "-c", &killed]);
    let out = run(&mut command);
    assert_ne!(out.status, 0, "{out:?}");
    assert_eq!(repo.original("src/"), ["ann"], "nobody has said that it ended");
    let ann = repo.claim("ann", &["--path", "src/"]);
    assert_eq!(repo.original("src/"), ["ann"], "the new claim is the newer word");
    repo.ends(0, &["claim", "release", "--path", "src/", "--token", &ann]);
    assert_eq!(repo.original("src/"), [""; 0]);
    repo.cmd(&["run", "--as", "ann", "--", "sh", "-c", &killed]).status().unwrap();
    assert_eq!(repo.original("src/"), ["ann"]);
    let bob = repo.claim("bob", &["--path", "src/"]);
    assert_eq!(repo.original("src/"), ["bob"], "a dead holder's word ends with the takeover");
    let killed = killed.replace("src/", "docs/");
    repo.cmd(&["run", "--as", "ann", "--", "sh", "-c", &killed]).status().unwrap();
    assert_eq!(repo.original("docs/"), ["ann"]);
    repo.ends(0, &["claim", "release", "--path", "src/", "--token", &bob]);
    assert_eq!(repo.original("docs/"), [""; 0], "and with the release of the last living one");
}

#[test]
fn no_claim_on_paths_waits_for_the_bus() {
    let repo = Repo::new();
    let unusable = repo.sandbox.dir.join("file");
    std::fs::write(&unusable, "").unwrap();
    let on = |bus: &Path, args: &[&str]| {
        let out = run(repo.cmd(args).env("ZETA_BUS_DIR", bus));
        assert_eq!(out.status, 0, "{args:?}: {out:?}");
        out
    };
    let out = on(&unusable, &["claim", "acquire", "--path", "src/"]);
    assert!(out.err.contains("not announced"), "{out:?}");
    on(&unusable, &["claim", "release", "--path", "src/", "--token", out.out.trim()]);
    // A record without room for the name of the bus is granted, and not announced.
    let path = format!("{}x", "d/".repeat(60));
    let many: Vec<String> = (0..16).map(|n| format!("--path={n}{}", path.repeat(2))).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = run(&mut repo.cmd(&[&["claim", "acquire"], &many[..13]].concat()));
    assert!(matches!(long.status, 0 | 2), "{long:?}");
    // A pattern that is too long for an item is cut, and still one item.
    let deep = format!("deep/{}", "abc/".repeat(50));
    let token = repo.claim("ann", &["--path", &deep]);
    let (item, _) = repo.listed().into_iter().find(|(_, from)| from == "ann").unwrap();
    assert!(item.starts_with("path:repo:deep/abc/") && item.contains('~'), "{item}");
    assert_eq!(original_holders(&repo.bus, &item), ["ann"]);
    repo.ends(0, &["claim", "release", "--path", &deep, "--token", &token]);
    assert_eq!(original_holders(&repo.bus, &item), [""; 0]);
}

#[test]
fn a_claim_on_paths_is_handed_over_without_a_moment_in_which_it_is_free() {
    let repo = Repo::new();
    let src = ["--path", "src/", "--path", "docs/"];
    let token = repo.claim("ann", &src);
    let to_bob = [&["claim", "handover", "--as", "ann", "--to", "bob"], &src[..]].concat();
    repo.ends(3, &to_bob);
    let next = repo.ends(0, &[&to_bob[..], &["--token", &token]].concat()).out;
    assert!(next.trim().parse::<u64>().unwrap() > token.parse().unwrap(), "{next}");
    let named = format!("{:024x}.lock", next.trim().parse::<u64>().unwrap());
    assert!(repo.grants().contains(&named), "{named}: {:?}", repo.grants());
    assert_eq!((repo.original("src/"), repo.original("docs/").len()), (vec!["bob".into()], 1));
    assert_eq!(repo.listed().iter().map(|(_, from)| from.as_str()).collect::<Vec<_>>(), ["bob"; 2]);
    let check = ["claim", "check", "--path", "src/", "--path", "docs/"];
    repo.ends(5, &[&check[..], &["--token", &token]].concat());
    repo.ends(0, &[&check[..], &["--token", next.trim()]].concat());
    repo.ends(3, &[&check[..], &["--as", "ann"]].concat());
    repo.ends(3, &["claim", "acquire", "--path", "src/a", "--as", "bob"]);
    let yours = repo.ends(0, &[&check[..], &["--as", "bob"]].concat());
    assert!(yours.out.contains("yours"), "its name is enough until it acquires: {yours:?}");
    // The new holder binds it to its session, and the claim ends with that.
    let zeta = env!("CARGO_BIN_EXE_zeta");
    let bind = format!("{zeta} claim acquire --path src/ --path docs/ && {zeta} claim list --json");
    let out = repo.ends(0, &["run", "--as", "bob", "--", "sh", "-c", &bind]).out;
    let (bound, list) = out.trim().split_once('\n').unwrap();
    assert!(bound.parse::<u64>().unwrap() > next.trim().parse().unwrap(), "{out}");
    assert!(list.contains("\"session\""), "{list}");
    assert_eq!((repo.listed(), repo.original("src/")), (vec![], vec![]));
    repo.ends(5, &[&["claim", "release", "--token", next.trim()], &src[..]].concat());
    // Of the claims of one agent, the one that is handed over leaves the other one.
    let one = repo.claim("ann", &["--shared", "--path", "src/"]);
    repo.claim("ann", &["--shared", "--path", "src/", "--path", "x"]);
    let args = ["claim", "handover", "--shared", "--path", "src/", "--to", "bob", "--token", &one];
    repo.ends(0, &args);
    assert_eq!(repo.original("src/"), repo.both());
}
