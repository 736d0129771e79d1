//! ishprov: agentless provisioner and PostgreSQL config tuner.
//!
//! The pipeline, in the order the modules are listed (each layer may only import what stands above it):
//!
//! ```text
//! text -parse-> spanned nodes -decode-> playbook + inventory -bind, resolve-> plan per host ->
//!    per host: probe window -> state -diff-> nothing to do | actions -> probe again -> report
//! ```
//!
//! Everything up to `plan` and `cluster` is pure: no file, network, process, clock, randomness, printing or async.

// Pure core.
pub mod cluster;
pub mod diag;
pub mod facts;
pub mod inventory;
pub mod modules;
pub mod pki;
pub mod plan;
pub mod playbook;
pub mod shell;
pub mod template;
pub mod tuner;
pub mod vault;
pub mod yaml;

// Edges: files, network, processes, the terminal.
pub mod cli;
pub mod console;
pub mod engine;
pub mod files;
pub mod lab;
pub mod transport;
