//! Reads thrift with Apache's own library, by the numbers of `jaeger.thrift`.

use std::io::Cursor;

use thrift::protocol::{
    TBinaryInputProtocol, TCompactInputProtocol, TInputProtocol, TMessageType, TType,
};

use super::{Reference, Span, Tags, Value, normal};

/// The spans of a compact call.
pub(crate) fn compact_call(payload: &[u8]) -> Vec<Span> {
    let mut left = Cursor::new(payload);
    let found = call(&mut TCompactInputProtocol::new(&mut left));
    assert_eq!(left.position(), payload.len() as u64, "bytes are left over");
    found
}

/// The spans of a binary call.
pub(crate) fn binary_call(payload: &[u8]) -> Vec<Span> {
    let mut left = Cursor::new(payload);
    let found = call(&mut TBinaryInputProtocol::new(&mut left, true));
    assert_eq!(left.position(), payload.len() as u64, "bytes are left over");
    found
}

/// The spans of a binary batch without a call around it.
pub(crate) fn binary(payload: &[u8]) -> Vec<Span> {
    let mut left = Cursor::new(payload);
    let found = batch(&mut TBinaryInputProtocol::new(&mut left, true));
    assert_eq!(left.position(), payload.len() as u64, "bytes are left over");
    found
}

fn call(protocol: &mut impl TInputProtocol) -> Vec<Span> {
    let message = protocol.read_message_begin().unwrap();
    assert_eq!(message.name, "emitBatch");
    assert_eq!(message.message_type, TMessageType::OneWay);
    let mut spans = None;
    fields(protocol, |protocol, number, kind| {
        assert_eq!((number, kind), (1, TType::Struct));
        spans = Some(batch(protocol));
    });
    spans.unwrap()
}

/// Reads a struct; `each` reads the value of each field. Numbers must go up, as the encoder promises.
fn fields<P: TInputProtocol>(protocol: &mut P, mut each: impl FnMut(&mut P, i16, TType)) {
    protocol.read_struct_begin().unwrap();
    let mut last = 0;
    loop {
        let field = protocol.read_field_begin().unwrap();
        if field.field_type == TType::Stop {
            break;
        }
        let number = field.id.unwrap();
        assert!(number > last, "field {number} behind {last}");
        last = number;
        each(protocol, number, field.field_type);
        protocol.read_field_end().unwrap();
    }
    protocol.read_struct_end().unwrap();
}

fn list<P: TInputProtocol, T>(protocol: &mut P, mut each: impl FnMut(&mut P) -> T) -> Vec<T> {
    let list = protocol.read_list_begin().unwrap();
    assert_eq!(list.element_type, TType::Struct);
    let items = (0..list.size).map(|_| each(protocol)).collect();
    protocol.read_list_end().unwrap();
    items
}

fn batch<P: TInputProtocol>(protocol: &mut P) -> Vec<Span> {
    let (mut name, mut process) = (None, Vec::new());
    let mut spans = Vec::new();
    fields(protocol, |protocol, number, kind| match (number, kind) {
        (1, TType::Struct) => fields(protocol, |protocol, number, _| match number {
            1 => name = Some(protocol.read_string().unwrap()),
            2 => process = list(protocol, tag),
            other => panic!("field {other} of a process"),
        }),
        (2, TType::List) => spans = list(protocol, span),
        other => panic!("field {other:?} of a batch"),
    });
    for span in &mut spans {
        span.service.clone_from(name.as_ref().unwrap());
        span.process.clone_from(&process);
    }
    normal(spans)
}

fn span<P: TInputProtocol>(protocol: &mut P) -> Span {
    let (mut numbers, mut name) = ([None; 10], None);
    let (mut references, mut tags, mut logs) = (Vec::new(), Vec::new(), Vec::new());
    fields(protocol, |protocol, number, kind| match (number, kind) {
        (1..=4 | 8 | 9, TType::I64) => {
            numbers[usize::try_from(number).unwrap()] = Some(protocol.read_i64().unwrap());
        }
        (5, TType::String) => name = Some(protocol.read_string().unwrap()),
        (6, TType::List) => references = list(protocol, reference),
        (7, TType::I32) => numbers[7] = Some(protocol.read_i32().unwrap().into()),
        (10, TType::List) => tags = list(protocol, tag),
        (11, TType::List) => logs = list(protocol, log),
        other => panic!("field {other:?} of a span"),
    });
    let number = |place: usize| numbers[place].unwrap_or_else(|| panic!("no field {place}"));
    Span {
        service: String::new(),
        process: Vec::new(),
        trace_id: trace_id(number(1), number(2)),
        id: number(3).cast_unsigned(),
        parent: number(4).cast_unsigned(),
        name: name.unwrap(),
        references,
        flags: number(7),
        start: number(8).cast_unsigned(),
        duration: number(9).cast_unsigned(),
        tags,
        logs,
    }
}

fn trace_id(low: i64, high: i64) -> [u8; 16] {
    (u128::from(high.cast_unsigned()) << 64 | u128::from(low.cast_unsigned())).to_be_bytes()
}

fn reference<P: TInputProtocol>(protocol: &mut P) -> Reference {
    let mut numbers = [0; 5];
    fields(protocol, |protocol, number, kind| {
        numbers[usize::try_from(number).unwrap()] = match kind {
            TType::I32 => protocol.read_i32().unwrap().into(),
            _ => protocol.read_i64().unwrap(),
        };
    });
    Reference {
        follows_from: numbers[1] == 1,
        trace_id: trace_id(numbers[2], numbers[3]),
        span_id: numbers[4].cast_unsigned(),
    }
}

fn log<P: TInputProtocol>(protocol: &mut P) -> (u64, Tags) {
    let (mut time, mut tags) = (None, None);
    fields(protocol, |protocol, number, _| match number {
        1 => time = Some(protocol.read_i64().unwrap().cast_unsigned()),
        2 => tags = Some(list(protocol, tag)),
        other => panic!("field {other} of a log"),
    });
    (time.unwrap(), tags.unwrap())
}

/// The type that a tag names must be that of the one value it has.
fn tag<P: TInputProtocol>(protocol: &mut P) -> (String, Value) {
    let (mut key, mut kind, mut value) = (None, None, None);
    fields(protocol, |protocol, number, _| match number {
        1 => key = Some(protocol.read_string().unwrap()),
        2 => kind = Some(protocol.read_i32().unwrap()),
        3 => value = Some((0, Value::text(&protocol.read_string().unwrap()))),
        4 => value = Some((1, Value::F64(protocol.read_double().unwrap().to_bits()))),
        5 => value = Some((2, Value::Bool(protocol.read_bool().unwrap()))),
        6 => value = Some((3, Value::Int(protocol.read_i64().unwrap()))),
        7 => value = Some((4, Value::Bytes(protocol.read_bytes().unwrap()))),
        other => panic!("field {other} of a tag"),
    });
    let (kind_of_value, value) = value.unwrap();
    assert_eq!(kind, Some(kind_of_value));
    (key.unwrap(), value)
}
