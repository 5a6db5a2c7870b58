//! A gzip file that grows and is whole at every moment.
//!
//! What was compressed so far ends at a byte, and behind it stands an ending: the last bytes of the text as a stored block, checksum
//! and length. The next piece takes the ending's place and is compressed with what came before in view. Behind an ending
//! that another process wrote, a new member begins: gzip files may have several.

use std::io;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// Compresses one member.
#[derive(Debug)]
pub(crate) struct Gzip {
    deflate: Compress,
    crc: Crc,
    /// Bytes read, for the ending.
    length: u32,
}

/// No name, no time, an unknown system: the same spans make the same file.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// The checksum and the length.
const TRAILER_BYTES: usize = 8;
/// The header of a stored block.
const STORED_BYTES: usize = 5;

impl Gzip {
    /// Begins a member in `out`.
    pub(crate) fn begin(out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(&HEADER);
        Self {
            deflate: Compress::new(Compression::new(6), false),
            crc: Crc::new(),
            length: 0,
        }
    }

    /// Appends `text`, compressed, up to a whole byte.
    pub(crate) fn append(&mut self, text: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.crc.update(text);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "modulo 2^32, as gzip has it"
        )]
        {
            self.length = self.length.wrapping_add(text.len() as u32);
        }
        let before = self.deflate.total_in();
        loop {
            out.reserve(64 << 10);
            let read = usize::try_from(self.deflate.total_in() - before).unwrap_or(text.len());
            let status = self
                .deflate
                .compress_vec(&text[read..], out, FlushCompress::Sync)?;
            let is_read = self.deflate.total_in() - before == text.len() as u64;
            if is_read && out.len() < out.capacity() {
                return Ok(());
            }
            if status == Status::BufError && !is_read {
                return Err(io::Error::other("the compressor makes no headway"));
            }
        }
    }

    /// The ending of the member with `tail` as its last bytes. The member may still go on in the ending's place.
    pub(crate) fn ending(&self, tail: &[u8], out: &mut Vec<u8>) {
        let mut crc = Crc::new();
        crc.combine(&self.crc);
        crc.update(tail);
        stored(tail, out);
        let length = self
            .length
            .wrapping_add(u32::try_from(tail.len()).unwrap_or(0));
        out.extend_from_slice(&crc.sum().to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
    }
}

/// Bytes of an ending with `tail`.
pub(crate) const fn ending_bytes(tail: &[u8]) -> usize {
    STORED_BYTES + tail.len() + TRAILER_BYTES
}

/// The same ending without `tail` in it, so that more can follow in a new member; `None` when it is no such ending.
pub(crate) fn ending_without(tail: &[u8], ending: &[u8]) -> Option<Vec<u8>> {
    let mut expected = Vec::new();
    stored(tail, &mut expected);
    let trailer = ending.strip_prefix(expected.as_slice())?;
    let (crc, length) = trailer.split_at_checked(4)?;
    let crc = u32::from_le_bytes(crc.try_into().ok()?);
    let length = u32::from_le_bytes(length.try_into().ok()?);
    let mut without = Vec::new();
    stored(&[], &mut without);
    without.extend_from_slice(&crc_before(tail, crc).to_le_bytes());
    let length = length.wrapping_sub(u32::try_from(tail.len()).ok()?);
    without.extend_from_slice(&length.to_le_bytes());
    Some(without)
}

/// The last block of a member, stored as it is.
fn stored(bytes: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(bytes.len()).unwrap_or(0);
    out.push(1);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&(!length).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// What the checksum was before `bytes`, given what it is behind them: each step of CRC-32 can be taken back.
fn crc_before(bytes: &[u8], crc: u32) -> u32 {
    let mut register = !crc;
    for byte in bytes.iter().rev() {
        for _ in 0..8 {
            let was_odd = register >> 31;
            register = (register ^ (0xedb8_8320 * was_odd)) << 1 | was_odd;
        }
        register ^= u32::from(*byte);
    }
    !register
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::MultiGzDecoder;

    use super::*;

    fn read(gzip: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        MultiGzDecoder::new(gzip).read_to_end(&mut text).unwrap();
        text
    }

    #[test]
    fn the_file_is_whole_after_every_piece_and_another_may_go_on() {
        let tail = b"\n]}\n";
        let mut file = Vec::new();
        let mut gzip = Gzip::begin(&mut file);
        let mut text = Vec::new();
        for piece in 0..20_usize {
            let more: Vec<u8> = (0..=250).cycle().take(piece * 7_919).collect();
            gzip.append(&more, &mut file).unwrap();
            text.extend(more);
            let mut whole = file.clone();
            gzip.ending(tail, &mut whole);
            assert_eq!(whole.len(), file.len() + ending_bytes(tail));
            assert!(read(&whole) == [&text[..], tail].concat());
        }
        let mut ending = Vec::new();
        gzip.ending(tail, &mut ending);
        file.extend(ending_without(tail, &ending).unwrap());
        assert!(read(&file) == text);
        let mut second = Gzip::begin(&mut file);
        second.append(b"more", &mut file).unwrap();
        second.ending(tail, &mut file);
        assert!(read(&file) == [&text[..], b"more", tail].concat());
        assert_eq!(ending_without(tail, b"something else that is long"), None);
    }
}
