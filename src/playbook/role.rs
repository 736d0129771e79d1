//! Role calls, and the files that make a role.

use super::argument_spec::{EntryPoint, decode_entry_points};
use super::decode::unknown_key;
use super::keywords::{Keywords, Place, known};
use super::{Item, VarEntries, decode_items, variables, wrong_type};
use crate::diag::{Diagnostic, Span, Spanned};
use crate::yaml::{Kind, Node};

/// A role called by a play or by another role's `dependencies`.
#[derive(Debug, Clone)]
pub struct RoleCall {
    /// The role's name.
    pub name: Spanned<String>,
    /// Where the call stands.
    pub span: Span,
    /// Keywords for all of its tasks.
    pub keywords: Keywords,
    /// Parameters: keys of the call that are no keywords.
    pub params: VarEntries,
}

/// `meta/main.yml` of a role.
#[derive(Debug, Clone, Default)]
pub struct RoleMeta {
    /// Roles that run before it.
    pub dependencies: Vec<RoleCall>,
    /// What its entry points declare to take.
    pub entry_points: Vec<EntryPoint>,
    /// May run more than once in a play.
    pub allow_duplicates: bool,
}

/// The call of a role: a name, or a mapping with `role:`.
pub(super) fn decode_role_call(node: &Node, diags: &mut Vec<Diagnostic>) -> Option<RoleCall> {
    if let Some(name) = node.as_str() {
        let name = Spanned::new(name.to_owned(), node.span);
        return Some(RoleCall { name, span: node.span, keywords: Keywords::default(), params: Vec::new() });
    }
    let entries = node.as_map().unwrap_or_default();
    let name = node
        .get("role")
        .or_else(|| node.get("name"))
        .and_then(|name| Some(Spanned::new(name.as_str()?.to_owned(), name.span)));
    let Some(name) = name else {
        diags.push(wrong_type(node, "a role call", "a role's name, or a mapping with `role`"));
        return None;
    };
    let names = known(Place::Role);
    let params = entries
        .iter()
        .filter(|entry| !names.contains(&entry.key.as_str().unwrap_or_default()))
        .cloned()
        .collect();
    Some(RoleCall { name, span: node.span, keywords: Keywords::decode(entries, Place::Role, diags), params })
}

/// A role's `tasks/*.yml` or `handlers/*.yml`.
pub fn decode_role_tasks(node: &Node, diags: &mut Vec<Diagnostic>) -> Vec<Item> {
    decode_items(node, "a file of tasks", diags)
}

/// A role's `defaults/*.yml` or `vars/*.yml`, or any other file of variables.
pub fn decode_defaults(node: &Node, diags: &mut Vec<Diagnostic>) -> VarEntries {
    variables(node, "a file of variables", diags)
}

/// A role's `meta/main.yml` (and `meta/argument_specs.yml`, which has the same key).
pub fn decode_meta(node: &Node, diags: &mut Vec<Diagnostic>) -> RoleMeta {
    let mut meta = RoleMeta::default();
    for entry in node.as_map().unwrap_or_default() {
        match entry.key.as_str().unwrap_or_default() {
            "dependencies" => {
                let calls = entry.value.as_seq().unwrap_or_default();
                meta.dependencies = calls.iter().filter_map(|call| decode_role_call(call, diags)).collect();
            }
            "allow_duplicates" => meta.allow_duplicates = matches!(entry.value.kind, Kind::Bool(true)),
            "argument_specs" => meta.entry_points = decode_entry_points(&entry.value, diags),
            "galaxy_info" | "collections" | "standalone" => {}
            other => {
                let names =
                    ["dependencies", "allow_duplicates", "argument_specs", "galaxy_info", "collections"];
                diags.push(unknown_key(&entry.key, other, "role's meta file", &names));
            }
        }
    }
    meta
}
