//! The difference of two texts for people, in the unified form.

use std::fmt::Write as _;

/// Lines around a change.
const CONTEXT: usize = 3;

/// Writes the difference as one hunk: an install changes a stretch of lines.
pub fn unified(path: &str, before: Option<&str>, after: Option<&str>) -> String {
    let name = |side: &str, text: Option<&str>| match text {
        Some(_) => format!("{side}{path}"),
        None => "/dev/null".to_owned(),
    };
    let (old, new): (Vec<&str>, Vec<&str>) = (lines(before), lines(after));
    if old == new {
        return String::new();
    }
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let most = old.len().min(new.len()) - same;
    let tail =
        old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(CONTEXT);
    let tail_shown = tail.min(CONTEXT);
    let (old_end, new_end) = (old.len() - tail, new.len() - tail);
    let range = |len: usize| match len {
        0 => "0,0".to_owned(),
        len => format!("{},{len}", from + 1),
    };
    let mut out = format!("--- {}\n+++ {}\n", name("", before), name("", after));
    let (old_len, new_len) = (old_end + tail_shown - from, new_end + tail_shown - from);
    let _ = writeln!(out, "@@ -{} +{} @@", range(old_len), range(new_len));
    let mut add = |sign: char, part: Option<&[&str]>| {
        for line in part.unwrap_or_default() {
            let _ = write!(out, "{sign}{line}");
            if !line.ends_with('\n') {
                out.push_str("\n\\ No newline at end of file\n");
            }
        }
    };
    add(' ', old.get(from..same));
    add('-', old.get(same..old_end));
    add('+', new.get(same..new_end));
    add(' ', old.get(old_end..old_end + tail_shown));
    out
}

fn lines(text: Option<&str>) -> Vec<&str> {
    text.unwrap_or_default().split_inclusive('\n').collect()
}

#[cfg(test)]
mod tests {
    use super::unified;

    #[test]
    fn a_difference_is_one_that_patch_reads() {
        let before = "1\n2\n3\n4\n5\n6";
        assert_eq!(
            unified("/f", Some(before), Some("1\n2\n3\n4\nx\n5\n6")),
            "--- /f\n+++ /f\n@@ -2,5 +2,6 @@\n 2\n 3\n 4\n+x\n 5\n 6\n\
             \\ No newline at end of file\n"
        );
        assert_eq!(
            unified("/f", None, Some("a\n")),
            "--- /dev/null\n+++ /f\n@@ -0,0 +1,1 @@\n+a\n"
        );
        assert_eq!(
            unified("/f", Some("a\n"), None),
            "--- /f\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a\n"
        );
        assert_eq!(unified("/f", Some("a"), Some("a")), "");
    }
}
