//! Shell text, read as far as needed to find the calls of git that commit and push.
//!
//! This is no shell: a call that hides in a script, a variable, an alias or a subshell's directory
//! is not found, and goes through. What stops such a push is a fenced push on the other side.

/// Most bytes of a text that are read, and most commands.
const BYTES_MAX: usize = 64 * 1024;
const COMMANDS_MAX: usize = 1_000;
/// Words that run the command behind them.
const PREFIXES: [&str; 7] = ["command", "exec", "env", "nohup", "sudo", "time", "nice"];

/// What a call does with a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `git commit`.
    Commit,
    /// `git push`, or `gh pr create`.
    Push,
}

/// A call of git in a shell text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitCall {
    /// What it does.
    pub verb: Verb,
    /// The directories that it changes into, in order; an absolute one replaces those before it.
    pub dirs: Vec<String>,
    /// The branches that it names.
    pub branches: Vec<String>,
    /// Whether it is about the branch that is checked out.
    pub current: bool,
}

/// Finds the calls of git in a text.
pub fn git_calls(text: &str) -> Vec<GitCall> {
    let mut end = text.len().min(BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut dirs: Vec<String> = Vec::new();
    let mut found = Vec::new();
    for words in commands(text.get(..end).unwrap_or_default()) {
        let words = without_prefixes(&words);
        match words {
            [cd, dir] if cd == "cd" || cd == "pushd" => dirs.push(dir.clone()),
            [cd, dash, dir] if cd == "cd" && dash == "--" => dirs.push(dir.clone()),
            [program, rest @ ..] => match program.rsplit('/').next() {
                Some("git") => found.extend(git(rest, &dirs)),
                Some("gh") => found.extend(gh(rest, &dirs)),
                _ => {}
            },
            [] => {}
        }
    }
    // A directory in a variable is not known, and nothing is guessed about it.
    found.retain(|call| !call.dirs.iter().any(|dir| dir.contains('$') || dir.contains('`')));
    found
}

fn without_prefixes(mut words: &[String]) -> &[String] {
    while let [first, rest @ ..] = words {
        let assigns = first.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        });
        if !assigns && !PREFIXES.contains(&first.as_str()) {
            break;
        }
        words = rest;
    }
    words
}

/// Reads a call of git from its arguments.
fn git(args: &[String], dirs: &[String]) -> Option<GitCall> {
    let mut dirs = dirs.to_vec();
    let mut args = args.iter();
    let verb = loop {
        match args.next()?.as_str() {
            "-C" => dirs.push(args.next()?.clone()),
            "-c" | "--git-dir" | "--work-tree" | "--namespace" | "--exec-path" => {
                args.next()?;
            }
            option if option.starts_with('-') => {}
            verb => break verb,
        }
    };
    let rest: Vec<&str> = args.map(String::as_str).collect();
    let dry = |short: &str| rest.iter().any(|word| *word == "--dry-run" || *word == short);
    match verb {
        // Its -n leaves out the checks before a commit.
        "commit" if !dry("--dry-run") => {
            Some(GitCall { verb: Verb::Commit, dirs, branches: Vec::new(), current: true })
        }
        "push" if !dry("-n") => {
            let (branches, current) = pushed(&rest);
            Some(GitCall { verb: Verb::Push, dirs, branches, current })
        }
        _ => None,
    }
}

/// Returns the branches that a push names, and whether it pushes the current one.
fn pushed(args: &[&str]) -> (Vec<String>, bool) {
    let mut plain = Vec::new();
    let mut args = args.iter();
    while let Some(word) = args.next() {
        match *word {
            "-o" | "--push-option" | "--repo" | "--receive-pack" | "--exec" => {
                args.next();
            }
            option if option.starts_with('-') => {}
            word => plain.push(word),
        }
    }
    let Some((_, refs)) = plain.split_first().filter(|(_, refs)| !refs.is_empty()) else {
        return (Vec::new(), true);
    };
    let (mut branches, mut current) = (Vec::new(), false);
    for name in refs {
        let name = name.trim_start_matches('+');
        let target = name.rsplit_once(':').map_or(name, |(_, target)| target);
        match target.strip_prefix("refs/heads/").unwrap_or(target) {
            "HEAD" | "@" | "" => current = true,
            tag if tag.starts_with("refs/") => {}
            branch => branches.push(branch.to_owned()),
        }
    }
    (branches, current)
}

/// Reads a call of GitHub's program.
fn gh(args: &[String], dirs: &[String]) -> Option<GitCall> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let ["pr", "create", rest @ ..] = words.as_slice() else { return None };
    let mut head = None;
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        match word.split_once('=') {
            Some(("--head", branch)) => head = Some(branch),
            _ if matches!(*word, "--head" | "-H") => head = rest.next().copied(),
            _ => {}
        }
    }
    let branches: Vec<String> = head.map(str::to_owned).into_iter().collect();
    let current = branches.is_empty();
    Some(GitCall { verb: Verb::Push, dirs: dirs.to_vec(), branches, current })
}

/// Splits a text into commands, and each into its words.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut reader = Reader::default();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if reader.commands.len() >= COMMANDS_MAX {
            break;
        }
        match c {
            '\'' => {
                reader.begin();
                chars.by_ref().take_while(|c| *c != '\'').for_each(|c| reader.word.push(c));
            }
            '"' => reader.quoted(&mut chars),
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some(c) => reader.push(c),
            },
            '#' if !reader.in_word => while chars.next_if(|c| *c != '\n').is_some() {},
            '<' if chars.next_if_eq(&'<').is_some() => {
                reader.end_word();
                if chars.next_if_eq(&'<').is_none() {
                    reader.awaits_mark = true;
                    chars.next_if_eq(&'-');
                }
            }
            '\n' => {
                reader.end_command();
                reader.skip_here_documents(&mut chars);
            }
            // A redirection, as in 2>&1, ends no command.
            '&' if reader.after_redirect => reader.push(c),
            '&' if chars.peek() == Some(&'>') => {}
            ';' | '&' | '|' | '(' | ')' => reader.end_command(),
            c if c.is_whitespace() => reader.end_word(),
            c => {
                reader.redirects |= matches!(c, '>' | '<');
                reader.push(c);
            }
        }
        reader.after_redirect = matches!(c, '>' | '<');
    }
    reader.end_command();
    reader.commands
}

/// The state of [`commands`].
#[derive(Default)]
struct Reader {
    commands: Vec<Vec<String>>,
    words: Vec<String>,
    word: String,
    in_word: bool,
    after_redirect: bool,
    /// The word redirects a stream: it is no argument.
    redirects: bool,
    /// The next word is the file of a redirection.
    awaits_file: bool,
    /// The next word is the end mark of a here-document.
    awaits_mark: bool,
    marks: Vec<String>,
}

impl Reader {
    fn begin(&mut self) {
        self.in_word = true;
    }

    fn push(&mut self, c: char) {
        self.in_word = true;
        self.word.push(c);
    }

    fn quoted(&mut self, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
        self.begin();
        while let Some(c) = chars.next() {
            match c {
                '"' => break,
                '\\' => match chars.next() {
                    Some(c @ ('"' | '\\' | '$' | '`')) => self.word.push(c),
                    Some('\n') | None => {}
                    Some(c) => self.word.extend(['\\', c]),
                },
                c => self.word.push(c),
            }
        }
    }

    fn end_word(&mut self) {
        if !std::mem::take(&mut self.in_word) {
            return;
        }
        let word = std::mem::take(&mut self.word);
        if std::mem::take(&mut self.redirects) {
            self.awaits_file = word.ends_with(['>', '<']);
            return;
        }
        if std::mem::take(&mut self.awaits_file) {
            return;
        }
        match std::mem::take(&mut self.awaits_mark) {
            true => self.marks.push(word),
            false => self.words.push(word),
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        self.awaits_file = false;
        if !self.words.is_empty() {
            self.commands.push(std::mem::take(&mut self.words));
        }
    }

    /// Skips the lines of the here-documents that the last line began.
    fn skip_here_documents(&mut self, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
        for mark in std::mem::take(&mut self.marks) {
            while chars.peek().is_some() {
                let line: String = chars.by_ref().take_while(|c| *c != '\n').collect();
                if line.trim_start_matches('\t') == mark {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
            ("git commit -F <(git push)", "Commit  @ | Push  @"),
        ] {
            assert_eq!(found(text), calls, "{text:?}");
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
            more in "[ a-z'\"\\\\$<>&|;()#\n-]{0,80}",
        ) {
            git_calls(&text);
            git_calls(&more);
            git_calls(&format!("git push {more}"));
        }
    }
}
