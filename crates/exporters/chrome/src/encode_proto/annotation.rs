//! Debug annotations, which the viewer shows as arguments, and names that are written once a payload.

use std::collections::HashMap;

use hiq_core::value::{Value, ValueRef};
use hiq_core::wire::{Fixed64, OpenLength, Varint, Writer};

use super::packet::INTERNED_DATA;
use crate::json::{MAX_VALUE_DEPTH, TOO_DEEP, bytes_as_base64};

/// Field of a track event.
const DEBUG_ANNOTATION: u8 = 0x22;
const DICT_ENTRY: u8 = 0x5a;
const ARRAY_VALUE: u8 = 0x62;

/// Numbers of names; a name is written where it is used first in a payload.
#[derive(Debug, Default)]
pub(super) struct Names {
    events: Table,
    annotations: Table,
    payload: u64,
    /// What the current packet has to define.
    new: Vec<u8>,
}

#[derive(Debug, Default)]
struct Table {
    known: HashMap<Box<[u8]>, Known>,
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    iid: u64,
    payload: u64,
}

/// Names that are remembered; a program that makes up names begins anew.
const MAX_NAMES: usize = 1 << 16;

impl Names {
    pub(super) fn begin_payload(&mut self) {
        self.payload += 1;
    }

    /// The number of an event's name.
    #[inline]
    pub(super) fn event(&mut self, name: &[u8]) -> u64 {
        self.events.find(name, self.payload, 0x12, &mut self.new)
    }

    /// The number of an annotation's name.
    #[inline]
    fn annotation(&mut self, name: &[u8]) -> u64 {
        self.annotations
            .find(name, self.payload, 0x1a, &mut self.new)
    }

    /// Closes an event and its packet, which defines the names that are new.
    #[inline]
    pub(super) fn close(&mut self, writer: &mut Writer<'_>, open: (OpenLength, OpenLength)) {
        writer.close(open.1);
        if !self.new.is_empty() {
            let data = writer.open(INTERNED_DATA, self.new.len());
            writer.put(self.new.as_slice());
            writer.close(data);
            self.new.clear();
        }
        writer.close(open.0);
    }
}

impl Table {
    fn find(&mut self, name: &[u8], payload: u64, tag: u8, new: &mut Vec<u8>) -> u64 {
        match self.known.get_mut(name) {
            Some(known) if known.payload == payload => return known.iid,
            Some(known) => {
                known.payload = payload;
                define(known.iid, name, tag, new);
                return known.iid;
            }
            None => {}
        }
        if self.known.len() == MAX_NAMES {
            self.known.clear();
        }
        self.next += 1;
        let iid = self.next;
        self.known.insert(name.into(), Known { iid, payload });
        define(iid, name, tag, new);
        iid
    }
}

/// `{iid: 1, name: 2}` under the field of `tag`.
fn define(iid: u64, name: &[u8], tag: u8, out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    let entry = writer.open(tag, name.len() + 6);
    writer.put((0x08_u8, Varint(iid), 0x12_u8, Varint(name.len() as u64)));
    writer.put(name);
    writer.close(entry);
}

/// Writes an annotation of the open event.
#[inline]
pub(super) fn annotate(
    writer: &mut Writer<'_>,
    names: &mut Names,
    name: &[u8],
    value: ValueRef<'_>,
) {
    let annotation = writer.open(DEBUG_ANNOTATION, 40);
    writer.put((0x08_u8, Varint(names.annotation(name))));
    write_value(writer, value, 0);
    writer.close(annotation);
}

/// Writes a text annotation from pieces of it.
pub(super) fn annotate_text(writer: &mut Writer<'_>, names: &mut Names, name: &str, text: &[u8]) {
    let annotation = writer.open(DEBUG_ANNOTATION, 40);
    writer.put((0x08_u8, Varint(names.annotation(name.as_bytes()))));
    string(writer, text);
    writer.close(annotation);
}

/// Opens an annotation that is a list, for items by [`open_item`].
pub(super) fn open_list(writer: &mut Writer<'_>, names: &mut Names, name: &str) -> OpenLength {
    let annotation = writer.open(DEBUG_ANNOTATION, 200);
    writer.put((0x08_u8, Varint(names.annotation(name.as_bytes()))));
    annotation
}

/// Opens an item of a list.
pub(super) fn open_item(writer: &mut Writer<'_>) -> OpenLength {
    writer.open(ARRAY_VALUE, 100)
}

/// Writes an entry of the open dict.
pub(super) fn entry(writer: &mut Writer<'_>, key: &[u8], value: ValueRef<'_>, depth: usize) {
    let entry = open_entry(writer, key);
    write_value(writer, value, depth);
    writer.close(entry);
}

/// Opens an entry of the open dict.
pub(super) fn open_entry(writer: &mut Writer<'_>, key: &[u8]) -> OpenLength {
    let entry = writer.open(DICT_ENTRY, 40);
    writer.put((0x52_u8, Varint(key.len() as u64), key));
    entry
}

fn write_value(writer: &mut Writer<'_>, value: ValueRef<'_>, depth: usize) {
    match value {
        ValueRef::Text(text) => string(writer, text.as_bytes()),
        ValueRef::Str(text) => string(writer, text.as_bytes()),
        ValueRef::Bool(bool) => writer.put((0x10_u8, u8::from(bool))),
        ValueRef::Int(int) => writer.put((0x20_u8, Varint(int.cast_unsigned()))),
        ValueRef::F64(double) => writer.put((0x29_u8, Fixed64(double.to_bits()))),
        ValueRef::Bytes(bytes) => {
            let text = writer.open(0x32, bytes.len() / 3 * 4 + 4);
            bytes_as_base64(writer, bytes);
            writer.close(text);
        }
        ValueRef::Array(_) | ValueRef::Map(_) if depth == MAX_VALUE_DEPTH => {
            string(writer, TOO_DEEP.as_bytes());
        }
        ValueRef::Array(items) => items.iter().for_each(|each| item(writer, each, depth + 1)),
        ValueRef::Map(pairs) => {
            for (key, value) in pairs {
                entry(writer, key.as_bytes(), value.as_ref(), depth + 1);
            }
        }
        _ => {}
    }
}

fn item(writer: &mut Writer<'_>, value: &Value, depth: usize) {
    let item = open_item(writer);
    write_value(writer, value.as_ref(), depth);
    writer.close(item);
}

fn string(writer: &mut Writer<'_>, text: &[u8]) {
    writer.put((0x32_u8, Varint(text.len() as u64), text));
}
