//! The commits of a history, one after the other, in constant memory.

use std::path::Path;

use zeta_core::signature::audit::Commit;
use zeta_core::signature::trailer::find;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::git::{self, Stream};

/// Most bytes of a message that are read; the rest is passed over.
const MESSAGE_MAX: usize = 1 << 20;
/// The size of one read.
const PART: usize = 64 << 10;
/// What is asked of each commit: id, time and author in the first line, then the message.
const FORMAT: &str = "--format=tformat:%H %ct %ae%n%B";

/// Which commits of a history.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// At most so many, the newest.
    pub max: Option<u64>,
    /// Only those since this time, in µs since 1970 (UTC).
    pub since_us: Option<i64>,
}

/// Commits as git prints them.
#[derive(Debug)]
pub struct Log {
    stream: Stream,
    text: Vec<u8>,
    /// Where the next commit begins.
    at: usize,
    is_done: bool,
    /// What is left of a message that is too long is passed over.
    is_passing: bool,
}

impl Log {
    /// Starts to read the commits that these ids reach, the newest first.
    ///
    /// # Errors
    /// git does not run.
    pub fn open(dir: &Path, ids: &[&str], limits: Limits) -> Result<Log> {
        let max = limits.max.map(|max| format!("--max-count={max}"));
        // git reads no time before 1970, and no commit is that old.
        let since = limits.since_us.filter(|us| *us > 0);
        let since = since.map(|us| format!("--since=@{} +0000", us / 1_000_000));
        let mut args = vec!["-c", "log.showSignature=false", "-c", "color.ui=false", "log", "-z"];
        args.extend(["--encoding=UTF-8", "--no-notes", FORMAT]);
        args.extend(max.as_deref().into_iter().chain(since.as_deref()));
        args.extend(ids.iter().copied().chain(["--"]));
        let stream = git::stream(dir, &args)?;
        Ok(Log { stream, text: Vec::new(), at: 0, is_done: false, is_passing: false })
    }

    /// Calls `each` with every commit.
    ///
    /// # Errors
    /// git fails before the last one, or `each` does.
    pub fn each(mut self, mut each: impl FnMut(&Commit<'_>) -> Result<()>) -> Result<()> {
        let mut searched = 0;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            match rest.get(searched..).and_then(|rest| find(0, rest)) {
                Some(end) => {
                    let end = searched + end;
                    let record = rest.get(..end).unwrap_or_default();
                    each(&commit_of(record)?)?;
                    (self.at, searched) = (self.at + end + 1, 0);
                }
                None if self.is_done => return Ok(()),
                None => {
                    searched = rest.len();
                    self.read()?;
                }
            }
        }
    }

    /// Reads the next part behind what is there of a commit.
    fn read(&mut self) -> Result<()> {
        self.text.drain(..std::mem::take(&mut self.at));
        let len = self.text.len();
        self.text.resize(len + PART, 0);
        let count = self.stream.read(self.text.get_mut(len..).unwrap_or_default())?;
        self.text.truncate(len + count);
        self.is_done = count == 0;
        if self.is_passing || len > MESSAGE_MAX {
            let end = self.text.iter().skip(len).position(|byte| *byte == 0);
            let until = end.map_or(self.text.len(), |end| len + end);
            self.text.drain(len..until);
            self.is_passing = end.is_none();
        }
        Ok(())
    }
}

fn commit_of(record: &[u8]) -> Result<Commit<'_>> {
    let end = record.iter().position(|byte| *byte == b'\n').unwrap_or(record.len());
    let (head, message) = record.split_at(end);
    let mut words = head.splitn(3, |byte| *byte == b' ');
    let mut text = || words.next().and_then(|word| std::str::from_utf8(word).ok());
    let (id, seconds) = (text(), text().and_then(|word| word.parse::<i64>().ok()));
    let (Some(id), Some(seconds)) = (id, seconds) else {
        return Err(Error::new(Kind::Fault, "git log printed something else than commits"));
    };
    let author = words.next().unwrap_or_default();
    let message = message.get(1..).unwrap_or_default();
    Ok(Commit { id, at_us: seconds.saturating_mul(1_000_000), author, message })
}
