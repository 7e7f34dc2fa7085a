//! JSON that is made of few words, in their proper places or elsewhere: schemas and arguments.

use arbitrary::Arbitrary;
use serde_json::{Map, Value};

#[derive(Arbitrary, Debug)]
pub enum Node {
    Object(Vec<(u8, Node)>),
    Array(Vec<Node>),
    /// Null, a boolean, or one of the usual strings.
    Usual(u8),
    Text(String),
    Number(i8),
}

impl Node {
    /// The value, with these member names and these usual strings.
    pub fn value(&self, words: &[&str], usual: &[&str]) -> Value {
        match self {
            Node::Object(members) => members
                .iter()
                .map(|(word, node)| (pick(words, *word).to_owned(), node.value(words, usual)))
                .collect::<Map<_, _>>()
                .into(),
            Node::Array(items) => items.iter().map(|item| item.value(words, usual)).collect(),
            Node::Usual(n) => match usize::from(*n) % (usual.len() + 3) {
                0 => Value::Null,
                1 => true.into(),
                2 => false.into(),
                n => usual[n - 3].into(),
            },
            Node::Text(text) => text.as_str().into(),
            Node::Number(n) => (*n).into(),
        }
    }
}

/// Picks one of them, whatever the number is.
pub fn pick<T: Copy>(of: &[T], number: u8) -> T {
    of[usize::from(number) % of.len()]
}
