//! The router, called without a server.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "http/client.rs"]
mod client;

#[path = "http/audit.rs"]
mod audit;
#[path = "http/authentication.rs"]
mod authentication;
#[path = "http/bodies.rs"]
mod bodies;
#[path = "http/document.rs"]
mod document;
#[path = "http/operations.rs"]
mod operations;
#[path = "http/routes.rs"]
mod routes;
