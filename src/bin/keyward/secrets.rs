//! The commands about secrets.

use std::path::Path;

use keyward::{NewSecret, Origin, SecretInfo, SecretPatch, ToolCall};
use serde_json::{Map, Value, json};

use crate::{
    args::{Add, Binding, Explain, Update},
    env_file::{self, Variable},
    failure::Failure,
    input,
    opener::Opener,
    output::{Output, counted, printable, secret_card, secrets_table, usage_text},
};

pub(crate) fn add(mut opener: Opener, output: Output, add: Add) -> Result<(), Failure> {
    if let Some(path) = &add.from_env_file {
        return add_env_file(opener, output, path, &add.only);
    }
    let name = add.name.unwrap_or_default();
    if input::value_is_typed() {
        let mut others = as_json(Some(&name), Some("****"), &add.binding);
        NewSecret::from_json(&mut others)?;
    }
    // The file is not kept open meanwhile: a person takes time to type.
    let key = opener.right_key()?;
    let mut secret = NewSecret::new(name, opener.input.value()?);
    let Binding {
        tool,
        arg,
        default,
        format,
    } = add.binding;
    if let Some(tool) = tool {
        secret = secret.tool_pattern(tool);
    }
    if let Some(arg) = arg {
        secret = secret.location(arg);
    }
    if let Some(format) = format {
        secret = secret.format(format);
    }
    let secret = secret.is_default_for_tool(default);
    let info = opener.open_user_with(&key)?.create(secret)?;
    output.done(&info, format!("added {}", described(&info)))
}

fn add_env_file(
    mut opener: Opener,
    output: Output,
    path: &Path,
    only: &[String],
) -> Result<(), Failure> {
    let key = opener.key()?;
    let text = input::read_file(path)?;
    let mut variables = env_file::parse(&text)
        .map_err(|error| Failure::invalid(format!("{}: {error}", path.display())))?;
    if !only.is_empty() {
        if let Some(missing) = only
            .iter()
            .find(|name| variables.iter().all(|variable| variable.name != **name))
        {
            let message = format!(
                "{}: there is no variable {}",
                path.display(),
                printable(missing)
            );
            return Err(Failure::invalid(message));
        }
        variables.retain(|variable| only.contains(&variable.name));
    }
    let names: Vec<String> = variables
        .iter()
        .map(|variable| variable.name.clone())
        .collect();
    let user = opener.open_user_with(&key)?;
    let created = output.busy("adding", || {
        user.batch(|batch| {
            for Variable { name, value } in variables {
                batch.create(NewSecret::new(name, value));
            }
        })
    });
    let infos: Vec<SecretInfo> = created
        .map_err(|error| Failure::of_batch(error, &names))?
        .into_iter()
        .flatten()
        .collect();
    let answered = output.answer(&infos, || {
        let added = counted(infos.len(), "secret");
        format!("{}added {added}\n", secrets_table(&infos))
    });
    answered.map_err(Failure::after_success)
}

pub(crate) fn list(mut opener: Opener, output: Output) -> Result<(), Failure> {
    let secrets = opener.read_user()?.secrets()?;
    output.answer(&secrets, || secrets_table(&secrets))
}

pub(crate) fn show(mut opener: Opener, output: Output, secret: String) -> Result<(), Failure> {
    let info = opener.read_user()?.secret(secret)?;
    output.answer(&info, || secret_card(&info))
}

pub(crate) fn update(mut opener: Opener, output: Output, update: Update) -> Result<(), Failure> {
    if update.changes_nothing() {
        return Err(Failure::usage(
            "nothing is to be changed: give --value for a new value, or another option that says what changes",
        ));
    }
    if !update.value || input::value_is_typed() {
        let mut others = as_json(update.name.as_deref(), None, &update.binding);
        SecretPatch::from_json(&mut others)?;
    }
    let mut patch = SecretPatch::new();
    let key = if update.value {
        let key = opener.right_key()?;
        patch = patch.value(opener.input.value()?);
        key
    } else {
        opener.key()?
    };
    if let Some(name) = update.name {
        patch = patch.name(name);
    }
    let Binding {
        tool,
        arg,
        default,
        format,
    } = update.binding;
    patch = match (tool, update.no_tool) {
        (Some(tool), _) => patch.tool_pattern(tool),
        (None, true) => patch.clear_tool_pattern(),
        (None, false) => patch,
    };
    patch = match (arg, update.no_arg) {
        (Some(arg), _) => patch.location(arg),
        (None, true) => patch.clear_location(),
        (None, false) => patch,
    };
    if default || update.no_default {
        patch = patch.is_default_for_tool(default);
    }
    if let Some(format) = format {
        patch = patch.format(format);
    }
    if let Some(revision) = update.if_revision {
        patch = patch.if_revision(revision);
    }
    let cleared = [
        update.no_tool.then_some("tool_name"),
        update.no_arg.then_some("tool_arg"),
    ];
    let cleared: Vec<&str> = cleared.into_iter().flatten().collect();
    let updated = opener.open_user_with(&key)?.update(update.secret, patch);
    let info = updated.map_err(|error| Failure::of(&error, &cleared))?;
    output.done(&info, format!("updated {}", described(&info)))
}

pub(crate) fn remove(mut opener: Opener, output: Output, secret: String) -> Result<(), Failure> {
    let user = opener.open_user()?;
    let info = user.secret(secret)?;
    user.delete(&info)?;
    output.done(
        &json!({"secret_id": info.secret_id}),
        format!("removed {}", printable(&info.secret_name)),
    )
}

pub(crate) fn usage(mut opener: Opener, output: Output) -> Result<(), Failure> {
    let usage = opener.read_user()?.usage()?;
    output.answer(
        &json!({"secrets": usage.secrets, "bytes": usage.bytes}),
        || usage_text(usage),
    )
}

pub(crate) fn explain(
    mut opener: Opener,
    output: Output,
    explain: &Explain,
) -> Result<(), Failure> {
    // First, since the key may be a line of standard input, and the arguments the rest of it.
    let user = opener.read_user()?;
    let args = match &explain.args {
        None => Map::new(),
        Some(path) => match input::read_json(path)? {
            Value::Object(args) => args,
            _ => {
                return Err(Failure::invalid(format!(
                    "{}: arguments must be a JSON object",
                    path.display()
                )));
            }
        },
    };
    let schema = match &explain.schema {
        None => None,
        Some(path) => Some(input::read_json(path)?),
    };
    let mut call = ToolCall::new(&*explain.tool);
    if let Some(schema) = &schema {
        call = call.with_schema(schema);
    }
    if explain.workflow {
        call = call.with_origin(Origin::Workflow);
    }
    let explanation = user.explain(&call, &args)?;
    output.answer(&explanation, || {
        explanation
            .to_string()
            .lines()
            .map(|line| printable(line) + "\n")
            .collect()
    })
}

/// A request as JSON, which can be checked before a value is asked for: all of its fields at once. A value that is not
/// typed is there from the start, and is checked together with the other fields.
fn as_json(name: Option<&str>, value: Option<&str>, binding: &Binding) -> Vec<u8> {
    let request = json!({
        "secret_name": name,
        "secret_value": value,
        "tool_name": binding.tool,
        "tool_arg": binding.arg,
        "is_default_for_tool": binding.default.then_some(true),
        "format": binding.format,
    });
    request.to_string().into_bytes()
}

fn described(info: &SecretInfo) -> String {
    let name = printable(&info.secret_name);
    let default = if info.is_default_for_tool {
        ", by default"
    } else {
        ""
    };
    match (&info.tool_name, &info.tool_arg) {
        (None, None) => format!("{name}, bound to nothing"),
        (None, Some(arg)) => format!("{name} for {}, bound to no tool", printable(arg)),
        (Some(tool), None) => format!("{name} for any argument of {}", printable(tool)),
        (Some(tool), Some(arg)) => {
            let (tool, arg) = (printable(tool), printable(arg));
            format!("{name} for {arg} of {tool}{default}")
        }
    }
}
