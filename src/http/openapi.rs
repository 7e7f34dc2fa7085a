//! The OpenAPI document of the router.

use serde_json::{Value, json};

use crate::bounds::Bounds;

/// The document of a vault with these bounds.
pub(super) fn document(bounds: &Bounds) -> Value {
    let mut document: Value =
        serde_json::from_str(include_str!("openapi.json")).expect("the document is JSON");
    let max = bounds.value().max;
    let schemas = &mut document["components"]["schemas"];
    schemas["NewSecret"]["properties"]["secret_value"]["maxLength"] = json!(max);
    schemas["SecretPatch"]["properties"]["secret_value"]["anyOf"][0]["maxLength"] = json!(max);
    if bounds.demands_explicit_default() {
        schemas["NewSecret"]["properties"]["is_default_for_tool"] =
            json!({"type": "boolean", "title": "Is Default For Tool"});
        schemas["NewSecret"]["required"] =
            json!(["secret_name", "secret_value", "is_default_for_tool"]);
    }
    document
}
