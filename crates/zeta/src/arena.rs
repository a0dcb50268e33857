//! The allocator of the static binary: short calls live in one arena and never give memory back.
//!
//! A short call allocates a few hundred small blocks and ends. musl's allocator makes a system call
//! per size class, and behind any allocator's lock and lists they cost half of its instructions.
//! Here a block is the next bytes of the arena; the last one can grow, shrink and be given back.
//! The arena's pages come with one call, not with a fault each, because faults are what a short
//! process costs. What lives longer than the arena lasts (`zeta run`) goes on with dlmalloc.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// Bytes of the arena: what the largest of the short calls needs.
const SIZE: usize = 64 * 1024;

/// The arena, and what follows when it is used up.
pub struct Arena {
    bytes: AtomicPtr<u8>,
    /// Offset of the first byte that nobody has; beyond the end until there is an arena.
    next: AtomicUsize,
    locked: AtomicBool,
    rest: UnsafeCell<dlmalloc::Dlmalloc>,
}

// SAFETY: a byte of the arena belongs to whoever moved `next` past it; `rest` is used under the
// lock only.
unsafe impl Sync for Arena {}

impl Arena {
    /// An empty one.
    pub const fn new() -> Arena {
        Arena {
            bytes: AtomicPtr::new(null_mut()),
            next: AtomicUsize::new(usize::MAX),
            locked: AtomicBool::new(false),
            rest: UnsafeCell::new(dlmalloc::Dlmalloc::new()),
        }
    }

    /// The offset of a block in the arena, if it lies there.
    fn offset(&self, block: *mut u8) -> Option<usize> {
        let start = self.bytes.load(Ordering::Acquire);
        let offset = block.addr().wrapping_sub(start.addr());
        (offset < SIZE && !start.is_null()).then_some(offset)
    }

    /// Gets the pages. Whoever comes second, or gets none, goes on without.
    #[cold]
    fn open(&self) {
        if !self.bytes.load(Ordering::Relaxed).is_null() {
            return;
        }
        let (rights, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
        let flags = flags | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        // SAFETY: a new mapping, which touches nothing that is there.
        let at = unsafe { libc::mmap(null_mut(), SIZE, rights, flags, -1, 0) };
        let (won, lost) = (Ordering::AcqRel, Ordering::Acquire);
        if at != libc::MAP_FAILED
            && self.bytes.compare_exchange(null_mut(), at.cast(), won, lost).is_ok()
        {
            self.next.store(0, Ordering::Release);
        }
    }

    /// Moves the end of the last block, which ends at `from`; false if it is not the last.
    fn resize_last(&self, from: usize, to: usize) -> bool {
        to <= SIZE
            && self.next.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn rest<T>(&self, work: impl FnOnce(&mut dlmalloc::Dlmalloc) -> T) -> T {
        while self.locked.swap(true, Ordering::Acquire) {
            spin_loop();
        }
        // SAFETY: nobody else is between the two ends of the lock, and `work` does not allocate
        // through the global allocator.
        let done = work(unsafe { &mut *self.rest.get() });
        self.locked.store(false, Ordering::Release);
        done
    }
}

// SAFETY: blocks of the arena are disjoint because `next` only moves by compare and exchange, and
// each is as large and as aligned as asked; the others come from dlmalloc and return to it.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        let mut next = self.next.load(Ordering::Acquire);
        if next == usize::MAX {
            self.open();
            next = self.next.load(Ordering::Acquire);
        }
        while next <= SIZE && size <= SIZE && align <= 4096 {
            let at = next.next_multiple_of(align);
            if at + size > SIZE {
                break;
            }
            let order = Ordering::AcqRel;
            match self.next.compare_exchange_weak(next, at + size, order, Ordering::Acquire) {
                // SAFETY: `at` lies inside the arena, whose start was stored before `next`.
                Ok(_) => return unsafe { self.bytes.load(Ordering::Relaxed).add(at) },
                Err(moved) => next = moved,
            }
        }
        // SAFETY: the caller's promise about the layout.
        self.rest(|rest| unsafe { rest.malloc(size, align) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match self.offset(block) {
            Some(at) => {
                self.resize_last(at + layout.size(), at);
            }
            // SAFETY: not in the arena, so it came from `rest` with this layout.
            None => self.rest(|rest| unsafe { rest.free(block, layout.size(), layout.align()) }),
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let (old, align) = (layout.size(), layout.align());
        let Some(at) = self.offset(block) else {
            // SAFETY: not in the arena, so it came from `rest` with this layout.
            return self.rest(|rest| unsafe { rest.realloc(block, old, align, size) });
        };
        if self.resize_last(at + old, at + size) || size <= old {
            return block;
        }
        // SAFETY: the caller's promise about the layout; the blocks do not overlap.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, align));
            if !moved.is_null() {
                std::ptr::copy_nonoverlapping(block, moved, old);
            }
            moved
        }
    }
}
