//! Cases that are written down.

use serde::Deserialize;

use super::{Binding, Naive, binding, found, in_several_ways};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Suite {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    bindings: Vec<[String; 3]>,
    calls: Vec<Call>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    tool: String,
    wins: Vec<String>,
    candidates: Option<Vec<String>>,
}

#[test]
fn cases_written_down() {
    let suite: Suite = toml::from_str(include_str!("../../../tests/resolution.toml")).unwrap();
    assert!(suite.case.len() >= 40);
    for case in &suite.case {
        case.run();
    }
}

impl Case {
    fn run(&self) {
        let bindings: Vec<Binding> = self
            .bindings
            .iter()
            .zip(0..)
            .map(|([_, pattern, location], age)| binding(&written_out(pattern), location, age))
            .collect();
        let naive = Naive::new(&bindings);
        let resolvers = in_several_ways(&bindings);
        for call in &self.calls {
            let tool = written_out(&call.tool);
            let context = format!("{}: {}", self.name, call.tool);
            let expected = |labels: &[String]| -> Vec<Binding> {
                labels
                    .iter()
                    .map(|label| {
                        let at = self.bindings.iter().position(|b| b[0] == *label);
                        bindings[at.expect("the case has a binding of this label")].clone()
                    })
                    .collect()
            };
            let wins = expected(&call.wins);
            let candidates = call.candidates.as_deref().map(expected);
            assert_eq!(naive.resolve(&tool), wins, "by definition: {context}");
            if let Some(candidates) = &candidates {
                assert_eq!(
                    &naive.candidates(&tool),
                    candidates,
                    "by definition: {context}"
                );
            }
            for resolver in &resolvers {
                assert_eq!(found(&resolver.resolve(&tool)), wins, "{context}");
                assert_eq!(
                    found(&resolver.candidates(&tool)),
                    candidates
                        .clone()
                        .unwrap_or_else(|| naive.candidates(&tool)),
                    "{context}"
                );
            }
        }
    }
}

/// Replaces every `{N x TEXT}` by TEXT repeated N times. What only looks similar stays as it is.
fn written_out(text: &str) -> String {
    let Some((before, (times, repeated), after)) =
        text.split_once('{').and_then(|(before, rest)| {
            let (inside, after) = rest.split_once('}')?;
            Some((before, inside.split_once(" x ")?, after))
        })
    else {
        return text.to_owned();
    };
    let times = times.parse().unwrap();
    format!("{before}{}{}", repeated.repeat(times), written_out(after))
}
