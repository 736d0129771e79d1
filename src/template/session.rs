//! One rendering: the variables it reads, what it has read so far, and what it is in the middle of.

use super::compile::{self, Compiled, Program, line_ends};
use super::errors::{self, Undefined};
use super::lazy;
use super::scope::{Foreseen, Lookups, Scope, Variable};
use crate::diag::{Diagnostic, FileId, Span};
use crate::shell::Masker;
use crate::yaml::{Kind, Node};
use minijinja::value::{Enumerator, Object, ObjectRepr, Value};
use serde_json::{Map, Value as Json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// What all renderings share.
pub(super) struct World {
    pub masker: Masker,
    pub lookups: Arc<dyn Lookups>,
}

/// One rendering.
pub(super) struct Session {
    pub world: Arc<World>,
    pub scope: Arc<dyn Scope>,
    /// Variables that only this text sees; they win over the scope.
    pub extra: Map<String, Json>,
    /// The file the text stands in.
    pub from: FileId,
    me: Weak<Session>,
    seen: Mutex<HashMap<String, Value>>,
    /// The variables being rendered right now, outermost first.
    open: Mutex<Vec<String>>,
    /// The value printed last, unless it was a text.
    printed: Mutex<Option<Value>>,
    /// Why variables that are defined have no value.
    causes: Mutex<HashMap<String, Diagnostic>>,
}

/// A definition that needs more of them than this is taken for an endless one.
const DEEPEST: usize = 48;

/// The name under which functions find the session.
pub(super) const SESSION: &str = "\u{1}session";

/// Stands for "this parameter was not given"; whoever builds a task's parameters drops entries that hold it.
pub const OMIT: &str = "__omit_place_holder__b8f4c1d6e2";

impl Session {
    pub fn new(
        world: &Arc<World>,
        scope: &Arc<dyn Scope>,
        extra: Map<String, Json>,
        from: FileId,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            world: Arc::clone(world),
            scope: Arc::clone(scope),
            extra,
            from,
            me: me.clone(),
            seen: Mutex::default(),
            open: Mutex::default(),
            printed: Mutex::default(),
            causes: Mutex::default(),
        })
    }

    /// The context a program runs in.
    pub fn root(self: &Arc<Self>) -> Value {
        Value::from_object(Root(Arc::clone(self)))
    }

    /// Runs a program that stands at `span`.
    pub fn run(self: &Arc<Self>, compiled: &Compiled, span: Span) -> Result<Value, Diagnostic> {
        let fail = |error| errors::diagnose(&error, compiled, self, span);
        match &compiled.program {
            Program::Expr { expr, tail } => {
                let value = expr.eval(self.root()).map_err(fail)?;
                if value.is_undefined() {
                    return Err(fail(lazy::undefined()));
                }
                match (value.as_str(), tail.strip_suffix('\n')) {
                    (Some(text), Some(kept)) => {
                        Ok(Value::from(line_ends(tail, format!("{text}{kept}"), "\n")))
                    }
                    _ => Ok(value),
                }
            }
            Program::Text(template) => {
                let outer = lock(&self.printed).take();
                let text = template.render(self.root());
                let printed = std::mem::replace(&mut *lock(&self.printed), outer);
                let text = text.map_err(fail)?;
                // `{% if a %}{{ list }}{% else %}{{ other }}{% endif %}` is a list: what is all there is keeps its type.
                match printed.filter(|value| {
                    lazy::to_json(value).is_ok_and(|value| super::python::print(&value) == text)
                }) {
                    Some(value) => Ok(value),
                    None => Ok(Value::from(line_ends(&compiled.source, text, "\n"))),
                }
            }
        }
    }

    /// Notes what is printed into a text.
    pub fn prints(&self, value: &Value) {
        *lock(&self.printed) = value.as_str().is_none().then(|| value.clone());
    }

    /// Runs a program and renders everything in its result.
    pub fn run_to_json(self: &Arc<Self>, compiled: &Compiled, span: Span) -> Result<Json, Diagnostic> {
        let value = self.run(compiled, span)?;
        lazy::to_json(&value).map_err(|error| errors::diagnose(&error, compiled, self, span))
    }

    /// The value of a variable, as the engine sees it.
    pub fn lookup(&self, name: &str) -> Option<Value> {
        if let Some(value) = lock(&self.seen).get(name) {
            return Some(value.clone());
        }
        if let Some(value) = self.extra.get(name) {
            return Some(lazy::from_json(value.clone()));
        }
        match self.scope.foreseen(name) {
            Some(Foreseen::Partly(known)) => return Some(lazy::partial(&known, name)),
            Some(Foreseen::Later) => return Some(Value::from(errors::carry(errors::later(name)))),
            None => {}
        }
        let value = match self.scope.get(name) {
            Some(Variable::Value(value)) => lazy::from_shared(&value),
            Some(Variable::Node(node)) => lazy::from_node(&self.me.upgrade()?, &node, name),
            None => match name {
                "omit" => Value::from(OMIT),
                "vars" => Value::from_object(Vars(self.me.clone())),
                SESSION => Value::from_object(Handle(self.me.clone())),
                _ => return None,
            },
        };
        lock(&self.seen).insert(name.to_owned(), value.clone());
        Some(value)
    }

    /// The value of a text or vault node that is part of the variable `name`. What it cannot have because something
    /// in it is undefined is itself undefined, so that `default` works on it; why is kept for the message.
    pub fn scalar(self: &Arc<Self>, node: &Node, name: &str) -> Result<Value, minijinja::Error> {
        match &node.kind {
            Kind::Vault(ciphertext) => match self.world.lookups.decrypt(ciphertext) {
                Ok(secret) => {
                    self.world.masker.add(secret.expose());
                    Ok(Value::from(secret.expose()))
                }
                Err(why) => Err(errors::carry(errors::vault(&why).at(node.span))),
            },
            Kind::Str(text) => match self.nested(text, node.span, name) {
                Err(cause) if cause.code == Undefined::CODE => {
                    lock(&self.causes).insert(name.to_owned(), cause);
                    Ok(Value::UNDEFINED)
                }
                other => other.map_err(errors::carry),
            },
            _ => Ok(lazy::from_json(node.to_value())),
        }
    }

    fn nested(self: &Arc<Self>, text: &str, span: Span, name: &str) -> Result<Value, Diagnostic> {
        {
            let mut open = lock(&self.open);
            if let Some(first) = open.iter().position(|other| other == name) {
                let chain: Vec<_> = open.iter().skip(first).map(String::as_str).chain([name]).collect();
                return Err(errors::cycle(&chain).at(span));
            }
            if open.len() >= DEEPEST {
                return Err(errors::too_deep(open.first().map_or(name, String::as_str)).at(span));
            }
            open.push(name.to_owned());
        }
        let result = compile::text(text)
            .map_err(|fault| errors::place_fault(fault, text, span, &*self.world.lookups))
            .and_then(|compiled| self.run(&compiled, span));
        lock(&self.open).pop();
        result
    }

    /// Why a variable has no value although it is defined.
    pub fn cause(&self, name: &str) -> Option<Diagnostic> {
        lock(&self.causes).get(name).cloned()
    }

    /// Why the last variable that has none has no value.
    pub fn any_cause(&self) -> Option<(String, Diagnostic)> {
        lock(&self.causes).iter().next().map(|(name, cause)| (name.clone(), cause.clone()))
    }
}

/// A poisoned lock only means that another thread failed while it held plain data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Root(Arc<Session>);

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("variables")
    }
}

impl Object for Root {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.lookup(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.0.lookup(key)
    }
}

/// `vars`: every variable by a computed name.
struct Vars(Weak<Session>);

impl std::fmt::Debug for Vars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("vars")
    }
}

impl Object for Vars {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.upgrade()?.lookup(key.as_str()?)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let names = self.0.upgrade().map(|session| session.scope.names()).unwrap_or_default();
        Enumerator::Values(names.into_iter().map(Value::from).collect())
    }
}

/// How functions get at the session.
pub(super) struct Handle(pub Weak<Session>);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("session")
    }
}

impl Object for Handle {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}
