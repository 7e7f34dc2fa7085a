//! Whether a schema accepts every string that can be put in.

use serde_json::Value;

use super::KeptReason;
use crate::schema::{Document, Types, branches};

/// The shortest string that can be put in: no value is shorter, and a format only lengthens it.
const MIN_CHARS: u64 = 4;

/// Succeeds only if `schema` accepts every string of 4 to `max_chars` characters; otherwise returns the keyword that
/// may refuse one.
///
/// `format`, `contentEncoding` and the like are annotations (Validation §7.2.1, §8.1), in older drafts too: a tool
/// that asserts them may refuse a secret that its owner bound there, as it may refuse any other.
pub(super) fn accepts_every_string(
    document: &Document<'_>,
    schema: &Value,
    max_chars: usize,
) -> Result<(), KeptReason> {
    Check {
        document,
        max_chars: max_chars as u64,
    }
    .accepts(schema, 0)
}

/// Why a `$ref` was not followed.
pub(super) fn unresolved(document: &Document<'_>) -> KeptReason {
    if document.is_spent() {
        KeptReason::TooComplex
    } else {
        KeptReason::UnsupportedReference("$ref")
    }
}

struct Check<'a> {
    document: &'a Document<'a>,
    max_chars: u64,
}

impl Check<'_> {
    fn accepts(&self, schema: &Value, depth: usize) -> Result<(), KeptReason> {
        let node = match schema {
            Value::Bool(true) => return Ok(()),
            Value::Bool(false) => return Err(KeptReason::ConstrainedValue("properties")),
            Value::Object(node) => node,
            _ => return Err(KeptReason::Malformed("properties")),
        };
        if !self.document.spend(node, depth) {
            return Err(KeptReason::TooComplex);
        }
        if let Some(reference) = node.get("$ref") {
            let target = self
                .document
                .resolve(reference)
                .ok_or_else(|| unresolved(self.document))?;
            self.accepts(target, depth + 1)?;
            if self.document.ref_hides_siblings() {
                return Ok(());
            }
        }
        for (keyword, constraint) in node {
            self.accepts_keyword(keyword, constraint)?;
        }
        if node.contains_key("if") {
            for branch in ["then", "else"] {
                if let Some(branch) = node.get(branch) {
                    self.accepts(branch, depth + 1)
                        .map_err(|_| KeptReason::ConstrainedValue("if"))?;
                }
            }
        }
        for branch in branches(node, "allOf") {
            self.accepts(branch, depth + 1)?;
        }
        if node.contains_key("anyOf") {
            let mut results = branches(node, "anyOf")
                .iter()
                .map(|branch| self.accepts(branch, depth + 1));
            if !results.any(|result| result.is_ok()) {
                return Err(KeptReason::ConstrainedValue("anyOf"));
            }
        }
        if node.contains_key("oneOf") {
            self.accepts_one_of(branches(node, "oneOf"), depth)?;
        }
        Ok(())
    }

    /// Checks a keyword that constrains a string by itself.
    fn accepts_keyword(&self, keyword: &str, constraint: &Value) -> Result<(), KeptReason> {
        let (keyword, accepts) = match keyword {
            "type" => {
                let string = match constraint {
                    Value::Array(types) => types.iter().any(|name| name == "string"),
                    name => name == "string",
                };
                ("type", string)
            }
            "enum" => ("enum", false),
            "const" => ("const", false),
            "pattern" => ("pattern", false),
            "minLength" => {
                let min = constraint.as_u64();
                ("minLength", min.is_some_and(|min| min <= MIN_CHARS))
            }
            "maxLength" => {
                let max = constraint.as_u64();
                ("maxLength", max.is_some_and(|max| max >= self.max_chars))
            }
            "not" => ("not", self.rejects(constraint)),
            "$dynamicRef" | "$recursiveRef" => {
                return Err(KeptReason::UnsupportedReference("$dynamicRef"));
            }
            _ => return Ok(()),
        };
        accepts
            .then_some(())
            .ok_or(KeptReason::ConstrainedValue(keyword))
    }

    /// Exactly one branch must hold for each string: one branch accepts all strings, and the others none.
    fn accepts_one_of(&self, branches: &[Value], depth: usize) -> Result<(), KeptReason> {
        let mut taking: Vec<&Value> = branches.iter().collect();
        taking.retain(|branch| !self.rejects(branch));
        match taking[..] {
            [branch] => self.accepts(branch, depth + 1),
            _ => Err(KeptReason::ConstrainedValue("oneOf")),
        }
    }

    /// Whether `schema` accepts no string at all.
    fn rejects(&self, schema: &Value) -> bool {
        !self.document.types(schema).contains(Types::STRING)
    }
}
