//! Segments that were cut, flipped, zeroed, doubled: what is whole is delivered, once and in order, the rest is counted.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod spool_common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use hiq_core::spool::{Damage, Record, Recovered, Spool, SpoolError, SpoolLimits};
use proptest::prelude::*;
use spool_common::quick_dir;
use tempfile::TempDir;

const FILE_HEADER_BYTES: usize = 32;

/// A segment of a process that is dead, and where its records are by the lengths that its file had.
struct Segment {
    name: PathBuf,
    bytes: Vec<u8>,
    bodies: Vec<Vec<u8>>,
    ends: Vec<usize>,
}

impl Segment {
    fn of(bodies: &[Vec<u8>]) -> Self {
        let dir = quick_dir();
        let mut spool = open(dir.path());
        let mut ends = Vec::new();
        for body in bodies {
            let mut record = Record::new("otlp_proto", "application/x-protobuf", 10, body);
            record.key = Some("k");
            spool.append(&record).unwrap();
            ends.push(
                fs::metadata(only_segment(dir.path()))
                    .unwrap()
                    .len()
                    .try_into()
                    .unwrap(),
            );
        }
        drop(spool);
        let path = only_segment(dir.path());
        Self {
            name: path.strip_prefix(dir.path()).unwrap().to_owned(),
            bytes: fs::read(&path).unwrap(),
            bodies: bodies.to_vec(),
            ends,
        }
    }

    fn small() -> Self {
        let bodies: [&[u8]; 5] = [
            b"first",
            b"",
            b"third with more",
            &[0; 40],
            b"\xf1HQr marker inside",
        ];
        Self::of(&bodies.map(<[u8]>::to_vec))
    }

    fn starts(&self) -> impl Iterator<Item = usize> {
        std::iter::once(FILE_HEADER_BYTES).chain(self.ends.iter().copied())
    }

    /// Bodies of the records that lie outside `range` (an empty one lies between two bytes).
    fn outside(&self, range: std::ops::Range<usize>) -> Vec<Vec<u8>> {
        let records = self.starts().zip(&self.ends).zip(&self.bodies);
        let untouched =
            records.filter(|((start, end), _)| **end <= range.start || *start >= range.end);
        untouched.map(|(_, body)| body.clone()).collect()
    }

    /// What a spool finds when the segment has become `bytes`.
    fn found_in(&self, bytes: &[u8]) -> Findings {
        let dir = quick_dir();
        let path = dir.path().join(&self.name);
        for folder in [
            path.parent().unwrap().parent().unwrap(),
            path.parent().unwrap(),
        ] {
            fs::create_dir(folder).unwrap();
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
        }
        fs::write(&path, bytes).unwrap();
        Findings::of(&dir)
    }
}

#[derive(Debug)]
struct Findings {
    bodies: Vec<Vec<u8>>,
    corrupt: u64,
    corrupt_items: u64,
    damage: Damage,
}

impl Findings {
    fn of(dir: &TempDir) -> Self {
        let mut spool = open(dir.path());
        let mut found = Self {
            bodies: Vec::new(),
            corrupt: 0,
            corrupt_items: 0,
            damage: Damage::default(),
        };
        while let Some(recovered) = spool.next_recovered() {
            match recovered {
                Recovered::Record(record) => {
                    assert_eq!(spool.load(&record.id).unwrap().body, record.body);
                    assert_eq!((record.items, record.key.as_deref()), (10, Some("k")));
                    found.bodies.push(record.body);
                    spool.settle(record.id);
                }
                Recovered::Corrupt { items } => {
                    found.corrupt += 1;
                    found.corrupt_items += u64::from(items);
                }
                other => panic!("{other:?}"),
            }
        }
        found.damage = spool.damage();
        assert_eq!(found.damage.records, found.corrupt, "each is said once");
        assert_eq!(found.damage.items, found.corrupt_items);
        assert_eq!(spool.used_bytes(), 0, "nothing is left to wait for");
        drop(spool);
        let again = open(dir.path()).next_recovered();
        assert!(again.is_none(), "nothing is handed out twice: {again:?}");
        found
    }
}

fn open(dir: &Path) -> Spool {
    Spool::open(dir, "otlp", SpoolLimits::default()).unwrap()
}

fn only_segment(dir: &Path) -> PathBuf {
    let homes = fs::read_dir(dir.join("otlp")).unwrap();
    let files = homes.flat_map(|home| fs::read_dir(home.unwrap().path()).unwrap());
    let paths = files.map(|file| file.unwrap().path());
    let segments: Vec<_> = paths.filter(|path| path.extension().is_some()).collect();
    assert_eq!(segments.len(), 1);
    segments[0].clone()
}

#[test]
fn cut_off_at_any_byte_a_segment_yields_what_was_whole_before() {
    let segment = Segment::small();
    for cut in 0..=segment.bytes.len() {
        let found = segment.found_in(&segment.bytes[..cut]);
        let whole = segment.ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(found.bodies, segment.bodies[..whole], "cut at {cut}");
        assert_eq!(found.corrupt, 0, "cut at {cut}: a torn end is no defect");
        let at_a_border = segment.starts().any(|start| start == cut) || cut == 0;
        assert_eq!(
            found.damage.torn_ends,
            u64::from(!at_a_border),
            "cut at {cut}"
        );
    }
}

#[test]
fn an_end_that_the_file_system_never_filled_is_torn_and_not_corrupt() {
    let segment = Segment::small();
    for cut in FILE_HEADER_BYTES..segment.bytes.len() {
        let mut bytes = segment.bytes.clone();
        bytes[cut..].fill(0);
        let found = segment.found_in(&bytes);
        let whole = segment.outside(cut..segment.bytes.len());
        assert_eq!(found.bodies[..whole.len()], whole, "zero from {cut}");
        assert!(
            found.bodies.len() <= whole.len() + 1,
            "a record may end in zeros itself"
        );
    }
    let mut longer = segment.bytes.clone();
    longer.resize(longer.len() + 4_096, 0);
    let found = segment.found_in(&longer);
    assert_eq!((found.bodies, found.corrupt), (segment.bodies, 0));
}

#[test]
fn with_any_byte_flipped_all_other_records_are_delivered_and_the_loss_is_counted() {
    let segment = Segment::small();
    for offset in 0..segment.bytes.len() {
        for bit in [0x01, 0x80] {
            let mut bytes = segment.bytes.clone();
            bytes[offset] ^= bit;
            let found = segment.found_in(&bytes);
            let untouched = segment.outside(offset..offset + 1);
            if found.bodies.len() == untouched.len() {
                assert_eq!(found.bodies, untouched, "flip at {offset}");
                assert_eq!(found.corrupt, 1, "flip at {offset}");
            } else {
                // The state of an open record means nothing.
                assert_eq!(found.bodies, segment.bodies, "flip at {offset}");
                assert_eq!(found.corrupt, 0, "flip at {offset}");
            }
        }
    }
}

#[test]
fn a_damaged_body_costs_exactly_its_own_items() {
    let segment = Segment::small();
    let last_of_third = segment.ends[2] - 1;
    let mut bytes = segment.bytes.clone();
    bytes[last_of_third] ^= 0x10;
    let found = segment.found_in(&bytes);
    assert_eq!((found.corrupt, found.corrupt_items), (1, 10));
}

#[test]
fn a_copy_of_a_record_in_another_place_hides_no_record_and_is_not_delivered() {
    let segment = Segment::of(&[vec![0; 200], b"second".to_vec(), b"third".to_vec()]);
    let third = &segment.bytes[segment.ends[1]..];
    let mut bytes = segment.bytes.clone();
    bytes[FILE_HEADER_BYTES + 50..][..third.len()].copy_from_slice(third);
    let found = segment.found_in(&bytes);
    assert_eq!(found.bodies, [b"second".to_vec(), b"third".to_vec()]);

    // Where the place it was written at is damaged, the copy is the record.
    bytes[segment.ends[1] + 50] ^= 1;
    let mut found = segment.found_in(&bytes).bodies;
    found.sort();
    assert_eq!(found, [b"second".to_vec(), b"third".to_vec()]);
}

#[test]
fn bytes_cut_out_anywhere_cost_only_the_records_they_were_in() {
    let segment = Segment::small();
    for start in FILE_HEADER_BYTES..segment.bytes.len() {
        for length in [1, 3, 40, 90, 131] {
            let end = (start + length).min(segment.bytes.len());
            let mut bytes = segment.bytes.clone();
            bytes.drain(start..end);
            // A record that lost its last byte may find the same one in what follows.
            let found = segment.found_in(&bytes);
            let untouched = segment.outside(start..end);
            let is_part = |part: &[Vec<u8>], whole: &[Vec<u8>]| {
                let mut whole = whole.iter();
                part.iter().all(|body| whole.any(|other| other == body))
            };
            assert!(
                is_part(&untouched, &found.bodies),
                "{start}..{end}: {found:?}"
            );
            assert!(
                is_part(&found.bodies, &segment.bodies),
                "{start}..{end}: {found:?}"
            );
        }
    }
}

#[test]
fn a_damaged_file_header_costs_no_record() {
    let segment = Segment::small();
    let mut bytes = segment.bytes.clone();
    bytes[..FILE_HEADER_BYTES].fill(0xaa);
    let found = segment.found_in(&bytes);
    assert_eq!(found.bodies, segment.bodies);
    assert_eq!(found.corrupt_items, 0);
}

#[test]
fn a_record_inside_a_payload_is_never_taken_for_one() {
    let inner = Segment::small();
    let outer = Segment::of(&[b"before".to_vec(), inner.bytes.clone(), b"after".to_vec()]);
    let mut bytes = outer.bytes.clone();
    let header_of_second = outer.ends[0] + 8;
    bytes[header_of_second] ^= 0xff;
    let found = outer.found_in(&bytes);
    assert_eq!(found.bodies, [b"before".to_vec(), b"after".to_vec()]);
}

#[test]
fn a_record_that_was_damaged_since_it_was_written_cannot_be_loaded() {
    let dir = quick_dir();
    let mut spool = open(dir.path());
    let id = spool.append(&Record::new("e", "c", 1, b"body")).unwrap();
    let path = only_segment(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(spool.load(&id), Err(SpoolError::Damaged)));
    fs::remove_file(&path).unwrap();
    assert!(matches!(spool.load(&id), Err(SpoolError::Gone)));
    spool.settle(id);
}

#[test]
fn damage_larger_than_the_search_window_is_passed_over() {
    let noise: Vec<u8> = (0..200_000_u32)
        .map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[3])
        .collect();
    let segment = Segment::of(&[b"a".to_vec(), noise, b"b".to_vec()]);
    let mut bytes = segment.bytes.clone();
    let header_of_noise = segment.ends[0];
    bytes[header_of_noise + 20] ^= 1;
    let found = segment.found_in(&bytes);
    assert_eq!(found.bodies, [b"a".to_vec(), b"b".to_vec()]);
    assert_eq!(
        found.damage.bytes,
        200_000 + (segment.ends[0] - FILE_HEADER_BYTES) as u64 - 1
    );
}

#[test]
fn a_header_over_the_border_of_two_search_windows_is_found() {
    let window = 64 << 10;
    for shift in (window - 180)..window {
        let segment = Segment::of(&[vec![b'x'; shift], b"after".to_vec()]);
        let mut bytes = segment.bytes.clone();
        bytes[FILE_HEADER_BYTES] ^= 1;
        assert_eq!(
            segment.found_in(&bytes).bodies,
            [b"after".to_vec()],
            "{shift}"
        );
    }
}

/// What happens to the bytes of a file.
#[derive(Clone, Debug)]
enum Harm {
    Zero,
    Noise(u8),
    Cut,
    Insert(Vec<u8>),
    /// The range once more behind itself.
    Double,
    /// Bytes of another place over the range.
    Copy(usize),
}

impl Harm {
    fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            Just(Self::Zero),
            any::<u8>().prop_map(Self::Noise),
            Just(Self::Cut),
            prop::collection::vec(any::<u8>(), 1..300).prop_map(Self::Insert),
            Just(Self::Double),
            (0_usize..10_000).prop_map(Self::Copy),
        ]
    }

    /// The harmed bytes, and the range of the old ones that is not what it was.
    fn apply(
        &self,
        bytes: &[u8],
        range: std::ops::Range<usize>,
    ) -> (Vec<u8>, std::ops::Range<usize>) {
        let mut harmed = bytes.to_vec();
        match self {
            Self::Zero => harmed[range.clone()].fill(0),
            Self::Noise(seed) => {
                for (index, byte) in harmed[range.clone()].iter_mut().enumerate() {
                    *byte = byte
                        .wrapping_add(seed | 1)
                        .wrapping_add(index.to_le_bytes()[0]);
                }
            }
            Self::Cut => drop(harmed.drain(range.clone())),
            Self::Insert(new) => {
                harmed.splice(range.start..range.start, new.iter().copied());
                return (harmed, range.start..range.start);
            }
            Self::Double => {
                harmed.splice(range.end..range.end, bytes[range.clone()].iter().copied());
                return (harmed, range.end..range.end);
            }
            Self::Copy(from) => {
                let from = from % (bytes.len() - range.len() + 1);
                harmed[range.clone()].copy_from_slice(&bytes[from..from + range.len()]);
            }
        }
        (harmed, range)
    }
}

proptest! {
    #[test]
    fn whatever_happens_to_some_bytes_the_other_records_are_delivered_once_and_in_order(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 1..8),
        harm in Harm::any(),
        place in any::<prop::sample::Index>(),
        length in 0_usize..400,
    ) {
        let segment = Segment::of(&bodies);
        let start = place.index(segment.bytes.len() + 1);
        let end = (start + length).min(segment.bytes.len());
        let (harmed, touched) = harm.apply(&segment.bytes, start..end);
        let found = segment.found_in(&harmed);
        // What was touched may be whole all the same (zeros over zeros), and is then delivered in its place.
        let mut rest = segment.bodies.iter();
        for body in &found.bodies {
            prop_assert!(rest.any(|written| written == body), "{body:?} was not written, or not in this order");
        }
        let mut delivered = found.bodies.iter();
        for body in segment.outside(touched) {
            prop_assert!(delivered.any(|delivered| *delivered == body), "{body:?} was whole and is missing");
        }
    }
}

proptest! {
    /// Of what was not synced a power cut keeps some pages, in any order, and any length.
    #[test]
    fn a_power_cut_costs_only_what_was_not_synced(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6_000), 2..12),
        synced in any::<prop::sample::Index>(),
        kept_pages in prop::collection::vec(any::<bool>(), 20),
        cut in any::<prop::sample::Index>(),
    ) {
        let segment = Segment::of(&bodies);
        let synced = synced.index(bodies.len());
        let safe = segment.ends[synced];
        let mut bytes = segment.bytes.clone();
        bytes.truncate(safe + cut.index(bytes.len() - safe + 1));
        for (page, kept) in (safe..bytes.len()).step_by(4_096).zip(kept_pages) {
            let end = (page + 4_096).min(bytes.len());
            if !kept {
                bytes[page..end].fill(0);
            }
        }
        let found = segment.found_in(&bytes);
        prop_assert_eq!(&found.bodies[..=synced], &segment.bodies[..=synced]);
    }
}
