//! The arguments of a tool that look like a credential, or like a destination to send something to.

use std::{
    cell::Cell,
    collections::{BTreeMap, HashSet, VecDeque},
};

use serde_json::{Map, Value};

use super::words;
use crate::{
    location::Location,
    schema::{
        Budget, Declaration, Document, Types, allows_parents_within, branches, declares_within,
        measure, pointer_units,
    },
};

/// The most units of work that the schema of one tool may cause, whatever it refers to.
const MAX_UNITS: u64 = 200_000;

/// The units of work that the schemas of a list may cause together: so many, and some for each unit that they take to
/// be read once. Otherwise a list of very many small ones that refer to themselves could take hours.
const ALL_UNITS: u64 = 100 * MAX_UNITS;
const ROUNDS: u64 = 32;

/// The work that is left for the schemas of a list.
pub(super) struct Pool(Budget);

impl Pool {
    pub(super) fn new() -> Pool {
        Pool(Budget::new(ALL_UNITS))
    }

    /// Looks for the arguments of a tool that look like a credential or a destination, shallower ones first.
    ///
    /// What other schemas cost does not keep one from being searched as far as its own share allows.
    pub(super) fn search(&self, schema: &Value) -> Arguments {
        let Pool(left) = self;
        let size = measure(schema, MAX_UNITS, usize::MAX).unwrap_or(MAX_UNITS);
        left.give(ROUNDS * size);
        let given = MAX_UNITS.min(left.left());
        let budget = Budget::new(given);
        let arguments = search(schema, &budget);
        left.take(given - budget.left());
        arguments
    }
}

/// How deep arguments are looked for.
const LEVELS: usize = 4;

/// How deep the subschemas of one object may be nested.
const DEPTH: usize = 16;

/// The most arguments that are looked for in one tool.
const MOST: usize = 100;

/// An argument that takes a string.
pub(super) struct Argument {
    pub(super) location: Location,
    /// Whether arguments without it are invalid.
    pub(super) is_required: bool,
    pub(super) is_credential: bool,
    pub(super) is_destination: bool,
}

/// What is known of a tool's arguments.
pub(super) struct Arguments {
    /// Those that look like a credential or a destination, ordered by location.
    pub(super) found: Vec<Argument>,
    /// The depth up to which all arguments were searched; some deeper ones may be missing.
    pub(super) levels: usize,
    /// Whether everything was searched, apart from what a schema repeats within itself.
    pub(super) is_whole: bool,
}

/// Searches a schema. An argument is found only if all that the schema says about it was looked at. Once the budget is
/// spent, nothing is said about the rest.
fn search(schema: &Value, budget: &Budget) -> Arguments {
    let mut search = Search {
        document: Document::within(schema, Types::NONE, budget),
        found: Vec::new(),
        pending: VecDeque::new(),
        searched: HashSet::new(),
        is_cut: Cell::new(false),
        goes_deeper: false,
    };
    let mut levels = search.run(schema);
    let is_whole = levels == usize::MAX && !search.goes_deeper;
    let mut found = Vec::new();
    for argument in search.found {
        let declaration = declares_within(schema, &argument.location, budget);
        // A secret goes only where its parents can be made.
        let can_be_filled =
            !argument.is_credential || allows_parents_within(schema, &argument.location, budget);
        if budget.is_spent() {
            levels = levels.min(argument.location.tokens().len() - 1);
            break;
        }
        if declaration == Declaration::String && can_be_filled {
            found.push(argument);
        }
    }
    found.sort_by(|a, b| a.location.cmp(&b.location));
    Arguments {
        found,
        levels,
        is_whole: is_whole && !budget.is_spent(),
    }
}

struct Search<'a> {
    document: Document<'a>,
    found: Vec<Argument>,
    pending: VecDeque<Object<'a>>,
    /// The schemas of members that were searched, or will be, by their addresses.
    searched: HashSet<*const Value>,
    /// Whether subschemas were left out because they are nested too deep.
    is_cut: Cell<bool>,
    /// Whether there are members below [`LEVELS`] that are not the same again.
    goes_deeper: bool,
}

/// An object whose members may be arguments.
struct Object<'a> {
    path: Vec<Box<str>>,
    /// Every schema that applies to it.
    schemas: Vec<&'a Value>,
    is_required: bool,
}

impl<'a> Search<'a> {
    /// Searches the schema. Returns the depth up to which all arguments were searched.
    fn run(&mut self, schema: &'a Value) -> usize {
        self.pending.push_back(Object {
            path: Vec::new(),
            schemas: vec![schema],
            is_required: true,
        });
        while let Some(object) = self.pending.pop_front() {
            if !self.object(&object) {
                return object.path.len();
            }
        }
        usize::MAX
    }

    /// Looks for arguments among the members of an object. Returns whether it got to the end of them.
    fn object(&mut self, object: &Object<'a>) -> bool {
        let mut members: BTreeMap<&'a str, Member<'a>> = BTreeMap::new();
        for schema in &object.schemas {
            self.members(schema, &mut members, 0);
        }
        // What was not looked at might contradict what was.
        if self.document.is_spent() || self.is_cut.take() {
            return false;
        }
        let outer_bytes: usize = object.path.iter().map(|name| name.len()).sum();
        for (name, member) in members {
            // The path is copied.
            let units = 1 + (outer_bytes + name.len()) as u64 / 32;
            if !self.document.charge(units) {
                return false;
            }
            let mut path = object.path.clone();
            path.push(name.into());
            let is_required = object.is_required && member.is_required;
            let hints = self.hints(&member.schemas);
            if self.document.is_spent() || self.is_cut.take() {
                return false;
            }
            let is_credential =
                !hints.is_fixed && (hints.is_credential || words::is_credential(name));
            let is_destination = !hints.is_fixed
                && !is_credential
                && (hints.is_destination || words::is_destination(name));
            if !member.schemas.is_empty() && (is_credential || is_destination) {
                if self.found.len() == MOST {
                    return false;
                }
                self.found.push(Argument {
                    location: Location::from_tokens(path.clone()),
                    is_required,
                    is_credential,
                    is_destination,
                });
            }
            if path.len() < LEVELS && !member.schemas.is_empty() {
                let schemas = member.schemas.iter().copied();
                self.searched.extend(schemas.map(std::ptr::from_ref));
                self.pending.push_back(Object {
                    path,
                    schemas: member.schemas,
                    is_required,
                });
            } else {
                self.goes_deeper |= self.has_more(&member.schemas);
            }
        }
        true
    }

    /// Returns whether these schemas, of a member that is not searched, have members that were not searched elsewhere.
    fn has_more(&self, schemas: &[&'a Value]) -> bool {
        let mut members = BTreeMap::new();
        for schema in schemas {
            if !self.searched.contains(&std::ptr::from_ref(*schema)) {
                self.members(schema, &mut members, 0);
            }
        }
        !members.is_empty() || self.is_cut.take()
    }

    /// Collects what `schema` says about the members of an object.
    fn members(
        &self,
        schema: &'a Value,
        members: &mut BTreeMap<&'a str, Member<'a>>,
        depth: usize,
    ) {
        let Some(node) = schema.as_object() else {
            return;
        };
        if depth > DEPTH {
            self.is_cut.set(true);
            return;
        }
        if !self.document.spend(node, depth) {
            return;
        }
        let target = node.get("$ref").and_then(|to| self.document.resolve(to));
        if let Some(target) = target {
            self.members(target, members, depth + 1);
        }
        if node.contains_key("$ref") && self.document.ref_hides_siblings() {
            return;
        }
        if let Some(Value::Object(properties)) = node.get("properties") {
            for (name, property) in properties {
                if !self.document.charge(pointer_units(name)) {
                    return;
                }
                members.entry(name).or_default().schemas.push(property);
            }
        }
        for name in branches(node, "required").iter().filter_map(Value::as_str) {
            if !self.document.charge(pointer_units(name)) {
                return;
            }
            members.entry(name).or_default().is_required = true;
        }
        for branch in branches(node, "allOf") {
            self.members(branch, members, depth + 1);
        }
        for keyword in ["anyOf", "oneOf"] {
            self.either(branches(node, keyword), members, depth);
        }
    }

    /// Collects the members from schemas of which only one has to hold. A member is required if all of these schemas
    /// require it, apart from those that take no object.
    fn either(
        &self,
        branches: &'a [Value],
        members: &mut BTreeMap<&'a str, Member<'a>>,
        depth: usize,
    ) {
        let mut all: Vec<BTreeMap<&str, Member<'a>>> = Vec::new();
        for branch in branches {
            if self.document.types(branch).contains(Types::OBJECT) {
                let mut of_branch = BTreeMap::new();
                self.members(branch, &mut of_branch, depth + 1);
                all.push(of_branch);
            }
        }
        let mut required: BTreeMap<&str, usize> = BTreeMap::new();
        let count = all.len();
        for (name, member) in all.into_iter().flatten() {
            if !self.document.charge(pointer_units(name)) {
                return;
            }
            *required.entry(name).or_default() += usize::from(member.is_required);
            members
                .entry(name)
                .or_default()
                .schemas
                .extend(member.schemas);
        }
        for (name, times) in required {
            members.entry(name).or_default().is_required |= times == count;
        }
    }
}

#[derive(Default)]
struct Member<'a> {
    /// Every schema that applies to it.
    schemas: Vec<&'a Value>,
    is_required: bool,
}

/// What schemas say about an argument, apart from its name.
#[derive(Default, Clone, Copy)]
struct Hints {
    is_credential: bool,
    is_destination: bool,
    /// It takes one of a fixed set of values, so it is neither.
    is_fixed: bool,
}

impl Hints {
    /// What a schema says itself.
    fn of(node: &Map<String, Value>) -> Hints {
        let format = node.get("format").and_then(Value::as_str);
        Hints {
            is_credential: format == Some("password")
                || node.get("writeOnly") == Some(&Value::Bool(true)),
            is_destination: matches!(format, Some("hostname" | "idn-hostname" | "ipv4" | "ipv6")),
            is_fixed: node.contains_key("enum") || node.contains_key("const"),
        }
    }

    /// Both schemas apply.
    fn and(self, other: Hints) -> Hints {
        Hints {
            is_credential: self.is_credential || other.is_credential,
            is_destination: self.is_destination || other.is_destination,
            is_fixed: self.is_fixed || other.is_fixed,
        }
    }

    /// One of the two schemas applies.
    fn or(self, other: Hints) -> Hints {
        Hints {
            is_fixed: self.is_fixed && other.is_fixed,
            ..self.and(other)
        }
    }
}

impl Search<'_> {
    /// What these schemas say, all of which apply to one argument.
    fn hints(&self, schemas: &[&Value]) -> Hints {
        let hints = schemas.iter().map(|schema| self.hints_of(schema, 0));
        hints.fold(Hints::default(), Hints::and)
    }

    fn hints_of(&self, schema: &Value, depth: usize) -> Hints {
        let Some(node) = schema.as_object() else {
            return Hints::default();
        };
        let mut hints = Hints::of(node);
        let refers = |keyword: &&str| node.contains_key(*keyword);
        if !["$ref", "allOf", "anyOf", "oneOf"].iter().any(refers) {
            return hints;
        }
        if depth > DEPTH {
            self.is_cut.set(true);
            return hints;
        }
        if !self.document.spend(node, depth) {
            return hints;
        }
        if let Some(reference) = node.get("$ref") {
            let target = self.document.resolve(reference);
            let of_target = target.map(|target| self.hints_of(target, depth + 1));
            if self.document.ref_hides_siblings() {
                return of_target.unwrap_or_default();
            }
            hints = hints.and(of_target.unwrap_or_default());
        }
        for branch in branches(node, "allOf") {
            hints = hints.and(self.hints_of(branch, depth + 1));
        }
        for keyword in ["anyOf", "oneOf"] {
            let either = branches(node, keyword)
                .iter()
                .filter(|branch| self.document.types(branch).contains(Types::STRING))
                .map(|branch| self.hints_of(branch, depth + 1))
                .reduce(Hints::or);
            hints = hints.and(either.unwrap_or_default());
        }
        hints
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The pointers of what is found, and the depth up to which all was searched.
    fn find(schema: &Value) -> (Vec<String>, usize) {
        let arguments = search(schema, &Budget::new(MAX_UNITS));
        let found = arguments.found.iter();
        let found = found.map(|argument| argument.location.to_string());
        (found.collect(), arguments.levels)
    }

    fn properties(count: usize, suffix: &str, property: &Value) -> Map<String, Value> {
        let names = (0..count).map(|i| format!("k{i:03}{suffix}"));
        names.map(|name| (name, property.clone())).collect()
    }

    #[test]
    fn no_more_is_found_than_anyone_could_use() {
        for (count, levels) in [(4, 3), (20, 1), (100, 1), (101, 0), (400, 0)] {
            let next = json!({"$ref": "#/$defs/x"});
            let schema = json!({
                "$ref": "#/$defs/x",
                "$defs": {"x": {"properties": properties(count, "_token", &next)}},
            });
            let (found, all) = find(&schema);
            assert_eq!((found.len(), all), (MOST, levels), "{count}");
            // Shallower ones come first.
            let outer = found.iter().filter(|place| !place[1..].contains('/'));
            assert_eq!(outer.count(), count.min(MOST));
        }
    }

    #[test]
    fn properties_and_required_names_are_paid_for_each_time() {
        let again = |count: usize, member: Value| {
            let branches = vec![json!({"$ref": "#/$defs/x"}); count];
            json!({
                "properties": {"token": {"type": "string"}},
                "allOf": branches,
                "$defs": {"x": member},
            })
        };
        for (count, expected) in [(10, 1), (300, 0)] {
            let text = json!({"type": "string"});
            let plain = json!({"properties": properties(count, "", &text)});
            assert_eq!(find(&again(count, plain.clone())).0.len(), expected);
            let either = json!({"anyOf": [plain, {"type": "null"}]});
            assert_eq!(find(&again(count, either)).0.len(), expected);
            let names: Vec<String> = properties(count, "", &text)
                .into_iter()
                .map(|(name, _)| name)
                .collect();
            assert_eq!(
                find(&again(count, json!({"required": names}))).0.len(),
                expected
            );
            let long = "x".repeat(count * 30);
            assert_eq!(
                find(&again(count, json!({"required": [long]}))).0.len(),
                expected
            );
        }
    }

    #[test]
    fn a_path_is_paid_for_as_often_as_it_is_copied() {
        let schema = |bytes: usize| {
            let inner = json!({"properties": properties(400, "", &json!({}))});
            json!({"properties": {"a_token": {}, "x".repeat(bytes): inner}})
        };
        assert_eq!(find(&schema(30)), (vec!["/a_token".to_owned()], usize::MAX));
        assert_eq!(find(&schema(30_000)), (vec!["/a_token".to_owned()], 1));
    }

    #[test]
    fn what_was_not_looked_at_is_not_judged() {
        let schema = |count: usize| {
            let large = json!({"type": "object", "examples": vec![0; count]});
            let token = json!({"properties": {"token": {"type": "string"}}, "required": ["token"]});
            json!({"allOf": [{"anyOf": [large]}, {"anyOf": [token, large]}]})
        };
        let of = |schema: &Value| {
            let arguments = search(schema, &Budget::new(MAX_UNITS));
            let required = arguments.found.iter().map(|argument| argument.is_required);
            (required.collect::<Vec<_>>(), arguments.levels)
        };
        assert_eq!(of(&schema(30)), (vec![false], usize::MAX));
        // It is unknown whether the other alternative requires it as well.
        assert_eq!(of(&schema(32_000)), (vec![], 0));
        let inner = json!({"examples": vec![0; 100_000]});
        let schema = json!({"properties": {"a_token": {}, "at": inner}});
        assert_eq!(of(&schema), (vec![false], 1));
    }

    /// Each of three definitions is asked for so many times as often as the one before it.
    fn multiplied(times: usize) -> Value {
        let next = |name: &str| json!(vec![json!({"$ref": format!("#/$defs/{name}")}); times]);
        json!({
            "properties": {"token": {"type": "string"}},
            "allOf": next("a"),
            "$defs": {"a": {"allOf": next("b")}, "b": {"allOf": next("c")}, "c": {}},
        })
    }

    #[test]
    fn all_schemas_of_a_list_share_what_they_may_cost() {
        let pool = Pool(Budget::new(100_000));
        let schema = multiplied(10);
        let found: Vec<usize> = (0..100).map(|_| pool.search(&schema).found.len()).collect();
        let first = found.iter().take_while(|found| **found == 1).count();
        assert!((2..40).contains(&first), "{found:?}");
        assert!(found[first..].iter().all(|found| *found == 0), "{found:?}");
        let ordinary = json!({"properties": {"token": {"type": "string"}}});
        assert_eq!(
            pool.search(&ordinary).found.len(),
            1,
            "it has a share of its own"
        );
        assert_eq!(Pool::new().search(&schema).found.len(), 1);
    }

    #[test]
    fn what_ordinary_schemas_do_not_use_is_left_for_others() {
        let pool = Pool(Budget::new(0));
        let schema = multiplied(10);
        assert_eq!(pool.search(&schema).found.len(), 0);
        let ordinary = json!({"properties": {"token": {"type": "string"}}});
        for _ in 0..1_000 {
            assert_eq!(pool.search(&ordinary).found.len(), 1);
        }
        assert_eq!(pool.search(&schema).found.len(), 1);
    }
}
