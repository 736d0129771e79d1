//! A task's arguments: from what was written to a module's typed call.

use super::compile::join;
use super::library::Library;
use super::program::{Argument, Step, StepCall};
use crate::diag::{Diagnostic, Fault, Span, Spanned};
use crate::modules::{Args, Call, Kind as ParamKind, Spec};
use crate::template::{Dialect, FileOptions, OMIT, Scope, Templates};
use crate::yaml::{Kind, Node};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// What a task wrote as its module's value, as separate arguments. Names are checked, values are not yet.
pub(super) fn arguments(spec: &Spec, args: &Node) -> Result<Vec<Argument>, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let mut diags = Vec::new();
    match &args.kind {
        Kind::Null => {}
        Kind::Map(entries) => {
            for entry in entries {
                match entry.key.as_str() {
                    Some("") => found.extend(free_form(spec, &entry.value).unwrap_or_else(|fault| {
                        diags.push(fault);
                        Vec::new()
                    })),
                    Some(name) => found.push(argument(name, entry.key.span, entry.value.clone())),
                    None => diags.push(
                        Diagnostic::error("wrong-type", "a parameter's name is a text").at(entry.key.span),
                    ),
                }
            }
        }
        _ => match free_form(spec, args) {
            Ok(more) => found.extend(more),
            Err(fault) => diags.push(fault),
        },
    }
    for argument in &mut found {
        if let Err(diagnostic) = normalise(spec, argument) {
            diags.push(diagnostic);
        }
    }
    if !spec.open {
        for argument in &found {
            if spec.param(&argument.name.node).is_none() {
                diags.push(blame(spec, &argument.name));
            }
        }
    }
    if diags.is_empty() { Ok(found) } else { Err(diags) }
}

fn argument(name: &str, span: Span, value: Node) -> Argument {
    Argument { name: Spanned::new(name.to_owned(), span), value }
}

/// An unknown parameter, in the words the module's specification would use.
fn blame(spec: &Spec, name: &Spanned<String>) -> Diagnostic {
    let given = std::iter::once((name.node.clone(), Value::from("x"))).collect::<Map<_, _>>();
    let faults = Args::bind(spec, &given).err().unwrap_or_default();
    let fault = faults.into_iter().find(|fault| fault.param.as_deref() == Some(name.node.as_str()));
    let fault =
        fault.unwrap_or_else(|| Fault::param(&name.node, format!("unknown parameter `{}`", name.node)));
    unknown_parameter(fault, name.span)
}

fn unknown_parameter(fault: Fault, span: Span) -> Diagnostic {
    let mut diagnostic = Diagnostic::error("unknown-parameter", fault.message).at(span);
    for hint in fault.hints {
        if hint.starts_with("did you mean") {
            diagnostic.label = Some(hint)
        } else {
            diagnostic.hints.push(hint)
        }
    }
    diagnostic
}

/// A text in the place of arguments: the free form where the module has one, else `key=value` words.
fn free_form(spec: &Spec, node: &Node) -> Result<Vec<Argument>, Diagnostic> {
    let Some(text) = node.scalar_text() else {
        let message = format!("`{}` takes a mapping of parameters, not {}", spec.name, node.describe());
        return Err(Diagnostic::error("wrong-type", message).at(node.span));
    };
    let words = split_words(&text);
    let pair = |word: &str| {
        let (key, value) = word.split_once('=')?;
        spec.param(key).map(|_| (key.to_owned(), value.to_owned()))
    };
    let text_node = |text: String| Node::new(Kind::Str(text), node.span);
    if let Some(main) = spec.free_form {
        let options = words.iter().rev().map_while(|word| pair(word.trim())).collect::<Vec<_>>();
        let kept = words.len() - options.len();
        let command =
            if options.is_empty() { text.clone() } else { words[..kept].concat().trim_end().to_owned() };
        let mut found = vec![argument(main, node.span, text_node(command))];
        found.extend(
            options
                .into_iter()
                .rev()
                .map(|(key, value)| argument(&key, node.span, text_node(unquote(&value)))),
        );
        return Ok(found);
    }
    let mut found = Vec::new();
    for word in words.iter().map(|word| word.trim()).filter(|word| !word.is_empty()) {
        let Some((key, value)) = word.split_once('=') else {
            let message = format!("`{}` takes parameters, and `{word}` is none", spec.name);
            return Err(Diagnostic::error("no-free-form", message)
                .at(node.span)
                .hint("write `name: value` lines under the module, or `name=value` words"));
        };
        found.push(argument(key, node.span, text_node(unquote(value))));
    }
    Ok(found)
}

/// Words with the blanks that follow them; blanks inside quotes and templates do not separate.
fn split_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quote, mut depth, mut ended) = (None, 0usize, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let blank = c.is_whitespace() && quote.is_none() && depth == 0;
        if ended && !blank {
            words.push(std::mem::take(&mut word));
            ended = false;
        }
        match c {
            '{' if matches!(chars.peek(), Some('{' | '%')) => depth += 1,
            '}' if matches!(chars.peek(), Some('}')) && depth > 0 => {
                depth -= 1;
                word.push(c);
                word.extend(chars.next());
                continue;
            }
            '"' | '\'' if depth == 0 && quote.is_none() => quote = Some(c),
            _ if quote == Some(c) => quote = None,
            _ => {}
        }
        ended |= blank;
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

fn unquote(text: &str) -> String {
    let inner = ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
    inner.unwrap_or(text).to_owned()
}

/// File modes keep the text they were written as; a bare number that YAML would misread is refused.
fn normalise(spec: &Spec, argument: &mut Argument) -> Result<(), Diagnostic> {
    let Some(param) = spec.param(&argument.name.node).filter(|param| param.kind == ParamKind::Mode) else {
        return Ok(());
    };
    let Kind::Int { raw, .. } = &argument.value.kind else { return Ok(()) };
    if raw.starts_with('0') {
        argument.value.kind = Kind::Str(raw.clone());
        return Ok(());
    }
    let message = format!("`{}: {raw}` is the decimal number {raw}, not the octal mode 0{raw}", param.name);
    Err(Diagnostic::error("bare-mode", message).at(argument.value.span).label(format!("write \"0{raw}\"")))
}

/// What a step is bound with on one host.
pub struct Binder<'a> {
    /// Files and templates.
    pub library: &'a Library,
    /// The template engine.
    pub templates: &'a Templates,
    /// Folder of the site file.
    pub site_dir: &'a str,
}

impl Binder<'_> {
    /// Renders a step's arguments and types them. Faults are collected; each points at its argument.
    pub fn bind(
        &self,
        step: &Step,
        scope: &Arc<dyn Scope>,
        context: Map<String, Value>,
    ) -> Result<Box<dyn Call>, Vec<Diagnostic>> {
        if !step.faults.is_empty() {
            return Err(step.faults.clone());
        }
        let StepCall::Module(module) = step.call else {
            return Err(vec![
                Diagnostic::error("internal", "a step without a module was bound").at(step.span),
            ]);
        };
        let args = self.args(step, module.spec(), scope)?;
        let fresh = self.fresh(&args).map(|(name, _)| Value::from(name.clone())).collect();
        let mut context = context;
        context.insert("fresh".to_owned(), Value::Array(fresh));
        let args = args.with_context(context);
        module.call(&args).map_err(|fault| vec![place(step, fault, "bad-argument")])
    }

    /// Arguments that hold a password which was made in this run.
    pub fn fresh<'a>(&'a self, args: &'a Args) -> impl Iterator<Item = (&'a String, &'a str)> {
        let texts = args.values().iter().filter_map(|(name, value)| Some((name, value.as_str()?)));
        texts.filter(|(_, text)| self.templates.is_fresh(text))
    }

    /// Renders a step's arguments and holds them against the specification.
    pub fn args(&self, step: &Step, spec: &Spec, scope: &Arc<dyn Scope>) -> Result<Args, Vec<Diagnostic>> {
        if !step.faults.is_empty() {
            return Err(step.faults.clone());
        }
        let mut given = Map::new();
        let mut diags = Vec::new();
        for argument in &step.args {
            let kind = spec.param(&argument.name.node).map_or(ParamKind::Any, |param| param.kind);
            match self.value(step, kind, &argument.value, scope) {
                Ok(Value::String(text)) if text == OMIT => {}
                Ok(mut value) => {
                    drop_omitted(&mut value);
                    given.insert(argument.name.node.clone(), value);
                }
                Err(diagnostic) => diags.push(diagnostic),
            }
        }
        if !diags.is_empty() {
            return Err(diags.into_iter().map(|diagnostic| framed(step, diagnostic)).collect());
        }
        Args::bind(spec, &given)
            .map_err(|faults| faults.into_iter().map(|fault| place(step, fault, "bad-argument")).collect())
    }

    fn value(
        &self,
        step: &Step,
        kind: ParamKind,
        node: &Node,
        scope: &Arc<dyn Scope>,
    ) -> Result<Value, Diagnostic> {
        match kind {
            ParamKind::Conditions => self.conditions(node, scope),
            ParamKind::Expression => {
                let mut evaluated = Map::new();
                evaluated.insert("expression".to_owned(), node.scalar_text().unwrap_or_default().into());
                match self.templates.eval(node, scope) {
                    Ok(value) => drop(evaluated.insert("value".to_owned(), value)),
                    // The module says so; Ansible does not fail either.
                    Err(diagnostic) if diagnostic.code == "undefined-variable" => {}
                    Err(diagnostic) => return Err(diagnostic),
                }
                Ok(Value::Object(evaluated))
            }
            ParamKind::LocalFile => {
                let name = self.text(node, scope)?;
                if let Some(folder) = self.folder(step, &name) {
                    let mut entries = Vec::new();
                    self.entries(folder.trim_end_matches('/'), "", &mut entries)
                        .map_err(|why| Diagnostic::error("unreadable-file", why).at(node.span))?;
                    return Ok(json!({ "path": folder, "folder": entries }));
                }
                let path = self.find(step, "files", &name, node.span)?;
                let bytes = match self.library.sources().bytes(&path) {
                    Some(Ok(bytes)) => bytes,
                    Some(Err(why)) => {
                        return Err(Diagnostic::error(
                            "unreadable-file",
                            format!("cannot read `{path}`: {why}"),
                        )
                        .at(node.span));
                    }
                    None => {
                        return Err(Diagnostic::error("missing-file", format!("there is no file `{path}`"))
                            .at(node.span));
                    }
                };
                Ok(
                    json!({ "path": path, "content": base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes) }),
                )
            }
            ParamKind::LocalTemplate => {
                let name = self.text(node, scope)?;
                let path = self.find(step, "templates", &name, node.span)?;
                let Some(read) = self.library.text(&path) else {
                    return Err(Diagnostic::error("missing-file", format!("there is no template `{path}`"))
                        .at(node.span));
                };
                let (file, text) = read.map_err(|diagnostic| diagnostic.at(node.span))?;
                let dialect = if path.ends_with(".tera") { Dialect::Tera } else { Dialect::Jinja };
                let options = self.file_options(step, scope)?;
                let content =
                    self.templates.render_file(file, &text, dialect, scope, &Map::new(), &options)?;
                Ok(json!({ "path": path, "content": content }))
            }
            _ => self.templates.render_value(node, scope),
        }
    }

    /// The folder of this name, where no file has it.
    fn folder(&self, step: &Step, name: &str) -> Option<String> {
        let candidates = search_path(step, "files", name, self.site_dir);
        if !name.ends_with('/') && self.library.first(&candidates).is_some() {
            return None;
        }
        candidates.into_iter().find(|path| self.library.sources().is_dir(path.trim_end_matches('/')))
    }

    /// What lies below a folder, each thing behind the folder it lies in: `name`, and `content` of a file.
    fn entries(&self, folder: &str, below: &str, found: &mut Vec<Value>) -> Result<(), String> {
        // Links may lead round in a circle.
        if below.matches('/').count() > 40 {
            return Err(format!("`{folder}` lies too deep, or in itself by a symbolic link"));
        }
        let sources = self.library.sources();
        for name in sources.all_names(folder)? {
            let (path, short) = (format!("{folder}/{name}"), format!("{below}{name}"));
            if sources.is_dir(&path) {
                found.push(json!({ "name": short }));
                self.entries(&path, &format!("{short}/"), found)?;
                continue;
            }
            match sources.bytes(&path) {
                Some(Ok(bytes)) => found.push(json!({ "name": short, "content": base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes) })),
                Some(Err(why)) => return Err(format!("cannot read `{path}`: {why}")),
                None => return Err(format!("`{path}` is neither a file nor a folder, or a link to nothing")),
            }
        }
        Ok(())
    }

    /// How a template file is read, as the task says.
    fn file_options(&self, step: &Step, scope: &Arc<dyn Scope>) -> Result<FileOptions, Diagnostic> {
        let mut options = FileOptions::default();
        for argument in &step.args {
            let delimiter = match argument.name.node.as_str() {
                "variable_start_string" => &mut options.delimiters[0].0,
                "variable_end_string" => &mut options.delimiters[0].1,
                "block_start_string" => &mut options.delimiters[1].0,
                "block_end_string" => &mut options.delimiters[1].1,
                "comment_start_string" => &mut options.delimiters[2].0,
                "comment_end_string" => &mut options.delimiters[2].1,
                "newline_sequence" => {
                    options.newline = match self.text(&argument.value, scope)?.as_str() {
                        "\n" | "\\n" => "\n",
                        "\r" | "\\r" => "\r",
                        "\r\n" | "\\r\\n" => "\r\n",
                        _ => {
                            let message = "`newline_sequence` takes one of \\n, \\r and \\r\\n";
                            return Err(Diagnostic::error("bad-argument", message).at(argument.value.span));
                        }
                    }
                    .to_owned();
                    continue;
                }
                name @ ("trim_blocks" | "lstrip_blocks") => {
                    let value = self.templates.render_value(&argument.value, scope)?;
                    // What is no truth value is refused when the parameters are typed.
                    let truth = crate::template::filters::truth(&value);
                    match name {
                        "trim_blocks" => options.trim_blocks = truth.unwrap_or(options.trim_blocks),
                        _ => options.lstrip_blocks = truth.unwrap_or(options.lstrip_blocks),
                    }
                    continue;
                }
                _ => continue,
            };
            *delimiter = self.text(&argument.value, scope)?;
        }
        Ok(options)
    }

    fn text(&self, node: &Node, scope: &Arc<dyn Scope>) -> Result<String, Diagnostic> {
        match self.templates.render_value(node, scope)? {
            Value::String(text) => Ok(text),
            _ => Err(Diagnostic::error(
                "wrong-type",
                format!("a file's name is a text, not {}", node.describe()),
            )
            .at(node.span)),
        }
    }

    fn conditions(&self, node: &Node, scope: &Arc<dyn Scope>) -> Result<Value, Diagnostic> {
        let one = std::slice::from_ref(node);
        let mut found = Vec::new();
        for condition in node.as_seq().unwrap_or(one) {
            let holds = self.templates.condition(condition, scope)?;
            found.push(json!({ "condition": condition.scalar_text().unwrap_or_default(), "holds": holds }));
        }
        Ok(Value::Array(found))
    }

    /// A file's path: in the role's `files/` or `templates/`, then beside the tasks, then beside the site.
    pub fn find(&self, step: &Step, part: &str, name: &str, at: Span) -> Result<String, Diagnostic> {
        let candidates = search_path(step, part, name, self.site_dir);
        match self.library.first(&candidates) {
            Some(path) => Ok(path.clone()),
            None => {
                let what = if part == "templates" { "template" } else { "file" };
                let mut diagnostic =
                    Diagnostic::error("missing-file", format!("there is no {what} `{name}`")).at(at);
                diagnostic.label = candidates.iter().find_map(|path| self.library.near(path));
                Err(diagnostic.hint(format!("looked for {}", candidates.join(", "))))
            }
        }
    }
}

/// Where a file of a step is looked for, in Ansible's order: the role, the file of tasks, the site; first the folder
/// for such files, unless the name leads there itself.
pub fn search_path(step: &Step, part: &str, name: &str, site_dir: &str) -> Vec<String> {
    let role = step.role.as_ref().map(|role| role.path.clone());
    let places = role.into_iter().chain([step.dir.clone(), site_dir.to_owned()]);
    let leads_there = name.split('/').next() == Some(part);
    let dirs: Vec<String> = places
        .flat_map(|place| {
            let own = (!leads_there).then(|| join(&place, part));
            own.into_iter().chain([place])
        })
        .collect();
    let mut paths: Vec<String> = Vec::new();
    for path in dirs.iter().map(|dir| join(dir, name)) {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths
}

fn drop_omitted(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| value.as_str() != Some(OMIT));
            map.values_mut().for_each(drop_omitted);
        }
        Value::Array(items) => {
            items.retain(|item| item.as_str() != Some(OMIT));
            items.iter_mut().for_each(drop_omitted);
        }
        _ => {}
    }
}

/// A module's fault as a diagnostic: the blamed parameter's place, or the task's.
pub fn place(step: &Step, fault: Fault, code: &'static str) -> Diagnostic {
    let argument = fault.param.as_deref().and_then(|name| {
        let spec = match step.call {
            StepCall::Module(module) => Some(module.spec()),
            StepCall::Procedure(procedure) => Some(procedure.spec()),
            StepCall::Include { .. } | StepCall::Meta | StepCall::Unknown => None,
        };
        let same = |argument: &&Argument| {
            argument.name.node == name
                || spec
                    .and_then(|spec| spec.param(&argument.name.node))
                    .is_some_and(|param| param.name == name)
        };
        step.args.iter().find(same)
    });
    let span = match argument {
        Some(argument) if fault.message.starts_with("unknown parameter") => argument.name.span,
        Some(argument) => argument.value.span,
        None => step.name.as_ref().map_or(step.span, |name| name.span),
    };
    let mut diagnostic = Diagnostic::error(code, fault.message).at(span);
    diagnostic.notes = fault.notes;
    for hint in fault.hints {
        if hint.starts_with("did you mean") && diagnostic.label.is_none() {
            diagnostic.label = Some(hint);
        } else {
            diagnostic.hints.push(hint);
        }
    }
    framed(step, diagnostic)
}

/// Adds the way that led to the step.
pub fn framed(step: &Step, mut diagnostic: Diagnostic) -> Diagnostic {
    if diagnostic.frames.is_empty() {
        diagnostic.frames = step.frames.clone();
    }
    diagnostic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_inside_quotes_and_templates_do_not_separate() {
        let words =
            |text: &str| split_words(text).iter().map(|word| word.trim().to_owned()).collect::<Vec<_>>();
        assert_eq!(words("path=/x mode=0644"), ["path=/x", "mode=0644"]);
        assert_eq!(
            words("msg='a b' x={{ y | default('z w') }}"),
            ["msg='a b'", "x={{ y | default('z w') }}"]
        );
        assert_eq!(unquote("'a b'"), "a b");
    }
}
