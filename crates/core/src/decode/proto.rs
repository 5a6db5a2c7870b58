//! A reader of protobuf's wire format: never panics, copies nothing.

/// The fields of one message, in the order of the bytes.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
    /// Where `rest` begins in the payload, for messages.
    offset: usize,
}

/// One field.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Field<'a> {
    /// Its number in the message.
    pub number: u64,
    /// Its value.
    pub value: Wire<'a>,
    /// Where its value begins in the payload.
    pub offset: usize,
}

/// A value as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "protobuf's wire types are a closed set"
)]
pub enum Wire<'a> {
    /// Type 0.
    Varint(u64),
    /// Type 1.
    Fixed64(u64),
    /// Type 2: a message, text, bytes or packed numbers.
    Bytes(&'a [u8]),
    /// Type 5.
    Fixed32(u32),
}

/// The bytes are not protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
#[non_exhaustive]
pub struct ReadError {
    /// Where, from the payload's start.
    pub offset: usize,
    /// What is wrong there.
    pub problem: &'static str,
}

impl<'a> Fields<'a> {
    /// The fields of the message `bytes`, which begins at `offset` of the payload.
    pub fn new(bytes: &'a [u8], offset: usize) -> Self {
        Self {
            rest: bytes,
            offset,
        }
    }

    #[inline]
    fn read(&mut self) -> Result<Field<'a>, ReadError> {
        let tag = self.varint()?;
        let offset = self.offset;
        let (number, value) = match (tag >> 3, tag & 7) {
            (0, _) => return Err(self.error("a field has the number 0")),
            (number, 2) => return self.bytes_field(number),
            (number, 0) => (number, Wire::Varint(self.varint()?)),
            (number, 1) => (number, Wire::Fixed64(u64::from_le_bytes(self.array()?))),
            (number, 5) => (number, Wire::Fixed32(u32::from_le_bytes(self.array()?))),
            _ => return Err(self.error("a field has a wire type that no message uses")),
        };
        Ok(Field {
            number,
            value,
            offset,
        })
    }

    #[inline]
    fn bytes_field(&mut self, number: u64) -> Result<Field<'a>, ReadError> {
        let length = self.varint()?;
        let offset = self.offset;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let value = Wire::Bytes(self.take(length)?);
        Ok(Field {
            number,
            value,
            offset,
        })
    }

    /// Most are tags and lengths of one byte.
    #[inline]
    fn varint(&mut self) -> Result<u64, ReadError> {
        match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                self.offset += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    #[inline(never)]
    fn long_varint(&mut self) -> Result<u64, ReadError> {
        let mut value = 0;
        for (length, (&byte, shift)) in (1..).zip(self.rest.iter().zip((0..70_u32).step_by(7))) {
            // The tenth byte has room for one bit; decoders drop the others.
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                self.take(length)?;
                return Ok(value);
            }
        }
        Err(self.error(if self.rest.len() < 10 {
            "it ends inside a number"
        } else {
            "a number is longer than ten bytes"
        }))
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let bytes = self.take(N)?;
        bytes
            .try_into()
            .map_err(|_| self.error("it ends inside a number"))
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], ReadError> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.error("a field is longer than what holds it"));
        };
        self.rest = rest;
        self.offset += length;
        Ok(taken)
    }

    #[cold]
    fn error(&self, problem: &'static str) -> ReadError {
        ReadError {
            offset: self.offset,
            problem,
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, ReadError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

impl<'a> Field<'a> {
    /// A message, text or bytes; an error for another wire type.
    #[inline]
    pub fn bytes(&self) -> Result<&'a [u8], ReadError> {
        match self.value {
            Wire::Bytes(bytes) => Ok(bytes),
            _ => Err(self.error("a field has a number where a text or message belongs")),
        }
    }

    /// The fields of a message.
    #[inline]
    pub fn message(&self) -> Result<Fields<'a>, ReadError> {
        Ok(Fields::new(self.bytes()?, self.offset))
    }

    /// A text.
    #[inline]
    pub fn text(&self) -> Result<&'a str, ReadError> {
        std::str::from_utf8(self.bytes()?).map_err(|error| ReadError {
            offset: self.offset + error.valid_up_to(),
            problem: "a text is not UTF-8",
        })
    }

    /// A varint.
    #[inline]
    pub fn varint(&self) -> Result<u64, ReadError> {
        match self.value {
            Wire::Varint(value) => Ok(value),
            _ => Err(self.error("a field has another wire type than a varint")),
        }
    }

    /// A `fixed64` or `double`.
    #[inline]
    pub fn fixed64(&self) -> Result<u64, ReadError> {
        match self.value {
            Wire::Fixed64(value) => Ok(value),
            _ => Err(self.error("a field has another wire type than eight bytes")),
        }
    }

    /// A `fixed32`.
    #[inline]
    pub fn fixed32(&self) -> Result<u32, ReadError> {
        match self.value {
            Wire::Fixed32(value) => Ok(value),
            _ => Err(self.error("a field has another wire type than four bytes")),
        }
    }

    /// Appends the numbers of a repeated varint to `numbers`, whether they are packed or this is one of them.
    pub fn append_varints(&self, numbers: &mut Vec<u64>) -> Result<(), ReadError> {
        let Wire::Bytes(_) = self.value else {
            numbers.push(self.varint()?);
            return Ok(());
        };
        let mut packed = self.message()?;
        while !packed.rest.is_empty() {
            numbers.push(packed.varint()?);
        }
        Ok(())
    }

    /// Appends the numbers of a repeated `fixed64` or `double` to `numbers`, whether they are packed or this is one of them.
    pub fn append_fixed64s(&self, numbers: &mut Vec<u64>) -> Result<(), ReadError> {
        let Wire::Bytes(_) = self.value else {
            numbers.push(self.fixed64()?);
            return Ok(());
        };
        let mut packed = self.message()?;
        while !packed.rest.is_empty() {
            numbers.push(u64::from_le_bytes(packed.array()?));
        }
        Ok(())
    }

    /// An error at this field's value.
    #[cold]
    pub fn error(&self, problem: &'static str) -> ReadError {
        ReadError {
            offset: self.offset,
            problem,
        }
    }
}
