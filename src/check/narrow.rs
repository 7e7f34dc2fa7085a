//! Narrowing a pattern.

use crate::pattern::{ANY_RUN, ToolPattern, has_wildcards};

/// Returns a pattern that matches all of `wanted` and as few of `others` as a common beginning, a common end or both
/// allow. Returns `None` if no such pattern excludes any of `others`, none has an allowed length, or a wanted name has
/// wildcards, as then it would be read as a pattern itself.
pub(super) fn narrower(wanted: &[String], others: &[String]) -> Option<ToolPattern> {
    let first = wanted.first()?;
    if wanted.iter().any(|name| has_wildcards(name)) {
        return None;
    }
    if wanted.iter().all(|name| name == first) {
        return ToolPattern::new(first).ok();
    }
    let begin = common(wanted, |name| Box::new(name.chars()));
    let end: String = common(wanted, |name| Box::new(name.chars().rev()))
        .chars()
        .rev()
        .collect();
    let shortest = wanted.iter().map(|name| name.chars().count()).min()?;
    let overlaps = begin.chars().count() + end.chars().count() > shortest;
    // Try whole words first: tools that are added later are more likely to share those.
    let (first_words, last_words) = (first_words(&begin), last_words(&end));
    let patterns = [
        Some(format!("{first_words}{ANY_RUN}")),
        Some(format!("{begin}{ANY_RUN}")),
        Some(format!("{ANY_RUN}{last_words}")),
        Some(format!("{ANY_RUN}{end}")),
        (!overlaps).then(|| format!("{first_words}{ANY_RUN}{last_words}")),
        (!overlaps).then(|| format!("{begin}{ANY_RUN}{end}")),
    ];
    let candidates = patterns.into_iter().flatten().filter_map(|pattern| {
        let pattern = ToolPattern::new(&pattern).ok()?;
        let more = others.iter().filter(|name| pattern.matches(name)).count();
        (more < others.len()).then_some((more, pattern))
    });
    candidates
        .min_by_key(|(more, _)| *more)
        .map(|(_, pattern)| pattern)
}

fn common<'n>(
    names: &'n [String],
    chars: impl Fn(&'n str) -> Box<dyn Iterator<Item = char> + 'n>,
) -> String {
    let Some((first, rest)) = names.split_first() else {
        return String::new();
    };
    let mut common: Vec<char> = chars(first).collect();
    for name in rest {
        let same = chars(name).zip(&common).take_while(|(a, b)| a == *b);
        let length = same.count();
        common.truncate(length);
    }
    common.into_iter().collect()
}

/// The beginning up to and including its last separator.
fn first_words(begin: &str) -> &str {
    begin.trim_end_matches(char::is_alphanumeric)
}

/// The end from its first separator on.
fn last_words(end: &str) -> &str {
    end.trim_start_matches(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrower_pattern_matches_the_wanted_and_fewest_others() {
        for (wanted, others, narrower_pattern) in [
            (&["a_get", "a_set"][..], &["b_get"][..], Some("a_*")),
            (&["get_a", "set_a"], &["get_b"], Some("*_a")),
            (
                &["a_get_x", "a_put_x"],
                &["a_get_y", "b_put_x"],
                Some("a_*_x"),
            ),
            // The whole word does not tell them apart, but its beginning does.
            (&["a_get", "a_gut"], &["a_put"], Some("a_g*")),
            (&["a_get"], &["a_put"], Some("a_get")),
            // Excluding some is better than excluding none.
            (&["a_get", "a_set"], &["a_put", "b_get"], Some("a_*et")),
            (&["a", "b"], &["c"], None),
            (&["aa", "aaa"], &["a", "b"], Some("aa*")),
            // Their common beginning and end overlap in the shorter one.
            (&["aba", "ababa"], &["abax", "xaba"], Some("aba*")),
            (&["ab", "abb"], &["abc", "xb"], Some("ab*")),
            // They touch, or are far longer than what is between them.
            (&["ab", "acb"], &["ax", "xb"], Some("a*b")),
            (&["abc1xyz", "abc22xyz"], &["abc", "xyz"], Some("abc*xyz")),
            // A name with a wildcard, as a pattern, is for others too.
            (&["a_*"], &["b"], None),
            (&["a_g?t", "a_set"], &["b_get"], None),
            (&["a_set", "a_g?t"], &["b_get"], None),
        ] {
            let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let (wanted, others): (Vec<String>, Vec<String>) = (texts(wanted), texts(others));
            let found = narrower(&wanted, &others);
            let found = found.as_ref().map(ToolPattern::as_str);
            assert_eq!(found, narrower_pattern, "{wanted:?} {others:?}");
        }
    }
}
