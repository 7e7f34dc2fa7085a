//! A tool call, who wrote its arguments, and what a vault does with supplied values.

use std::borrow::Cow;

use serde_json::Value;

/// One call of a tool, without its arguments.
///
/// ```
/// use keyward::{Origin, ToolCall};
/// use serde_json::json;
///
/// let schema = json!({"type": "object", "properties": {"api_key": {"type": "string"}}});
/// let call = ToolCall::new("agno__linear__create_issue").with_schema(&schema);
/// let step = ToolCall::new("agno__linear__create_issue").with_origin(Origin::Workflow);
/// ```
#[derive(Debug, Clone)]
pub struct ToolCall<'a> {
    tool: Cow<'a, str>,
    schema: Option<&'a Value>,
    origin: Origin,
    id: Option<Cow<'a, str>>,
}

impl<'a> ToolCall<'a> {
    /// Creates a call of the tool with this name, with arguments written by the model.
    pub fn new(tool: impl Into<Cow<'a, str>>) -> ToolCall<'a> {
        ToolCall {
            tool: tool.into(),
            schema: None,
            origin: Origin::Model,
            id: None,
        }
    }

    /// Sets the tool's input schema, a JSON Schema such as MCP's `inputSchema`: the original, not the concealed one. Do
    /// not call this for a tool that gives no schema: null, `true` and `{}` declare nothing, so no default would be
    /// filled in.
    ///
    /// A default is then filled in only where the schema declares the property: it names it under `properties`, or an
    /// array's element under `items` or `prefixItems`, with a type that allows a string. An object or an array that the
    /// call has is taken for what it is, and what is missing for an object. These do not declare one:
    /// `additionalProperties` and `patternProperties`, which name none; `then`, `else` and `dependentSchemas`, which
    /// hold for some arguments only; another document, and an anchor. To have a default filled in there, name the
    /// property in the schema that you set here. A reference needs no declaration.
    #[must_use]
    pub fn with_schema(mut self, schema: &'a Value) -> ToolCall<'a> {
        self.schema = Some(schema);
        self
    }

    /// Sets who wrote the arguments.
    #[must_use]
    pub fn with_origin(mut self, origin: Origin) -> ToolCall<'a> {
        self.origin = origin;
        self
    }

    /// Sets an id by which the call can be found in other logs, such as those of the model API. The id is recorded
    /// in the [audit](crate::AuditEvent::call_id) and does not affect any decision.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Cow<'a, str>>) -> ToolCall<'a> {
        self.id = Some(id.into());
        self
    }

    /// Returns the tool's name.
    pub fn tool(&self) -> &str {
        &self.tool
    }

    /// Returns the tool's input schema, if one was set.
    pub fn schema(&self) -> Option<&'a Value> {
        self.schema
    }

    /// Returns the id of the call, if one was set.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns who wrote the arguments.
    pub fn origin(&self) -> Origin {
        self.origin
    }
}

/// Who wrote the arguments of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Origin {
    /// The model, which may have been talked into anything. A reference is granted only if the secret has a tool
    /// pattern that matches and is bound to exactly this location.
    #[default]
    Model,
    /// The program's owner, for example in the steps of a workflow file. A reference is granted even if the secret
    /// has no location, no tool pattern, or neither; whichever it has must still match.
    Workflow,
}

/// What happens to a value that the model supplies where a default is bound.
///
/// By default the value is kept. This is what the REST contract's platforms do, and a tool that is deliberately
/// called with another account's key keeps working. A granted reference does not count as a supplied value, and what
/// an [`Origin::Workflow`] call supplies is always kept.
///
/// # Security
///
/// A model that was talked into it can put an attacker's key where yours belongs. The tool then works for the
/// attacker: the issue, the file or the message lands in the attacker's account. Where the model has no business
/// supplying a credential, [replace](InjectionPolicy::replace_supplied) or
/// [refuse](InjectionPolicy::refuse_supplied) what it supplies. What becomes of it also depends on the tool's
/// [schema](ToolCall::with_schema), since a secret is filled in only where that allows a string:
///
/// | what the schema says of the property | the model supplied | replacing | refusing |
/// |---|---|---|---|
/// | it allows a string, or there is no schema | anything | replaced | denied |
/// | nothing, or what it says is not known (it is in another document) | anything | denied | denied |
/// | it has another type | text | denied | denied |
/// | it has another type | anything else: the tool has another use for it | kept | kept |
///
/// Locations are exact. A tool that also accepts `authorization` for `Authorization`, or a key in another argument,
/// has more places to guard.
///
/// ```
/// use keyward::{InjectionPolicy, NewSecret, ToolCall, UserId, Vault};
/// use serde_json::json;
///
/// let policy = InjectionPolicy::default().replace_supplied();
/// let user = Vault::builder().injection_policy(policy).in_memory()?.user(UserId::LOCAL);
/// user.create(NewSecret::new("linear", "lin_api_Zq8wT3vN").bind("agno__linear__*", "api_key").default_for_tool())?;
///
/// let mut args = json!({"api_key": "lin_api_of_someone_else"}).as_object().unwrap().clone();
/// user.inject(&ToolCall::new("agno__linear__create_issue"), &mut args)?;
/// assert_eq!(args["api_key"], "lin_api_Zq8wT3vN");
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InjectionPolicy {
    supplied: Supplied,
    empty_is_absent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Supplied {
    #[default]
    Keep,
    Replace,
    Refuse,
}

impl InjectionPolicy {
    /// Keeps what the model supplies. This is the default.
    #[must_use]
    pub fn keep_supplied(mut self) -> InjectionPolicy {
        self.supplied = Supplied::Keep;
        self
    }

    /// Replaces what the model supplies with the secret. Where the tool's schema allows no string, it cannot be
    /// replaced, and the call is denied: see the [table](InjectionPolicy#security).
    #[must_use]
    pub fn replace_supplied(mut self) -> InjectionPolicy {
        self.supplied = Supplied::Replace;
        self
    }

    /// Refuses a call in which the model supplies a value, with [`ErrorKind::Denied`](crate::ErrorKind::Denied).
    #[must_use]
    pub fn refuse_supplied(mut self) -> InjectionPolicy {
        self.supplied = Supplied::Refuse;
        self
    }

    /// Treats `""` as absent: some models fill in every argument that they see.
    #[must_use]
    pub fn empty_is_absent(mut self) -> InjectionPolicy {
        self.empty_is_absent = true;
        self
    }

    pub(crate) fn supplied(&self) -> Supplied {
        self.supplied
    }

    pub(crate) fn is_absent(&self, value: &Value) -> bool {
        self.empty_is_absent && value.as_str() == Some("")
    }
}
