//! The byte forms of what is stored: little-endian numbers, and bytes and texts preceded by their length.

/// What is left to be read. Every method returns `None` if the bytes do not hold what it reads.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// Reads a byte that is 0 or 1.
    pub(crate) fn bool(&mut self) -> Option<bool> {
        match self.array()? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    /// Reads a length (`u32`), then that many bytes.
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// Does what `bytes` does, for UTF-8.
    pub(crate) fn text(&mut self) -> Option<String> {
        Some(std::str::from_utf8(self.bytes()?).ok()?.to_owned())
    }

    /// Checks that nothing is left.
    pub(crate) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// Appends a length (`u32`), then the bytes.
///
/// # Panics
///
/// If there are 4 GiB or more: no field in keyward is that long.
pub(crate) fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend_from_slice(&length_prefix(bytes));
    to.extend_from_slice(bytes);
}

/// Returns the length that precedes the bytes.
///
/// # Panics
///
/// As [`put_bytes`] does.
pub(crate) fn length_prefix(bytes: &[u8]) -> [u8; 4] {
    let length = u32::try_from(bytes.len()).expect("a field is shorter than 4 GiB");
    length.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each.
    type Fields<'a> = (bool, u32, u64, i64, String, &'a [u8]);

    fn read(bytes: &[u8]) -> Option<Fields<'_>> {
        let mut reader = Reader::new(bytes);
        let fields = (
            reader.bool()?,
            reader.u32()?,
            reader.u64()?,
            reader.i64()?,
            reader.text()?,
            reader.bytes()?,
        );
        reader.end().map(|()| fields)
    }

    #[test]
    fn what_was_put_is_read_and_no_byte_more() {
        let mut bytes = vec![1];
        bytes.extend(7_u32.to_le_bytes());
        bytes.extend(u64::MAX.to_le_bytes());
        bytes.extend((-2_i64).to_le_bytes());
        put_bytes(&mut bytes, "schlüssel".as_bytes());
        put_bytes(&mut bytes, b"");
        let expected = (true, 7, u64::MAX, -2, "schlüssel".to_owned(), &b""[..]);
        assert_eq!(read(&bytes), Some(expected));
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end]), None, "cut off at {end}");
        }
        assert_eq!(read(&[&bytes[..], &[0]].concat()), None, "a byte too many");
        bytes[0] = 2;
        assert_eq!(read(&bytes), None, "no bool");
    }

    #[test]
    fn a_text_is_utf_8() {
        let mut bytes = Vec::new();
        put_bytes(&mut bytes, b"\xff");
        assert_eq!(Reader::new(&bytes).text(), None);
        assert_eq!(Reader::new(&bytes).bytes(), Some(&b"\xff"[..]));
    }
}
