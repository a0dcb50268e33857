//! Shell text as commands and words: quotes, expansions, redirections and here-documents.

/// Most commands of a text.
pub(super) const COMMANDS_MAX: usize = 1_000;
/// Most brackets and expansions inside of each other: behind more, nothing is read.
const DEPTH_MAX: usize = 50;

/// Words of the shell itself, in front of a command.
const RESERVED: [&str; 12] =
    ["if", "then", "elif", "else", "while", "until", "do", "{", "!", "time", "coproc", "function"];

/// A word without its quotes; expansions stay as they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) written: String,
    /// Whether the shell hands on exactly this text.
    pub(super) known: bool,
}

/// What a shell does, in its order.
pub(super) enum Step {
    /// It runs a command.
    Command(Vec<Word>),
    /// It makes a shell of its own for what follows.
    Open,
    /// That shell ends.
    Close,
}

/// Returns whether a word in front of a command is one of the shell itself.
pub(super) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}

/// Reads a text.
pub(super) fn steps(text: &str) -> Vec<Step> {
    let mut reader = Reader { rest: text, depth: 0, commands: 0, steps: Vec::new(), marks: vec![] };
    reader.list(false);
    reader.steps
}

struct Reader<'t> {
    rest: &'t str,
    depth: usize,
    commands: usize,
    steps: Vec<Step>,
    /// The end marks of the here-documents that begin with the next line, and whether tabs in front
    /// of them do not count.
    marks: Vec<(String, bool)>,
}

/// A command that is being read.
#[derive(Default)]
struct Command {
    words: Vec<Word>,
    word: Option<Word>,
    next: Next,
}

/// The commands that `&&`, `||` and `|` join, and the compound commands around them.
struct Joined {
    /// Their first step.
    from: usize,
    /// For each compound command: whether it is a `case`, and what it is joined with.
    outer: Vec<(bool, usize)>,
}

impl Joined {
    /// Notes the compound commands that the words of a command begin and end, before its own step.
    fn go_on(&mut self, words: &[Word], steps: usize) {
        for word in words.iter().map(|word| word.written.as_str()) {
            match word {
                "if" | "while" | "until" | "{" | "for" | "select" | "case" => {
                    self.outer.push((word == "case", self.from));
                    self.from = steps;
                    if ["for", "select", "case"].contains(&word) {
                        return;
                    }
                }
                "fi" | "done" | "esac" | "}" => {
                    self.from = self.outer.pop().map_or(self.from, |(_, from)| from);
                }
                _ if is_reserved(word) => {}
                _ => return,
            }
        }
    }

    fn is_in_case(&self) -> bool {
        self.outer.iter().any(|(is_case, _)| *is_case)
    }
}

/// What the next word of a command is.
#[derive(Default)]
enum Next {
    #[default]
    Argument,
    /// The file of a redirection.
    File,
    /// The end mark of a here-document; whether tabs in front of it do not count.
    Mark(bool),
}

impl Command {
    fn word(&mut self) -> &mut Word {
        self.word.get_or_insert_with(|| Word { written: String::new(), known: true })
    }

    fn push(&mut self, c: char) {
        self.word().written.push(c);
    }

    fn push_unknown(&mut self, text: &str) {
        self.word().written.push_str(text);
        self.word().known = false;
    }
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next();
        self.rest = chars.as_str();
        c
    }

    fn take(&mut self, c: char) -> bool {
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Takes the text up to a character, and the character.
    fn until(&mut self, end: char) -> &'t str {
        let (text, rest) = self.rest.split_once(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        text
    }

    /// Reads commands up to the end of the text, or of the brackets that they stand in.
    fn list(&mut self, in_brackets: bool) {
        let mut command = Command::default();
        let mut joined = Joined { from: self.steps.len(), outer: Vec::new() };
        let mut goes_on = false;
        while let Some(c) = self.next() {
            goes_on &= c.is_ascii_whitespace();
            match c {
                '\'' => {
                    let text = self.until('\'');
                    command.word().written.push_str(text);
                }
                '"' => self.quoted(&mut command),
                '\\' => match self.next() {
                    Some('\n') | None => {}
                    Some(c) => command.push(c),
                },
                '#' if command.word.is_none() => {
                    self.rest =
                        self.rest.find('\n').and_then(|at| self.rest.get(at..)).unwrap_or("");
                }
                '$' if self.take('\'') => self.escaped(&mut command),
                '$' => self.expansion(&mut command),
                '`' => self.backticks(&mut command),
                '<' | '>' => self.redirection(c, &mut command),
                '&' if self.take('>') => self.redirection('>', &mut command),
                '\n' => {
                    self.end(&mut command, &mut joined);
                    self.skip_here_documents();
                    if !goes_on {
                        joined.from = self.steps.len();
                    }
                }
                ';' => {
                    self.end(&mut command, &mut joined);
                    joined.from = self.steps.len();
                }
                '&' | '|' if self.take(c) || c == '|' => {
                    self.take('&');
                    self.end(&mut command, &mut joined);
                    goes_on = true;
                }
                // What is joined runs in a shell of its own.
                '&' => {
                    self.end(&mut command, &mut joined);
                    self.steps.insert(joined.from, Step::Open);
                    self.steps.push(Step::Close);
                    joined.from = self.steps.len();
                }
                '(' if self.skip_arithmetic() => {}
                '(' => {
                    self.end(&mut command, &mut joined);
                    self.subshell();
                }
                ')' => {
                    self.end(&mut command, &mut joined);
                    // In a `case` it ends a pattern.
                    if in_brackets && !joined.is_in_case() {
                        return;
                    }
                }
                c if c.is_ascii_whitespace() => self.end_word(&mut command),
                '*' | '?' | '[' | '{' => command.push_unknown(c.encode_utf8(&mut [0; 4])),
                c => command.push(c),
            }
        }
        self.end(&mut command, &mut joined);
    }

    fn end_word(&mut self, command: &mut Command) {
        let Some(word) = command.word.take() else { return };
        match std::mem::take(&mut command.next) {
            Next::Argument => command.words.push(word),
            Next::File => {}
            Next::Mark(tabs) => self.marks.push((word.written, tabs)),
        }
    }

    fn end(&mut self, command: &mut Command, joined: &mut Joined) {
        self.end_word(command);
        let words = std::mem::take(command).words;
        joined.go_on(&words, self.steps.len());
        if !words.is_empty() {
            self.steps.push(Step::Command(words));
            self.commands += 1;
        }
        if self.commands >= COMMANDS_MAX {
            self.rest = "";
        }
    }

    fn subshell(&mut self) {
        self.steps.push(Step::Open);
        self.deeper(|reader| reader.list(true));
        self.steps.push(Step::Close);
    }

    fn deeper(&mut self, read: impl FnOnce(&mut Self)) {
        if self.depth >= DEPTH_MAX {
            self.rest = "";
            return;
        }
        self.depth += 1;
        read(self);
        self.depth -= 1;
    }

    fn quoted(&mut self, command: &mut Command) {
        command.word();
        while let Some(c) = self.next() {
            match c {
                '"' => break,
                '\\' => match self.next() {
                    Some(c @ ('"' | '\\' | '$' | '`')) => command.push(c),
                    Some('\n') | None => {}
                    Some(c) => command.word().written.extend(['\\', c]),
                },
                '$' => self.expansion(command),
                '`' => self.backticks(command),
                c => command.push(c),
            }
        }
    }

    /// Reads `$'…'`.
    fn escaped(&mut self, command: &mut Command) {
        command.word();
        while let Some(c) = self.next() {
            match c {
                '\'' => break,
                // What it stands for, nothing here needs to know.
                '\\' => {
                    let text: String = ['\\'].into_iter().chain(self.next()).collect();
                    command.push_unknown(&text);
                }
                c => command.push(c),
            }
        }
    }

    /// Reads what stands behind a `$`.
    fn expansion(&mut self, command: &mut Command) {
        let from = self.rest;
        if self.take('(') {
            if !self.skip_arithmetic() {
                self.subshell();
            }
        } else if self.take('{') {
            self.deeper(Self::braces);
        }
        let text = from.get(..from.len() - self.rest.len()).unwrap_or_default();
        command.push_unknown(&format!("${text}"));
    }

    /// Reads `${…}`: commands may stand in it.
    fn braces(&mut self) {
        let mut unused = Command::default();
        while let Some(c) = self.next() {
            match c {
                '}' => break,
                '\\' => {
                    self.next();
                }
                '\'' => {
                    self.until('\'');
                }
                '"' => self.quoted(&mut unused),
                '$' => self.expansion(&mut unused),
                '`' => self.backticks(&mut unused),
                _ => {}
            }
        }
    }

    fn backticks(&mut self, command: &mut Command) {
        let mut inner = String::new();
        while let Some(c) = self.next() {
            match c {
                '`' => break,
                '\\' if self.rest.starts_with(['`', '\\', '$']) => inner.extend(self.next()),
                c => inner.push(c),
            }
        }
        command.push_unknown(&format!("`{inner}`"));
        self.deeper(|reader| {
            let mut nested = Reader {
                rest: &inner,
                depth: reader.depth,
                commands: reader.commands,
                steps: std::mem::take(&mut reader.steps),
                marks: Vec::new(),
            };
            nested.steps.push(Step::Open);
            nested.list(false);
            nested.steps.push(Step::Close);
            (reader.steps, reader.commands) = (nested.steps, nested.commands);
        });
    }

    /// Reads a redirection from behind its first character: it is no argument.
    fn redirection(&mut self, c: char, command: &mut Command) {
        if self.take('(') {
            self.subshell();
            return command.push_unknown("/dev/fd/");
        }
        let is_number = |word: &Word| word.written.bytes().all(|byte| byte.is_ascii_digit());
        match command.word.as_ref().is_some_and(is_number) {
            true => command.word = None,
            false => self.end_word(command),
        }
        command.next = Next::File;
        if c == '<' && self.take('<') {
            if !self.take('<') {
                command.next = Next::Mark(self.take('-'));
            }
            return;
        }
        self.rest = self.rest.trim_start_matches(['>', '<', '&', '|']);
    }

    /// Skips the lines of the here-documents that the last line began.
    fn skip_here_documents(&mut self) {
        for (mark, tabs) in std::mem::take(&mut self.marks) {
            while !self.rest.is_empty() {
                let line = self.until('\n');
                if line == mark || tabs && line.trim_start_matches('\t') == mark {
                    break;
                }
            }
        }
    }

    /// Skips `((…))` behind its first bracket, and tells whether it stands there: the brackets at
    /// its end stand together, which those of two shells do not.
    fn skip_arithmetic(&mut self) -> bool {
        let Some(inner) = self.rest.strip_prefix('(') else { return false };
        let mut open = 1;
        for (at, c) in inner.char_indices() {
            match c {
                '(' => open += 1,
                ')' => open -= 1,
                _ => {}
            }
            if open == 0 {
                let behind = inner.get(at + 1..).and_then(|rest| rest.strip_prefix(')'));
                self.rest = behind.unwrap_or(self.rest);
                return behind.is_some();
            }
        }
        false
    }
}
