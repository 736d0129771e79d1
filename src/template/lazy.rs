//! Values inside the engine: JSON and YAML trees seen through a window, so that nothing is copied or rendered before
//! it is used, and the way back to plain JSON.

use super::session::Session;
use crate::yaml::{Kind, Node};
use minijinja::value::{Enumerator, Object, ObjectRepr, Value, ValueKind};
use minijinja::{Error, ErrorKind};
use serde_json::{Map, Number, Value as Json};
use std::sync::{Arc, Weak};

/// A place inside a JSON value.
#[derive(Debug)]
struct JsonView {
    root: Arc<Json>,
    path: Vec<Step>,
}

#[derive(Debug, Clone)]
enum Step {
    Key(String),
    Index(usize),
}

/// A JSON value as the engine sees it.
pub(super) fn from_json(value: Json) -> Value {
    match scalar(&value) {
        Some(value) => value,
        None => Value::from_object(JsonView { root: Arc::new(value), path: Vec::new() }),
    }
}

/// The same without taking it.
pub(super) fn from_shared(value: &Arc<Json>) -> Value {
    scalar(value)
        .unwrap_or_else(|| Value::from_object(JsonView { root: Arc::clone(value), path: Vec::new() }))
}

fn scalar(value: &Json) -> Option<Value> {
    Some(match value {
        Json::Null => Value::from(()),
        Json::Bool(truth) => Value::from(*truth),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            _ => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(_) | Json::Object(_) => return None,
    })
}

/// A mapping of which some keys are not known yet.
#[derive(Debug)]
struct PartialView {
    known: Arc<Json>,
    name: String,
}

/// A mapping that may get more keys: those that are missing are not known rather than undefined.
pub(super) fn partial(known: &Arc<Json>, name: &str) -> Value {
    Value::from_object(PartialView { known: Arc::clone(known), name: name.to_owned() })
}

impl PartialView {
    fn later(&self) -> Value {
        Value::from(super::errors::carry(super::errors::later(&self.name)))
    }
}

impl Object for PartialView {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key_text(key)?;
        if self.known.get(&name).is_none() {
            return Some(self.later());
        }
        let whole = from_shared(&self.known);
        whole.get_item(key).ok()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(vec![self.later()])
    }
}

impl JsonView {
    fn value(&self) -> &Json {
        self.path.iter().fold(self.root.as_ref(), |value, step| {
            let next = match step {
                Step::Key(key) => value.get(key),
                Step::Index(index) => value.get(index),
            };
            next.unwrap_or(&Json::Null)
        })
    }

    fn child(&self, step: Step, value: &Json) -> Value {
        scalar(value).unwrap_or_else(|| {
            let mut path = Vec::with_capacity(self.path.len() + 1);
            path.extend_from_slice(&self.path);
            path.push(step);
            Value::from_object(Self { root: Arc::clone(&self.root), path })
        })
    }
}

impl Object for JsonView {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        if self.value().is_array() { ObjectRepr::Seq } else { ObjectRepr::Map }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match self.value() {
            Json::Array(items) => {
                let index = index_of(key, items.len())?;
                items.get(index).map(|item| self.child(Step::Index(index), item))
            }
            // Keys of YAML and JSON mappings are texts here, however they were written.
            Json::Object(map) => match key.as_str() {
                Some(name) => map.get(name).map(|item| self.child(Step::Key(name.to_owned()), item)),
                None => {
                    let name = key_text(key)?;
                    map.get(&name).map(|item| self.child(Step::Key(name), item))
                }
            },
            _ => None,
        }
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match self.value() {
            Json::Object(map) => map.get(key).map(|item| self.child(Step::Key(key.to_owned()), item)),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match self.value() {
            Json::Array(items) => Enumerator::Seq(items.len()),
            Json::Object(map) => {
                Enumerator::Values(map.keys().map(|key| Value::from(key.as_str())).collect())
            }
            _ => Enumerator::Empty,
        }
    }
}

/// A place inside the YAML definition of a variable.
pub(super) struct NodeView {
    root: Arc<Node>,
    path: Vec<usize>,
    /// `pg.hba[2]`, for naming cycles.
    name: String,
    session: Weak<Session>,
}

impl std::fmt::Debug for NodeView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NodeView({})", self.name)
    }
}

/// The value of a variable's definition; its templates are rendered as they are reached.
pub(super) fn from_node(session: &Arc<Session>, root: &Arc<Node>, name: &str) -> Value {
    let view = NodeView {
        root: Arc::clone(root),
        path: Vec::new(),
        name: name.to_owned(),
        session: Arc::downgrade(session),
    };
    view.open(root, Vec::new(), name.to_owned())
}

impl NodeView {
    fn node(&self) -> &Node {
        self.path.iter().fold(self.root.as_ref(), |node, index| {
            let next = match &node.kind {
                Kind::Seq(items) => items.get(*index),
                Kind::Map(entries) => entries.get(*index).map(|entry| &entry.value),
                _ => None,
            };
            next.unwrap_or(node)
        })
    }

    fn open(&self, node: &Node, path: Vec<usize>, name: String) -> Value {
        match &node.kind {
            Kind::Null => Value::from(()),
            Kind::Bool(truth) => Value::from(*truth),
            Kind::Int { value, .. } => Value::from(*value),
            Kind::Float(number) => Value::from(*number),
            Kind::Unsafe(text) => Value::from(text.as_str()),
            Kind::Str(text) if !super::compile::is_template(text) => Value::from(text.as_str()),
            Kind::Str(_) | Kind::Vault(_) => match self.session.upgrade() {
                Some(session) => session.scalar(node, &name).unwrap_or_else(Value::from),
                None => Value::from(Error::new(ErrorKind::InvalidOperation, "the template has ended")),
            },
            Kind::Seq(_) | Kind::Map(_) => Value::from_object(Self {
                root: Arc::clone(&self.root),
                path,
                name,
                session: self.session.clone(),
            }),
        }
    }

    fn child(&self, index: usize, node: &Node, step: &str) -> Value {
        let mut path = Vec::with_capacity(self.path.len() + 1);
        path.extend_from_slice(&self.path);
        path.push(index);
        self.open(node, path, format!("{}{step}", self.name))
    }
}

impl Object for NodeView {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        if matches!(self.node().kind, Kind::Seq(_)) { ObjectRepr::Seq } else { ObjectRepr::Map }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match &self.node().kind {
            Kind::Seq(items) => {
                let index = index_of(key, items.len())?;
                items.get(index).map(|item| self.child(index, item, &format!("[{index}]")))
            }
            Kind::Map(_) => self.get_value_by_str(&key_text(key)?),
            _ => None,
        }
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let Kind::Map(entries) = &self.node().kind else { return None };
        let index = entries.iter().position(|entry| match entry.key.as_str() {
            Some(name) => name == key,
            None => entry.key.scalar_text().as_deref() == Some(key),
        })?;
        Some(self.child(index, &entries.get(index)?.value, &format!(".{key}")))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match &self.node().kind {
            Kind::Seq(items) => Enumerator::Seq(items.len()),
            Kind::Map(entries) => Enumerator::Values(
                entries
                    .iter()
                    .map(|entry| Value::from(entry.key.scalar_text().unwrap_or_default()))
                    .collect(),
            ),
            _ => Enumerator::Empty,
        }
    }
}

/// What stands for an undefined value inside a tolerant chain: it may be asked for attributes, which it has not.
#[derive(Debug)]
pub(super) struct Missing;

impl Object for Missing {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, _key: &Value) -> Option<Value> {
        Some(Value::from_object(Missing))
    }
}

fn index_of(key: &Value, length: usize) -> Option<usize> {
    let index = key.as_i64()?;
    let index = if index < 0 { index + i64::try_from(length).ok()? } else { index };
    usize::try_from(index).ok()
}

fn key_text(key: &Value) -> Option<String> {
    match key.kind() {
        ValueKind::String => key.as_str().map(str::to_owned),
        ValueKind::Number => Some(key.to_string()),
        ValueKind::Bool => Some(if key.is_true() { "True" } else { "False" }.to_owned()),
        _ => None,
    }
}

/// A value of the engine as plain JSON, everything in it rendered. Undefined values in it are an error.
pub(super) fn to_json(value: &Value) -> Result<Json, Error> {
    if let Some(view) = value.downcast_object_ref::<JsonView>() {
        return Ok(view.value().clone());
    }
    match value.kind() {
        ValueKind::Undefined => Err(undefined()),
        ValueKind::None => Ok(Json::Null),
        ValueKind::Bool => Ok(Json::Bool(value.is_true())),
        ValueKind::Number => number(value),
        ValueKind::String => Ok(Json::String(value.as_str().unwrap_or_default().to_owned())),
        ValueKind::Bytes => {
            Ok(Json::String(String::from_utf8_lossy(value.as_bytes().unwrap_or_default()).into_owned()))
        }
        ValueKind::Seq | ValueKind::Iterable => value
            .try_iter()?
            .checked()
            .map(|item| to_json(&item?))
            .collect::<Result<Vec<_>, _>>()
            .map(Json::Array),
        ValueKind::Map => {
            let mut map = Map::new();
            for key in value.try_iter()?.checked() {
                let key = key?;
                let name = key_text(&key).unwrap_or_else(|| key.to_string());
                map.insert(name, to_json(&value.get_item(&key)?)?);
            }
            Ok(Json::Object(map))
        }
        // The engine gives the error inside such a value only to those who iterate over it.
        ValueKind::Invalid => match Value::from(vec![value.clone()]).try_iter()?.checked().next() {
            Some(Err(error)) => Err(error),
            _ => Err(Error::new(ErrorKind::InvalidOperation, "the value cannot be used")),
        },
        _ if value.downcast_object_ref::<Missing>().is_some() => Err(undefined()),
        _ => Err(Error::new(
            ErrorKind::InvalidOperation,
            "a macro or function is not a value: call it with `()`",
        )),
    }
}

fn number(value: &Value) -> Result<Json, Error> {
    if value.is_integer() {
        if let Some(number) = value.as_i64() {
            return Ok(Json::from(number));
        }
        return u64::try_from(value.clone())
            .map(Json::from)
            .map_err(|_| Error::new(ErrorKind::InvalidOperation, "the number is too large"));
    }
    let number = f64::try_from(value.clone())?;
    Number::from_f64(number)
        .map(Json::Number)
        .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "the result is not a finite number"))
}

/// The error of using what is not there; the place tells which.
pub(super) fn undefined() -> Error {
    Error::from(ErrorKind::UndefinedError)
}
