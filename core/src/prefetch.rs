//! Asking for memory before it is needed.
//!
//! A core waits for a line of memory as long as it takes for some hundred instructions. Work on many rows asks for the lines of all
//! of them first, so that the waits overlap.

/// More lines than this are not asked for: a core has about a dozen under way at once.
const MOST_LINES: usize = 8;

const LINE: usize = 64;

/// Asks for the memory of a value itself, not of what it points to. Returns at once.
#[inline]
pub(crate) fn prefetch<T: ?Sized>(value: &T) {
    let bytes = size_of_val(value);
    let start = std::ptr::from_ref(value).cast::<u8>();
    for line in 0..bytes.div_ceil(LINE).min(MOST_LINES) {
        fetch(start.wrapping_add(line * LINE));
    }
    // Where it doesn't begin with a line, it may end in one more.
    if bytes > 0 && bytes <= MOST_LINES * LINE {
        fetch(start.wrapping_add(bytes - 1));
    }
}

/// Asks for the line that lies before a value, where what counts its owners is.
#[inline]
pub(crate) fn before<T>(value: *const T) {
    fetch(value.cast::<u8>().wrapping_sub(1));
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[expect(
    unsafe_code,
    reason = "there is no safe way to ask for memory without waiting for it"
)]
fn fetch(address: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a hint; it reads nothing, and any address may be named.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
}

/// Other machines wait where the memory is used.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn fetch(_address: *const u8) {}
