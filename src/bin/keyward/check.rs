//! Comparing the secrets with the available tools.

use std::{path::Path, process::ExitCode};

use keyward::{
    ToolPattern,
    check::{Finding, Report, ToolSpec},
};
use serde_json::Value;

use crate::{
    args::{Check, Program},
    failure::Failure,
    input, listing,
    opener::Opener,
    output::{Output, counted, table},
};

/// The exit code if something was found.
const FOUND: u8 = 11;

pub(crate) fn check(mut opener: Opener, output: Output, check: Check) -> Result<ExitCode, Failure> {
    let Check {
        file,
        server,
        env,
        command,
        timeout,
        ..
    } = check;
    let user = opener.read_user()?;
    let listed = match &file {
        Some(path) => in_file(path)?,
        None => listing::ask(&Program { env, command }, server.as_deref(), &user, timeout)?,
    };
    let prefix = server.map_or_else(String::new, |server| format!("{server}__"));
    let tools: Vec<(String, Option<Value>)> = listed
        .into_iter()
        .map(|(name, schema)| (prefix.clone() + &name, schema))
        .collect();
    let specs = tools.iter().map(|(name, schema)| {
        let spec = ToolSpec::new(name);
        match schema {
            Some(schema) => spec.with_schema(schema),
            None => spec,
        }
    });
    let mut report = user.check(specs)?;
    report.findings.retain(|finding| match finding {
        Finding::UnusedPattern { secret, .. } => secret
            .pattern
            .as_ref()
            .is_none_or(|pattern| can_begin_with(pattern, &prefix)),
        _ => true,
    });
    output.answer(&report, || text(&report))?;
    Ok(if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FOUND)
    })
}

fn text(report: &Report) -> String {
    let looked_at = format!(
        "{} and {}",
        counted(report.tools, "tool"),
        counted(report.secrets, "secret")
    );
    if report.is_clean() {
        return format!("nothing found in {looked_at}\n");
    }
    let mut rows = vec![["FINDING", "WHAT IT IS"].map(String::from)];
    for finding in &report.findings {
        rows.push([finding.code().to_owned(), finding.to_string()]);
    }
    let found = counted(report.findings.len(), "finding");
    format!("{}{found} in {looked_at}\n", table(&rows))
}

fn in_file(path: &Path) -> Result<Vec<Tool>, Failure> {
    tools(input::read_json(path)?).ok_or_else(|| {
        Failure::invalid(format!(
            "{}: this is neither an answer to tools/list nor an array of tools",
            path.display()
        ))
    })
}

/// A tool's name and its input schema.
pub(crate) type Tool = (String, Option<Value>);

/// Returns the tools in an answer to `tools/list`, in its result, or in an array. Model APIs name the schema
/// differently than MCP, and some of them wrap the tool in another object.
pub(crate) fn tools(value: Value) -> Option<Vec<Tool>> {
    match value {
        Value::Array(tools) => tools.into_iter().map(tool).collect(),
        Value::Object(mut message) => match message.remove("result") {
            Some(mut result) => tools(result.get_mut("tools")?.take()),
            None => tools(message.remove("tools")?),
        },
        _ => None,
    }
}

fn tool(mut value: Value) -> Option<Tool> {
    if let Some(function) = value.get_mut("function") {
        value = function.take();
    }
    let name = value.get("name")?.as_str()?.to_owned();
    let schema = ["inputSchema", "input_schema", "parameters"]
        .into_iter()
        .find_map(|key| Some(value.get_mut(key)?.take()));
    Some((name, schema))
}

/// Whether a pattern can match a longer name that begins with `prefix`.
fn can_begin_with(pattern: &ToolPattern, prefix: &str) -> bool {
    let pattern: Vec<char> = pattern.as_str().chars().collect();
    // The positions in the pattern that the prefix read so far can lead to.
    let mut at = vec![false; pattern.len() + 1];
    at[0] = true;
    for c in prefix.chars() {
        let mut next = vec![false; pattern.len() + 1];
        for (i, &p) in pattern.iter().enumerate() {
            if !at[i] {
                continue;
            }
            if p == '*' {
                next[i] = true;
                at[i + 1] = true;
            } else if p == '?' || p == c {
                next[i + 1] = true;
            }
        }
        at = next;
    }
    at[..pattern.len()].contains(&true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tools_are_read_in_every_form_that_runtimes_have_them_in() {
        let schema = json!({"type": "object"});
        let mcp = json!({"name": "t", "title": "T", "inputSchema": schema});
        let expected = Some(vec![("t".to_owned(), Some(schema.clone()))]);
        for value in [
            json!([mcp]),
            json!({"tools": [mcp], "nextCursor": "c"}),
            json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [mcp]}}),
            json!([{"name": "t", "input_schema": schema}]),
            json!([{"type": "function", "name": "t", "parameters": schema}]),
            json!([{"type": "function", "function": {"name": "t", "parameters": schema}}]),
        ] {
            assert_eq!(tools(value.clone()), expected, "{value}");
        }
        assert_eq!(
            tools(json!([{"name": "t"}])),
            Some(vec![("t".to_owned(), None)])
        );
        assert_eq!(tools(json!([])), Some(vec![]));
        for value in [
            json!({}),
            json!({"tools": {}}),
            json!({"result": {}}),
            json!(["t"]),
            json!([{"inputSchema": schema}]),
            json!(null),
        ] {
            assert_eq!(tools(value.clone()), None, "{value}");
        }
    }

    #[test]
    fn a_pattern_is_for_a_server_if_it_can_match_one_of_its_tools() {
        for (pattern, expected) in [
            ("s__t", true),
            ("s__*", true),
            ("*", true),
            ("*_t", true),
            ("s*t", true),
            ("???t", true),
            ("?*?", true),
            ("s__", false),
            ("s", false),
            ("other__*", false),
            ("*x", true),
            ("?", false),
            ("ss__t", false),
            ("S__t", false),
        ] {
            let pattern = ToolPattern::new(pattern).unwrap();
            assert_eq!(can_begin_with(&pattern, "s__"), expected, "{pattern:?}");
            assert!(can_begin_with(&pattern, ""));
        }
    }
}
