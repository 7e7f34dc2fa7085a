//! Goes through a text from match to match, even when the text comes in parts.

use super::{
    index::{Index, Start},
    needle::{Carry, Form, PartialMatch},
    spelling::Step,
};

/// A match: where it is, and which needle it is of.
pub(super) struct Found {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) needle: usize,
}

/// The state of a scan between two looks at the text.
///
/// It holds no text. The caller passes the text each time: the same one, perhaps with more at the end. If the caller
/// has removed bytes at the beginning, it calls [`discard`](Scan::discard).
#[derive(Clone)]
pub(super) struct Scan {
    /// Everything before this place is decided.
    position: usize,
    /// The end of the last match. The padding of that match lies between `position` and this place: another value
    /// may begin there.
    replaced: usize,
    trying: Trying,
    /// The walks from `position` that ran out of text.
    undecided: Vec<Walk>,
    /// The best match at `position` so far.
    best: Option<Best>,
}

/// What is being tried at the position.
#[derive(Clone, Copy)]
enum Trying {
    /// Nothing yet. If the match before left a base64 character that another value may share, such values come
    /// first.
    Nothing(Option<Carry>),
    /// Values that share this base64 character with the match before.
    Carried(Carry),
    /// All forms of all values.
    Anything,
}

#[derive(Clone)]
struct Walk {
    needle: usize,
    partial: PartialMatch,
}

#[derive(Clone)]
struct Best {
    length: usize,
    /// How many bytes of it are padding.
    padding: usize,
    needle: usize,
    form: Form,
    carry: Option<Carry>,
}

/// What a scan looks at, and what it looks for.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) index: &'a Index,
    pub(super) text: &'a [u8],
    /// Whether the text ends here.
    pub(super) last: bool,
}

impl Scan {
    pub(super) fn new() -> Scan {
        Scan::from(0)
    }

    /// The state of a scan that finds no match which begins before this place.
    pub(super) fn from(position: usize) -> Scan {
        Scan {
            position,
            replaced: 0,
            trying: Trying::Nothing(None),
            undecided: Vec::new(),
            best: None,
        }
    }

    /// Everything before this place is decided: it is in a match that was returned, or in none. Text after it may be
    /// in the match that was returned last.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// Has to be called when the first `length` bytes of the text were removed. They must lie before the position.
    pub(super) fn discard(&mut self, length: usize) {
        self.position -= length;
        self.replaced = self.replaced.saturating_sub(length);
    }

    /// Has to be called when needles were added to the index: what is undecided is then compared with all of them.
    pub(super) fn restart(&mut self) {
        self.trying = match self.trying {
            Trying::Nothing(carry) => Trying::Nothing(carry),
            Trying::Carried(carry) => Trying::Nothing(Some(carry)),
            Trying::Anything => Trying::Nothing(None),
        };
        self.undecided.clear();
        self.best = None;
    }

    /// The next match; `None` if there is none before the end of the text, or before a place at which more text is
    /// needed to tell.
    pub(super) fn next(&mut self, view: View<'_>) -> Option<Found> {
        loop {
            match self.trying {
                Trying::Nothing(Some(carry)) => {
                    self.trying = Trying::Carried(carry);
                    for (needle, each) in view.index.needles().iter().enumerate() {
                        if let Some(partial) = each.carried(carry) {
                            self.walk(Walk { needle, partial }, view);
                        }
                    }
                }
                Trying::Nothing(None) => {
                    match view.index.start(view.text, self.position, view.last) {
                        Start::At(position) => self.position = position,
                        Start::NotBefore(position) => {
                            self.position = position;
                            return None;
                        }
                    }
                    self.trying = Trying::Anything;
                    for (needle, form) in view.index.candidates(&view.text[self.position..]) {
                        let partial = PartialMatch::new(form);
                        self.walk(Walk { needle, partial }, view);
                    }
                }
                Trying::Carried(_) | Trying::Anything => {
                    for walk in std::mem::take(&mut self.undecided) {
                        self.walk(walk, view);
                    }
                }
            }
            if !self.undecided.is_empty() {
                return None;
            }
            if let Some(best) = self.best.take() {
                let start = self.position.max(self.replaced);
                self.replaced = self.position + best.length;
                self.position = self.replaced - best.padding;
                self.trying = Trying::Nothing(best.carry);
                return Some(Found {
                    start,
                    end: self.replaced,
                    needle: best.needle,
                });
            }
            if let Trying::Anything = self.trying {
                self.position += 1;
            }
            self.trying = Trying::Nothing(None);
        }
    }

    fn walk(&mut self, mut walk: Walk, view: View<'_>) {
        let needle = &view.index.needles()[walk.needle];
        match needle.advance(&mut walk.partial, view.text, self.position, view.last) {
            Step::Mismatch => {}
            Step::More => self.undecided.push(walk),
            // A match that lies entirely in the padding of another one is replaced with it.
            Step::Match(length) if self.position + length <= self.replaced => {}
            Step::Match(length) => {
                // Of equal matches the same one counts, whichever is decided first.
                let rank = (walk.needle, walk.partial.form());
                let better = self.best.as_ref().is_none_or(|best| {
                    length > best.length || length == best.length && rank < (best.needle, best.form)
                });
                if better {
                    self.best = Some(Best {
                        length,
                        padding: walk.partial.padding(length),
                        needle: walk.needle,
                        form: walk.partial.form(),
                        carry: needle.carry(&walk.partial),
                    });
                }
            }
        }
    }
}
