//! Which calls of git are found.

use super::word::COMMANDS_MAX;
use super::*;

/// Writes the calls that are found in a text: verb, directories, branches.
fn found(text: &str) -> String {
    let line = |call: GitCall| {
        let current = if call.current { "@" } else { "" };
        format!("{:?} {} {current}{}", call.verb, call.dirs.join("+"), call.branches.join(","))
    };
    git_calls(text).into_iter().map(line).collect::<Vec<_>>().join(" | ")
}

#[test]
fn a_call_of_git_is_found_where_a_shell_would_run_one() {
    for (text, calls) in [
        ("git commit -m x", "Commit  @"),
        ("git push", "Push  @"),
        ("git push origin", "Push  @"),
        ("git push -u origin feat/x", "Push  feat/x"),
        ("git push origin HEAD:main", "Push  main"),
        ("git push origin +a:refs/heads/b c", "Push  b,c"),
        ("git push origin :old", "Push  old"),
        ("git push origin refs/tags/v1", "Push  "),
        ("git push -o ci.skip origin HEAD", "Push  @"),
        ("git push --dry-run", ""),
        ("git push -n", ""),
        ("git commit --dry-run", ""),
        ("git commit -n -m x", "Commit  @"),
        ("git -C /r -c a=b --no-pager commit", "Commit /r @"),
        ("cd /r && git add -A && git commit -m 'a; b' && git push", "Commit /r @ | Push /r @"),
        ("cd a; cd b; /usr/bin/git push", "Push a+b @"),
        ("A=1 B='x y' env C=2 sudo git push", "Push  @"),
        ("echo git push", ""),
        ("echo 'x\ngit push'", ""),
        ("# git push", ""),
        ("make 2>&1 | tee log; git push 2>&1", "Push  @"),
        ("(cd \"/a b\"; git commit)", "Commit /a b @"),
        ("git commit -F - <<EOF\ngit push\nEOF\ngit push origin x", "Commit  @ | Push  x"),
        ("cat <<-'E O'\n\tgit push\n\tE O\ngit commit", "Commit  @"),
        ("cat <<< 'git push'", ""),
        ("cd $HOME/x && git push", ""),
        ("git -C \"$d\" push", ""),
        ("gh pr create --fill", "Push  @"),
        ("gh pr create -H b --title 'git push'", "Push  b"),
        ("gh pr create --head=b", "Push  b"),
        ("gh pr view", ""),
        ("git status && git log", ""),
        ("git", ""),
        ("git -C", ""),
        ("git push \\\n  origin \\\n  x", "Push  x"),
        ("'git' pu\"sh\"", "Push  @"),
        ("\"git push", ""),
        ("make &> log && git push", "Push  @"),
        ("git push origin > log 2>&1", "Push  @"),
        ("git push origin 2>/dev/null b", "Push  b"),
        ("git commit -F <(git push)", "Push  @ | Commit  @"),
    ] {
        assert_eq!(found(text), calls, "{text:?}");
    }
}

#[test]
fn a_push_is_found_behind_words_of_the_shell_and_programs_that_run_it() {
    for before in [
        "if",
        "if true; then",
        "if true; then :; elif",
        "if true; then :; else",
        "while",
        "while !",
        "until",
        "for x in a b; do",
        "for ((i = 1 << 2; i < 9; i++)); do",
        "!",
        "{",
        "(",
        "((1 << 2));",
        "time",
        "time -p",
        "push() {",
        "function push {",
        "case $x in a | b) ls;; *)",
        "case $x in (main)",
        "timeout 60",
        "timeout -k 5 -s TERM 60s",
        "timeout -k5 --signal=TERM 60s",
        "timeout --signal TERM --foreground 60",
        "/usr/bin/timeout 60",
        "env -u X A=b",
        "env -i",
        "/usr/bin/env",
        "nice -n 5",
        "nice -n5",
        "ionice -c 3 nice",
        "nohup",
        "setsid -w",
        "stdbuf -oL -e L",
        "sudo -u bob",
        "sudo -nu bob A=1",
        "sudo --user=bob --",
        "exec -a x",
        "command",
        "builtin command -p",
        "flock -w 5 /tmp/lock",
        "zeta lease exec deploy --",
        "zeta run --as otto -- timeout 5",
        "A=1 B=\"$(date)\" C+=x",
        "ls 2>&1 | tee log >&2;",
        "ls &> log &",
        "ls >| log;",
        "ls 3<&0 <&- >&-;",
        "git commit -m \"$(cat <<'EOF'\nIt's one (with) a \"quote\"\nEOF\n)\";",
        "git commit -m $'it\\'s';",
        "x=${y:-'}'} z=\"${y:-\"}\"'}'}\";",
        "echo $# ${#x} a#b;",
        "# it's\n",
        "diff <(ls a) <(ls b) >(cat) ;",
    ] {
        let text = format!("{before} git push origin x");
        assert_eq!(found(&text).rsplit_once("Push").map(|(_, end)| end), Some("  x"), "{text:?}");
    }
}

#[test]
fn a_push_is_found_inside_of_other_words_and_texts() {
    for text in [
        "out=$(git push 2>&1)",
        "echo \"$(git push)\"",
        "echo \"a ${x:-$(git push)} b\"",
        "`git push`",
        "echo \"`git push`\"",
        "echo `echo \\`git push\\``",
        "$(echo $(git push))",
        "cat <<< \"$(git push)\"",
        "cat < <(git push)",
        "ls | xargs git push",
        "ls | xargs -n 1 -I{} git push {}",
        "git push>log",
        "git push;",
        "git push&",
        "git push||ls",
        "(git push)",
        "((ls); git push)",
        "sh -c 'git push'",
        "bash -lc \"git push\"",
        "bash -euo pipefail -c 'git push'",
        "timeout 5 bash --norc -c 'ls; git push' x y",
        "eval git push",
        "eval \"git push\"",
        "cd \"$(git rev-parse --show-toplevel)\" && git push",
        "(cd a && ls); git push",
        "x=$(cd a && ls); git push",
        "(case $x in a) cd b;; esac); git push",
        "sh -c 'cd a'; git push",
        "pushd a; popd; git push",
        "pushd a; pushd; git push",
        "popd; git push",
        "cd a; cd b; cd -; cd -; cd $x; cd -; (cd c); git -C / push; git push",
    ] {
        let calls = found(text);
        let last = calls.rsplit(" | ").next().unwrap_or_default();
        assert!(["Push  @", "Push a @", "Push a+b @"].contains(&last), "{text:?}: {calls}");
    }
}

#[test]
fn what_a_push_names_and_where_it_runs() {
    for (text, calls) in [
        ("git push origin \"$(git branch --show-current)\"", "Push  @"),
        ("git push -u origin $BRANCH", "Push  @"),
        ("git push origin HEAD:$BRANCH", "Push  @"),
        ("git push origin $X:main", "Push  main"),
        ("git push origin ${B:-main}", "Push  @"),
        ("git push $REMOTE main", "Push  main"),
        ("git push origin '$x'", "Push  $x"),
        ("git push origin {a,b}", "Push  @"),
        ("git push --all origin", "Push  *"),
        ("git push --mirror", "Push  *"),
        ("git push origin :", "Push  *"),
        ("git push origin +refs/heads/*:refs/heads/*", "Push  *"),
        ("git push origin 'refs/heads/rel-*'", "Push  rel-*"),
        ("git push origin heads/main ^refs/heads/x", "Push  main"),
        ("git push --tags", "Push  "),
        ("git push origin tag v1", "Push  "),
        ("git push --tags origin main", "Push  main"),
        ("git push --help", ""),
        ("git --git-dir=/r/.git push", "Push /r/.git @"),
        ("git --git-dir .git --work-tree x push", "Push .git @"),
        ("ls | xargs git push origin", "Push  @"),
        ("(cd a && git log); git push", "Push  @"),
        ("cd web && npm start & git push", "Push  @"),
        ("cd web &&\nnpm start &\ngit push", "Push  @"),
        ("cd web; npm start & git push", "Push web @"),
        ("cd web && npm start |& tee log & git push", "Push  @"),
        ("cd web && git push &", "Push web @"),
        ("(cd a; (cd b; git push); git push); git push", "Push a+b @ | Push a @ | Push  @"),
        ("pushd a >/dev/null; git push; popd; git push", "Push a @ | Push  @"),
        ("cd a; cd -; git push", "Push  @"),
        ("cd -; git push", ""),
        ("cd; git push", "Push ~ @"),
        ("cd -P -- a; git push", "Push a @"),
        ("cd $x; git push; cd b; git push; cd /r; git push", "Push /r @"),
        ("cd a/*; git push", ""),
        ("pushd +1; git push", ""),
        ("git checkout -b x && git commit -m y && git push", "Commit  x | Push  x"),
        ("git switch x; cd a; git push -u origin HEAD", "Push a x"),
        ("git checkout x && git push", "Push  @x"),
        ("git checkout -- x; git checkout a b; git push", "Push  @"),
        ("git -C /r switch x; git push; git -C /r push", "Push  @ | Push /r x"),
        ("git checkout -b \"$B\" && git push", "Push  "),
        ("gh -R a/b pr create --fill", "Push  @"),
        ("gh pr -R a/b create -H otto:x", "Push  x"),
        ("gh pr new --head $B", "Push  @"),
        ("gh pr create --dry-run", ""),
        ("echo if git push", ""),
        ("command -v git push-all", ""),
        ("timeout git push", ""),
        ("((git push))", ""),
        ("cat <<EOF\n\tEOF\ngit push\nEOF\n", ""),
        ("[[ a == b ]] # && git push", ""),
        ("echo ${x#git push}", ""),
        ("git stash push", ""),
        ("ssh host 'git push'", ""),
    ] {
        assert_eq!(found(text), calls, "{text:?}");
    }
}

#[test]
fn texts_inside_of_each_other_end() {
    for part in ["(", "$(", "\"$(", "`\\`", "${x:-", "((", "eval ", "bash -c '", "<(", "<<a "] {
        git_calls(&part.repeat(BYTES_MAX / part.len()));
        git_calls(&format!("{}\n", part.repeat(300)).repeat(60));
    }
}

#[test]
fn a_long_text_is_cut_and_no_text_is_a_fault() {
    let long = format!("{}; git push", "é".repeat(BYTES_MAX));
    assert_eq!(found(&long), "");
    assert_eq!(found(&"git push;".repeat(2_000)).matches("Push").count(), COMMANDS_MAX);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(
        text in "\\PC{0,200}",
        more in "[ a-z'`{}\"\\\\$<>&|;()#\n-]{0,80}",
    ) {
        git_calls(&text);
        git_calls(&more);
        git_calls(&format!("git push {more}"));
    }
}
