//! Texts that meet: patterns and names that have something to do with each other.

use arbitrary::Arbitrary;

/// A text of few different characters, so that patterns and names meet; or any text.
#[derive(Arbitrary, Debug)]
pub enum Text {
    Few(Vec<Piece>),
    Any(String),
}

#[derive(Arbitrary, Debug)]
pub enum Piece {
    A,
    B,
    /// Two characters that begin with the same byte, and one of four bytes.
    E,
    F,
    Key,
    Star,
    Question,
    /// All that came before, once more.
    Again,
    Any(char),
}

impl Text {
    pub fn written_out(&self) -> String {
        let pieces = match self {
            Text::Any(text) => return text.clone(),
            Text::Few(pieces) => pieces,
        };
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::A => text.push('a'),
                Piece::B => text.push('b'),
                Piece::E => text.push('é'),
                Piece::F => text.push('è'),
                Piece::Key => text.push('🔑'),
                Piece::Star => text.push('*'),
                Piece::Question => text.push('?'),
                Piece::Again if text.len() < 512 => text.push_str(&text.clone()),
                Piece::Again => {}
                Piece::Any(c) => text.push(*c),
            }
        }
        text
    }
}
