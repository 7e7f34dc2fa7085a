//! The fields of a request as they were given, and what is wrong with them: all of it at once.

use crate::{
    bounds::{Bounds, TEXT},
    error::{Error, FieldError},
    format::Format,
    location::Location,
    pattern::ToolPattern,
    secret::SecretValue,
};

pub(super) const NAME: &str = "secret_name";
pub(super) const VALUE: &str = "secret_value";
pub(super) const TOOL: &str = "tool_name";
pub(super) const ARG: &str = "tool_arg";
pub(super) const IS_DEFAULT: &str = "is_default_for_tool";
pub(super) const FORMAT: &str = "format";

/// The fields' names, in the order in which errors name them.
pub(super) const NAMES: [&str; 6] = [NAME, VALUE, TOOL, ARG, IS_DEFAULT, FORMAT];

/// The fields of a request as they were given.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    pub(super) name: Given<String>,
    pub(super) value: Given<SecretValue>,
    pub(super) tool_name: Given<String>,
    pub(super) tool_arg: Given<String>,
    pub(super) is_default: Given<bool>,
    pub(super) format: Given<String>,
}

/// A field as it was given.
#[derive(Debug, Clone, Default)]
pub(super) enum Given<T> {
    #[default]
    Absent,
    Null,
    Value(T),
    /// A JSON value of a type that the field cannot have.
    WrongType,
    /// A JSON string that is not Unicode text: it has an unpaired surrogate.
    NotUnicode,
}

impl<T> Given<T> {
    pub(super) fn map<U>(self, f: impl FnOnce(T) -> U) -> Given<U> {
        match self {
            Given::Absent => Given::Absent,
            Given::Null => Given::Null,
            Given::Value(value) => Given::Value(f(value)),
            Given::WrongType => Given::WrongType,
            Given::NotUnicode => Given::NotUnicode,
        }
    }

    pub(super) fn value(self) -> Option<T> {
        match self {
            Given::Value(value) => Some(value),
            _ => None,
        }
    }

    /// `Some(None)` for null.
    #[expect(clippy::option_option, reason = "outer: absent; inner: null")]
    pub(super) fn change(self) -> Option<Option<T>> {
        match self {
            Given::Value(value) => Some(Some(value)),
            Given::Null => Some(None),
            _ => None,
        }
    }
}

impl Fields {
    pub(super) fn type_errors(&self) -> Vec<FieldError> {
        let mut errors = Errors::default();
        errors.string(NAME, &self.name, |_| Ok(()));
        errors.string(VALUE, &self.value, |_| Ok(()));
        errors.string(TOOL, &self.tool_name, |_| Ok(()));
        errors.string(ARG, &self.tool_arg, |_| Ok(()));
        errors.bool(&self.is_default);
        errors.string(FORMAT, &self.format, |_| Ok(()));
        errors.0
    }

    pub(super) fn check_new(&self, bounds: &Bounds) -> Result<(), Error> {
        let mut errors = Errors::default();
        errors.required(NAME, &self.name);
        self.check_name(&mut errors);
        errors.required(VALUE, &self.value);
        self.check_value(bounds, &mut errors);
        self.check_binding(&mut errors);
        if bounds.demands_explicit_default() {
            errors.required(IS_DEFAULT, &self.is_default);
        }
        self.check_options(&mut errors);
        let is_default = matches!(self.is_default, Given::Value(true));
        // A field of a wrong type was still given: to call it missing would mislead.
        let given = |field: &Given<String>| !matches!(field, Given::Absent | Given::Null);
        errors.note(check_default(
            is_default,
            given(&self.tool_name),
            given(&self.tool_arg),
        ));
        errors.finish()
    }

    /// Checks each field by itself.
    pub(super) fn check_patch(&self, bounds: &Bounds) -> Errors {
        let mut errors = Errors::default();
        self.check_name(&mut errors);
        self.check_value(bounds, &mut errors);
        self.check_binding(&mut errors);
        self.check_options(&mut errors);
        errors
    }

    fn check_name(&self, errors: &mut Errors) {
        errors.string(NAME, &self.name, |name| TEXT.check(NAME, name));
    }

    fn check_value(&self, bounds: &Bounds, errors: &mut Errors) {
        errors.string(VALUE, &self.value, |value| {
            bounds.value().check(VALUE, value.expose_secret())
        });
    }

    fn check_binding(&self, errors: &mut Errors) {
        errors.string(TOOL, &self.tool_name, |tool| {
            ToolPattern::parse(tool).map(drop)
        });
        errors.string(ARG, &self.tool_arg, |arg| Location::parse(arg).map(drop));
    }

    fn check_options(&self, errors: &mut Errors) {
        errors.bool(&self.is_default);
        errors.string(FORMAT, &self.format, |format| {
            Format::parse(format).map(drop)
        });
    }
}

/// Checks that a default has a tool pattern and a location.
pub(super) fn check_default(
    is_default: bool,
    has_tool: bool,
    has_arg: bool,
) -> Result<(), FieldError> {
    let (missing, them) = match (is_default, has_tool, has_arg) {
        (false, _, _) | (true, true, true) => return Ok(()),
        (true, false, true) => ("tool_name", "it"),
        (true, true, false) => ("tool_arg", "it"),
        (true, false, false) => ("tool_name and tool_arg", "them"),
    };
    Err(FieldError::value_error(
        IS_DEFAULT,
        format_args!("a default needs {missing}: give {them}, or set is_default_for_tool to false"),
    ))
}

/// The invalid fields of one request.
#[derive(Default)]
pub(super) struct Errors(pub(super) Vec<FieldError>);

impl Errors {
    fn note(&mut self, result: Result<(), FieldError>) {
        self.0.extend(result.err());
    }

    /// Notes an error if the field is absent or null.
    fn required<T>(&mut self, field: &'static str, given: &Given<T>) {
        match given {
            Given::Absent => self
                .0
                .push(FieldError::field(field, "missing", "Field required")),
            Given::Null if field == IS_DEFAULT => self.not_bool(),
            Given::Null => self.not_string(field),
            _ => {}
        }
    }

    fn string<T>(
        &mut self,
        field: &'static str,
        given: &Given<T>,
        check: impl FnOnce(&T) -> Result<(), FieldError>,
    ) {
        match given {
            Given::Absent | Given::Null => {}
            Given::Value(value) => self.note(check(value)),
            Given::WrongType => self.not_string(field),
            Given::NotUnicode => self.0.push(FieldError::field(
                field,
                "string_unicode",
                "Input should be a valid string, unable to parse raw data as a unicode string",
            )),
        }
    }

    fn bool(&mut self, given: &Given<bool>) {
        if matches!(given, Given::WrongType | Given::NotUnicode) {
            self.not_bool();
        }
    }

    fn not_string(&mut self, field: &'static str) {
        self.0.push(FieldError::field(
            field,
            "string_type",
            "Input should be a valid string",
        ));
    }

    fn not_bool(&mut self) {
        self.0.push(FieldError::field(
            IS_DEFAULT,
            "bool_type",
            "Input should be a valid boolean",
        ));
    }

    pub(super) fn finish(self) -> Result<(), Error> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Error::validation(self.0))
        }
    }
}
