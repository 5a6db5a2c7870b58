//! Buffers that payloads are encoded into, again and again.

/// Buffers that are kept at most.
const MAX_BUFFERS: usize = 8;
/// A buffer that grew beyond this is not kept.
const MAX_BUFFER_BYTES: usize = 8 << 20;

#[derive(Debug, Default)]
pub(super) struct Buffers {
    free: Vec<Vec<u8>>,
}

impl Buffers {
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.free.pop().unwrap_or_default()
    }

    pub(super) fn give(&mut self, mut buffer: Vec<u8>) {
        if self.free.len() < MAX_BUFFERS && buffer.capacity() <= MAX_BUFFER_BYTES {
            buffer.clear();
            self.free.push(buffer);
        }
    }
}
