//! A role's declared arguments at lint: its variables as they were written, key by key, as far as they are known.

use super::bind::framed;
use super::program::{Argument, Step};
use super::scope::HostScope;
use crate::diag::{Diagnostic, Frame, Span, Spanned};
use crate::playbook::{EntryPoint, Given, Pair, Placed, check_arguments};
use crate::template::{Scope as _, Templates, Variable};
use crate::yaml::{Entry, Kind, Node};

/// How far a name is followed from variable to variable.
const DEEPEST: usize = 20;

/// What the step that checks a role's arguments holds against what.
#[derive(Debug)]
pub struct Inputs {
    /// The role.
    pub role: String,
    /// Where it is called.
    pub called: Span,
    /// What it declares.
    pub entry: EntryPoint,
}

impl Inputs {
    /// The arguments of `validate_argument_spec` that check the same at run time: the role's variables, as far as
    /// they are defined.
    pub(super) fn arguments(&self) -> Vec<Argument> {
        let text = |text: &str| Node::new(Kind::Unsafe(text.to_owned()), self.called);
        let map = |entries: Vec<Entry>| Node::new(Kind::Map(entries), self.called);
        let given = self.entry.options.arguments.iter().map(|argument| {
            let name = &argument.name.node;
            let template = format!("{{{{ {name} | default(omit) }}}}");
            Entry { key: text(name), value: Node::new(Kind::Str(template), self.called) }
        });
        let given = map(given.collect());
        let context = map(vec![Entry { key: text("name"), value: text(&self.role) }]);
        let argument =
            |name: &str, value: Node| Argument { name: Spanned::new(name.to_owned(), self.called), value };
        vec![
            argument("argument_spec", self.entry.written.clone()),
            argument("provided_arguments", given),
            argument("validate_args_context", context),
        ]
    }
}

/// Checks a role's arguments on one host as far as they are known; `later` tells of what only the run can know. Whether
/// all was known.
pub(super) fn lint_inputs(
    inputs: &Inputs,
    step: &Step,
    templates: &Templates,
    scope: &HostScope,
    later: &dyn Fn(&Node) -> bool,
    later_name: &dyn Fn(&str) -> bool,
    diags: &mut Vec<Diagnostic>,
) -> bool {
    let mut reader = Reader { templates, scope, later, diags: Vec::new() };
    let mut given = Vec::new();
    for argument in &inputs.entry.options.arguments {
        let name = argument.name.node.as_str();
        let value = match scope.get(name) {
            Some(Variable::Node(node)) => reader.read(&node, 0),
            Some(Variable::Value(value)) => Placed::of(&value, None),
            None if later_name(name) => Placed { value: Given::Later, span: None },
            None => continue,
        };
        given.push(Pair { key: name.to_owned(), span: value.span, value });
    }
    let unread = !reader.diags.is_empty();
    diags.extend(reader.diags.into_iter().map(|diagnostic| framed(step, diagnostic)));
    let of = format!("role `{}`", inputs.role);
    for wrong in check_arguments(&inputs.entry.options, &given, &of) {
        let mut diagnostic =
            Diagnostic::error(wrong.code, wrong.message).at(wrong.span.unwrap_or(inputs.called));
        diagnostic.label = wrong.label;
        diagnostic.hints.extend(wrong.hint);
        if wrong.span.is_some() {
            let text = format!("role `{}`, called", inputs.role);
            diagnostic.frames.push(Frame { span: inputs.called, text });
        }
        diags.push(diagnostic);
    }
    !unread && given.iter().all(|pair| pair.value.known())
}

struct Reader<'a> {
    templates: &'a Templates,
    scope: &'a HostScope,
    later: &'a dyn Fn(&Node) -> bool,
    diags: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn read(&mut self, node: &Node, depth: usize) -> Placed {
        let span = Some(node.span);
        let value = match &node.kind {
            Kind::Seq(items) => Given::List(items.iter().map(|item| self.read(item, depth)).collect()),
            Kind::Map(entries) => Given::Map(
                entries
                    .iter()
                    .map(|entry| Pair {
                        key: entry.key.scalar_text().unwrap_or_default(),
                        span: Some(entry.key.span),
                        value: self.read(&entry.value, depth),
                    })
                    .collect(),
            ),
            Kind::Str(text) if text.contains("{{") || text.contains("{%") => {
                return self.template(node, text, depth);
            }
            // What a vault holds is a text, and nothing of it is to be seen.
            Kind::Vault(_) => Given::Plain("".into()),
            _ => Given::Plain(node.to_value()),
        };
        Placed { value, span }
    }

    fn template(&mut self, node: &Node, text: &str, depth: usize) -> Placed {
        // A bare name is followed to where its value is written, for the sake of the place.
        let name = text.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")).map(str::trim);
        if let Some(Variable::Node(inner)) =
            name.and_then(|name| self.scope.get(name)).filter(|_| depth < DEEPEST)
        {
            return self.read(&inner, depth + 1);
        }
        let span = Some(node.span);
        if (self.later)(node) {
            return Placed { value: Given::Later, span };
        }
        match self.templates.render_value(node, &self.scope.shared()) {
            Ok(value) => Placed::of(&value, span),
            Err(diagnostic) => {
                self.diags.push(diagnostic);
                Placed { value: Given::Later, span }
            }
        }
    }
}
