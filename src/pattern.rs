//! Tool patterns: the language, the order of precedence, and the simple matcher.

use std::{
    cmp::{Ordering, Reverse},
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::Arc,
};

use serde::{Serialize, Serializer};

use crate::{
    bounds::TEXT,
    error::{Error, FieldError},
};

const ANY_RUN: char = '*';
const ANY_CHAR: char = '?';

/// An exact tool name, or a wildcard pattern over tool names.
///
/// * `*` matches any run of characters, also none.
/// * `?` matches exactly one character.
/// * Everything else stands for itself, case-sensitive. There is no escape: a pattern cannot ask for a literal `*` or
///   `?`, though both wildcards match these characters in a name.
///
/// A pattern matches the whole name, not a part of it. A character is a Unicode scalar value, not a byte, and not a
/// grapheme: `?` matches `é` only where it is written as one scalar.
///
/// ```
/// use keyward::ToolPattern;
///
/// let pattern = ToolPattern::new("agno__linear__*")?;
/// assert!(pattern.matches("agno__linear__create_issue"));
/// assert!(!pattern.matches("agno__jira__create_issue"));
///
/// assert!(ToolPattern::new("caf?")?.matches("café"));
/// assert_eq!(ToolPattern::new("a**b")?, ToolPattern::new("a*b")?);
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// Patterns are equal if their canonical form is, which writes a run of `*` as one. `*?` and `?*` are two patterns,
/// although they match the same names.
#[derive(Clone)]
pub struct ToolPattern {
    /// The canonical form, by which patterns are compared.
    text: Arc<str>,
    specificity: Specificity,
}

/// The first three rules of precedence. The derived order takes the fields from first to last; less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Specificity {
    wildcard: bool,
    literals: Reverse<u16>,
    any_runs: u16,
    any_chars: u16,
}

impl ToolPattern {
    /// Reads a pattern. Every text of an allowed length is one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Validation`](crate::ErrorKind::Validation), for the field `tool_name`, if `text` is empty or longer
    /// than 1,024 characters, counted before runs of `*` are collapsed.
    pub fn new(text: &str) -> Result<ToolPattern, Error> {
        ToolPattern::parse(text).map_err(|error| Error::validation(vec![error]))
    }

    pub(crate) fn parse(text: &str) -> Result<ToolPattern, FieldError> {
        TEXT.check("tool_name", text)?;
        let mut canonical = String::with_capacity(text.len());
        let (mut literals, mut any_runs, mut any_chars) = (0, 0, 0);
        for c in text.chars() {
            match c {
                ANY_RUN if canonical.ends_with(ANY_RUN) => continue,
                ANY_RUN => any_runs += 1,
                ANY_CHAR => any_chars += 1,
                _ => literals += 1,
            }
            canonical.push(c);
        }
        Ok(ToolPattern {
            text: canonical.into(),
            specificity: Specificity {
                wildcard: any_runs + any_chars > 0,
                literals: Reverse(literals),
                any_runs,
                any_chars,
            },
        })
    }

    /// Whether the pattern matches the whole of `name`, which may be any text, also empty or longer than a pattern
    /// may be.
    ///
    /// Takes at most n · (s + 1) + m steps and no memory, where n and m are the numbers of characters in the name and
    /// in the pattern, and s is that of the longest part of the pattern between two `*` (or an end): a failed attempt
    /// costs at most s + 1, and each but the first begins one character later in the name than the one before.
    ///
    /// ```
    /// use keyward::ToolPattern;
    ///
    /// let pattern = ToolPattern::new("*_search*")?;
    /// assert!(pattern.matches("duckduckgo_search"));
    /// assert!(!pattern.matches("duckduckgo_Search"));
    /// # Ok::<(), keyward::Error>(())
    /// ```
    pub fn matches(&self, name: &str) -> bool {
        if self.is_exact() {
            return *self.text == *name;
        }
        let mut pattern = self.text.chars();
        let mut name = name.chars();
        // What follows the last `*`, and where in the name to try it next. The earlier ones need no second try: if
        // what follows them matches anywhere, it does so as well where it was found first.
        let mut retry = None;
        loop {
            let mut rest = name.clone();
            match (pattern.next(), rest.next()) {
                (Some(ANY_RUN), _) => {
                    if pattern.as_str().is_empty() {
                        return true;
                    }
                    retry = Some((pattern.clone(), name.clone()));
                }
                (Some(expected), Some(found)) if expected == ANY_CHAR || expected == found => {
                    name = rest;
                }
                (None, None) => return true,
                // The name is too short already, and a later try leaves less of it.
                (Some(_), None) => return false,
                (_, Some(_)) => {
                    let Some((after, start)) = &mut retry else {
                        return false;
                    };
                    start.next();
                    pattern = after.clone();
                    name = start.clone();
                }
            }
        }
    }

    /// The canonical form: a run of `*` is written as one.
    ///
    /// ```
    /// assert_eq!(keyward::ToolPattern::new("linear_***")?.as_str(), "linear_*");
    /// # Ok::<(), keyward::Error>(())
    /// ```
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether there is neither a `*` nor a `?` in the pattern, so that it matches one name, itself.
    ///
    /// ```
    /// use keyward::ToolPattern;
    ///
    /// assert!(ToolPattern::new("linear_create_issue")?.is_exact());
    /// assert!(!ToolPattern::new("linear_create_issue?")?.is_exact());
    /// # Ok::<(), keyward::Error>(())
    /// ```
    pub fn is_exact(&self) -> bool {
        !self.specificity.wildcard
    }

    /// Compares by precedence: the pattern that goes before the other is [`Ordering::Less`], so that sorting puts the
    /// best first.
    ///
    /// An exact pattern goes before a wildcard pattern; then more literal characters before fewer; then fewer `*`
    /// before more; then fewer `?` before more. Different patterns can be [`Ordering::Equal`] here; among bindings the
    /// older secret then decides.
    ///
    /// ```
    /// use keyward::ToolPattern;
    ///
    /// let mut patterns = ["*", "search_*", "search_web", "search_???", "*search_*"].map(|text| ToolPattern::new(text).unwrap());
    /// patterns.sort_by(ToolPattern::cmp_specificity);
    /// assert_eq!(
    ///     patterns.each_ref().map(ToolPattern::as_str),
    ///     ["search_web", "search_???", "search_*", "*search_*", "*"],
    /// );
    /// ```
    pub fn cmp_specificity(&self, other: &ToolPattern) -> Ordering {
        self.specificity.cmp(&other.specificity)
    }

    pub(crate) fn specificity(&self) -> Specificity {
        self.specificity
    }

    /// The canonical form, shared rather than copied.
    pub(crate) fn shared_text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }
}

impl Serialize for ToolPattern {
    /// As its canonical form.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl FromStr for ToolPattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<ToolPattern, Error> {
        ToolPattern::new(text)
    }
}

impl fmt::Display for ToolPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ToolPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ToolPattern").field(&self.text).finish()
    }
}

impl From<ToolPattern> for String {
    fn from(pattern: ToolPattern) -> String {
        pattern.as_str().to_owned()
    }
}

impl PartialEq for ToolPattern {
    fn eq(&self, other: &ToolPattern) -> bool {
        self.text == other.text
    }
}

impl Eq for ToolPattern {}

impl Hash for ToolPattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wildmatch::WildMatch;

    use super::*;

    fn pattern(text: &str) -> ToolPattern {
        ToolPattern::new(text).unwrap()
    }

    /// The definition of the language, and nothing else. Exponential in the number of `*`.
    fn matches_by_definition(pattern: &[char], name: &[char]) -> bool {
        match pattern {
            [] => name.is_empty(),
            ['*', pattern @ ..] => {
                (0..=name.len()).any(|run| matches_by_definition(pattern, &name[run..]))
            }
            ['?', pattern @ ..] => !name.is_empty() && matches_by_definition(pattern, &name[1..]),
            [c, pattern @ ..] => {
                name.first() == Some(c) && matches_by_definition(pattern, &name[1..])
            }
        }
    }

    fn assert_agrees(text: &str, name: &str) {
        let found = pattern(text).matches(name);
        assert_eq!(
            found,
            WildMatch::new(text).matches(name),
            "wildmatch: {text:?} on {name:?}"
        );
        let (text_chars, name_chars): (Vec<_>, Vec<_>) =
            (text.chars().collect(), name.chars().collect());
        assert_eq!(
            found,
            matches_by_definition(&text_chars, &name_chars),
            "definition: {text:?} on {name:?}"
        );
    }

    /// Every text over `alphabet` of at most `max` characters, the empty one among them.
    fn all_texts(alphabet: &[char], max: usize) -> Vec<String> {
        let mut texts = vec![String::new()];
        let mut last = 0;
        for _ in 0..max {
            let end = texts.len();
            for i in last..end {
                for &c in alphabet {
                    texts.push(format!("{}{c}", texts[i]));
                }
            }
            last = end;
        }
        texts
    }

    #[test]
    fn all_short_patterns_on_all_short_names() {
        let names = all_texts(&['a', 'é', '*'], 4);
        for text in all_texts(&['a', 'é', '*', '?'], 5).iter().skip(1) {
            for name in &names {
                assert_agrees(text, name);
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_where_stars_collide(text in "[ab*?]{1,12}", name in "[ab*?]{0,12}") {
            assert_agrees(&text, &name);
        }

        #[test]
        fn agrees_on_long_names(text in "[ab?]{0,3}(\\*[ab?]{0,9}){0,4}", name in "[ab]{0,80}") {
            prop_assume!(!text.is_empty());
            prop_assert_eq!(pattern(&text).matches(&name), WildMatch::new(&text).matches(&name));
        }

        #[test]
        fn agrees_on_unicode(text in "(\\PC|\\*|\\?|é|\u{301}|🔑){1,6}", name in "(\\PC|é|\u{301}|🔑){0,6}") {
            assert_agrees(&text, &name);
        }

        #[test]
        fn matches_what_it_was_made_from(parts in prop::collection::vec(("[a-cé🔑]{0,4}", "[a-cé🔑]{0,4}", any::<bool>()), 1..6)) {
            let (mut text, mut name) = (String::new(), String::new());
            for (literal, run, single) in &parts {
                text += literal;
                name += literal;
                if *single {
                    text.extend(run.chars().map(|_| '?'));
                } else {
                    text.push('*');
                }
                name += run;
            }
            prop_assume!(!text.is_empty());
            prop_assert!(pattern(&text).matches(&name), "{:?} on {:?}", text, name);
        }
    }

    #[test]
    fn a_run_of_stars_is_one() {
        for (text, canonical) in [
            ("**", "*"),
            ("a***b**", "a*b*"),
            ("*?*", "*?*"),
            ("a*b", "a*b"),
            ("é**é", "é*é"),
        ] {
            let pattern = pattern(text);
            assert_eq!(pattern.as_str(), canonical);
            assert_eq!(pattern.to_string(), canonical);
            assert_eq!(pattern, self::pattern(canonical));
            assert_eq!(
                pattern.cmp_specificity(&self::pattern(canonical)),
                Ordering::Equal
            );
            assert_eq!(String::from(pattern), canonical);
        }
        assert_ne!(pattern("*?"), pattern("?*"));
    }

    #[test]
    fn length_is_counted_in_characters_as_written() {
        for (text, error_type) in [
            (String::new(), "string_too_short"),
            ("é".repeat(1025), "string_too_long"),
            ("*".repeat(1025), "string_too_long"),
        ] {
            let error = ToolPattern::new(&text).unwrap_err();
            let [field] = error.field_errors() else {
                panic!("one field is wrong");
            };
            assert_eq!(field.error_type(), error_type);
            assert_eq!(field.loc(), ["body".into(), "tool_name".into()]);
        }
        assert!("🔑".repeat(1024).parse::<ToolPattern>().is_ok());
        assert_eq!(pattern(&"*".repeat(1024)).as_str(), "*");
    }

    #[test]
    fn specificity_is_decided_rule_by_rule() {
        let best_first = [
            &["a", "abcdef"][..],
            &["abcdef?"],
            &["abcde??????", "?a?b?c?d?e?"],
            &["abcde*", "*abcde", "ab*cde"],
            &["abcde?*"],
            &["a*bcde*"],
            &["a*bcde?*"],
            &["éüö?"],
            &["??"],
            &["???"],
            &["*"],
            &["*?", "?*"],
            &["*?*"],
        ];
        let exact = best_first[0];
        assert_eq!(
            pattern(exact[1]).cmp_specificity(&pattern(exact[0])),
            Ordering::Less,
            "two exact patterns never meet, and are still ordered by their literals"
        );
        for (i, better) in best_first.iter().enumerate().skip(1) {
            for (j, worse) in best_first.iter().enumerate() {
                for (a, b) in better
                    .iter()
                    .flat_map(|a| worse.iter().map(move |b| (*a, *b)))
                {
                    assert_eq!(
                        pattern(a).cmp_specificity(&pattern(b)),
                        i.cmp(&j),
                        "{a} against {b}"
                    );
                }
            }
        }
    }

    #[test]
    fn almost_matching_takes_no_exponential_time() {
        let name = "a".repeat(1024);
        assert!(!pattern(&format!("{}b", "*a".repeat(511))).matches(&name));
        assert!(!pattern(&format!("*{}b*", "a".repeat(511))).matches(&name));
        assert!(pattern(&"*a".repeat(512)).matches(&name));
    }
}
