//! What is written to a disk, and when.
//!
//! The first block of the disk says first of all that the disk is half written. It is replaced
//! last, when all the rest was written, flushed and read back. So a disk whose first block is that
//! of the image has all of the image, and a disk that was cut off before does not start.

/// The length of the part that is written last, in bytes.
pub const HEAD: u64 = 1 << 20;
/// The length of the very last part, in bytes.
pub const FIRST: u64 = 4096;
/// What the disk begins with while it is half written.
pub const MARK: &[u8] = b"zeta flash: half written, do not boot\n";

/// Where a part begins and where it ends, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its first byte.
    pub from: u64,
    /// The byte behind its last one.
    pub to: u64,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Write the mark, and zeros to the end of the part.
    Mark(Part),
    /// Write zeros: a partition table may have its copy there.
    Clear(Part),
    /// Write this part of the image.
    Write(Part),
    /// Wait until all that was written is on the medium.
    Flush,
    /// Read this part from the medium, and compare it with the image that was checked.
    Compare(Part),
    /// Check that the disk is still the same.
    Seal,
}

/// Returns the steps for an image on a disk; none if the disk is too short, or there is no image.
/// `block` is the length of a block of the disk: all parts end at one.
pub fn steps(image: u64, disk: u64, block: u64) -> Vec<Step> {
    let block = block.max(1);
    let end = image.next_multiple_of(block);
    if image == 0 || end > disk {
        return Vec::new();
    }
    let part = |from: u64, to: u64| (from < to).then_some(Part { from, to });
    let head = HEAD.min(end);
    let first = FIRST.min(end);
    let tail = end.max(disk.saturating_sub(HEAD) / block * block);
    let mut steps = Vec::new();
    let disk = disk / block * block;
    let mark = FIRST.min(disk);
    steps.extend(part(0, mark).map(Step::Mark));
    steps.push(Step::Flush);
    steps.extend(part(mark, HEAD.min(disk)).map(Step::Clear));
    steps.extend(part(tail, disk).map(Step::Clear));
    steps.push(Step::Flush);
    let body = part(head, end);
    steps.extend(body.map(Step::Write));
    steps.extend(part(first, head).map(Step::Write));
    steps.push(Step::Flush);
    steps.extend(body.map(Step::Compare));
    steps.extend(part(first, head).map(Step::Compare));
    steps.push(Step::Seal);
    steps.extend(part(0, first).map(Step::Write));
    steps.push(Step::Flush);
    steps.extend(part(0, first).map(Step::Compare));
    steps
}

/// Returns whether a disk begins with the mark.
pub fn is_half_written(head: &[u8]) -> bool {
    head.starts_with(MARK)
}
