//! Requests: a new secret or a change to one, parsed into valid forms with all errors at once.

use crate::{
    bounds::Bounds,
    error::{Error, FieldError},
    format::Format,
    secret::{SecretInfo, SecretValue},
};

mod deserialize;
mod fields;
mod json;
mod rebinding;

#[cfg(feature = "http")]
pub(crate) use self::json::not_an_object;
use self::{
    fields::{Errors, Fields, Given},
    rebinding::Rebinding,
};

/// A secret to be created.
///
/// Nothing is checked until [`UserVault::create`](crate::UserVault::create), which reports every invalid field at
/// once.
///
/// ```
/// use keyward::NewSecret;
///
/// let secret = NewSecret::new("github-token", "ghp_hV5cX2mQ")
///     .bind("agno__github__*", "/headers/Authorization")
///     .default_for_tool()
///     .format("Bearer {}");
/// assert!(!format!("{secret:?}").contains("ghp_"));
/// ```
#[derive(Debug, Clone)]
pub struct NewSecret {
    fields: Fields,
}

impl NewSecret {
    /// Creates a secret without a binding. The name has 1 to 1,024 characters; the value 4 to 1,024, or more where
    /// the vault [allows it](Bounds::max_value_chars).
    pub fn new(name: impl Into<String>, value: impl Into<SecretValue>) -> NewSecret {
        NewSecret {
            fields: Fields {
                name: Given::Value(name.into()),
                value: Given::Value(value.into()),
                ..Fields::default()
            },
        }
    }

    /// Binds the secret to the tools that match a pattern and to one location in their arguments, in the syntax of
    /// [`ToolPattern`](crate::ToolPattern) and [`Location`](crate::Location).
    ///
    /// A secret has one binding: a second call replaces the first. For another place, create another secret with the
    /// same value, and change both in one [batch](crate::UserVault::batch).
    #[must_use]
    pub fn bind(self, tool_pattern: impl Into<String>, location: impl Into<String>) -> NewSecret {
        self.tool_pattern(tool_pattern).location(location)
    }

    /// Binds the secret to the tools that match a pattern, without a location. Only
    /// [`Origin::Workflow`](crate::Origin::Workflow) references can ask for such a secret.
    #[must_use]
    pub fn tool_pattern(mut self, pattern: impl Into<String>) -> NewSecret {
        self.fields.tool_name = Given::Value(pattern.into());
        self
    }

    /// Binds the secret to one location, whatever the tool. Only [`Origin::Workflow`](crate::Origin::Workflow)
    /// references can ask for such a secret.
    #[must_use]
    pub fn location(mut self, location: impl Into<String>) -> NewSecret {
        self.fields.tool_arg = Given::Value(location.into());
        self
    }

    /// Makes the secret a default: it is put in automatically where a call of a matching tool has no value at the
    /// location. Requires a tool pattern and a location.
    #[must_use]
    pub fn default_for_tool(self) -> NewSecret {
        self.is_default_for_tool(true)
    }

    /// Sets whether the secret is a default. A vault can [require](Bounds::require_explicit_default) this to be set.
    #[must_use]
    pub fn is_default_for_tool(mut self, is_default: bool) -> NewSecret {
        self.fields.is_default = Given::Value(is_default);
        self
    }

    /// Sets a text to put around the value where it is injected, with `{}` for the value: `Bearer {}`. The stored
    /// value stays bare, so the redactor finds it bare as well. The format `{}` means none.
    #[must_use]
    pub fn format(mut self, format: impl Into<String>) -> NewSecret {
        self.fields.format = Given::Value(format.into());
        self
    }

    /// Reads the REST contract's `NewSecret` from JSON text and wipes the text, whether or not it was valid.
    ///
    /// Fields that the contract does not know are ignored; of a repeated field, the last one counts. The fields are
    /// checked within the contract's bounds; for a vault with other bounds, see
    /// [`from_json_within`](NewSecret::from_json_within).
    ///
    /// ```
    /// use keyward::NewSecret;
    ///
    /// let mut body = br#"{"secret_name": "github-token", "secret_value": "ghp_hV5cX2mQ"}"#.to_vec();
    /// let secret = NewSecret::from_json(&mut body)?;
    /// assert!(body.iter().all(|&byte| byte == 0));
    ///
    /// let errors = NewSecret::from_json(&mut br#"{"secret_name": 7}"#.to_vec()).unwrap_err();
    /// assert_eq!(errors.field_errors().len(), 2);
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Validation`](crate::ErrorKind::Validation) with every invalid field.
    ///
    /// # Security
    ///
    /// Leaves no copy of the value behind except in the returned request, which wipes it when dropped.
    pub fn from_json(json: &mut [u8]) -> Result<NewSecret, Error> {
        NewSecret::from_json_within(json, &Bounds::default())
    }

    /// Does what [`from_json`](NewSecret::from_json) does, within a vault's bounds; see
    /// [`Vault::bounds`](crate::Vault::bounds).
    ///
    /// # Errors
    ///
    /// As for [`from_json`](NewSecret::from_json).
    pub fn from_json_within(json: &mut [u8], bounds: &Bounds) -> Result<NewSecret, Error> {
        let secret = NewSecret::from_json_unchecked(json)?;
        secret.fields.check_new(bounds)?;
        Ok(secret)
    }

    /// Does what `from_json` does, but leaves it to the vault to check the fields.
    pub(crate) fn from_json_unchecked(json: &mut [u8]) -> Result<NewSecret, Error> {
        let fields = json::read(json)?;
        Ok(NewSecret { fields })
    }

    /// Creates the request that would create a copy of an existing secret.
    #[cfg(feature = "file")]
    pub(crate) fn like(info: &SecretInfo, value: SecretValue) -> NewSecret {
        let optional = |text: &Option<String>| text.clone().map_or(Given::Null, Given::Value);
        NewSecret {
            fields: Fields {
                name: Given::Value(info.secret_name.clone()),
                value: Given::Value(value),
                tool_name: optional(&info.tool_name),
                tool_arg: optional(&info.tool_arg),
                is_default: Given::Value(info.is_default_for_tool),
                format: optional(&info.format),
            },
        }
    }

    pub(crate) fn into_valid(self, bounds: &Bounds) -> Result<ValidSecret, Error> {
        self.fields.check_new(bounds)?;
        let Fields {
            name,
            value,
            tool_name,
            tool_arg,
            is_default,
            format,
        } = self.fields;
        let (Some(name), Some(value)) = (name.value(), value.value()) else {
            unreachable!("both were checked");
        };
        Ok(ValidSecret {
            name,
            value,
            tool: tool_name.value(),
            arg: tool_arg.value(),
            is_default: is_default.value().unwrap_or(false),
            format: format
                .value()
                .and_then(|text| Format::parse(&text).ok().flatten()),
        })
    }
}

/// A change to a secret. Fields that are not set stay as they are.
///
/// ```
/// use keyward::{NewSecret, SecretPatch, UserId, Vault};
///
/// let user = Vault::in_memory()?.user(UserId::LOCAL);
/// let info = user.create(NewSecret::new("github-token", "ghp_hV5cX2mQ"))?;
/// let rotated = SecretPatch::new().value("ghp_Yr7Kd0bW").if_revision(info.revision);
/// assert_eq!(user.update(&info, rotated)?.revision, 2);
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct SecretPatch {
    fields: Fields,
    if_revision: Option<u64>,
}

impl SecretPatch {
    /// Creates a patch that changes nothing.
    pub fn new() -> SecretPatch {
        SecretPatch::default()
    }

    /// Renames the secret.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> SecretPatch {
        self.fields.name = Given::Value(name.into());
        self
    }

    /// Replaces the value. This is always a write, even with the current value: otherwise updates would tell whether
    /// a guess is right.
    #[must_use]
    pub fn value(mut self, value: impl Into<SecretValue>) -> SecretPatch {
        self.fields.value = Given::Value(value.into());
        self
    }

    /// Binds the secret to other tools and another location.
    #[must_use]
    pub fn bind(self, tool_pattern: impl Into<String>, location: impl Into<String>) -> SecretPatch {
        self.tool_pattern(tool_pattern).location(location)
    }

    /// Binds the secret to other tools.
    #[must_use]
    pub fn tool_pattern(mut self, pattern: impl Into<String>) -> SecretPatch {
        self.fields.tool_name = Given::Value(pattern.into());
        self
    }

    /// Binds the secret to another location.
    #[must_use]
    pub fn location(mut self, location: impl Into<String>) -> SecretPatch {
        self.fields.tool_arg = Given::Value(location.into());
        self
    }

    /// Removes the tool pattern. A default needs one: if the secret is a default, make it a non-default in the same
    /// patch.
    #[must_use]
    pub fn clear_tool_pattern(mut self) -> SecretPatch {
        self.fields.tool_name = Given::Null;
        self
    }

    /// Removes the location. A default needs one: if the secret is a default, make it a non-default in the same patch.
    #[must_use]
    pub fn clear_location(mut self) -> SecretPatch {
        self.fields.tool_arg = Given::Null;
        self
    }

    /// Removes the whole binding and makes the secret a non-default.
    #[must_use]
    pub fn unbind(self) -> SecretPatch {
        self.clear_tool_pattern()
            .clear_location()
            .is_default_for_tool(false)
    }

    /// Sets whether the secret is a default.
    #[must_use]
    pub fn is_default_for_tool(mut self, is_default: bool) -> SecretPatch {
        self.fields.is_default = Given::Value(is_default);
        self
    }

    /// Replaces the text around the value where it is injected. `{}`, which is the bare value, removes it.
    #[must_use]
    pub fn format(mut self, format: impl Into<String>) -> SecretPatch {
        self.fields.format = Given::Value(format.into());
        self
    }

    /// Removes the text around the value: it is injected bare.
    #[must_use]
    pub fn clear_format(self) -> SecretPatch {
        self.format("{}")
    }

    /// Requires the secret to be at this revision: otherwise the update fails with
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) and changes nothing.
    ///
    /// Update the secret by its id: under a name, there may be another one in the meantime, whose revisions began at 1
    /// again.
    #[must_use]
    pub fn if_revision(mut self, revision: u64) -> SecretPatch {
        self.if_revision = Some(revision);
        self
    }

    /// Reads the REST contract's `SecretPatch` from JSON text and wipes the text, whether or not it was valid.
    ///
    /// `null` removes `tool_name` or `tool_arg`, and leaves any other field as it is.
    ///
    /// # Errors
    ///
    /// As for [`NewSecret::from_json`]. Whether a default loses its binding depends on the secret, and is checked by
    /// [`UserVault::update`](crate::UserVault::update).
    ///
    /// # Security
    ///
    /// As for [`NewSecret::from_json`].
    pub fn from_json(json: &mut [u8]) -> Result<SecretPatch, Error> {
        SecretPatch::from_json_within(json, &Bounds::default())
    }

    /// Does what [`from_json`](SecretPatch::from_json) does, within a vault's bounds; see
    /// [`Vault::bounds`](crate::Vault::bounds).
    ///
    /// # Errors
    ///
    /// As for [`NewSecret::from_json`].
    pub fn from_json_within(json: &mut [u8], bounds: &Bounds) -> Result<SecretPatch, Error> {
        SecretPatch::from_json_unchecked(json)?.checked(bounds)
    }

    /// Checks each field by itself.
    pub(crate) fn checked(self, bounds: &Bounds) -> Result<SecretPatch, Error> {
        self.fields.check_patch(bounds).finish()?;
        Ok(self)
    }

    /// Does what `from_json` does, but leaves it to the update to check the fields.
    pub(crate) fn from_json_unchecked(json: &mut [u8]) -> Result<SecretPatch, Error> {
        Ok(SecretPatch {
            fields: json::read(json)?,
            if_revision: None,
        })
    }

    pub(crate) fn into_valid(self, bounds: &Bounds) -> Result<ValidPatch, InvalidPatch> {
        let rebinding = Rebinding::of(&self.fields);
        let Errors(errors) = self.fields.check_patch(bounds);
        if !errors.is_empty() {
            return Err(InvalidPatch { errors, rebinding });
        }
        let Fields {
            name,
            value,
            tool_name,
            tool_arg,
            is_default,
            format,
        } = self.fields;
        Ok(ValidPatch {
            name: name.value(),
            value: value.value(),
            tool: tool_name.change(),
            arg: tool_arg.change(),
            is_default: is_default.value(),
            format: format
                .value()
                .map(|text| Format::parse(&text).ok().flatten()),
            if_revision: self.if_revision,
            rebinding,
        })
    }
}

/// A new secret whose fields are all valid, by themselves and together.
#[derive(Debug)]
pub(crate) struct ValidSecret {
    pub(crate) name: String,
    pub(crate) value: SecretValue,
    /// The text of a valid [`ToolPattern`](crate::ToolPattern), as it was given.
    pub(crate) tool: Option<String>,
    /// The text of a valid [`Location`](crate::Location), as it was given.
    pub(crate) arg: Option<String>,
    pub(crate) is_default: bool,
    pub(crate) format: Option<Format>,
}

/// A patch whose fields are each valid: `None` leaves a field as it is, `Some(None)` removes it.
#[derive(Debug)]
#[expect(clippy::option_option, reason = "outer: absent; inner: null")]
pub(crate) struct ValidPatch {
    pub(crate) name: Option<String>,
    pub(crate) value: Option<SecretValue>,
    pub(crate) tool: Option<Option<String>>,
    pub(crate) arg: Option<Option<String>>,
    pub(crate) is_default: Option<bool>,
    pub(crate) format: Option<Option<Format>>,
    pub(crate) if_revision: Option<u64>,
    pub(crate) rebinding: Rebinding,
}

/// A patch with invalid fields.
#[derive(Debug)]
pub(crate) struct InvalidPatch {
    errors: Vec<FieldError>,
    rebinding: Rebinding,
}

impl InvalidPatch {
    /// Returns all that is invalid. Without the secret as it was, what depends on it is left out.
    pub(crate) fn error(self, old: Option<&SecretInfo>) -> Error {
        let mut errors = self.errors;
        errors.extend(old.map_or_else(Vec::new, |old| self.rebinding.check(old)));
        errors.sort_by_key(|error| {
            let name = error.loc().last().map(ToString::to_string);
            fields::NAMES
                .iter()
                .position(|field| name.as_deref() == Some(field))
        });
        Error::validation(errors)
    }
}
