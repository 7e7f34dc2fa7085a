//! Numbers and bytes as text: decimal and hexadecimal digits.

use std::fmt::Write as _;

/// Reads a decimal number; `None` for a sign, which `str::parse` takes, or any other character.
pub(crate) fn decimal(digits: &str) -> Option<u64> {
    let are_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    are_digits.then(|| digits.parse().ok())?
}

/// Returns the bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads exactly `N` bytes from hexadecimal digits of either case.
pub(crate) fn from_hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| u8::try_from(char::from(digit).to_digit(16)?).ok();
        *byte = digit(pair[0])? * 16 + digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_and_nothing_else_is() {
        assert_eq!(decimal("0012"), Some(12));
        assert_eq!(decimal("18446744073709551615"), Some(u64::MAX));
        for text in ["", "+1", "-1", " 1", "1 ", "١", "18446744073709551616"] {
            assert_eq!(decimal(text), None, "{text:?}");
        }
        let bytes = [0x00, 0x9f, 0xab, 0xff];
        assert_eq!(hex(&bytes), "009fabff");
        assert_eq!(from_hex(b"009fabff"), Some(bytes));
        assert_eq!(from_hex(b"009FABFF"), Some(bytes));
        for text in [
            "",
            "009fab",
            "009fabff00",
            "009fabf",
            "009fabfg",
            "+09fabff",
        ] {
            assert_eq!(from_hex::<4>(text.as_bytes()), None, "{text:?}");
        }
    }
}
