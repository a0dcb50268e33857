//! Compares what a page of the documentation shows with what a replay of it shows.

/// Takes out what differs from run to run: numbers with their units, times, ids, the host's name,
/// and how much space is between two words.
pub fn plain(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let bare = word.trim_matches(['(', ',', ';', ':', ')']);
        // A run of hexadecimal digits may have no letter by chance.
        let is_amount = |c: char| c.is_ascii_hexdigit() || ".smh+".contains(c);
        let amount = is_id(bare) || bare.chars().all(is_amount);
        let here = words.ends_with(&["host".to_owned(), "name".to_owned()]);
        let word = match here || amount && bare.contains(|c: char| c.is_ascii_digit()) {
            true => "#".to_owned(),
            false => without_ids(word),
        };
        if word != "#" || words.last().is_none_or(|last| last != "#") {
            words.push(word);
        }
    }
    words.join(" ")
}

/// Returns whether a word is the id of a message or a public key.
fn is_id(word: &str) -> bool {
    let groups: Vec<usize> = word.split('-').map(str::len).collect();
    let is_key =
        word.len() == 56 && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    groups == [8, 4, 4, 4, 12] || is_key
}

/// Replaces each run of hexadecimal digits that has a decimal one, or is long.
fn without_ids(word: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    let end = |run: &mut String, out: &mut String| {
        let id = run.len() >= 6 || run.contains(|c: char| c.is_ascii_digit());
        out.push_str(if id { "#" } else { run });
        run.clear();
    };
    for c in word.chars() {
        if c.is_ascii_digit() || ('a'..='f').contains(&c) {
            run.push(c);
        } else {
            end(&mut run, &mut out);
            out.push(c);
        }
    }
    end(&mut run, &mut out);
    out
}
