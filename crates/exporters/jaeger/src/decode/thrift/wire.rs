//! Thrift's two protocols, as far as Jaeger uses them.

use std::borrow::Cow;

/// What is wrong with the bytes.
pub(super) type Read<T> = Result<T, &'static str>;

/// How thrift is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) enum Protocol {
    Compact,
    Binary,
}

/// Types of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of a compact field, with its value.
    Bool(Option<bool>),
    I8,
    I16,
    I32,
    I64,
    Double,
    /// Texts too.
    Bytes,
    Struct,
    /// Sets too.
    List,
    Map,
    Uuid,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) number: i16,
    pub(super) kind: Kind,
}

/// Structs, lists and maps inside each other that are skipped.
const MAX_DEPTH: usize = 64;

const ENDS_EARLY: &str = "it ends inside a value";

#[derive(Debug)]
pub(super) struct Reader<'p> {
    payload: &'p [u8],
    rest: &'p [u8],
    protocol: Protocol,
}

impl<'p> Reader<'p> {
    pub(super) fn new(payload: &'p [u8], protocol: Protocol) -> Self {
        Self {
            payload,
            rest: payload,
            protocol,
        }
    }

    /// How far it has read.
    pub(super) fn offset(&self) -> usize {
        self.payload.len() - self.rest.len()
    }

    /// A struct begins with the type of a field or a stop, which neither of these is.
    pub(super) fn begins_with_call(&self) -> bool {
        match self.protocol {
            Protocol::Compact => self.rest.starts_with(&[0x82]),
            Protocol::Binary => self.rest.starts_with(&[0x80, 0x01]),
        }
    }

    /// What stands before the arguments of a call.
    pub(super) fn call(&mut self) -> Read<()> {
        match self.protocol {
            Protocol::Compact => {
                self.take(2)?;
                self.varint()?;
                self.bytes()?;
            }
            Protocol::Binary => {
                self.take(4)?;
                self.bytes()?;
                self.take(4)?;
            }
        }
        Ok(())
    }

    /// The next field of a struct; `None` at its end. `last`: the number of the one before.
    pub(super) fn field(&mut self, last: &mut i16) -> Read<Option<Field>> {
        let [first] = self.array()?;
        if first == 0 {
            return Ok(None);
        }
        let (number, kind) = match self.protocol {
            Protocol::Binary => (i16::from_be_bytes(self.array()?), binary_kind(first)?),
            Protocol::Compact => {
                let number = match first >> 4 {
                    0 => i16::try_from(self.zigzag()?).unwrap_or(0),
                    step => last.saturating_add(step.into()),
                };
                (number, compact_field_kind(first & 15)?)
            }
        };
        *last = number;
        Ok(Some(Field { number, kind }))
    }

    /// Type and number of a list's items. Each takes a byte at least, so their number is bounded by what is left.
    pub(super) fn list(&mut self) -> Read<(Kind, usize)> {
        let [first] = self.array()?;
        let (kind, items) = match self.protocol {
            Protocol::Binary => (binary_kind(first)?, self.length()?),
            Protocol::Compact => {
                let items = match first >> 4 {
                    15 => self.length()?,
                    few => few.into(),
                };
                (compact_kind(first & 15)?, items)
            }
        };
        if items > self.rest.len() {
            return Err("a list has more items than bytes are left");
        }
        Ok((kind, items))
    }

    pub(super) fn bool(&mut self, kind: Kind) -> Read<bool> {
        match kind {
            Kind::Bool(Some(value)) => Ok(value),
            _ => Ok(self.array()? == [1]),
        }
    }

    pub(super) fn i32(&mut self) -> Read<i32> {
        match self.protocol {
            Protocol::Binary => self.array().map(i32::from_be_bytes),
            Protocol::Compact => {
                let number = self.zigzag()?;
                i32::try_from(number).map_err(|_| "a number has more than 32 bits")
            }
        }
    }

    pub(super) fn i64(&mut self) -> Read<i64> {
        match self.protocol {
            Protocol::Binary => self.array().map(i64::from_be_bytes),
            Protocol::Compact => self.zigzag(),
        }
    }

    pub(super) fn double(&mut self) -> Read<f64> {
        let bytes = self.array()?;
        Ok(match self.protocol {
            Protocol::Binary => f64::from_be_bytes(bytes),
            Protocol::Compact => f64::from_le_bytes(bytes),
        })
    }

    pub(super) fn bytes(&mut self) -> Read<&'p [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Read<Cow<'p, str>> {
        Ok(String::from_utf8_lossy(self.bytes()?))
    }

    /// Passes over a value inside `depth` others.
    pub(super) fn skip(&mut self, kind: Kind, depth: usize) -> Read<()> {
        if depth == MAX_DEPTH {
            return Err("values are nested deeper than 64 levels");
        }
        match kind {
            Kind::Bool(_) => drop(self.bool(kind)?),
            Kind::I8 => drop(self.take(1)?),
            Kind::I16 => match self.protocol {
                Protocol::Binary => drop(self.take(2)?),
                Protocol::Compact => drop(self.varint()?),
            },
            Kind::I32 => drop(self.i32()?),
            Kind::I64 => drop(self.i64()?),
            Kind::Double => drop(self.take(8)?),
            Kind::Uuid => drop(self.take(16)?),
            Kind::Bytes => drop(self.bytes()?),
            Kind::Struct => {
                let mut last = 0;
                while let Some(field) = self.field(&mut last)? {
                    self.skip(field.kind, depth + 1)?;
                }
            }
            Kind::List => {
                let (kind, items) = self.list()?;
                for _ in 0..items {
                    self.skip(kind, depth + 1)?;
                }
            }
            Kind::Map => self.skip_map(depth)?,
        }
        Ok(())
    }

    fn skip_map(&mut self, depth: usize) -> Read<()> {
        let (kinds, items) = match self.protocol {
            Protocol::Binary => {
                let [key, value] = self.array()?;
                ([binary_kind(key)?, binary_kind(value)?], self.length()?)
            }
            Protocol::Compact => {
                let items = self.length()?;
                if items == 0 {
                    return Ok(());
                }
                let [both] = self.array()?;
                ([compact_kind(both >> 4)?, compact_kind(both & 15)?], items)
            }
        };
        if items > self.rest.len() {
            return Err("a map has more items than bytes are left");
        }
        for _ in 0..items {
            for kind in kinds {
                self.skip(kind, depth + 1)?;
            }
        }
        Ok(())
    }

    fn length(&mut self) -> Read<usize> {
        let length = match self.protocol {
            Protocol::Binary => u64::from(u32::from_be_bytes(self.array()?)),
            Protocol::Compact => self.varint()?,
        };
        usize::try_from(length).map_err(|_| ENDS_EARLY)
    }

    fn zigzag(&mut self) -> Read<i64> {
        let number = self.varint()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn varint(&mut self) -> Read<u64> {
        let mut value = 0;
        for (length, (&byte, shift)) in (1..).zip(self.rest.iter().zip((0..70_u32).step_by(7))) {
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                self.take(length)?;
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 {
            ENDS_EARLY
        } else {
            "a number is longer than ten bytes"
        })
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| ENDS_EARLY)
    }

    fn take(&mut self, bytes: usize) -> Read<&'p [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(ENDS_EARLY)?;
        self.rest = rest;
        Ok(taken)
    }
}

const UNKNOWN: &str = "a value has a type that thrift does not know";

fn binary_kind(number: u8) -> Read<Kind> {
    Ok(match number {
        2 => Kind::Bool(None),
        3 => Kind::I8,
        4 => Kind::Double,
        6 => Kind::I16,
        8 => Kind::I32,
        10 => Kind::I64,
        11 => Kind::Bytes,
        12 => Kind::Struct,
        13 => Kind::Map,
        14 | 15 => Kind::List,
        16 => Kind::Uuid,
        _ => return Err(UNKNOWN),
    })
}

fn compact_field_kind(number: u8) -> Read<Kind> {
    match number {
        1 | 2 => Ok(Kind::Bool(Some(number == 1))),
        _ => compact_kind(number),
    }
}

fn compact_kind(number: u8) -> Read<Kind> {
    Ok(match number {
        1 | 2 => Kind::Bool(None),
        3 => Kind::I8,
        4 => Kind::I16,
        5 => Kind::I32,
        6 => Kind::I64,
        7 => Kind::Double,
        8 => Kind::Bytes,
        9 | 10 => Kind::List,
        11 => Kind::Map,
        12 => Kind::Struct,
        13 => Kind::Uuid,
        _ => return Err(UNKNOWN),
    })
}
