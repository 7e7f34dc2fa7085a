//! The requested page of a list.

use std::num::IntErrorKind;

use percent_encoding::percent_decode_str;

use super::id;
use crate::{
    error::{Error, FieldError},
    secret::SecretId,
};

#[derive(Debug, PartialEq)]
pub(super) struct Page {
    pub(super) limit: usize,
    pub(super) after: Option<SecretId>,
}

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

impl Page {
    /// Reads `limit` and `after`. Other names are ignored; of a repeated name, the last one counts.
    pub(super) fn from_query(query: &str) -> Result<Page, Error> {
        let (mut limit, mut after) = (Ok(DEFAULT_LIMIT), Ok(None));
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match decode(name).as_str() {
                "limit" => limit = parse_limit(&decode(value)),
                "after" => after = id::parse(Some(&decode(value)), "query", "after").map(Some),
                _ => {}
            }
        }
        match (limit, after) {
            (Ok(limit), Ok(after)) => Ok(Page { limit, after }),
            (limit, after) => {
                let errors = limit.err().into_iter().chain(after.err());
                Err(Error::validation(errors.collect()))
            }
        }
    }
}

fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

fn parse_limit(text: &str) -> Result<usize, FieldError> {
    let error =
        |error_type, msg: String| Err(FieldError::outside_body("query", "limit", error_type, msg));
    let too_small = || {
        error(
            "greater_than_equal",
            "Input should be greater than or equal to 1".to_owned(),
        )
    };
    let too_large = || {
        error(
            "less_than_equal",
            format!("Input should be less than or equal to {MAX_LIMIT}"),
        )
    };
    match text.trim().parse::<i64>().map(usize::try_from) {
        Ok(Ok(limit @ 1..=MAX_LIMIT)) => Ok(limit),
        Ok(Ok(0) | Err(_)) => too_small(),
        Ok(Ok(_)) => too_large(),
        Err(overflow) if *overflow.kind() == IntErrorKind::PosOverflow => too_large(),
        Err(overflow) if *overflow.kind() == IntErrorKind::NegOverflow => too_small(),
        Err(_) => error(
            "int_parsing",
            "Input should be a valid integer, unable to parse string as an integer".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_a_page_or_an_error() {
        const ID: &str = "0192f000-0000-7000-8000-0000000000ab";
        let all = Page {
            limit: 100,
            after: None,
        };
        let page = |limit, after: Option<&str>| Page {
            limit,
            after: after.map(|id| id.parse().unwrap()),
        };
        for (query, expected) in [
            ("", all),
            ("other=1", page(100, None)),
            ("limit=1", page(1, None)),
            ("limit=1000", page(1_000, None)),
            ("limit=7&limit=9", page(9, None)),
            ("%6cimit=%31%32", page(12, None)),
            ("limit=+5", page(5, None)),
            (&format!("after={ID}&limit=2"), page(2, Some(ID))),
        ] {
            assert_eq!(Page::from_query(query).unwrap(), expected, "{query}");
        }
        for (query, expected) in [
            ("limit", &["limit int_parsing"][..]),
            ("limit=x", &["limit int_parsing"]),
            ("limit=5.5", &["limit int_parsing"]),
            ("limit=%ff", &["limit int_parsing"]),
            ("limit=0", &["limit greater_than_equal"]),
            ("limit=-1", &["limit greater_than_equal"]),
            ("limit=-99999999999999999999", &["limit greater_than_equal"]),
            ("limit=1001", &["limit less_than_equal"]),
            ("limit=99999999999999999999", &["limit less_than_equal"]),
            ("after=", &["after uuid_parsing"]),
            (
                "limit=x&after=y",
                &["limit int_parsing", "after uuid_parsing"],
            ),
        ] {
            let error = Page::from_query(query).unwrap_err();
            let found: Vec<String> = error
                .field_errors()
                .iter()
                .map(|error| format!("{} {}", error.loc()[1], error.error_type()))
                .collect();
            assert_eq!(found, expected, "{query}");
        }
    }
}
