//! Large blocks of memory: straight from the kernel, in huge pages, and given back at once.
//!
//! Stretching a passphrase reads 128 MiB in an order that nobody can foresee. In pages of 4 KiB
//! each read misses the processor's table of pages, too; in huge ones a fifth of the time is saved
//! (`docs/performance.md`). Nothing else here takes a block that large. Nor do such blocks get into
//! a core dump: what is in them comes from secrets.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::null_mut;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// Blocks from this size on are large, in bytes.
const LARGE: usize = 16 << 20;
/// The kernel aligns to its small pages, in bytes.
const PAGE: usize = 4096;

/// An allocator for all other blocks.
pub struct Large<A>(pub A);

fn is_large(layout: &Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= PAGE
}

// SAFETY: a block that is large by its layout comes from `map` and goes to `unmap`; every other one
// is the inner allocator's, in all four functions. A mapping is zeroed, its own, and aligned to a
// page.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Large<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are the inner allocator's.
        if is_large(&layout) { map(&layout) } else { unsafe { self.0.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        if is_large(&layout) { map(&layout) } else { unsafe { self.0.alloc_zeroed(layout) } }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_large(&layout) {
            // SAFETY: the block came from `map` with this layout, and nobody uses it any more. It
            // cannot fail for a whole mapping; if it did, the block would stay.
            let _ = unsafe { munmap(block.cast(), layout.size()) };
        } else {
            // SAFETY: as above.
            unsafe { self.0.dealloc(block, layout) }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the new size makes a layout.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        if !is_large(&layout) && !is_large(&new) {
            // SAFETY: as above.
            return unsafe { self.0.realloc(block, layout, new_size) };
        }
        // SAFETY: the caller promises a size that is not 0.
        let moved = unsafe { self.alloc(new) };
        if !moved.is_null() {
            // SAFETY: both blocks have as many bytes, and the new one is nobody else's.
            unsafe {
                block.copy_to_nonoverlapping(moved, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
        }
        moved
    }
}

fn map(layout: &Layout) -> *mut u8 {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, at a place of the kernel's choice, touches no other memory.
    let mapped = unsafe { mmap_anonymous(null_mut(), layout.size(), access, MapFlags::PRIVATE) };
    let Ok(block) = mapped else { return null_mut() };
    for advice in [Advice::LinuxHugepage, Advice::LinuxDontDump] {
        // SAFETY: the mapping is ours, and neither advice changes what is in it. A kernel without
        // it gives small pages, or dumps them.
        let _ = unsafe { madvise(block, layout.size(), advice) };
    }
    block.cast()
}

#[cfg(test)]
mod tests {
    use super::{LARGE, Large};
    use std::alloc::{GlobalAlloc, Layout, System};

    #[test]
    fn a_block_keeps_its_bytes_while_it_grows_and_shrinks_across_the_border() {
        let large = Large(System);
        let layout = |size| Layout::from_size_align(size, 16).unwrap();
        let sizes = [LARGE - 1, LARGE, LARGE * 2 + 1, LARGE - 1, 64];
        // SAFETY: each block is used within its layout, and given back once, with its layout.
        unsafe {
            let mut block = large.alloc(layout(64));
            block.write_bytes(7, 64);
            let mut size = 64;
            for new in sizes {
                block = large.realloc(block, layout(size), new);
                assert!(!block.is_null());
                size = new;
                let bytes = std::slice::from_raw_parts(block, 64);
                assert!(bytes.iter().all(|byte| *byte == 7), "{new}");
                block.add(size - 1).write(7);
            }
            large.dealloc(block, layout(size));
            for size in [LARGE - 1, LARGE] {
                let block = large.alloc_zeroed(layout(size));
                let bytes = std::slice::from_raw_parts(block, size);
                assert!(bytes.iter().all(|byte| *byte == 0), "{size}");
                large.dealloc(block, layout(size));
            }
        }
    }

    #[test]
    fn more_than_there_is_is_refused() {
        let layout = Layout::from_size_align(1 << 60, 16).unwrap();
        // SAFETY: the layout has a size; nothing is done with the block.
        assert!(unsafe { Large(System).alloc(layout) }.is_null());
    }
}
