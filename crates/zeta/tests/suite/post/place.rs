//! Where personas work: worktrees that zeta made, owns and removes, and never another's.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Guard, Post, is_alive, write_program};
use crate::support::{LIMIT, Out, run, until, wait};

/// Posts whose personas work in a repository.
struct Repository {
    guard: Guard,
    path: PathBuf,
}

impl Repository {
    fn new() -> Repository {
        let guard = Guard::new(1, "").only("otto");
        let path = guard.sandbox.dir.join("repository");
        fs::create_dir(&path).unwrap();
        let made = Repository { guard, path };
        made.git(&made.path, &["init", "-q", "-b", "main"]);
        fs::write(made.path.join("file"), "one\n").unwrap();
        made.commit(&made.path, "first");
        made.guard.write_posts(1, &format!("repository = {:?}", made.path), "");
        made
    }

    fn git_out(&self, dir: &Path, args: &[&str]) -> Out {
        let mut git = self.guard.sandbox.other("git", &["-C"]);
        git.arg(dir).args(["-c", "user.name=otto", "-c", "user.email=o@t.to"]).args(args);
        run(&mut git)
    }

    #[track_caller]
    fn git(&self, dir: &Path, args: &[&str]) -> String {
        let out = self.git_out(dir, args);
        assert_eq!(out.status, 0, "git {args:?}: {out:?}");
        out.out.trim_end().to_owned()
    }

    fn commit(&self, dir: &Path, message: &str) {
        self.git(dir, &["add", "-A"]);
        self.git(dir, &["commit", "-q", "-m", message]);
    }

    fn worktree(&self, persona: &str) -> PathBuf {
        self.guard.store.join("worktrees").join(persona)
    }

    /// The paths that git knows, besides the repository's own.
    fn known(&self) -> Vec<String> {
        let listed = self.git(&self.path, &["worktree", "list", "--porcelain"]);
        let paths = listed.lines().filter_map(|line| line.strip_prefix("worktree "));
        paths.skip(1).map(str::to_owned).collect()
    }

    fn has_branch(&self, persona: &str) -> bool {
        let head = format!("refs/heads/guard-post/{persona}");
        self.git_out(&self.path, &["show-ref", "--verify", "--quiet", &head]).status == 0
    }

    /// The findings of `zeta post list`.
    fn findings(&self) -> String {
        let out = run(&mut self.guard.cmd(&["list", "--json"]));
        let list: Value = serde_json::from_str(&out.out).unwrap();
        list["findings"].to_string()
    }

    /// Takes a persona out of the policy, and waits until another one has worked.
    fn replace(&self, persona: &str, by: &str) {
        self.guard.write_persona(by, "a", "");
        self.guard.remove_persona(persona);
        let end = format!("end a {by} 1 0");
        self.guard.wait_for(&end, self.guard.count(&end) + 2);
    }
}

#[test]
fn a_persona_has_a_worktree_of_its_own_that_stays_while_it_is_in_the_policy() {
    let repo = Repository::new();
    let post = repo.guard.start(1);
    repo.guard.wait_for("end a otto 1 0", 1);
    let path = repo.worktree("otto");
    let at = format!(" at={} ", path.display());
    assert!(repo.guard.log()[0].contains(&at), "{:?}", repo.guard.log());
    assert_eq!(repo.git(&path, &["rev-parse", "--abbrev-ref", "HEAD"]), "guard-post/otto");
    fs::write(path.join("work"), "half\n").unwrap();
    repo.guard.wait_for("end a otto 1 0", repo.guard.count("end a otto 1 0") + 2);
    assert_eq!(fs::read_to_string(path.join("work")).unwrap(), "half\n");
    // A worktree that a person removed is made again.
    fs::remove_dir_all(&path).unwrap();
    repo.guard.wait_for("end a otto 1 0", repo.guard.count("end a otto 1 0") + 3);
    assert_eq!(repo.known(), [path.display().to_string()]);
    assert_eq!(post.end(), 0);
    // The operator's own checkout was not touched.
    assert_eq!(repo.git(&repo.path, &["status", "--porcelain"]), "");
    assert_eq!(repo.git(&repo.path, &["rev-parse", "--abbrev-ref", "HEAD"]), "main");
    repo.guard.check_end();
}

#[test]
fn a_worktree_without_work_is_removed_with_its_persona() {
    let repo = Repository::new();
    let post = repo.guard.start(1);
    repo.guard.wait_for("end a otto 1 0", 1);
    repo.replace("otto", "vera");
    assert!(until(LIMIT, || !repo.has_branch("otto")), "{}", repo.guard.notes(1));
    assert!(until(LIMIT, || repo.known() == [repo.worktree("vera").display().to_string()]));
    assert!(!repo.worktree("otto").exists());
    assert_eq!(post.end(), 0);
    assert_eq!(repo.findings(), "[]");
}

#[test]
fn uncommitted_work_and_own_commits_are_kept_and_named_until_they_are_elsewhere() {
    let repo = Repository::new();
    let post = repo.guard.start(1);
    repo.guard.wait_for("end a otto 1 0", 1);
    let path = repo.worktree("otto");
    fs::write(path.join("work"), "half\n").unwrap();
    repo.replace("otto", "vera");
    let named = "the worktree of otto is kept: it has 1 uncommitted file";
    assert!(until(LIMIT, || repo.guard.notes(1).contains(named)), "{}", repo.guard.notes(1));
    assert!(repo.findings().contains(named), "{}", repo.findings());
    assert_eq!(fs::read_to_string(path.join("work")).unwrap(), "half\n");
    repo.commit(&path, "work of otto");
    let named = "it has 1 commit of guard-post/otto on no other branch";
    assert!(until(LIMIT, || repo.guard.notes(1).contains(named)), "{}", repo.guard.notes(1));
    assert!(repo.findings().contains(named) && path.exists());
    assert_eq!(repo.guard.notes(1).matches(named).count(), 1, "{}", repo.guard.notes(1));
    // Without a branch the commit would be lost with the worktree.
    repo.git(&path, &["checkout", "-q", "--detach"]);
    fs::write(path.join("more"), "").unwrap();
    repo.commit(&path, "detached");
    repo.git(&repo.path, &["merge", "-q", "--ff-only", "guard-post/otto"]);
    let named = "it has 1 commit on no branch";
    assert!(until(LIMIT, || repo.guard.notes(1).contains(named)), "{}", repo.guard.notes(1));
    repo.git(&path, &["checkout", "-q", "guard-post/otto"]);
    assert!(until(LIMIT, || !path.exists()), "{}", repo.guard.notes(1));
    assert!(until(LIMIT, || !repo.has_branch("otto")));
    assert_eq!(post.end(), 0);
    assert_eq!(repo.git(&repo.path, &["log", "-1", "--format=%s"]), "work of otto");
}

#[test]
fn work_that_git_is_told_not_to_look_at_is_kept_and_named() {
    let repo = Repository::new();
    let post = repo.guard.start(1);
    repo.guard.wait_for("end a otto 1 0", 1);
    let path = repo.worktree("otto");
    repo.git(&repo.path, &["config", "status.showUntrackedFiles", "no"]);
    fs::write(path.join("unsaved"), "work\n").unwrap();
    repo.replace("otto", "vera");
    let named = "the worktree of otto is kept: it has 1 uncommitted file";
    assert!(until(LIMIT, || repo.guard.notes(1).contains(named)), "{}", repo.guard.notes(1));
    for bit in ["skip-worktree", "assume-unchanged"] {
        // It is looked at after each tick: the bit is there before the work is.
        repo.git(&path, &["update-index", &format!("--{bit}"), "file"]);
        fs::write(path.join("file"), "two\n").unwrap();
        let _ = fs::remove_file(path.join("unsaved"));
        let named = "it has 1 file whose changes git does not see";
        assert!(until(LIMIT, || repo.findings().contains(named)), "{}", repo.findings());
        repo.guard.wait_for("end a vera 1 0", repo.guard.count("end a vera 1 0") + 2);
        assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "two\n");
        fs::write(path.join("unsaved"), "work\n").unwrap();
        repo.git(&path, &["update-index", &format!("--no-{bit}"), "file"]);
    }
    assert_eq!(fs::read_to_string(path.join("unsaved")).unwrap(), "work\n");
    assert_eq!(post.end(), 0);
}

#[test]
fn a_directory_that_zeta_did_not_make_is_never_touched_and_no_agent_works_there() {
    let repo = Repository::new();
    let path = repo.worktree("otto");
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("precious"), "x").unwrap();
    let post = repo.guard.start(1);
    let report = repo.guard.wait_report(1, |report| report["cut"] == "start");
    assert_eq!(report["outcome"], "failed");
    assert!(repo.guard.notes(1).contains("zeta did not make it"), "{}", repo.guard.notes(1));
    assert_eq!(repo.guard.count("begin"), 0);
    assert_eq!(post.end(), 0);
    assert_eq!(fs::read_to_string(path.join("precious")).unwrap(), "x");
    // Nor is one that became the worktree of another repository.
    fs::remove_dir_all(&path).unwrap();
    let post = repo.guard.start(1);
    repo.guard.wait_for("end a otto 1 0", 1);
    fs::remove_dir_all(&path).unwrap();
    fs::create_dir(&path).unwrap();
    repo.git(&path, &["init", "-q"]);
    let named = "it is no worktree of";
    assert!(until(LIMIT, || repo.guard.notes(1).contains(named)), "{}", repo.guard.notes(1));
    assert_eq!(post.end(), 0);
    assert!(path.join(".git/HEAD").exists());
}

/// Leaves the file that a supervisor leaves which was killed before the worktree was whole.
fn mark_as_cut(repo: &Repository, persona: &str) {
    let mark = serde_json::json!({
        "schema": 1, "kind": "guard-post-worktree", "persona": persona,
        "repository": repo.path, "is_whole": false,
    });
    let path = repo.worktree(persona).with_extension("json");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, mark.to_string()).unwrap();
}

#[test]
fn a_worktree_that_a_person_makes_while_the_repository_is_missing_is_never_removed() {
    let repo = Repository::new();
    let path = repo.worktree("otto");
    let away = repo.path.with_extension("away");
    fs::rename(&repo.path, &away).unwrap();
    let post = repo.guard.start(1);
    repo.guard.wait_report(1, |report| report["cut"] == "start");
    fs::rename(&away, &repo.path).unwrap();
    assert_eq!(post.end(), 0);
    if !path.exists() {
        repo.git(&repo.path, &["worktree", "add", "-q", "-b", "own", path.to_str().unwrap()]);
    }
    fs::write(path.join("precious"), "x").unwrap();
    let _ = fs::remove_file(repo.guard.notes_path(1));
    let post = repo.guard.start(1);
    let refused = || repo.guard.notes(1).contains("zeta did not make it");
    let came = until(LIMIT, || refused() || !path.join("precious").exists());
    assert!(came && path.join("precious").exists(), "{}", repo.guard.notes(1));
    assert_eq!(post.end(), 0);
    assert_eq!(repo.guard.count("begin"), 0);
}

#[test]
fn what_a_cut_left_is_removed_only_if_zeta_made_it_and_nobody_worked_there() {
    let repo = Repository::new();
    let path = repo.worktree("otto");
    // The file is there, and the worktree is a person's.
    mark_as_cut(&repo, "otto");
    repo.git(&repo.path, &["worktree", "add", "-q", "-b", "own", path.to_str().unwrap()]);
    fs::write(path.join("precious"), "x").unwrap();
    let post = repo.guard.start(1);
    let named = "the worktree of otto is kept: zeta did not make it";
    assert!(until(LIMIT, || repo.guard.notes(1).contains(named)), "{}", repo.guard.notes(1));
    // Nor is it removed with the persona.
    repo.replace("otto", "vera");
    assert!(repo.findings().contains(named), "{}", repo.findings());
    assert_eq!(fs::read_to_string(path.join("precious")).unwrap(), "x");
    repo.git(&repo.path, &["worktree", "remove", "--force", path.to_str().unwrap()]);
    assert!(until(LIMIT, || repo.findings() == "[]"), "{}", repo.findings());
    assert_eq!(post.end(), 0);
    // zeta's own, cut before git had written all files; a file of a person is in it.
    let make = ["worktree", "add", "-q", "--lock", "--reason", "zeta makes the worktree of otto"];
    let branch = ["-b", "guard-post/otto", path.to_str().unwrap()];
    repo.git(&repo.path, &[&make[..], &branch].concat());
    fs::remove_file(repo.path.join(".git/worktrees/otto/index")).unwrap();
    fs::write(path.join("precious"), "y").unwrap();
    mark_as_cut(&repo, "otto");
    repo.guard.write_persona("otto", "a", "");
    repo.guard.remove_persona("vera");
    let post = repo.guard.start(1);
    let named = "it is not whole, and has 1 file that git did not make";
    assert!(until(LIMIT, || repo.guard.notes(1).contains(named)), "{}", repo.guard.notes(1));
    assert_eq!(fs::read_to_string(path.join("precious")).unwrap(), "y");
    fs::remove_file(path.join("precious")).unwrap();
    repo.guard.wait_for("end a otto 1 0", 1);
    assert_eq!(post.end(), 0);
    assert_eq!(repo.git(&path, &["status", "--porcelain"]), "");
    let listed = repo.git(&repo.path, &["worktree", "list", "--porcelain"]);
    assert!(!listed.contains("locked"), "{listed}");
}

#[test]
fn what_git_runs_ends_with_the_supervisor_or_before_the_next_one_goes_on() {
    let repo = Repository::new();
    let at = |name: &str| repo.guard.sandbox.dir.join(name);
    let (hang, pids) = (at("hang"), at("hooks"));
    let (shown_hang, shown_pids) = (hang.display(), pids.display());
    let hook =
        format!("#!/bin/sh\necho $$ >>{shown_pids}\n[ -e {shown_hang} ] && exec sleep 600\n:\n");
    write_program(&repo.path.join(".git/hooks/post-checkout"), &hook);
    let hooks = || -> Vec<u32> {
        let text = fs::read_to_string(&pids).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    };
    let begun = |count: usize| assert!(until(LIMIT, || hooks().len() == count), "{:?}", hooks());
    fs::write(&hang, "").unwrap();
    let post = repo.guard.start(1);
    begun(1);
    assert_eq!(post.end(), 0, "{}", repo.guard.notes(1));
    assert!(!is_alive(hooks()[0]), "the hook outlived its supervisor");
    // The worktree is made, so another persona is needed for the hook to run again.
    repo.guard.write_persona("vera", "a", "");
    repo.guard.remove_persona("otto");
    let post = repo.guard.start(1);
    begun(2);
    post.kill();
    assert!(is_alive(hooks()[1]));
    fs::remove_file(&hang).unwrap();
    let post = repo.guard.start(1);
    repo.guard.wait_for("end a vera 1 0", 1);
    assert!(!is_alive(hooks()[1]), "the hook worked on beside the next supervisor");
    assert_eq!(post.end(), 0);
}

/// A git that kills the supervisor when it is called for the N-th time, before or after its work.
const CUT: &str = r#"#!/bin/sh
n=$(($(cat "$CUT/n" 2>/dev/null || echo 0) + 1))
echo $n >"$CUT/n"
real=$(PATH=${PATH#*:} command -v git)
[ "$n$WHEN" = "${AT}before" ] && kill -9 $PPID && exit 1
"$real" "$@"
status=$?
[ "$n$WHEN" = "${AT}after" ] && kill -9 $PPID
exit $status
"#;

/// Starts the post with a git that cuts it at a step; true if it was cut.
fn cut(repo: &Repository, at: usize, when: &str) -> bool {
    let dir = repo.guard.sandbox.dir.join("cut");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir(&dir).unwrap();
    write_program(&dir.join("git"), CUT);
    let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
    let mut command = repo.guard.cmd(&["run", "1"]);
    command.env("PATH", path).env("CUT", &dir).env("AT", at.to_string()).env("WHEN", when);
    let ended = repo.guard.count("end");
    let mut post = Post::of(&mut command, repo.guard.notes_path(1));
    let is_over = |post: &mut Post| post.0.try_wait().unwrap().is_some();
    let went_on = || repo.guard.count("end") >= ended + 2;
    assert!(until(LIMIT * 2, || is_over(&mut post) || went_on()), "{}", repo.guard.notes(1));
    match is_over(&mut post) {
        true => wait(&mut post.0, LIMIT) == 137,
        false => post.end() != 0,
    }
}

#[test]
fn a_worktree_whose_making_or_removal_was_cut_is_made_or_removed_by_the_next_supervisor() {
    let repo = Repository::new();
    let mut cuts = 0;
    for at in 1..=12 {
        for when in ["before", "after"] {
            let (from, to) = if cuts % 2 == 0 { ("vera", "otto") } else { ("otto", "vera") };
            repo.guard.write_persona(to, "a", "");
            let _ = fs::remove_file(repo.guard.config.join(format!("personas.d/{from}.toml")));
            // The turn of the posts begins with the personas that are there now.
            assert!([0, 7].contains(&run(&mut repo.guard.cmd(&["tick"])).status));
            cuts += usize::from(cut(&repo, at, when));
            let post = repo.guard.start(1);
            let end = format!("end a {to} 1 0");
            repo.guard.wait_for(&end, repo.guard.count(&end) + 1);
            let only = [repo.worktree(to).display().to_string()];
            let clean = until(LIMIT, || repo.known() == only && !repo.has_branch(from));
            assert!(clean, "{at} {when}: {:?}\n{}", repo.known(), repo.guard.notes(1));
            assert_eq!(post.end(), 0);
            assert_eq!(repo.git(&repo.worktree(to), &["status", "--porcelain"]), "");
        }
    }
    assert!(cuts >= 12, "only {cuts} of 24 supervisors were cut");
    repo.guard.check_end();
}
