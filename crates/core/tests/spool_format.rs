//! A reader that was written from the description of the format alone reads what the spool wrote.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::fs;

use hiq_core::spool::{Record, Spool, SpoolLimits};

/// CRC-32C (Castagnoli) bit by bit, as RFC 3720 defines it.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0x82f6_3b78
            } else {
                crc >> 1
            };
        }
    }
    !crc
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn index(bytes: &[u8]) -> usize {
    number(bytes).try_into().unwrap()
}

#[test]
fn the_checksum_is_the_one_of_the_standards() {
    // RFC 3720, B.4: 32 bytes of zeros; and the usual check value.
    assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn the_bytes_are_those_that_are_described() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(dir.path(), "otlp", SpoolLimits::default()).unwrap();
    let mut gzipped = Record::new("otlp_proto", "application/x-protobuf", 7, b"zipped");
    gzipped.content_encoding = Some("gzip");
    gzipped.key = Some("cart");
    spool.append(&gzipped).unwrap();
    let second = spool
        .append(&Record::new("zipkin_json", "application/json", 1, b"[]"))
        .unwrap();
    spool.settle(second);

    let home = fs::read_dir(dir.path().join("otlp"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let files = fs::read_dir(home).unwrap().map(|file| file.unwrap());
    let file = files
        .into_iter()
        .find(|file| file.file_name() != "lock")
        .unwrap();
    let name = file.file_name().into_string().unwrap();
    assert_eq!(
        (name.len(), &name[..17], &name[33..]),
        (39, "0000000000000001-", ".spool")
    );
    let salt = u64::from_str_radix(&name[17..33], 16)
        .unwrap()
        .to_le_bytes();

    let bytes = fs::read(file.path()).unwrap();
    let (header, mut rest) = bytes.split_at(32);
    assert_eq!(&header[..8], b"HIQSPOOL");
    assert_eq!((number(&header[8..10]), number(&header[10..12])), (1, 32));
    let made_ms = number(&header[16..24]);
    let now_ms = hiq_core::time::Clock::unix_nanos().0 / 1_000_000;
    assert!(now_ms - made_ms < 60_000, "{made_ms} and now {now_ms}");
    assert_eq!(number(&header[28..32]), u64::from(crc32c(&header[..28])));

    for (items, texts, body, state) in [
        (
            7,
            [
                "otlp",
                "otlp_proto",
                "application/x-protobuf",
                "gzip",
                "cart",
            ],
            &b"zipped"[..],
            [0; 4],
        ),
        (
            1,
            ["otlp", "zipkin_json", "application/json", "", ""],
            b"[]",
            *b"DONE",
        ),
    ] {
        let place = bytes.len() - rest.len();
        let (header, after) = rest.split_at(40);
        assert_eq!(&header[..6], b"\xf1HQr\x01\x00");
        let (meta, after) = after.split_at(index(&header[6..8]));
        let (written, after) = after.split_at(index(&header[8..12]));
        assert_eq!(number(&header[12..16]), items);
        assert_eq!(index(&header[16..20]), place);
        assert!(number(&header[20..28]) >= made_ms && number(&header[20..28]) <= now_ms);
        let content = [meta, written].concat();
        assert_eq!(number(&header[28..32]), u64::from(crc32c(&content)));
        let salted = [&salt, &header[..32]].concat();
        assert_eq!(number(&header[32..36]), u64::from(crc32c(&salted)));
        assert_eq!(header[36..], state);
        let mut expected = Vec::new();
        for text in texts {
            expected.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
            expected.extend(text.as_bytes());
        }
        assert_eq!(meta, expected);
        assert_eq!(written, body);
        rest = after;
    }
    assert!(rest.is_empty());
}
