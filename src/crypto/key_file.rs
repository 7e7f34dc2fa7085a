//! The key file that the program `keyward` makes and reads.
//!
//! The program compiles this file as well, so that it and the library read the same: it compares the keys that it is
//! given, and a `KeySource` shows nobody its key.

use std::io::{self, Read};

use zeroize::Zeroizing;

/// More bytes than a key file has. No more are read: a device may have no end.
const MOST: usize = 1024;

/// Reads 32 raw bytes, or 64 hexadecimal digits with an optional line end; `None` for anything else.
pub(crate) fn read(file: impl Read) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST));
    file.take(MOST as u64).read_to_end(&mut bytes)?;
    Ok(parse(bytes))
}

fn parse(bytes: Zeroizing<Vec<u8>>) -> Option<Zeroizing<Vec<u8>>> {
    if bytes.len() == 32 {
        return Some(bytes);
    }
    let digits = bytes.trim_ascii();
    if digits.len() != 64 {
        return None;
    }
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut key = Zeroizing::new(Vec::with_capacity(32));
    for pair in digits.chunks_exact(2) {
        key.push(digit(pair[0])? << 4 | digit(pair[1])?);
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_has_32_bytes_or_64_digits_and_nothing_else() {
        let key: Vec<u8> = (0x71..0x91).collect();
        let lower = "7172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f90";
        let upper = lower.to_uppercase();
        let ends = ["", "\n", "\r\n"].map(|end| format!("{lower}{end}"));
        let texts = ends.iter().chain([&upper]).map(String::as_bytes);
        for file in texts.chain([&key[..]]) {
            let found = read(file).expect("it can be read");
            assert_eq!(found.as_deref(), Some(&key), "{file:?}");
        }
        for file in [
            &b""[..],
            &key[1..],
            &lower.as_bytes()[1..],
            format!("{lower}0").as_bytes(),
            lower.replace('7', "g").as_bytes(),
            format!("+{}", &lower[1..]).as_bytes(),
        ] {
            assert_eq!(read(file).expect("it can be read"), None, "{file:?}");
        }
        assert_eq!(read(io::repeat(0)).expect("it ends here"), None);
    }
}
