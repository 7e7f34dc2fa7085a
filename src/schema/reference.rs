//! What a `$ref` names: a part of the same document, by a JSON Pointer in a URI fragment (RFC 6901, section 6).

use std::borrow::Cow;

use serde_json::Value;

use crate::location::array_index;

/// Returns what the value of a `$ref` names within the document `root`.
pub(crate) fn resolve<'a>(root: &'a Value, reference: &Value) -> Option<&'a Value> {
    let pointer = fragment_pointer(reference)?;
    pointer_tokens(&pointer).try_fold(root, |value, token| match value {
        Value::Object(members) => members.get(&*token),
        Value::Array(items) => items.get(array_index(&token)?),
        _ => None,
    })
}

/// The JSON Pointer in the value of a `$ref` to this document: empty, or beginning with `/`. A reference that is
/// empty as a whole is to this document as well (RFC 3986, section 4.4).
pub(crate) fn fragment_pointer(reference: &Value) -> Option<Cow<'_, str>> {
    let reference = reference.as_str()?;
    let fragment = match reference.strip_prefix('#') {
        None if !reference.is_empty() => return None,
        fragment => fragment.unwrap_or_default(),
    };
    let pointer = percent_decode(fragment)?;
    (pointer.is_empty() || pointer.starts_with('/')).then_some(pointer)
}

/// The tokens of a JSON Pointer (RFC 6901, section 4).
pub(crate) fn pointer_tokens(pointer: &str) -> impl Iterator<Item = Cow<'_, str>> {
    pointer.split('/').skip(1).map(|token| {
        if token.contains('~') {
            Cow::Owned(token.replace("~1", "/").replace("~0", "~"))
        } else {
            Cow::Borrowed(token)
        }
    })
}

/// A URI fragment without its percent-encoding; `None` if that is malformed.
fn percent_decode(fragment: &str) -> Option<Cow<'_, str>> {
    if !fragment.contains('%') {
        return Some(Cow::Borrowed(fragment));
    }
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}
