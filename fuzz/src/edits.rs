//! Changes to bytes that were valid.

use arbitrary::Arbitrary;

#[derive(Arbitrary, Debug, Clone)]
pub enum Edit {
    /// Replaces bytes by others.
    Write(u32, Vec<u8>),
    /// Flips one bit.
    Flip(u32, u8),
    /// Writes a number, where a length or the number of a page may be.
    Number(u32, u64),
    /// Copies what stands at the first place to the second.
    Copy {
        from: u32,
        to: u32,
        length: u16,
    },
    Remove {
        at: u32,
        length: u16,
    },
    Insert(u32, Vec<u8>),
    Truncate(u32),
}

impl Edit {
    pub fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        // Any place that exists, and the one after the last.
        let place = |at: u32| usize::try_from(at).unwrap_or(0) % (length + 1);
        match self {
            Edit::Write(at, with) => overwrite(bytes, place(*at), with),
            Edit::Flip(at, bit) => {
                if let Some(byte) = bytes.get_mut(place(*at)) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Edit::Number(at, number) => overwrite(bytes, place(*at), &number.to_le_bytes()),
            Edit::Copy {
                from,
                to,
                length: of,
            } => {
                let from = place(*from);
                let copy = bytes[from..length.min(from + usize::from(*of))].to_vec();
                overwrite(bytes, place(*to), &copy);
            }
            Edit::Remove { at, length: of } => {
                let at = place(*at);
                bytes.drain(at..length.min(at + usize::from(*of)));
            }
            Edit::Insert(at, with) => {
                let at = place(*at);
                bytes.splice(at..at, with.iter().copied());
            }
            Edit::Truncate(at) => bytes.truncate(place(*at)),
        }
    }
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    for (byte, new) in bytes[at..].iter_mut().zip(with) {
        *byte = *new;
    }
}
