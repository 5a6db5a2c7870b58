use std::fmt::Write as _;
use std::io::BufReader;

use proptest::prelude::*;

use super::*;

/// Keeps the pieces that it was given. One with `bad` in it is an error at that place.
#[derive(Debug, Default)]
struct Pieces(Vec<String>);

impl Decoder for Pieces {
    fn decode(&mut self, piece: &[u8], _: &mut Sink<'_>) -> Result<(), DecodeError> {
        let piece = std::str::from_utf8(piece).unwrap();
        if let Some(at) = piece.find("bad") {
            return Err(DecodeError::new("test", at, "bad"));
        }
        self.0.push(piece.to_owned());
        Ok(())
    }
}

const TINY: Limits = Limits {
    whole: 24,
    together: 16,
    piece: 64,
};

const UNDER: Items = Items::Under(&["data", "other"]);

/// Reads `text`, which comes `chunk` bytes at a time.
fn read_by(chunk: usize, text: &str, items: Items) -> (Vec<String>, Result<(), DecodeError>) {
    let mut pieces = Pieces::default();
    let mut source = BufReader::with_capacity(chunk, text.as_bytes());
    let read = each_document_within(TINY, &mut source, "test", items, &mut pieces, &mut |_| {});
    (pieces.0, read)
}

fn read(text: &str, items: Items) -> Vec<String> {
    let (pieces, read) = read_by(7, text, items);
    read.unwrap();
    pieces
}

/// The place and the words of the error of `text`, and the pieces before it.
fn fail(text: &str, items: Items) -> (usize, String, Vec<String>) {
    let (pieces, read) = read_by(7, text, items);
    let error = read.unwrap_err();
    (error.offset, error.message, pieces)
}

#[test]
fn short_documents_stay_whole() {
    let text = "[{\"a\":1},{\"b\":2}]\n {\"data\":[]}\n\n";
    assert_eq!(
        read(text, Items::Listed),
        ["[{\"a\":1},{\"b\":2}]", "\n {\"data\":[]}"]
    );
}

#[test]
fn long_lists_are_cut_between_their_items() {
    let text = " [ {\"a\":\"]}\\\"\"} ,\n[{\"b\":[2]}], {\"c\":3},{\"d\":4} ] [{\"e\":5}]";
    assert_eq!(
        read(text, Items::Listed),
        [
            "[{\"a\":\"]}\\\"\"},[{\"b\":[2]}]]",
            "[{\"c\":3},{\"d\":4}]",
            " [{\"e\":5}]"
        ]
    );
}

#[test]
fn long_objects_are_cut_between_the_items_of_their_list() {
    let text = "{\"total\": {\"data\":[0]}, \"x\\\"data\":[1], \"n\":-1e5, \"other\" : [ {\"a\":1},{\"b\":22222} , {\"c\":3}], \"data\":[{}]}{\"d\":4}";
    // What stands before the list must be within the documents that are read whole.
    let wide = Limits {
        whole: 80,
        together: 20,
        ..TINY
    };
    let mut pieces = Pieces::default();
    let mut source = BufReader::with_capacity(5, text.as_bytes());
    each_document_within(wide, &mut source, "test", UNDER, &mut pieces, &mut |_| {}).unwrap();
    assert_eq!(
        pieces.0,
        [
            "{\"data\":[{\"a\":1},{\"b\":22222}]}",
            "{\"data\":[{\"c\":3}]}",
            "{\"d\":4}"
        ]
    );
}

#[test]
fn what_cannot_be_cut_is_read_whole_up_to_the_limit() {
    let trace = format!("{{\"spans\":[{}]}}", "1,".repeat(20));
    assert_eq!(read(&trace, UNDER), [trace.as_str()]);
    let long = format!("{{\"spans\":[{}]}}", "1,".repeat(200));
    let (offset, problem, _) = fail(&long, UNDER);
    assert_eq!(
        (offset, problem.as_str()),
        (0, "a document is longer than 0 MiB")
    );
    let item = format!("[{{\"a\":1}},{{\"b\":\"{}\"}}]", "x".repeat(200));
    let (offset, problem, pieces) = fail(&item, Items::Listed);
    assert!(
        problem.starts_with("one item of a list is longer"),
        "{problem}"
    );
    assert!(offset >= item.find("{\"b\"").unwrap(), "{offset}");
    assert_eq!(pieces, ["[{\"a\":1}]"]);
}

#[test]
fn an_error_stands_where_the_source_has_it() {
    let text = "[{\"a\":1},   {\"b\":2}]  [{\"a\":1},{\"b\":\"long enough\"},\n\n{\"c\":\"bad\"},{\"d\":4}]";
    let (offset, _, _) = fail(text, Items::Listed);
    assert_eq!(offset, text.find("bad").unwrap());
    let text = format!(
        "{{\"data\" : [{}{{\"c\":\"bad\"}}]}}",
        "{\"a\":1},\n ".repeat(9)
    );
    let (offset, _, pieces) = fail(&text, UNDER);
    assert_eq!(offset, text.find("bad").unwrap());
    assert!(!pieces.is_empty());
}

#[test]
fn what_was_cut_gives_its_whole_items_and_says_so() {
    let whole = "{\"data\":[{\"a\":1},{\"b\":2},{\"c\":3},{\"d\":4}]}";
    for end in 26..whole.len() {
        let (offset, problem, pieces) = fail(&whole[..end], UNDER);
        assert_eq!((offset, problem.as_str()), (end, CUT), "{end}");
        let found = pieces.concat().matches("\":").count() - pieces.len();
        let expected = whole[..end].matches('}').count().min(4);
        assert_eq!(found, expected, "{end}: {pieces:?}");
    }
}

#[test]
fn items_are_objects_or_lists() {
    let text = "[{\"a\":1},{\"b\":2},{\"c\":3}, 7, {\"d\":4}]";
    let (offset, problem, pieces) = fail(text, Items::Listed);
    assert_eq!(offset, text.find('7').unwrap());
    assert!(
        problem.starts_with("neither an object nor a list"),
        "{problem}"
    );
    assert_eq!(pieces.concat().matches('}').count(), 3);
}

#[test]
fn messages_are_handed_over_one_by_one() {
    #[derive(Debug, Default)]
    struct Bytes(Vec<Vec<u8>>);
    impl Decoder for Bytes {
        fn decode(&mut self, piece: &[u8], _: &mut Sink<'_>) -> Result<(), DecodeError> {
            self.0.push(piece.to_vec());
            Ok(())
        }
    }
    let read = |bytes: &[u8]| {
        let mut pieces = Bytes::default();
        let mut source = BufReader::with_capacity(3, bytes);
        let read = each_message(&mut source, "test", &mut pieces, &mut |_| {});
        (
            pieces.0,
            read.map_err(|error| (error.offset, error.message)),
        )
    };
    let long = [&[0x0a, 0x80, 0x01][..], &[7; 128]].concat();
    let both = [&[0x0a, 2, 1, 2][..], &long].concat();
    assert_eq!(
        read(&both),
        (vec![vec![0x0a, 2, 1, 2], long.clone()], Ok(()))
    );
    let (pieces, error) = read(&both[..20]);
    assert_eq!(pieces.len(), 1);
    assert_eq!(error, Err((20, CUT.to_owned())));
    let (_, error) = read(&[0x08, 1]);
    assert!(error.unwrap_err().1.contains("wire type"));
    let (_, error) = read(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert!(error.unwrap_err().1.contains("longer than 128 MiB"));
}

proptest! {
    #[test]
    fn every_item_arrives_once_however_the_source_comes(
        documents in prop::collection::vec(prop::collection::vec("[a-z\\]\\[{},]{0,12}", 1..12), 1..5),
        chunk in 1_usize..40,
        is_listed in any::<bool>(),
    ) {
        let mut text = String::new();
        for items in &documents {
            let items: Vec<_> = items.iter().map(|item| format!("{{\"i\":\"{item}\"}}")).collect();
            let list = items.join(", ");
            if is_listed {
                write!(text, "[{list}] ").unwrap();
            } else {
                writeln!(text, "{{\"data\":[{list}],\"errors\":null}}").unwrap();
            }
        }
        let items = if is_listed { Items::Listed } else { UNDER };
        let (pieces, read) = read_by(chunk, &text, items);
        prop_assert!(read.is_ok(), "{read:?}");
        let mut found = Vec::new();
        for piece in &pieces {
            let value: serde_json::Value = serde_json::from_str(piece).unwrap();
            let list = if is_listed { &value } else { &value["data"] };
            found.extend(list.as_array().unwrap().iter().map(|item| item["i"].as_str().unwrap().to_owned()));
        }
        prop_assert_eq!(found, documents.concat());
    }
}

/// The pieces of `text` by lines, and the numbers of the bad ones.
fn read_lines(text: &str, items: Items) -> (Vec<String>, Vec<usize>) {
    let (mut pieces, mut bad) = (Pieces::default(), Vec::new());
    let mut source = BufReader::with_capacity(16, text.as_bytes());
    let note = &mut |line, _| bad.push(line);
    each_document_or_line(&mut source, "test", items, &mut pieces, &mut |_| {}, note).unwrap();
    (pieces.0, bad)
}

#[test]
fn a_bad_line_costs_no_other() {
    let good = ["{\"data\":[1]}", "{\"data\":[2]}", "{\"data\":[3]}"];
    let [one, two, three] = good;
    for (text, expected) in [
        (format!("{one}\n{two}\n\n{three}"), vec![]),
        (
            format!("{{\"data\":[\"bad\"]}}\n{one}\n{two}\r\n{three}\n"),
            vec![1],
        ),
        (
            format!("{one}\n{{\"data\":[\"bad\n{two}\n{three}\nbad"),
            vec![2, 5],
        ),
        (format!("{{\"data\":[\"bad\n{one}\n{two}\n{three}"), vec![1]),
    ] {
        let (pieces, bad) = read_lines(&text, UNDER);
        let pieces: Vec<_> = pieces.iter().map(|piece| piece.trim()).collect();
        let pieces: Vec<_> = pieces
            .into_iter()
            .filter(|piece| !piece.is_empty())
            .collect();
        assert_eq!((pieces, bad), (good.to_vec(), expected), "{text}");
    }
}

#[test]
fn a_document_of_several_lines_is_one() {
    for text in [
        "{\n\"data\":[\n{}\n]\n}",
        "[{\"a\":1},\n{\"a\":2}]",
        "{\"data\":[1]}",
    ] {
        assert_eq!(read_lines(text, UNDER), (vec![text.to_owned()], vec![]));
    }
}
