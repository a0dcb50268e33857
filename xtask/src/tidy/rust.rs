//! Rules for each Rust file: sizes, the first sentence, names, and leftovers.

use super::{Finding, Page};

const FILE_LINES: usize = 500;
const TEST_FILE_LINES: usize = 800;
const FUNCTION_LINES: usize = 70;
const LINE_CHARS: usize = 100;

/// File names that say nothing about the content.
const BANNED_NAMES: [&str; 8] =
    ["util", "utils", "common", "helper", "helpers", "manager", "misc", "types"];

/// Text that is not to be committed, and why. Written in halves so that this file passes.
const LEFTOVERS: [(&str, &str); 6] = [
    (concat!("FIX", "ME"), "mend it now, or open an issue and name it"),
    (concat!("X", "XX"), "mend it now, or open an issue and name it"),
    (concat!("dbg", "!("), "a debugging aid"),
    (concat!("todo", "!("), "unwritten code that compiles"),
    (concat!("unimpl", "emented!("), "unwritten code that compiles"),
    (concat!("[all", "ow("), "use #[expect(.., reason = \"..\")]: it tells when it is not needed"),
];

/// Expressions with a sentence for people: the text of an error, its hints, and any value as text.
const SENTENCES: [&str; 3] = [".text", ".hints", ".to_string()"];

/// Calls that return the same sentence in another form.
const FORMS: [&str; 5] =
    [".as_str()", ".iter()", ".trim()", ".to_lowercase()", ".to_ascii_lowercase()"];

/// Calls and operators that search or compare a sentence.
const READERS: [&str; 17] = [
    ".contains(",
    ".starts_with(",
    ".ends_with(",
    ".strip_prefix(",
    ".strip_suffix(",
    ".split_once(",
    ".rsplit_once(",
    ".replace(",
    ".replacen(",
    ".matches(",
    ".find(",
    ".any(",
    ".all(",
    ".position(",
    ".eq_ignore_ascii_case(",
    "==",
    "!=",
];

/// Checks one Rust file.
pub fn check(page: &Page, findings: &mut Vec<Finding>) {
    check_head(page, findings);
    check_name(page, findings);
    check_sizes(page, findings);
    check_functions(page, findings);
    check_leftovers(page, findings);
    check_sentences(page, findings);
}

fn check_head(page: &Page, findings: &mut Vec<Finding>) {
    let head = page.text.lines().next().and_then(|line| line.strip_prefix("//! "));
    if head.is_none_or(|sentence| sentence.trim().is_empty()) {
        let what = "the first line must be '//! ' and a sentence that says why the file exists";
        findings.push(Finding::new(page, 1, what));
    }
}

fn check_name(page: &Page, findings: &mut Vec<Finding>) {
    let parts = page.path.split('/').map(|part| part.strip_suffix(".rs").unwrap_or(part));
    for part in parts.filter(|part| BANNED_NAMES.contains(part)) {
        let what = format!("'{part}' says nothing; name the file after what it holds");
        findings.push(Finding::new(page, 1, what));
    }
}

fn is_test(page: &Page) -> bool {
    page.path.contains("/tests/") || page.name() == "tests.rs" || page.name().ends_with("_tests.rs")
}

fn check_sizes(page: &Page, findings: &mut Vec<Finding>) {
    let most = if is_test(page) { TEST_FILE_LINES } else { FILE_LINES };
    let lines = page.text.lines().count();
    if lines > most {
        let what = format!("{lines} lines; {most} are the most: split it by subject");
        findings.push(Finding::new(page, most + 1, what));
    }
    for (at, line) in page.text.lines().enumerate() {
        let chars = line.chars().count();
        // An address cannot be broken.
        if chars > LINE_CHARS && !line.contains("://") {
            let what = format!("{chars} characters; {LINE_CHARS} are the most");
            findings.push(Finding::new(page, at + 1, what));
        }
    }
}

/// Finds functions by their indentation, which rustfmt guarantees: a function ends at the first
/// closing brace with the indentation of its `fn`.
fn check_functions(page: &Page, findings: &mut Vec<Finding>) {
    let lines: Vec<&str> = page.text.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        if line.ends_with(['}', ';']) {
            continue;
        }
        let indent = line.get(..line.len() - line.trim_start().len()).unwrap_or_default();
        let rest = lines.iter().skip(at);
        let ends = |line: &&str| match line.strip_prefix(indent) {
            Some(tail) => tail == "}" || (tail.starts_with(')') && tail.ends_with(';')),
            None => false,
        };
        let length = rest.take_while(|line| !ends(line)).count() + 1;
        if length > FUNCTION_LINES {
            let what = format!("'{name}' has {length} lines; {FUNCTION_LINES} are the most");
            findings.push(Finding::new(page, at + 1, what));
        }
    }
}

/// Returns the name of the function that starts on this line.
fn function_name(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    loop {
        let word = words.next()?;
        match word {
            "fn" => {
                let end = |c: char| !c.is_alphanumeric() && c != '_';
                return words.next()?.split(end).next();
            }
            "pub" | "const" | "async" | "unsafe" | "extern" | "\"C\"" => {}
            word if word.starts_with("pub(") => {}
            "in" => {}
            _ => return None,
        }
    }
}

fn check_leftovers(page: &Page, findings: &mut Vec<Finding>) {
    for (at, line) in page.text.lines().enumerate() {
        for (needle, why) in LEFTOVERS {
            if has_word(line, needle) {
                findings.push(Finding::new(page, at + 1, format!("'{needle}': {why}")));
            }
        }
    }
}

/// Reports whether `needle` is in `line` and not a part of a longer word.
fn has_word(line: &str, needle: &str) -> bool {
    let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(needle).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + needle.len()..).and_then(|text| text.chars().next());
        let open = needle.ends_with('(') || !joins(after);
        !joins(before) && open
    })
}

/// Finds code of the crates that decides by a sentence of zeta's own messages: an error has a kind
/// and a cause for that.
fn check_sentences(page: &Page, findings: &mut Vec<Finding>) {
    if is_test(page) || !page.path.starts_with("crates/") || !page.path.contains("/src/") {
        return;
    }
    let (code, line_of) = join_lines(&page.text);
    for sentence in SENTENCES {
        for (at, _) in code.match_indices(sentence) {
            // A type may read its own fields.
            let own = code.get(..at).is_some_and(|before| has_last_word(before, "self"));
            let mut rest = code.get(at + sentence.len()..).unwrap_or_default();
            while let Some(form) = FORMS.iter().find_map(|form| rest.strip_prefix(form)) {
                rest = form;
            }
            let rest = rest.trim_start();
            let reader = READERS.iter().find(|reader| rest.starts_with(**reader));
            if let (Some(reader), false) = (reader, own) {
                let what = format!(
                    "'{sentence}{reader}': code decides by no sentence for people; match the kind \
                     or the cause of the error"
                );
                let line = line_of.get(at).copied().unwrap_or_default();
                findings.push(Finding::new(page, line, what));
            }
        }
    }
}

/// Returns the code of a file as one line, without comment lines and the module of tests, and the
/// line number of each byte: rustfmt breaks long chains of calls.
fn join_lines(text: &str) -> (String, Vec<usize>) {
    let (mut code, mut line_of) = (String::new(), Vec::new());
    let mut lines = text.lines().enumerate().peekable();
    while let Some((at, line)) = lines.next() {
        let next = lines.peek().map_or("", |(_, next)| *next);
        if line == "#[cfg(test)]" && next.starts_with("mod ") && next.ends_with('{') {
            break;
        }
        if line.trim_start().starts_with("//") {
            continue;
        }
        code.push_str(line.trim());
        line_of.resize(code.len(), at + 1);
    }
    (code, line_of)
}

/// Reports whether `text` ends with `word`, which is not a part of a longer word.
fn has_last_word(text: &str, word: &str) -> bool {
    let before = text.strip_suffix(word).map(|before| before.chars().next_back());
    before.is_some_and(|c| c.is_none_or(|c| !c.is_alphanumeric() && c != '_'))
}
