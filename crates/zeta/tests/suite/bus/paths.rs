//! Claims on paths: who edits which files, over all worktrees of a repository.

use std::fs::File;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{
    Out, Sandbox, find, finish, one_is_faster, run, signal, skip, test_name, wait_for,
};
use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(10);

/// A repository with a second worktree, made of the files by which git knows them.
struct Repo {
    sandbox: Sandbox,
    top: PathBuf,
    second: PathBuf,
}

impl Repo {
    fn new() -> Repo {
        let sandbox = Sandbox::new();
        let (top, second) = (sandbox.dir.join("repo"), sandbox.dir.join("second"));
        let of_second = top.join(".git/worktrees/second");
        for dir in [&top.join("src"), &top.join("docs"), &second.join("src"), &of_second] {
            std::fs::create_dir_all(dir).unwrap();
        }
        std::fs::write(top.join("src/a.py"), "").unwrap();
        std::fs::write(second.join(".git"), format!("gitdir: {}\n", of_second.display())).unwrap();
        std::fs::write(of_second.join("commondir"), "../..\n").unwrap();
        Repo { sandbox, top, second }
    }

    fn cmd(&self, dir: &Path, args: &[&str]) -> Command {
        let mut command = self.sandbox.cmd(args);
        command.current_dir(dir);
        command
    }

    fn ends(&self, status: i32, dir: &Path, args: &[&str]) -> Out {
        let out = run(&mut self.cmd(dir, args));
        assert_eq!(out.status, status, "in {}: zeta {args:?}: {out:?}", dir.display());
        out
    }

    /// Runs `zeta claim VERB --path EACH MORE` at the top; what it printed.
    fn claim(&self, status: i32, verb: &str, paths: &[&str], more: &[&str]) -> Out {
        let mut args = vec!["claim", verb];
        paths.iter().for_each(|path| args.extend(["--path", path]));
        args.extend(more);
        self.ends(status, &self.top, &args)
    }

    fn token(&self, paths: &[&str], more: &[&str]) -> String {
        self.claim(0, "acquire", paths, more).out.trim().to_owned()
    }

    /// The index of the claims, wherever it is.
    fn index(&self) -> PathBuf {
        let guards = std::fs::read_dir(self.sandbox.node().join(".guard")).unwrap();
        let mut guards = guards.map(|guard| guard.unwrap().path());
        guards.find(|guard| guard.to_string_lossy().contains("/paths.")).unwrap().join("index")
    }
}

#[test]
fn claims_that_share_a_path_exclude_each_other_in_all_worktrees() {
    let repo = Repo::new();
    let ann = repo.token(&["src/**", "README.md"], &["--as", "ann"]);
    let refused = repo.claim(3, "acquire", &["src/a.py"], &["--as", "bob"]);
    assert!(refused.err.contains("ann") && refused.err.contains("--wait"), "{refused:?}");
    repo.claim(3, "acquire", &["docs/x", "README.md"], &["--as", "bob"]);
    repo.claim(3, "acquire", &["**/*.py"], &["--as", "bob"]);
    repo.claim(0, "check", &["docs/x"], &[]);
    let bob = repo.token(&["docs/", "srcs/x"], &["--as", "bob"]);
    let args = ["claim", "acquire", "--path", "src/new.py", "--as", "cat"];
    repo.ends(3, &repo.second, &args);
    repo.ends(3, &repo.second, &[&args[..], &["--this-worktree"]].concat());
    let listed = repo.ends(0, &repo.top, &["claim", "list"]).out;
    assert!(listed.contains("path:repo:src/ ") && listed.contains("path:repo:docs/ "), "{listed}");
    repo.claim(5, "release", &["src/**", "README.md"], &["--token", "7"]);
    repo.claim(2, "release", &["src/**"], &["--token", &ann]);
    repo.claim(3, "release", &["src/**", "README.md"], &["--as", "ann"]);
    repo.claim(0, "check", &["src/a.py"], &["--token", &ann]);
    repo.claim(0, "release", &["src/**", "README.md"], &["--token", &ann]);
    repo.claim(5, "check", &["src/a.py"], &["--token", &ann]);
    repo.claim(0, "acquire", &["src/a.py"], &["--as", "cat"]);
    repo.claim(0, "renew", &["docs/", "srcs/x"], &["--token", &bob, "--ttl", "1h"]);
}

#[test]
fn shared_claims_stand_beside_shared_ones_alone() {
    let repo = Repo::new();
    let ann = repo.token(&["src/"], &["--shared", "--as", "ann"]);
    repo.token(&["src/a.py"], &["--shared", "--as", "bob"]);
    let refused = repo.claim(3, "acquire", &["src/a.py"], &["--as", "cat"]);
    assert!(refused.err.contains("ann") && refused.err.contains("bob"), "{refused:?}");
    repo.claim(0, "release", &["src/"], &["--token", &ann]);
    repo.claim(3, "acquire", &["src/a.py"], &["--as", "cat"]);
    repo.claim(0, "acquire", &["src/b.py"], &["--as", "cat"]);
}

#[test]
fn a_claim_of_one_worktree_counts_in_that_one_and_for_all_worktrees() {
    let repo = Repo::new();
    let at = |dir: &Path, status, verb: &str, more: &[&str]| {
        let args = [&["claim", verb, "--path", "src/a.py"], more].concat();
        repo.ends(status, dir, &args)
    };
    let (top, second, one) = (&repo.top, &repo.second, "--this-worktree");
    let token = at(top, 0, "acquire", &["--as", "ann", one]).out.trim().to_owned();
    at(second, 0, "acquire", &["--as", "bob", one]);
    for (dir, more) in [(top, &[][..]), (top, &[one]), (second, &[]), (second, &[one])] {
        let held = at(dir, 3, "check", more);
        assert!(held.err.contains(&format!("in the worktree {}", dir.display())), "{held:?}");
        at(dir, 3, "acquire", &[&["--as", "cat"], more].concat());
    }
    // Its owner need not say again of which worktree it is.
    at(top, 0, "renew", &["--token", &token]);
    at(top, 0, "release", &["--token", &token]);
    at(top, 0, "acquire", &["--as", "cat", one]);
    at(top, 3, "check", &[]);
    let dan = repo.token(&["docs/"], &["--as", "dan"]);
    repo.claim(3, "acquire", &["docs/x"], &["--as", "eve", one]);
    repo.claim(0, "release", &["docs/"], &["--token", &dan]);
}

#[test]
fn a_file_is_claimed_alone_and_any_other_path_with_what_lies_below_it() {
    let repo = Repo::new();
    symlink("src/a.py", repo.top.join("to_file")).unwrap();
    symlink("src", repo.top.join("to_dir")).unwrap();
    let own = ["--as", "ann"];
    let granted = |paths: &[&str]| {
        let token = repo.token(paths, &own);
        let check = ["claim", "check", "--json", "--token", &token];
        let answer: serde_json::Value =
            serde_json::from_str(&repo.ends(0, &repo.top, &check).out).unwrap();
        repo.claim(0, "release", paths, &["--token", &token]);
        answer["paths"].to_string()
    };
    for (text, shown) in [
        ("src/a.py", "src/a.py"),
        ("to_file", "src/a.py"),
        ("src/a.py/", "src/a.py/"),
        ("src/a.py/**", "src/a.py/"),
        ("src", "src/"),
        ("src/", "src/"),
        ("src/**", "src/"),
        ("to_dir", "src/"),
        ("new", "new/"),
        ("new/**", "new/"),
        ("new\\*", "new\\\\*/"),
        ("src/*", "src/*"),
    ] {
        assert_eq!(granted(&[text]), format!("[\"{shown}\"]"), "{text}");
    }
    // All documents, and a file that is none.
    let docs = repo.token(&["**/*.md"], &own);
    repo.claim(0, "acquire", &["src/a.py"], &["--as", "bob"]);
    for path in ["src/", "src/new.py", "README.md", ":/"] {
        repo.claim(3, "acquire", &[path], &["--as", "bob"]);
        repo.claim(3, "check", &[path], &[]);
    }
    std::fs::write(repo.top.join("src/new.py"), "").unwrap();
    repo.claim(0, "acquire", &["src/new.py"], &["--as", "bob"]);
    repo.claim(0, "release", &["**/*.md"], &["--token", &docs]);
}

#[test]
fn a_claim_is_found_by_the_same_words_whatever_its_path_has_become() {
    let repo = Repo::new();
    let words = ["new", "src/a.py", "docs"];
    let mut token = repo.token(&words, &["--as", "ann"]);
    let below = ["new", "new/x", "docs", "docs/x", "ne*", "src/a.py"];
    for change in ["nothing", "make", "turn", "remove"] {
        let [new, file, docs] = words.map(|path| repo.top.join(path));
        match change {
            "make" => std::fs::write(&new, "").unwrap(),
            "turn" => {
                std::fs::remove_file(&new).unwrap();
                std::fs::remove_file(&file).unwrap();
                std::fs::remove_dir(&docs).unwrap();
                [&new, &file].into_iter().for_each(|dir| std::fs::create_dir(dir).unwrap());
                std::fs::write(&docs, "").unwrap();
            }
            "remove" => std::fs::remove_dir(&file).unwrap(),
            _ => {}
        }
        for path in below {
            repo.claim(3, "acquire", &[path], &["--as", "bob"]);
            repo.claim(3, "check", &[path], &[]);
        }
        repo.claim(0, "check", &["newer"], &[]);
        // A file was claimed alone.
        repo.claim(0, "check", &["src/a.py/b"], &[]);
        for words in [words, ["docs/", "new/**", "src/a.py/"]] {
            repo.claim(0, "renew", &words, &["--token", &token]);
            repo.claim(0, "check", &words, &["--token", &token]);
        }
        let next = repo.claim(0, "handover", &words, &["--token", &token, "--to", "ann"]).out;
        token = next.trim().to_owned();
    }
    repo.claim(0, "release", &words, &["--token", &token]);
    repo.claim(0, "acquire", &["new/x"], &["--as", "bob"]);
    // An agent that claims a file again after it made it has one claim.
    let zeta = env!("CARGO_BIN_EXE_zeta");
    let work = format!(
        "set -e; {zeta} claim acquire --path later; touch later; \
         {zeta} claim acquire --path later; {zeta} claim release --path later; {zeta} claim list"
    );
    let out = run(&mut repo.cmd(&repo.top, &["run", "--as", "cat", "--", "sh", "-c", &work]));
    let tokens: Vec<&str> = out.out.lines().take(2).collect();
    assert!(out.status == 0 && tokens[0] == tokens[1] && !out.out.contains(":later"), "{out:?}");
}

#[test]
fn a_claim_ends_at_a_repository_within_another() {
    let repo = Repo::new();
    std::fs::create_dir_all(repo.top.join("sub/.git")).unwrap();
    repo.token(&[":/"], &["--as", "ann"]);
    for path in ["sub", "sub/", "sub/f", "sub/*.rs", "./sub/new/f"] {
        for verb in ["acquire", "check"] {
            let out = repo.claim(2, verb, &[path], &["--as", "ann"]);
            assert!(out.err.contains(&format!("within {}/sub", repo.top.display())), "{out:?}");
        }
    }
    let sub = repo.top.join("sub");
    repo.ends(0, &sub, &["claim", "acquire", "--path", "f", "--as", "bob"]);
    repo.ends(3, &sub, &["claim", "check", "--path", "."]);
    // What was claimed before the other repository was made can be looked at and given back.
    let token = repo.ends(0, &sub, &["claim", "acquire", "--path", "new", "--as", "bob"]).out;
    std::fs::create_dir_all(sub.join("new/.git")).unwrap();
    repo.ends(0, &sub, &["claim", "check", "--token", token.trim()]);
    let release = ["claim", "release", "--path", "new", "--token", token.trim()];
    repo.ends(0, &sub, &release);
}

#[test]
fn what_was_handed_over_moves_into_the_session_that_acquires_one_of_its_paths() {
    let repo = Repo::new();
    for paths in [&["src/", "docs/"][..], &["lib"]] {
        let token = repo.token(paths, &["--as", "ann"]);
        repo.claim(0, "handover", &[], &["--to", "vera", "--token", &token]);
    }
    // Without a session no call could show later that the claim is its own.
    let refused = repo.claim(3, "acquire", &["src/a"], &["--as", "vera"]);
    assert!(refused.err.contains("handed over to vera"), "{refused:?}");
    assert!(refused.err.contains("acquire --path docs/ --path src/"), "{refused:?}");
    let zeta = env!("CARGO_BIN_EXE_zeta");
    let work = format!(
        "set -e; {zeta} claim check --path src/a; {zeta} claim acquire --path src/a >&2; \
         {zeta} claim check --path docs/x; {zeta} claim release --path src --path docs; \
         {zeta} claim check --path src/b; {zeta} claim check --path src/a"
    );
    let mut session = repo.cmd(&repo.top, &["run", "--as", "vera", "--", "sh", "-c", &work]);
    let out = run(&mut session);
    assert_eq!(out.status, 0, "{out:?}");
    let answers: Vec<&str> = out.out.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(answers, ["yours:", "yours:", "free", "yours:"], "{out:?}");
    // What no call of the session asked for is still the name's.
    repo.claim(3, "check", &["lib/x"], &["--as", "bob"]);
    repo.claim(0, "check", &["src/a"], &["--as", "bob"]);
    repo.claim(0, "acquire", &["lib"], &["--as", "vera"]);
}

#[test]
fn the_token_of_a_claim_is_enough_and_the_order_of_its_paths_does_not_count() {
    let repo = Repo::new();
    let token = repo.token(&["a", "b"], &["--as", "ann", "--shared"]);
    let own = ["--token", token.as_str()];
    assert!(repo.claim(0, "check", &[], &own).out.contains("yours: ann"));
    repo.claim(0, "renew", &[], &own);
    repo.claim(0, "renew", &["b", "a"], &own);
    let other = repo.claim(2, "acquire", &["b", "a"], &own);
    assert!(other.err.contains("a/ b/ (shared)"), "{other:?}");
    assert!(repo.claim(2, "release", &["a"], &own).err.contains("a/ b/"));
    repo.claim(2, "release", &[], &["--token", &token, "--note", "-"]);
    repo.claim(0, "release", &[], &own);
    let gone = repo.claim(5, "release", &[], &own);
    assert!(gone.err.contains(&format!("no claim on paths of repo has token {token}")), "{gone:?}");
    repo.claim(5, "check", &[], &own);
    repo.claim(2, "acquire", &[], &own);
    // A claim that has run out can be renewed, and a call with a token that is gone says so.
    let late = repo.token(&["late"], &["--as", "ann", "--ttl", "100ms"]);
    wait_for("it runs out", || {
        let check = repo.cmd(&repo.top, &["claim", "check", "--token", &late]).output().unwrap();
        let text = String::from_utf8(check.stderr).unwrap();
        check.status.code() == Some(5) && text.contains(&format!("claim renew --token {late}"))
    });
    repo.claim(0, "renew", &[], &["--token", &late, "--ttl", "1h"]);
    repo.claim(0, "check", &["late/x"], &["--token", &late]);
    let new = repo.claim(0, "acquire", &["new"], &["--token", &token]);
    assert!(new.err.contains(&format!("token {token} had ended")), "{new:?}");
    // In a session, too.
    let zeta = env!("CARGO_BIN_EXE_zeta");
    let work = format!(
        "set -e; {zeta} claim acquire --path p --path q --shared; {zeta} claim release --path q \
         --path p; {zeta} claim list"
    );
    let mut session = repo.cmd(&repo.top, &["run", "--as", "bob", "--", "sh", "-c", &work]);
    let out = run(&mut session);
    assert!(out.status == 0 && !out.out.contains("path:repo:p/ "), "{out:?}");
}

/// Runs a script in the session of an agent, at the top.
fn in_session(repo: &Repo, agent: &str, script: &str) -> Out {
    let script = format!("z=\"$ZETA claim\"; {script}");
    let mut session = repo.cmd(&repo.top, &["run", "--as", agent, "--", "sh", "-c", &script]);
    let session = session.env("ZETA", env!("CARGO_BIN_EXE_zeta"));
    run(session.env("TOP", &repo.top).env("SECOND", &repo.second))
}

#[test]
fn a_call_never_means_the_claim_of_another_worktree() {
    let repo = Repo::new();
    let begin = "set -e; f='--path f'; $z acquire $f --this-worktree >&2; cd $SECOND; \
                 $z acquire $f --this-worktree >&2;";
    let check = "f=\"$f --this-worktree\"; cd $SECOND; $z check $f; cd $TOP; $z check $f";
    for (work, wanted) in [
        ("$z release $f", ["free", "yours:"]),
        ("cd $TOP; $z release $f", ["yours:", "free"]),
        ("$z release $f; ! $z release $f", ["free", "yours:"]),
        ("$z handover $f --to bob >&2", ["yours:", "yours:"]),
    ] {
        let out = in_session(&repo, "ann", &format!("{begin} {work}; ZETA_AGENT=ann; {check}"));
        let first = |line: &str| line.split(' ').next().unwrap().to_owned();
        let answers: Vec<String> = out.out.lines().map(first).collect();
        match work.contains("handover") {
            // That of the second worktree is bob's.
            true => assert!(out.status == 3 && out.err.contains("claimed by bob"), "{out:?}"),
            false => assert_eq!(answers, wanted, "{work}: {out:?}"),
        }
    }
    let bob = ["claim", "check", "--path", "f", "--this-worktree", "--as", "bob"];
    assert!(repo.ends(0, &repo.second, &bob).out.starts_with("yours"), "it was handed over there");
    assert!(repo.ends(0, &repo.top, &bob).out.starts_with("free"));
}

#[test]
fn what_was_handed_over_keeps_its_ttl_when_it_moves_and_its_new_holder_reads_of_it() {
    let repo = Repo::new();
    let give = |path: &str, more: &[&str]| {
        let token = repo.token(&[path], &[&["--as", "ann", "--ttl", "5m"], more].concat());
        repo.claim(0, "handover", &[], &["--to", "vera", "--token", &token]);
    };
    give("src", &[]);
    repo.token(&["src2"], &["--as", "nina"]);
    let work = "$z acquire --path src --path src2 --ttl 2s; echo $?; $z check --path src --json";
    let out = in_session(&repo, "vera", work);
    assert!(out.out.starts_with("3\n") && out.out.contains("\"ttl_ms\":300000"), "{out:?}");
    assert!(out.err.contains("src/ (exclusive) was handed over to you"), "{out:?}");
    // A shared claim moves, too, though another shared one could stand beside it.
    give("sh", &["--shared"]);
    let work = "set -e; $z acquire --path sh/a --shared >&2; $ZETA guide";
    let out = in_session(&repo, "vera", work);
    assert!(out.status == 0 && out.err.contains("sh/ (shared) was handed over"), "{out:?}");
    assert!(out.err.contains("You hold: sh/, sh/a/."), "{out:?}");
    repo.claim(0, "check", &["sh"], &["--as", "eve"]);
    // A claim of one worktree is not acquired by the same words in another one.
    give("tw", &["--this-worktree"]);
    let args = ["claim", "acquire", "--path", "tw/x", "--as", "vera"];
    let refused = repo.ends(3, &repo.second, &args);
    let place = format!("from within the worktree {}", repo.top.display());
    assert!(refused.err.contains(&place), "{refused:?}");
}

#[test]
fn a_claim_that_is_too_long_says_so() {
    let repo = Repo::new();
    let long = |n: usize| format!("{n}/{}", ["x".repeat(200), "y".repeat(200)].join("/"));
    let paths: Vec<String> = (0..16).map(long).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let out = repo.claim(2, "acquire", &paths, &[]);
    assert!(out.err.contains("2048 bytes") && out.err.contains("two claims"), "{out:?}");
    // As much as is promised fits, with the longest names, and after a handover.
    let name = "n".repeat(63);
    let own = ["--as", &name, "--this-worktree", "--token"];
    let token = repo.token(&paths[..4], &own[..3]);
    repo.claim(0, "renew", &[], &["--token", &token]);
    repo.claim(0, "handover", &[], &["--token", &token, "--to", &name]);
    let zeta = env!("CARGO_BIN_EXE_zeta");
    let work =
        format!("{zeta} claim acquire --this-worktree --path {}", paths[..4].join(" --path "));
    let out = run(&mut repo.cmd(&repo.top, &["run", "--as", &name, "--", "sh", "-c", &work]));
    assert_eq!(out.status, 0, "{out:?}");
    for text in ["[z-a]".repeat(200), "[".repeat(6000), format!("{}/..", "x/".repeat(3000))] {
        let out = repo.claim(2, "acquire", &[&text], &[]);
        assert!(out.err.len() < 900, "{out:?}");
    }
}

#[test]
fn a_bracket_in_a_path_is_a_bracket_before_its_directory_is_made_too() {
    let repo = Repo::new();
    let top = &repo.top;
    // The directory is still to be made, or the bracket stands beside a wildcard.
    let page = "app/[id]/page.tsx";
    let token = repo.token(&[page], &["--as", "ann"]);
    for path in ["app/[user].tsx", "app/[a-z]/*.md"] {
        repo.token(&[path], &["--as", "ann"]);
        repo.ends(3, top, &["claim", "check", "--path", path]);
    }
    std::fs::create_dir_all(top.join("app/[id]")).unwrap();
    std::fs::write(top.join(page), "").unwrap();
    repo.ends(3, top, &["claim", "check", "--path", page, "--as", "bob"]);
    repo.ends(0, top, &["claim", "check", "--path", "app/d/page.tsx"]);
    repo.ends(3, top, &["claim", "check", "--path", r"app/\[a-z]/x.md"]);
    repo.ends(0, top, &["claim", "release", "--path", page, "--token", &token]);
}

#[test]
fn a_path_is_that_of_the_repository_however_it_is_written() {
    let repo = Repo::new();
    let (top, src) = (&repo.top, repo.top.join("src"));
    symlink("src", top.join("link")).unwrap();
    symlink("/etc", top.join("out")).unwrap();
    symlink("loop", top.join("loop")).unwrap();
    let router = top.join("app/[slug]");
    std::fs::create_dir_all(&router).unwrap();
    std::fs::write(router.join("page.tsx"), "").unwrap();
    repo.token(&["src/a.py", "app/[slug]/page.tsx"], &["--as", "ann"]);
    let whole = src.join("a.py").display().to_string();
    let ways =
        ["a.py", "../src/a.py", "../link/a.py", "./a.py", &whole, ":/src/a.py", "*.py", ".."];
    for way in ways {
        let out = repo.ends(3, &src, &["claim", "check", "--path", way]);
        assert!(out.err.contains("ann"), "{way}: {out:?}");
        // The next step works from where the call ran.
        let hint = out.err.lines().find(|line| line.contains("--wait 10m")).unwrap();
        let path = hint.split("--path ").nth(1).unwrap().split(' ').next().unwrap();
        repo.ends(3, &src, &["claim", "check", "--path", path.trim_matches('\'')]);
    }
    repo.ends(3, top, &["claim", "check", "--path", "app/[slug]/"]);
    repo.ends(0, top, &["claim", "check", "--path", "app/s/page.tsx"]);
    // A file that is still to be made in such a directory.
    repo.token(&["app/[slug]/new.tsx"], &["--as", "ann"]);
    repo.ends(0, top, &["claim", "check", "--path", "app/s/new.tsx"]);
    std::fs::write(router.join("new.tsx"), "").unwrap();
    repo.ends(3, top, &["claim", "check", "--path", "app/[slug]/new.tsx"]);
    repo.ends(3, top, &["claim", "check", "--path", "app/[slug]/*.tsx"]);
    repo.ends(0, top, &["claim", "check", "--path", "app/[gone]/new.tsx"]);
    for (way, why) in [
        ("out/passwd", "outside of the repository"),
        ("/etc/passwd", "outside of the repository"),
        ("..", "outside of the repository"),
        ("loop/x", "cannot follow"),
        ("x/../y", "'..'"),
        ("src/a.py#main", "reserved"),
        ("src/{a,b}", "braces"),
        ("src/**.py", "stands alone"),
        ("", "write . for this directory"),
    ] {
        let out = repo.ends(2, top, &["claim", "acquire", "--path", way]);
        assert!(out.err.contains(why), "{way}: {out:?}");
    }
    let long = format!("{}x", "a/".repeat(5000));
    repo.ends(2, top, &["claim", "acquire", "--path", &long]);
    let stars = format!("{}x", "**/".repeat(300));
    repo.ends(3, top, &["claim", "check", "--path", &stars]);
    let many: Vec<String> = (0..17).map(|n| format!("--path=p{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    repo.ends(2, top, &[&["claim", "acquire"], &many[..]].concat());
    let out = repo.ends(2, Path::new("/"), &["claim", "check", "--path", "etc"]);
    assert!(out.err.contains("not in a git repository"), "{out:?}");
    repo.ends(2, top, &["claim", "acquire", "B-1", "--path", "x"]);
    repo.ends(2, top, &["claim", "acquire", "--shared", "B-1"]);
    std::fs::write(top.join(".git/worktrees/second/commondir"), "nowhere\n").unwrap();
    repo.ends(2, &repo.second, &["claim", "check", "--path", "x"]);
    // Nothing waits for the other end of a pipe.
    for pipe in [top.join(".git/worktrees/second/commondir"), repo.second.join(".git")] {
        std::fs::remove_file(&pipe).unwrap();
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let out = repo.ends(2, &repo.second, &["claim", "check", "--path", "x"]);
        assert!(out.err.contains("not a regular file") && out.took < SOON, "{out:?}");
    }
}

#[test]
fn the_space_is_the_directory_that_git_names() {
    let Some(git) = find("git") else { return skip(test_name!(), "needs git") };
    let sandbox = Sandbox::new();
    let git = |dir: &Path, args: &[&str]| {
        let mut command = sandbox.other(git.to_str().unwrap(), &[]);
        command.args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(args).current_dir(dir);
        let out = run(&mut command);
        assert_eq!(out.status, 0, "{args:?}: {out:?}");
    };
    git(&sandbox.dir, &["init", "-q", "one"]);
    let one = sandbox.dir.join("one");
    git(&one, &["commit", "-q", "--allow-empty", "-m", "x"]);
    git(&one, &["worktree", "add", "-q", "../two"]);
    git(&sandbox.dir, &["clone", "-q", "one", "three"]);
    git(
        &one,
        &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../three", "sub"],
    );
    let at = |dir: &str, status| {
        let mut command = sandbox.cmd(&["claim", "acquire", "--path", "x"]);
        let out = run(command.current_dir(sandbox.dir.join(dir)));
        assert_eq!(out.status, status, "{dir}: {out:?}");
    };
    at("one", 0);
    at("two", 3);
    at("three", 0);
    at("one/sub", 0);
    at("one/sub", 3);
}

#[test]
fn a_session_s_claims_never_exclude_each_other_and_end_with_it() {
    let work = "set -e; \"$ZETA\" claim acquire --path src/; \
                \"$ZETA\" claim acquire --path src/a.py; \
                \"$ZETA\" claim acquire --path src/ ; \"$ZETA\" claim check --path src/a.py; \
                \"$ZETA\" claim release --path src/; touch ready; sleep 60";
    // The next check would make the end late each time.
    one_is_faster(Duration::from_millis(900), || {
        let repo = Repo::new();
        let mut agent = repo.cmd(&repo.top, &["run", "--as", "ann", "--", "sh", "-c", work]);
        let agent = agent.env("ZETA", env!("CARGO_BIN_EXE_zeta")).stdout(Stdio::piped());
        let mut agent: Child = agent.stderr(Stdio::piped()).spawn().unwrap();
        wait_for("it has its claims", || repo.top.join("ready").exists());
        repo.claim(3, "check", &["src/a.py"], &["--as", "ann"]);
        repo.claim(0, "check", &["src/b.py"], &[]);
        let mut waiting =
            repo.cmd(&repo.top, &["claim", "acquire", "--path", "src/", "--wait", "20s"]);
        let waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let killed = Instant::now();
        let children = format!("/proc/{0}/task/{0}/children", agent.id());
        let children = std::fs::read_to_string(children).unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
        for pid in children.split_whitespace() {
            signal(pid.parse().unwrap(), Signal::KILL);
        }
        let out = finish(waiting, killed, SOON);
        assert_eq!(out.status, 0, "{out:?}");
        out.took
    });
}

#[test]
fn of_eight_callers_of_one_path_one_wins_and_of_eight_paths_each() {
    let repo = Repo::new();
    for round in 0..4 {
        let race = |path: &dyn Fn(usize) -> String| {
            let calls: Vec<Child> = (0..8)
                .map(|at| {
                    let path = path(at);
                    let mut call = repo.cmd(&repo.top, &["claim", "acquire", "--path", &path]);
                    call.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
                })
                .collect();
            let outs = calls.into_iter().map(|call| finish(call, Instant::now(), SOON));
            outs.map(|out| out.status).collect::<Vec<i32>>()
        };
        let mut one = race(&|at| match at % 2 {
            0 => format!("r{round}/x/y"),
            _ => format!("r{round}/**/y"),
        });
        one.sort_unstable();
        assert_eq!(one, [0, 3, 3, 3, 3, 3, 3, 3]);
        assert_eq!(race(&|at| format!("e{round}/{at}")), [0; 8]);
    }
}

#[test]
fn an_index_that_is_gone_torn_or_stale_costs_no_claim() {
    let repo = Repo::new();
    let ann = repo.token(&["src/"], &["--as", "ann"]);
    repo.claim(3, "acquire", &["src/a.py"], &[]);
    let index = repo.index();
    let good = std::fs::read(&index).unwrap();
    let cases: [(&str, Option<Vec<u8>>); 5] = [
        ("gone", None),
        ("empty", Some(Vec::new())),
        ("cut", Some(good[..good.len() - 3].to_vec())),
        ("zeros", Some(vec![0; good.len()])),
        ("without its line", Some(good[..256].to_vec())),
    ];
    for (name, text) in cases {
        match text {
            None => std::fs::remove_file(&index).unwrap(),
            Some(text) => std::fs::write(&index, text).unwrap(),
        }
        repo.claim(3, "check", &["src/a.py"], &[]);
        let out = repo.claim(3, "acquire", &["src/a.py"], &[]);
        assert!(out.err.contains("ann"), "{name}: {out:?}");
    }
    // One of before does not count after other programs changed the grants.
    let old = std::fs::read(&index).unwrap();
    repo.claim(0, "release", &["src/"], &["--token", &ann]);
    let bob = repo.token(&["docs/"], &["--as", "bob"]);
    std::fs::write(&index, old).unwrap();
    repo.claim(3, "acquire", &["docs/x"], &[]);
    repo.claim(0, "release", &["docs/"], &["--token", &bob]);
}

#[test]
fn an_index_that_is_no_file_of_zeta_s_stops_no_claim() {
    let repo = Repo::new();
    let ann = repo.token(&["src/"], &["--as", "ann"]);
    repo.claim(3, "acquire", &["src/a.py"], &[]);
    let index = repo.index();
    let good = std::fs::read(&index).unwrap();
    let other = repo.sandbox.dir.join("other");
    let cases: [(&str, &dyn Fn()); 4] = [
        ("a directory", &|| std::fs::create_dir(&index).unwrap()),
        ("a link", &|| symlink("fencing_token", &index).unwrap()),
        ("open to all", &|| {
            std::fs::write(&index, &good).unwrap();
            std::fs::set_permissions(&index, std::fs::Permissions::from_mode(0o666)).unwrap();
        }),
        ("of two names", &|| {
            std::fs::write(&other, &good).unwrap();
            std::fs::hard_link(&other, &index).unwrap();
        }),
    ];
    let mut last = ann;
    for (name, make) in cases {
        std::fs::remove_file(&index).or_else(|_| std::fs::remove_dir(&index)).unwrap();
        make();
        let out = repo.claim(3, "check", &["src/a.py"], &["--as", "bob"]);
        assert!(out.err.contains("ann"), "{name}: {out:?}");
        let bob = repo.token(&["docs/"], &["--as", "bob"]);
        repo.claim(3, "acquire", &["docs/a"], &["--as", "cat"]);
        repo.claim(0, "release", &["docs/"], &["--token", &bob]);
        let next = repo.claim(0, "handover", &["src/"], &["--to", "ann", "--token", &last]);
        last = next.out.trim().to_owned();
        assert!(index.symlink_metadata().is_ok(), "{name}: it is not zeta's to remove");
    }
    assert_eq!(std::fs::read(&other).unwrap(), good);
}

#[test]
fn a_busy_guard_is_called_busy_and_no_holder_is_named() {
    let repo = Repo::new();
    repo.token(&["src/"], &["--as", "ann"]);
    let item = repo.ends(0, &repo.top, &["claim", "acquire", "B-1", "--as", "ann"]).out;
    repo.ends(0, &repo.top, &["claim", "release", "B-1", "--token", item.trim()]);
    let guards = std::fs::read_dir(repo.sandbox.node().join(".guard")).unwrap();
    let guards: Vec<File> =
        guards.map(|guard| File::open(guard.unwrap().path()).unwrap()).collect();
    for guard in &guards {
        flock(guard, FlockOperation::LockExclusive).unwrap();
    }
    for what in [["--path", "docs/x"], ["--item", "B-1"]] {
        let args = [&["claim", "acquire", "--as", "bob"], &what[..]].concat();
        for (status, more) in [(3, &[][..]), (6, &["--wait", "300ms"])] {
            let args = [&args[..], more].concat();
            let out = repo.ends(status, &repo.top, &args);
            assert!(out.err.contains("critical section"), "{out:?}");
            assert!(!out.err.contains("claimed by"), "{out:?}");
        }
    }
}

#[test]
fn no_search_for_claims_in_the_way_makes_others_wait() {
    let repo = Repo::new();
    let costly = |beside: usize| -> Vec<String> {
        (0..2).map(|n| format!("{}{beside}{n}", "*a".repeat(490))).collect()
    };
    for beside in 10..26 {
        let paths = costly(beside);
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let out = run(&mut {
            let mut call = repo.cmd(&repo.top, &["claim", "acquire", "--shared"]);
            call.args(paths.iter().flat_map(|path| ["--path", path]));
            call
        });
        assert_eq!(out.status, 0, "{out:?}");
    }
    let paths = costly(9);
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let out = repo.claim(2, "acquire", &paths, &[]);
    assert!(out.err.contains("takes too long"), "{:.300}", out.err);
    repo.token(&["src/", "docs/"], &["--as", "bob"]);
}

#[test]
fn killed_calls_leave_an_index_that_answers_right() {
    let repo = Repo::new();
    repo.token(&["base/"], &["--as", "ann"]);
    for round in 0..40u64 {
        let path = format!("r{round}/x");
        let mut call = repo.cmd(&repo.top, &["claim", "acquire", "--path", &path]);
        let mut call = call.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(round * 400));
        let _ = call.kill();
        call.wait().unwrap();
    }
    let grants = repo.index().parent().unwrap().file_name().unwrap().to_owned();
    let dir = grants.to_str().unwrap().replace(".lock", ".grants");
    let files = std::fs::read_dir(repo.sandbox.node().join(dir)).unwrap();
    for file in files {
        let record = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let path = record.split("path_1: \"").nth(1).unwrap().split('"').next().unwrap();
        repo.claim(3, "check", &[path], &[]);
        repo.claim(3, "acquire", &[path], &[]);
    }
    repo.claim(0, "acquire", &["free/x"], &[]);
}
