//! The places in a text at which a match can begin.

use std::{
    collections::HashSet,
    sync::{Arc, OnceLock},
};

use memchr::memchr2;
use serde_json::Value;
use zeroize::{Zeroize, Zeroizing};

use super::{
    needle::{Form, Lead, Needle},
    scan::Found,
    spelling::{Sextet, short_escape},
    structure::{self, Structure},
};

/// The bytes that may begin an escape or a line break after the first unit of a form. The first one stands for all
/// of them.
const ESCAPES: [u8; 4] = [b'\\', b'%', b'\r', b'\n'];

/// What is to be found, the pairs of bytes that its forms can begin with, and which forms of which needles begin with
/// each.
pub(super) struct Index {
    /// The values, each followed by those of its parts that are found by themselves. So a needle keeps its number when
    /// values are added.
    needles: Vec<Arc<Needle>>,
    /// A bit for each pair, for the loop that looks at every byte.
    pairs: Zeroizing<Vec<u64>>,
    /// The needles and forms that begin with each pair, sorted.
    entries: Zeroizing<Vec<Entry>>,
    /// Whether a value has a line break.
    pub(super) is_multiline: bool,
    /// The needles that are objects or arrays in JSON.
    structures: Vec<(usize, Structure)>,
    /// The needles that are numbers in JSON.
    numbers: Vec<usize>,
    /// Whether a needle may lie across several tokens of JSON.
    #[cfg(feature = "mcp-text")]
    pub(super) spans_tokens: bool,
}

/// The index of a redactor and its clones: whichever needs it first makes it for all of them.
#[derive(Default)]
pub(super) struct SharedIndex(OnceLock<Arc<OnceLock<Arc<Index>>>>);

impl SharedIndex {
    pub(super) fn get(&self, values: &[Arc<Needle>]) -> &Arc<Index> {
        self.shared().get_or_init(|| Arc::new(Index::new(values)))
    }

    fn shared(&self) -> &Arc<OnceLock<Arc<Index>>> {
        self.0.get_or_init(Arc::default)
    }
}

impl Clone for SharedIndex {
    fn clone(&self) -> SharedIndex {
        SharedIndex(Arc::clone(self.shared()).into())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Zeroize)]
struct Entry {
    pair: u16,
    #[zeroize(skip)]
    needle: usize,
    #[zeroize(skip)]
    form: Form,
}

/// Where to continue in a text.
pub(super) enum Start {
    /// A match may begin here.
    At(usize),
    /// No match begins before this place, and there is not enough text to tell whether one begins here.
    NotBefore(usize),
}

impl Index {
    pub(super) fn new(values: &[Arc<Needle>]) -> Index {
        let needles = with_parts(values);
        // The entries are counted first, since a buffer that grows leaves copies behind.
        let mut count = 0;
        for needle in &needles {
            begin(needle, |_, _, _| count += 1);
        }
        let mut pairs = Zeroizing::new(vec![0; (1 << 16) / 64]);
        let mut entries = Zeroizing::new(Vec::with_capacity(count));
        for (i, needle) in needles.iter().enumerate() {
            begin(needle, |form, first, second| {
                let pair = pair(first, second);
                entries.push(Entry {
                    pair,
                    needle: i,
                    form,
                });
                let seconds = if is_escape(second) {
                    &ESCAPES[..]
                } else {
                    &[second]
                };
                for &second in seconds {
                    let (word, bit) = place(first, second);
                    pairs[word] |= bit;
                }
            });
        }
        entries.sort_unstable();
        entries.dedup();
        let numbered = needles.iter().enumerate();
        let structures = numbered
            .filter(|(_, needle)| !needle.is_short())
            .filter_map(|(number, needle)| Some((number, Structure::of(needle.value())?)))
            .collect();
        let numbered = needles.iter().enumerate();
        let numbers = numbered
            .filter(|(_, needle)| structure::number(needle.value()).is_some())
            .map(|(number, _)| number)
            .collect();
        Index {
            structures,
            numbers,
            #[cfg(feature = "mcp-text")]
            spans_tokens: values.iter().any(|value| value.spans_tokens()),
            needles,
            pairs,
            entries,
            is_multiline: values.iter().any(|value| value.is_multiline()),
        }
    }

    /// The needle that is this object or array.
    pub(super) fn structure(&self, value: &Value) -> Option<usize> {
        let mut structures = self.structures.iter();
        let (needle, _) = structures.find(|(_, structure)| structure.is(value))?;
        Some(*needle)
    }

    /// The needle that is this number, which may be spelled in another way. If it is the text of one, then that one.
    pub(super) fn number(&self, spelled: &str) -> Option<usize> {
        if self.numbers.is_empty() {
            return None;
        }
        let value = |needle: &&usize| self.needles[**needle].value();
        let as_spelled = self.numbers.iter().find(|needle| value(needle) == spelled);
        let same = || {
            let number = structure::number(spelled)?;
            let mut numbers = self.numbers.iter();
            numbers.find(|needle| structure::number(value(needle)).as_ref() == Some(&number))
        };
        as_spelled.or_else(same).copied()
    }

    /// The objects and arrays in a text that are values, in order.
    pub(super) fn structures_in(&self, text: &str) -> Vec<Found> {
        let mut found = Vec::new();
        if self.structures.is_empty() {
            return found;
        }
        let mut next = 0;
        while let Some(at) = memchr2(b'{', b'[', &text.as_bytes()[next..]) {
            let start = next + at;
            next = start + 1;
            if let Some((needle, end)) = self.structure_at(text, start) {
                found.push(Found { start, end, needle });
                next = end;
            }
        }
        found
    }

    /// The needle that is the object or array at this place in a text, and where it ends. No two are the same.
    pub(super) fn structure_at(&self, text: &str, start: usize) -> Option<(usize, usize)> {
        let end = |(needle, structure): &(usize, Structure)| {
            let end = structure.end_at(text, start)?;
            Some((*needle, end))
        };
        self.structures.iter().find_map(end)
    }

    pub(super) fn needles(&self) -> &[Arc<Needle>] {
        &self.needles
    }

    /// The reference that is put in the place of a needle.
    pub(super) fn reference(&self, needle: usize) -> &str {
        self.needles[needle].reference()
    }

    /// The first place from `from` on where a match may begin. Unless `last`, more text may follow.
    pub(super) fn start(&self, text: &[u8], from: usize, last: bool) -> Start {
        let rest = &text[from..];
        let found = rest.windows(2).position(|two| self.has(two[0], two[1]));
        if let Some(offset) = found {
            return Start::At(from + offset);
        }
        match rest.last() {
            Some(&end) if last && self.has(end, 0) => Start::At(text.len() - 1),
            Some(&end) if !last && self.has_first(end) => Start::NotBefore(text.len() - 1),
            _ => Start::NotBefore(text.len()),
        }
    }

    /// The needles and forms that may begin with the first two bytes of the text.
    pub(super) fn candidates(&self, text: &[u8]) -> impl Iterator<Item = (usize, Form)> {
        let first = text.first().copied().unwrap_or(0);
        let second = text.get(1).copied().unwrap_or(0);
        let pair = pair(first, second);
        let begin = self.entries.partition_point(|entry| entry.pair < pair);
        self.entries[begin..]
            .iter()
            .take_while(move |entry| entry.pair == pair)
            .map(|entry| (entry.needle, entry.form))
    }

    /// Whether a short needle begins with any of these bytes.
    pub(super) fn may_begin_short(&self, bytes: &[u8]) -> bool {
        self.needles.iter().any(|needle| {
            let first = needle.value().bytes().next();
            needle.is_short() && first.is_some_and(|first| bytes.contains(&first))
        })
    }

    fn has(&self, first: u8, second: u8) -> bool {
        let (word, bit) = place(first, second);
        self.pairs[word] & bit != 0
    }

    fn has_first(&self, first: u8) -> bool {
        let (word, _) = place(first, 0);
        self.pairs[word..word + 4].iter().any(|&bits| bits != 0)
    }
}

/// The values, each followed by its parts; what is there already is not repeated.
fn with_parts(values: &[Arc<Needle>]) -> Vec<Arc<Needle>> {
    let (mut needles, mut known) = (Vec::new(), HashSet::new());
    for value in values {
        known.insert((value.value(), value.is_short()));
        needles.push(Arc::clone(value));
        for part in value.parts() {
            let needle = value.part(part);
            if known.insert((part, needle.is_short())) {
                needles.push(Arc::new(needle));
            }
        }
    }
    needles
}

fn place(first: u8, second: u8) -> (usize, u64) {
    let word = usize::from(first) << 2 | usize::from(second >> 6);
    (word, 1 << (second & 63))
}

fn pair(first: u8, second: u8) -> u16 {
    let second = if is_escape(second) {
        ESCAPES[0]
    } else {
        second
    };
    u16::from_be_bytes([first, second])
}

fn is_escape(byte: u8) -> bool {
    ESCAPES.contains(&byte)
}

/// Emits every pair of bytes that a form of the needle can begin with, some of them more than once.
fn begin(needle: &Needle, mut emit: impl FnMut(Form, u8, u8)) {
    let value = needle.value().as_bytes();
    let (first, second) = match *value {
        [] => return,
        [only] => {
            for second in 0..=u8::MAX {
                emit(Form::Raw, only, second);
            }
            return;
        }
        [first, second, ..] => (first, second),
    };
    emit(Form::Raw, first, second);
    if needle.is_short() {
        return;
    }

    emit(Form::Json, first, second);
    emit(Form::Json, b'\\', b'u');
    if let Some(character) = needle.value().chars().next() {
        if character.is_ascii() {
            emit(Form::Json, first, ESCAPES[0]);
        }
        if let Some(letter) = short_escape(character) {
            emit(Form::Json, b'\\', letter);
        }
    }

    for digit in hex_digits(first >> 4) {
        emit(Form::Percent, b'%', digit);
        for low in hex_digits(first & 15) {
            emit(Form::Hex, digit, low);
        }
    }
    for first in plain_or_plus(first) {
        emit(Form::Percent, first, ESCAPES[0]);
        for second in plain_or_plus(second) {
            emit(Form::Percent, first, second);
        }
    }

    for lead in Lead::ALL {
        let form = Form::Base64(lead);
        let (head, next) = (needle.sextet(lead, 0), needle.sextet(lead, 1));
        for first in base64_characters(head) {
            emit(form, first, ESCAPES[0]);
            for second in base64_characters(next) {
                emit(form, first, second);
            }
        }
        if head.allows(62) || head.allows(63) {
            emit(form, b'\\', b'u');
            emit(form, b'%', b'2');
        }
        if head.allows(63) {
            emit(form, b'\\', b'/');
        }
    }
}

fn hex_digits(nibble: u8) -> impl Iterator<Item = u8> {
    let of = |digits: &[u8; 16]| digits[usize::from(nibble)];
    let (lower, upper) = (of(b"0123456789abcdef"), of(b"0123456789ABCDEF"));
    [lower, upper]
        .into_iter()
        .take(if lower == upper { 1 } else { 2 })
}

fn plain_or_plus(byte: u8) -> impl Iterator<Item = u8> {
    [byte, b'+']
        .into_iter()
        .take(if byte == b' ' { 2 } else { 1 })
}

/// The characters of both alphabets for the sextets that `expected` allows.
fn base64_characters(expected: Sextet) -> impl Iterator<Item = u8> {
    const ALPHABETS: &[u8; 66] =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_";
    let sextets = (0..64).chain([62, 63]);
    let characters = ALPHABETS.iter().zip(sextets);
    characters.filter_map(move |(&character, sextet)| expected.allows(sextet).then_some(character))
}
