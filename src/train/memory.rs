//! Memory that training asks for again and again.

/// Half of what may lie unused.
const BYTES: usize = 24 << 20;

/// Has freed memory stay with the process, up to twice [`BYTES`]. A C library that follows glibc gives what is freed back to the system as soon
/// as it is more than twice the largest block freed so far, and the system clears each page when it is asked for again: of a small
/// convolutional network's step that is a third of the time. So a large block, never touched, is freed once.
pub(super) fn keep() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(BYTES)));
}
