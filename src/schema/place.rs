//! A place in arguments, of which more may be known than its location: what the values around it are.

use super::Types;
use crate::location::Location;

/// A value that holds the next token of a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// An object, in which the token is the name of a member.
    Object,
    /// An array, in which it is the index of an element.
    Array,
    /// Either of them.
    Unknown,
}

impl Holder {
    pub(super) fn types(self) -> Types {
        match self {
            Holder::Object => Types::OBJECT,
            Holder::Array => Types::ARRAY,
            Holder::Unknown => Types::OBJECT | Types::ARRAY,
        }
    }
}

/// A location, and what holds each of its tokens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'p> {
    tokens: &'p [Box<str>],
    /// What holds the first tokens.
    holders: &'p [Holder],
    /// What holds the others.
    others: Holder,
}

impl<'p> Place<'p> {
    /// The place in any arguments. Only these are known to be an object.
    pub(crate) fn of(location: &'p Location) -> Place<'p> {
        Place {
            holders: &[Holder::Object],
            ..Place::below(location.tokens())
        }
    }

    /// The place in arguments that have these values around it. Others are made, and are objects then.
    pub(crate) fn in_arguments(location: &'p Location, holders: &'p [Holder]) -> Place<'p> {
        Place {
            tokens: location.tokens(),
            holders,
            others: Holder::Object,
        }
    }

    /// The place in arguments that have no value around it yet.
    pub(crate) fn to_be_made(location: &'p Location) -> Place<'p> {
        Place::in_arguments(location, &[])
    }

    /// A place in a value of which nothing is known.
    pub(super) fn below(tokens: &'p [Box<str>]) -> Place<'p> {
        Place {
            tokens,
            holders: &[],
            others: Holder::Unknown,
        }
    }

    /// The value around it that has so many tokens.
    pub(crate) fn parent(self, depth: usize) -> Place<'p> {
        Place {
            tokens: &self.tokens[..depth],
            ..self
        }
    }

    /// The values around it, outermost first.
    pub(super) fn parents(self) -> impl Iterator<Item = Place<'p>> {
        (1..self.tokens.len()).map(move |depth| self.parent(depth))
    }

    /// The first token, what holds it, and the place in the value to which it leads.
    pub(super) fn split_first(self) -> Option<(&'p str, Holder, Place<'p>)> {
        let (token, tokens) = self.tokens.split_first()?;
        let (holder, holders) = match self.holders.split_first() {
            Some((holder, holders)) => (*holder, holders),
            None => (self.others, self.holders),
        };
        let rest = Place {
            tokens,
            holders,
            ..self
        };
        Some((token, holder, rest))
    }
}
