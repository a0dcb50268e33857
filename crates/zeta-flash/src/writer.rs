//! Carries out the steps of a write on one open disk, and says how far it is.

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use zeta_core::flash::order::{HEAD, MARK, Part, Step, steps};
use zeta_core::flash::progress::Progress;
use zeta_os::disk::{Aligned, Disk, Identity};
use zeta_os::error::{Error, Kind, Result};

use crate::image::{Image, PART};
use crate::staged::Staged;

/// How many parts are on their way at once.
const PARTS: usize = 3;

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The image is written.
    Writing,
    /// It is read back.
    Comparing,
}

/// Is given how far the work is.
pub type Tell<'a> = &'a mut dyn FnMut(Phase, Progress);

/// How long a write took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Took {
    /// Writing, with the time until all was on the medium.
    pub writing: Duration,
    /// Reading back.
    pub comparing: Duration,
}

/// Why a write failed.
#[derive(Debug)]
pub struct Failed {
    /// The error.
    pub error: Error,
    /// Something was written, so the disk must not be started from.
    pub half_written: bool,
}

impl From<Error> for Failed {
    /// An error before the first byte.
    fn from(error: Error) -> Failed {
        Failed { error, half_written: false }
    }
}

/// Writes to an open disk, and compares its identity again before the disk can be started from.
///
/// # Errors
/// Nothing was written, because it does not fit; or the disk is half written.
pub fn write(
    staged: &Staged,
    disk: &Disk,
    path: &Path,
    tell: Tell<'_>,
) -> std::result::Result<Took, Failed> {
    let (seen, block) = (disk.identity()?, disk.block_len()?);
    let steps = steps(staged.image.len, seen.size, block as u64);
    if steps.is_empty() {
        let text = format!("the image does not fit on {}; nothing was written", path.display());
        return Err(Error::new(Kind::Refused, text).into());
    }
    let mut work = Work::begin(staged, disk, seen)?;
    for step in steps {
        work.step(step, tell).map_err(|error| half_written(path, error))?;
    }
    Ok(work.took)
}

fn half_written(path: &Path, error: Error) -> Failed {
    let text = format!("{} is half written, do not boot from it: {}", path.display(), error.text);
    let error = Error { kind: Kind::Fault, text, ..error };
    Failed { error: error.hint("a new write begins from the start"), half_written: true }
}

struct Work<'a> {
    staged: &'a Staged,
    disk: &'a Disk,
    seen: Identity,
    /// The first part of what is written, which is written last.
    head: Aligned,
    took: Took,
    written: u64,
    compared: u64,
}

impl<'a> Work<'a> {
    /// Reads the first part of the image. Nothing is written yet.
    fn begin(staged: &'a Staged, disk: &'a Disk, seen: Identity) -> Result<Work<'a>> {
        let mut head = Aligned::zeroed(HEAD.min(staged.image.len) as usize);
        fill(staged, head.bytes_mut(), 0, Image::read_same)?;
        let took = Took::default();
        Ok(Work { staged, disk, seen, head, took, written: 0, compared: 0 })
    }

    fn step(&mut self, step: Step, tell: Tell<'_>) -> Result<()> {
        let begun = Instant::now();
        match step {
            Step::Mark(part) => self.zeros(part, MARK)?,
            Step::Clear(part) => self.zeros(part, b"")?,
            Step::Write(part) if part.from < HEAD => self.write_head(part)?,
            Step::Write(part) => self.write_body(part, begun, tell)?,
            Step::Flush => self.disk.flush()?,
            Step::Seal => self.seal()?,
            Step::Compare(part) => {
                match part.from < HEAD {
                    true => self.compare_head(part)?,
                    false => self.compare_body(part, begun, tell)?,
                }
                self.took.comparing += begun.elapsed();
                return Ok(());
            }
        }
        self.took.writing += begun.elapsed();
        Ok(())
    }

    fn zeros(&self, part: Part, mark: &[u8]) -> Result<()> {
        let len = (part.to - part.from) as usize;
        let mut zeros = Aligned::zeroed(len);
        zeros.bytes_mut().iter_mut().zip(mark).for_each(|(to, from)| *to = *from);
        self.disk.write_at(zeros.bytes().get(..len).unwrap_or_default(), part.from)
    }

    fn of_head(&self, part: Part) -> &[u8] {
        self.head.bytes().get(part.from as usize..part.to as usize).unwrap_or_default()
    }

    fn write_head(&mut self, part: Part) -> Result<()> {
        self.disk.write_at(self.of_head(part), part.from)?;
        self.written += part.to - part.from;
        Ok(())
    }

    fn compare_head(&mut self, part: Part) -> Result<()> {
        let mut read = Aligned::zeroed((part.to - part.from) as usize);
        let len = (part.to - part.from) as usize;
        let read = read.bytes_mut().get_mut(..len).unwrap_or_default();
        self.disk.read_at(read, part.from)?;
        compare(read, self.of_head(part), part.from)?;
        self.compared += part.to - part.from;
        Ok(())
    }

    /// Reads in one thread, and writes in the other.
    fn write_body(&mut self, part: Part, begun: Instant, tell: Tell<'_>) -> Result<()> {
        let (staged, disk) = (self.staged, self.disk);
        let (written, all) = (&mut self.written, staged.image.len);
        // What comes back from the disk is compared with what was checked.
        let read = |bytes: &mut [u8], at: u64| fill(staged, bytes, at, Image::read_at);
        stream(part, read, &mut |bytes, at| {
            disk.write_at(bytes, at)?;
            *written += bytes.len() as u64;
            tell(
                Phase::Writing,
                Progress { done: (*written).min(all), all, took: begun.elapsed() },
            );
            Ok(())
        })
    }

    /// Reads the disk in one thread, and compares in the other. The image is read again only where
    /// the disk has other bytes: those of the EFI partition, or wrong ones.
    fn compare_body(&mut self, part: Part, begun: Instant, tell: Tell<'_>) -> Result<()> {
        let (staged, disk) = (self.staged, self.disk);
        let (compared, all) = (&mut self.compared, staged.image.len);
        let mut wanted = vec![0; PART];
        stream(part, |bytes: &mut [u8], at| disk.read_at(bytes, at), &mut |bytes, at| {
            if !staged.image.is_same(bytes, at) {
                let wanted = wanted.get_mut(..bytes.len()).unwrap_or_default();
                fill(staged, wanted, at, Image::read_same)?;
                compare(bytes, wanted, at)?;
            }
            *compared += bytes.len() as u64;
            let took = begun.elapsed();
            tell(Phase::Comparing, Progress { done: (*compared).min(all), all, took });
            Ok(())
        })
    }

    /// Before the disk may start: it is still the same.
    fn seal(&self) -> Result<()> {
        match self.disk.identity()? == self.seen {
            true => Ok(()),
            false => Err(Error::new(Kind::Fault, "the disk changed while it was written")),
        }
    }
}

/// A way to read the image.
type Read = fn(&Image, &mut [u8], u64) -> Result<()>;

/// Reads what is to be written at a place; zeros behind the end of the image.
fn fill(staged: &Staged, bytes: &mut [u8], at: u64, read: Read) -> Result<()> {
    let len = staged.image.len.saturating_sub(at).min(bytes.len() as u64) as usize;
    let (image, rest) = bytes.split_at_mut(len);
    read(&staged.image, image, at)?;
    staged.lay_over(image, at);
    rest.fill(0);
    Ok(())
}

fn compare(read: &[u8], wanted: &[u8], at: u64) -> Result<()> {
    if read == wanted {
        return Ok(());
    }
    let same = read.iter().zip(wanted).take_while(|(read, wanted)| read == wanted).count();
    let text = format!("it does not return what was written at byte {}", at + same as u64);
    Err(Error::new(Kind::Fault, text).hint("the stick is broken, or smaller than it says"))
}

/// Bytes on their way from one thread to the other: where they begin, and how many they are.
type Filled = Result<(Aligned, u64, usize)>;

/// Lets one thread produce parts, and this one consume them in order.
fn stream(
    part: Part,
    mut produce: impl FnMut(&mut [u8], u64) -> Result<()> + Send,
    consume: &mut dyn FnMut(&[u8], u64) -> Result<()>,
) -> Result<()> {
    let (give, take): (SyncSender<Filled>, Receiver<Filled>) = sync_channel(PARTS);
    let (back, free) = sync_channel(PARTS);
    for _ in 0..PARTS {
        // There is room for all of them.
        let _ = back.send(Aligned::zeroed(PART));
    }
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut at = part.from;
            while at < part.to {
                let Ok(mut buffer) = free.recv() else { return };
                let len = (PART as u64).min(part.to - at) as usize;
                let bytes = buffer.bytes_mut().get_mut(..len).unwrap_or_default();
                let filled = produce(bytes, at).map(|()| (buffer, at, len));
                let has_failed = filled.is_err();
                // The other side went away because it failed itself.
                if give.send(filled).is_err() || has_failed {
                    return;
                }
                at += len as u64;
            }
        });
        // Dropped on every way out, so that the other thread ends.
        let (take, back) = (take, back);
        for filled in &take {
            let (buffer, at, len) = filled?;
            consume(buffer.bytes().get(..len).unwrap_or_default(), at)?;
            let _ = back.send(buffer);
        }
        Ok(())
    })
}
