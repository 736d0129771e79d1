//! The face of the template layer.

use super::compile::{self, SyntaxFault};
use super::scope::{Lookups, Scope};
use super::session::{Session, World};
use super::{errors, python, syntax};
use crate::diag::{Diagnostic, FileId, Span, Spanned};
use crate::shell::Masker;
use crate::yaml::{Entry, Kind, Node};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Renders templates. Cloning is cheap; every thread may use the same one.
#[derive(Clone)]
pub struct Templates {
    pub(super) world: Arc<World>,
}

/// A variable that a text uses and does not set itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Its name.
    pub name: String,
    /// Where it is used.
    pub span: Span,
    /// Whether the text may do without it: it stands under `default` or in a branch that need not be taken, or the text
    /// asks whether it is defined.
    pub optional: bool,
}

impl Templates {
    /// `masker` learns every secret that is decrypted or made; `lookups` answers what only an edge can.
    pub fn new(masker: Masker, lookups: Arc<dyn Lookups>) -> Self {
        Self { world: Arc::new(World { masker, lookups }) }
    }

    /// Whether a text holds a password that was made in this run.
    pub fn is_fresh(&self, text: &str) -> bool {
        self.world.lookups.is_fresh(text)
    }

    /// From now on what is made is kept, and so is what was made, except passwords that stand in `held`.
    ///
    /// # Errors
    /// One cannot be written down.
    pub fn settle(&self, held: &[String]) -> Result<(), String> {
        self.world.lookups.settle(held)
    }

    /// Keeps passwords that stand in a text.
    ///
    /// # Errors
    /// One cannot be written down.
    pub fn keep(&self, text: &str) -> Result<(), String> {
        self.world.lookups.keep(text)
    }

    /// Forgets passwords of this run that stand in a text.
    pub fn disown(&self, text: &str) {
        self.world.lookups.disown(text);
    }

    /// The whole tree with its templates rendered and its vault values decrypted. Spans are kept, `!unsafe` texts are
    /// not touched, results hold plain text (`Kind::Unsafe`), so that rendering twice changes nothing.
    pub fn render_node(&self, node: &Node, scope: &Arc<dyn Scope>) -> Result<Node, Diagnostic> {
        let session = self.session(scope, node.span.file);
        render_tree(node, &session)
    }

    /// The same as a plain value.
    pub fn render_value(&self, node: &Node, scope: &Arc<dyn Scope>) -> Result<Value, Diagnostic> {
        let session = self.session(scope, node.span.file);
        render_plain(node, &session)
    }

    /// What a lookup gives for these terms, as `with_NAME` asks it.
    pub fn query(
        &self,
        lookup: &str,
        terms: &Node,
        scope: &Arc<dyn Scope>,
    ) -> Result<Vec<Value>, Diagnostic> {
        let session = self.session(scope, terms.span.file);
        let terms_of = match render_plain(terms, &session)? {
            Value::Array(terms) => terms,
            single => vec![single],
        };
        let mut args = super::filters::Args::new("lookup");
        args.push(Some(Value::from(lookup)));
        terms_of.into_iter().for_each(|term| args.push(Some(term)));
        match super::functions::lookup_plain(&session, args, true) {
            Ok(Value::Array(items)) => Ok(items),
            Ok(single) => Ok(vec![single]),
            Err(error) => Err(errors::carried(&error).unwrap_or_else(|| {
                let message = error.detail().unwrap_or("the lookup failed").to_owned();
                errors::clean(Diagnostic::error("template", message).at(terms.span), &session)
            })),
        }
    }

    /// A bare expression, as in `when:` or `until:`; a finished value stands for itself.
    pub fn eval(&self, expr: &Node, scope: &Arc<dyn Scope>) -> Result<Value, Diagnostic> {
        let Kind::Str(text) = &expr.kind else { return self.render_value(expr, scope) };
        let session = self.session(scope, expr.span.file);
        let compiled = self.placed(compile_condition(text), text, expr.span)?;
        session.run_to_json(&compiled, expr.span)
    }

    /// A condition. Its result must be true or false: a list, a text or a number is refused, as Ansible 2.19 does,
    /// because `when: packages` meant something else to everyone who wrote it. Nothing at all is true.
    pub fn condition(&self, expr: &Node, scope: &Arc<dyn Scope>) -> Result<bool, Diagnostic> {
        if expr.is_null() || expr.as_str().is_some_and(|text| text.trim().is_empty()) {
            return Ok(true);
        }
        match self.eval(expr, scope)? {
            Value::Bool(truth) => Ok(truth),
            other => {
                let shown = expr.as_str().map_or("the condition", str::trim);
                let message =
                    format!("a condition gives true or false, this one gives {}", python::type_name(&other));
                let hint = match &other {
                    Value::Array(_) | Value::Object(_) => format!("write `{shown} | length > 0`"),
                    Value::String(_) => format!("write `{shown} | bool`, or `{shown} | length > 0`"),
                    Value::Null => format!("write `{shown} is not none`"),
                    _ => format!("write `{shown} != 0`, or `{shown} | bool`"),
                };
                Err(Diagnostic::error("condition-type", message).at(expr.span).hint(hint))
            }
        }
    }

    /// The variables that the templates of a tree use; faults of their syntax, unknown filters and unknown tests.
    pub fn roots(&self, node: &Node) -> Result<Vec<Root>, Diagnostic> {
        let mut roots = Vec::new();
        self.collect(node, &mut roots)?;
        Ok(roots)
    }

    /// The same for a bare expression, as in `when:`.
    pub fn roots_of_expr(&self, expr: &Node) -> Result<Vec<Root>, Diagnostic> {
        match &expr.kind {
            Kind::Str(text) if !text.trim().is_empty() => {
                let compiled = self.placed(compile_condition(text), text, expr.span)?;
                Ok(self.places(&compiled.reading, text, expr.span, compiled.offset()))
            }
            _ => self.roots(expr),
        }
    }

    /// Names without their places, once each, in order of use; only those that must be defined.
    pub fn needed_names(roots: &[Root]) -> Vec<Spanned<String>> {
        let mut names: Vec<Spanned<String>> = Vec::new();
        for root in roots.iter().filter(|root| !root.optional) {
            if !names.iter().any(|known| known.node == root.name) {
                names.push(Spanned::new(root.name.clone(), root.span));
            }
        }
        names
    }

    pub(super) fn session(&self, scope: &Arc<dyn Scope>, from: FileId) -> Arc<Session> {
        Session::new(&self.world, scope, Map::new(), from)
    }

    fn collect(&self, node: &Node, roots: &mut Vec<Root>) -> Result<(), Diagnostic> {
        match &node.kind {
            Kind::Str(text) if compile::is_template(text) => {
                let compiled = self.placed(compile::text(text), text, node.span)?;
                roots.extend(self.places(&compiled.reading, text, node.span, compiled.offset()));
                Ok(())
            }
            Kind::Seq(items) => items.iter().try_for_each(|item| self.collect(item, roots)),
            Kind::Map(entries) => entries.iter().try_for_each(|entry| {
                self.collect(&entry.key, roots)?;
                self.collect(&entry.value, roots)
            }),
            _ => Ok(()),
        }
    }

    pub(super) fn places(
        &self,
        reading: &syntax::Reading,
        text: &str,
        span: Span,
        offset: usize,
    ) -> Vec<Root> {
        let place = |root: &syntax::Root| {
            let range = root.range.start + offset..root.range.end + offset;
            errors::inside(span, text, range, &*self.world.lookups)
        };
        reading
            .roots
            .iter()
            .map(|root| Root {
                name: root.name.clone(),
                span: place(root),
                optional: root.guarded || root.perhaps || reading.tested.contains(&root.name),
            })
            .collect()
    }

    fn placed<T>(&self, result: Result<T, SyntaxFault>, text: &str, span: Span) -> Result<T, Diagnostic> {
        result.map_err(|fault| errors::place_fault(fault, text, span, &*self.world.lookups))
    }
}

/// Conditions are bare, but many people wrap them in braces out of habit.
pub(super) fn compile_condition(text: &str) -> Result<Arc<compile::Compiled>, SyntaxFault> {
    if text.trim_start().starts_with("{{") && text.trim_end().ends_with("}}") {
        return compile::text(text.trim_end_matches('\n'));
    }
    compile::expression(text)
}

fn render_plain(node: &Node, session: &Arc<Session>) -> Result<Value, Diagnostic> {
    match &node.kind {
        Kind::Str(text) => match compile::is_template(text) {
            true => render_text(text, node.span, session),
            false => Ok(Value::String(text.clone())),
        },
        Kind::Vault(ciphertext) => decrypt(ciphertext, node.span, session),
        Kind::Seq(items) => items.iter().map(|item| render_plain(item, session)).collect(),
        Kind::Map(entries) => {
            let mut map = Map::new();
            for entry in entries {
                map.insert(render_key(entry, session)?, render_plain(&entry.value, session)?);
            }
            Ok(Value::Object(map))
        }
        _ => Ok(node.to_value()),
    }
}

fn render_key(entry: &Entry, session: &Arc<Session>) -> Result<String, Diagnostic> {
    match &entry.key.kind {
        Kind::Str(text) if compile::is_template(text) => {
            Ok(python::str(&render_text(text, entry.key.span, session)?))
        }
        _ => Ok(entry.key.scalar_text().unwrap_or_else(|| entry.key.to_value().to_string())),
    }
}

fn render_tree(node: &Node, session: &Arc<Session>) -> Result<Node, Diagnostic> {
    let kind = match &node.kind {
        Kind::Str(text) if compile::is_template(text) => {
            Node::from_value(&render_text(text, node.span, session)?, node.span).kind
        }
        Kind::Vault(ciphertext) => {
            Node::from_value(&decrypt(ciphertext, node.span, session)?, node.span).kind
        }
        Kind::Seq(items) => {
            Kind::Seq(items.iter().map(|item| render_tree(item, session)).collect::<Result<_, _>>()?)
        }
        Kind::Map(entries) => {
            let entries = entries.iter().map(|entry| {
                let key = match &entry.key.kind {
                    Kind::Str(text) if compile::is_template(text) => {
                        Node::new(Kind::Str(render_key(entry, session)?), entry.key.span)
                    }
                    _ => entry.key.clone(),
                };
                Ok(Entry { key, value: render_tree(&entry.value, session)? })
            });
            Kind::Map(entries.collect::<Result<_, Diagnostic>>()?)
        }
        other => other.clone(),
    };
    Ok(Node::new(kind, node.span))
}

fn render_text(text: &str, span: Span, session: &Arc<Session>) -> Result<Value, Diagnostic> {
    let compiled = compile::text(text)
        .map_err(|fault| errors::place_fault(fault, text, span, &*session.world.lookups))?;
    session.run_to_json(&compiled, span)
}

fn decrypt(ciphertext: &str, span: Span, session: &Arc<Session>) -> Result<Value, Diagnostic> {
    match session.world.lookups.decrypt(ciphertext) {
        Ok(secret) => {
            session.world.masker.add(secret.expose());
            Ok(Value::from(secret.expose()))
        }
        Err(why) => Err(errors::vault(&why).at(span)),
    }
}
