//! The reader of trailers beside git itself, on messages that a generator makes of the lines that
//! git's rules are about.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use zeta_core::signature::trailer::{COMMENT, as_read, trailers};

const COUNT: usize = 10_000;
/// How many messages one process of git reads.
const AT_ONCE: usize = 250;

const LINES: [&str; 44] = [
    "feat: a title",
    "Words of a body.",
    "words: with a colon",
    "Two words: a value",
    "",
    "",
    "",
    " ",
    "\t",
    "\r",
    "Agent: Otto",
    "Agent:Otto",
    "Agent : Otto  ",
    "Agent\t: Otto",
    "Agent:",
    "agent-model: x",
    "Agency-Signature-Version: 1",
    "Task: Otto-12\r",
    "Key with blanks: x",
    ": no key",
    "-: hyphen",
    "7: digits",
    "k\u{fc}: not ASCII",
    "url http://x.example",
    "https://x.example",
    "  folded",
    "\tfolded: with a colon",
    " : blank first",
    "Signed-off-by: Ann <a@b.example>",
    "Signed-off-by:Ann",
    "signed-off-by: small",
    "(cherry picked from commit 1234567)",
    "Co-authored-by: Claude <c@d.example>",
    "# a comment",
    "#Agent: in a comment",
    "#",
    "---",
    "--- ",
    "----",
    "---\tx",
    "---------",
    "Conflicts:",
    "\tconflict.txt",
    "# ------------------------ >8 ------------------------",
];

fn message(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..random.usize(0..18) {
        match random.u8(..) {
            // Bytes that are no text, and one that ends a string in C.
            0..3 => text.extend([0xff, b'\n']),
            3 => text.push(0),
            _ => {
                text.extend_from_slice(random.choice(LINES).unwrap().as_bytes());
                text.push(b'\n');
            }
        }
    }
    if random.u8(..) < 40 {
        text.pop();
    }
    text
}

fn ours(text: &[u8]) -> Vec<u8> {
    let read = as_read(text);
    let lines = trailers(&read, COMMENT).into_iter();
    lines.flat_map(|found| [found.key, b": ", &found.value, b"\n"].concat()).collect()
}

fn git(dir: &Path, files: &[PathBuf]) -> Vec<u8> {
    let mut git = Command::new("git");
    git.current_dir(dir).args(["interpret-trailers", "--parse"]).args(files);
    git.env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", dir).env("XDG_CONFIG_HOME", dir);
    git.env("GIT_CEILING_DIRECTORIES", dir);
    let done = git.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

#[test]
fn ten_thousand_messages_have_the_trailers_that_git_reads_in_them() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let dir = std::env::temp_dir().join(format!("zeta-signature-{}-{seed}", std::process::id()));
    fs::create_dir(&dir).unwrap();
    let (mut with_trailers, mut read) = (0, 0);
    while read < COUNT {
        let texts: Vec<Vec<u8>> = (0..AT_ONCE).map(|_| message(&mut random)).collect();
        let files: Vec<PathBuf> = (0..AT_ONCE).map(|at| dir.join(at.to_string())).collect();
        for (file, text) in files.iter().zip(&texts) {
            fs::write(file, text).unwrap();
        }
        let all: Vec<Vec<u8>> = texts.iter().map(|text| ours(text)).collect();
        if git(&dir, &files) != all.concat() {
            // One of them differs: which one, a process each says.
            for ((file, text), ours) in files.iter().zip(&texts).zip(&all) {
                let git = git(&dir, std::slice::from_ref(file));
                let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                assert_eq!(shown(ours), shown(&git), "seed {seed}: {:?}", shown(text));
            }
            panic!("seed {seed}: git reads the messages of one call unlike those of many");
        }
        with_trailers += all.iter().filter(|found| !found.is_empty()).count();
        read += AT_ONCE;
    }
    fs::remove_dir_all(&dir).unwrap();
    // A generator that makes no trailers would prove nothing.
    assert!(with_trailers > COUNT / 10, "{with_trailers} of {COUNT} messages have trailers");
}
