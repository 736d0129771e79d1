//! What is given to a role, held against what it declares: key by key, as Ansible's `validate_argument_spec` does it.
//!
//! Types convert as Ansible converts them (`"5"` is a number, `yes` a truth value, `a,b` a list), and a value that is not
//! known yet is left for later. One thing is stricter: a list or a mapping is no `type: str`, though Ansible would take its
//! Python text.

use super::argument_spec::{ArgumentKind, ArgumentSpec, Options};
use crate::diag::{Span, did_you_mean};
use serde_json::Value;

/// A value as far as it is known, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// The value.
    pub value: Given,
    /// Its place.
    pub span: Option<Span>,
}

/// A value as far as it is known.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// Only the run will tell.
    Later,
    /// Nothing, a truth value, a number or a text.
    Plain(Value),
    /// A list.
    List(Vec<Placed>),
    /// A mapping.
    Map(Vec<Pair>),
}

/// An entry of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// The key.
    pub key: String,
    /// Its place.
    pub span: Option<Span>,
    /// The value.
    pub value: Placed,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The kind of fault.
    pub code: &'static str,
    /// What is wrong, with the path of the value: `postgresql_users[2].flags`.
    pub message: String,
    /// Where it stands, if it stands anywhere.
    pub span: Option<Span>,
    /// "did you mean".
    pub label: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl Placed {
    /// A finished value, all of it at one place.
    pub fn of(value: &Value, span: Option<Span>) -> Self {
        let value = match value {
            Value::Array(items) => Given::List(items.iter().map(|item| Self::of(item, span)).collect()),
            Value::Object(map) => Given::Map(
                map.iter()
                    .map(|(key, value)| Pair { key: key.clone(), span, value: Self::of(value, span) })
                    .collect(),
            ),
            plain => Given::Plain(plain.clone()),
        };
        Self { value, span }
    }

    /// Whether all of it is known.
    pub fn known(&self) -> bool {
        match &self.value {
            Given::Later => false,
            Given::Plain(_) => true,
            Given::List(items) => items.iter().all(Self::known),
            Given::Map(pairs) => pairs.iter().all(|pair| pair.value.known()),
        }
    }

    fn plain(value: impl Into<Value>, span: Option<Span>) -> Self {
        Self { value: Given::Plain(value.into()), span }
    }
}

/// Everything wrong with what is given. `of` names who takes it: "role `tls`".
pub fn check(options: &Options, given: &[Pair], of: &str) -> Vec<Wrong> {
    let mut checker = Checker { of, found: Vec::new() };
    checker.options(options, given, "", None);
    checker.found
}

struct Checker<'a> {
    of: &'a str,
    found: Vec<Wrong>,
}

impl Checker<'_> {
    /// The arguments at `path` (empty for the role's own variables); the mapping stands at `at`.
    fn options(&mut self, options: &Options, given: &[Pair], path: &str, at: Option<Span>) {
        let own = |key: &str| {
            options.arguments.iter().find(|argument| {
                argument.name.node == key || argument.aliases.iter().any(|alias| alias == key)
            })
        };
        // By its own name: converted, and `None` where it cannot be told.
        let mut values: Vec<(&str, Option<Placed>)> = Vec::new();
        for pair in given {
            let Some(argument) = own(&pair.key) else {
                if !path.is_empty() {
                    self.unknown(options, pair, path);
                }
                continue;
            };
            let name = argument.name.node.as_str();
            if values.iter().any(|(known, _)| *known == name) {
                let message = format!("`{}` of `{path}` is given twice, by two names", name);
                self.push("same-argument", message, pair.span);
                continue;
            }
            let below = if path.is_empty() { name.to_owned() } else { format!("{path}.{}", pair.key) };
            values.push((name, self.argument(argument, &pair.value, &below)));
        }
        for argument in &options.arguments {
            let name = argument.name.node.as_str();
            if values.iter().any(|(known, _)| *known == name) {
                continue;
            }
            if let Some(default) = &argument.default {
                values.push((name, Some(Placed::of(&default.to_value(), None))));
            } else if argument.required {
                self.missing(argument, path, at);
            }
        }
        self.rules(options, &values, path, at);
    }

    fn rules(&mut self, options: &Options, values: &[(&str, Option<Placed>)], path: &str, at: Option<Span>) {
        let has = |name: &String| values.iter().any(|(known, _)| known == name);
        let place = if path.is_empty() { self.of.to_owned() } else { format!("`{path}` of {}", self.of) };
        let listed =
            |names: &[String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        for group in &options.mutually_exclusive {
            let both: Vec<String> = group.iter().filter(|name| has(name)).cloned().collect();
            if both.len() > 1 {
                let message = format!("{place}: {} exclude each other", listed(&both));
                self.push("excluding-arguments", message, at);
            }
        }
        for group in &options.required_together {
            let missing: Vec<String> = group.iter().filter(|name| !has(name)).cloned().collect();
            if !missing.is_empty() && missing.len() < group.len() {
                let message =
                    format!("{place}: {} belong together; {} is missing", listed(group), listed(&missing));
                self.push("missing-input", message, at);
            }
        }
        for group in &options.required_one_of {
            if !group.iter().any(has) {
                self.push("missing-input", format!("{place}: one of {} is needed", listed(group)), at);
            }
        }
        for rule in &options.required_if {
            let is = values.iter().any(|(known, value)| {
                *known == rule.argument
                    && value.as_ref().and_then(text_of).is_some_and(|text| text == rule.value)
            });
            let missing: Vec<String> = rule.needed.iter().filter(|name| !has(name)).cloned().collect();
            let lacks = if rule.any { missing.len() == rule.needed.len() } else { !missing.is_empty() };
            if is && lacks && !missing.is_empty() {
                let which = if rule.any { "one of " } else { "" };
                let message = format!(
                    "{place}: with `{}: {}` {which}{} is needed",
                    rule.argument,
                    rule.value,
                    listed(&missing)
                );
                self.push("missing-input", message, at);
            }
        }
        for (name, needed) in &options.required_by {
            let set = |name: &String| {
                values.iter().any(|(known, value)| {
                    known == name
                        && !value.as_ref().is_some_and(|value| value.value == Given::Plain(Value::Null))
                })
            };
            let missing: Vec<String> = needed.iter().filter(|name| !set(name)).cloned().collect();
            if set(name) && !missing.is_empty() {
                self.push("missing-input", format!("{place}: `{name}` needs {}", listed(&missing)), at);
            }
        }
    }

    /// One argument; what it was converted to, `None` where that is not known.
    fn argument(&mut self, argument: &ArgumentSpec, given: &Placed, path: &str) -> Option<Placed> {
        if given.value == Given::Later {
            return None;
        }
        let null = given.value == Given::Plain(Value::Null);
        let optional = !argument.required && argument.default.is_none();
        let mut value = given.clone();
        if !(null && optional) {
            value = self.convert(argument.kind, given, path)?;
            if let (Some(kind), Given::List(items)) = (argument.elements, &value.value) {
                let items: Vec<Placed> = items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| {
                        let later = Placed { value: Given::Later, span: item.span };
                        self.convert(Some(kind), item, &format!("{path}[{index}]")).unwrap_or(later)
                    })
                    .collect();
                value = Placed { value: Given::List(items), span: value.span };
            }
        }
        if !argument.choices.is_empty() {
            let one = std::slice::from_ref(&value);
            let list = if let Given::List(items) = &value.value { items } else { one };
            for item in list {
                self.choice(argument, item, path);
            }
        }
        if let Some(options) = &argument.options {
            match &value.value {
                Given::Map(pairs) => self.options(options, pairs, path, value.span),
                Given::List(items) => {
                    for (index, item) in items.iter().enumerate() {
                        if let Given::Map(pairs) = &item.value {
                            self.options(options, pairs, &format!("{path}[{index}]"), item.span);
                        }
                    }
                }
                _ => {}
            }
        }
        Some(value)
    }

    fn convert(&mut self, kind: Option<ArgumentKind>, given: &Placed, path: &str) -> Option<Placed> {
        let Some(kind) = kind else { return Some(given.clone()) };
        if given.value == Given::Later {
            return None;
        }
        let converted = converted(kind, given);
        if converted.is_none() {
            let article = if kind == ArgumentKind::Int { "an" } else { "a" };
            let message = format!(
                "`{path}` of {} is {}, not {article} {}",
                self.of,
                describe(&given.value),
                kind.word()
            );
            self.push("wrong-type", message, given.span);
        }
        converted
    }

    fn choice(&mut self, argument: &ArgumentSpec, item: &Placed, path: &str) {
        let Some(text) = text_of(item) else { return };
        // `a, b` is split at the comma alone.
        if argument.choices.iter().any(|choice| choice == text.trim()) {
            return;
        }
        let message = format!("`{path}` of {} is one of {}", self.of, argument.choices.join(", "));
        self.push("wrong-choice", message, item.span);
        let label = did_you_mean(&text, argument.choices.iter().map(String::as_str));
        if let Some(wrong) = self.found.last_mut() {
            wrong.label = label;
        }
    }

    fn unknown(&mut self, options: &Options, pair: &Pair, path: &str) {
        let names = || options.arguments.iter().map(|argument| argument.name.node.as_str());
        let aliases =
            options.arguments.iter().flat_map(|argument| argument.aliases.iter().map(String::as_str));
        let label = did_you_mean(&pair.key, names().chain(aliases));
        let hint = match &label {
            None => Some(format!("it takes {}", names().collect::<Vec<_>>().join(", "))),
            Some(_) => None,
        };
        let message = format!("unknown key `{}` in `{path}` of {}", pair.key, self.of);
        self.found.push(Wrong { code: "unknown-key", message, span: pair.span, label, hint });
    }

    fn missing(&mut self, argument: &ArgumentSpec, path: &str, at: Option<Span>) {
        let name = &argument.name.node;
        let (message, otherwise) = if path.is_empty() {
            (
                format!("{} needs the variable `{name}`, which nothing defines", self.of),
                "set it in group_vars",
            )
        } else {
            (format!("`{path}` of {} needs `{name}`", self.of), "add it")
        };
        let hint = match argument.description.as_str() {
            "" => otherwise.to_owned(),
            text => format!("it is: {text}"),
        };
        self.found.push(Wrong { code: "missing-input", message, span: at, label: None, hint: Some(hint) });
    }

    fn push(&mut self, code: &'static str, message: String, span: Option<Span>) {
        self.found.push(Wrong { code, message, span, label: None, hint: None });
    }
}

/// What Ansible makes of a value of this type; `None` when it can make nothing of it.
fn converted(kind: ArgumentKind, given: &Placed) -> Option<Placed> {
    let as_is = || Some(given.clone());
    let plain = |value: Value| Some(Placed::plain(value, given.span));
    let text = text_of(given);
    match (kind, &given.value) {
        (ArgumentKind::Raw, _) => as_is(),
        (ArgumentKind::Str | ArgumentKind::Path, Given::Plain(Value::Null)) => plain("".into()),
        (ArgumentKind::Str | ArgumentKind::Path, Given::Plain(_)) => plain(text?.into()),
        (ArgumentKind::Bool, Given::Plain(Value::Bool(_))) => as_is(),
        (ArgumentKind::Bool, Given::Plain(Value::String(_) | Value::Number(_))) => {
            plain(truth(&text?)?.into())
        }
        (ArgumentKind::Int, Given::Plain(Value::Bool(_))) => as_is(),
        (ArgumentKind::Int, Given::Plain(Value::String(_) | Value::Number(_))) => {
            plain(whole(&text?)?.into())
        }
        (ArgumentKind::Float, Given::Plain(Value::Bool(_) | Value::Number(_))) => as_is(),
        (ArgumentKind::Float, Given::Plain(Value::String(text))) => {
            text.trim().parse::<f64>().ok().and_then(|_| as_is())
        }
        (ArgumentKind::List, Given::List(_)) | (ArgumentKind::Dict, Given::Map(_)) => as_is(),
        (ArgumentKind::List, Given::Plain(Value::String(text))) => {
            let items = text.split(',').map(|item| Placed::plain(item, given.span));
            Some(Placed { value: Given::List(items.collect()), span: given.span })
        }
        (ArgumentKind::List, Given::Plain(Value::Bool(_) | Value::Number(_))) => {
            Some(Placed { value: Given::List(vec![Placed::plain(text?, given.span)]), span: given.span })
        }
        (ArgumentKind::Dict, Given::Plain(Value::String(text))) => pairs_of(text, given.span),
        (ArgumentKind::Json, Given::List(_) | Given::Map(_) | Given::Plain(Value::String(_))) => as_is(),
        (ArgumentKind::Bytes | ArgumentKind::Bits, Given::Plain(Value::String(_) | Value::Number(_))) => {
            is_size(&text?, kind == ArgumentKind::Bits).then(as_is)?
        }
        _ => None,
    }
}

/// The text of a plain value, as Python writes it.
fn text_of(placed: &Placed) -> Option<String> {
    match &placed.value {
        Given::Plain(Value::String(text)) => Some(text.clone()),
        Given::Plain(Value::Bool(truth)) => Some(if *truth { "True" } else { "False" }.to_owned()),
        Given::Plain(Value::Number(number)) => Some(number.to_string()),
        Given::Plain(Value::Null) => Some("None".to_owned()),
        _ => None,
    }
}

/// The words that Ansible takes for true and false.
fn truth(text: &str) -> Option<bool> {
    match text.trim().to_lowercase().as_str() {
        "y" | "yes" | "on" | "1" | "true" | "t" | "1.0" => Some(true),
        "n" | "no" | "off" | "0" | "false" | "f" | "0.0" => Some(false),
        _ => None,
    }
}

/// A whole number, also written with a point or an exponent.
fn whole(text: &str) -> Option<i64> {
    let text = text.trim().replace('_', "");
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    // Beyond 2^53 a float is no exact number any more.
    let number = text.parse::<f64>().ok().filter(|number| number.abs() < 9_007_199_254_740_992.0)?;
    #[allow(clippy::cast_possible_truncation)] // whole and small enough
    (number.fract() == 0.0).then_some(number as i64)
}

/// `{"a": 1}`, or `a=1, b=2`.
fn pairs_of(text: &str, span: Option<Span>) -> Option<Placed> {
    if text.trim_start().starts_with('{') {
        // Python's form (`{'a': 1}`) is read when the task that takes it is.
        let later = Placed { value: Given::Later, span };
        return Some(match serde_json::from_str::<Value>(text) {
            Ok(value) => Placed::of(&value, span),
            Err(_) => later,
        });
    }
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in text.trim().chars() {
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (',' | ' ', None) => words.push(std::mem::take(&mut word)),
            (c, _) => word.push(c),
        }
    }
    words.push(word);
    let pair = |word: &String| {
        let (key, value) = word.split_once('=')?;
        Some(Pair { key: key.to_owned(), span, value: Placed::plain(value, span) })
    };
    let pairs: Option<Vec<Pair>> = words.iter().filter(|word| !word.is_empty()).map(pair).collect();
    pairs.filter(|pairs| !pairs.is_empty()).map(|pairs| Placed { value: Given::Map(pairs), span })
}

/// `10`, `10M`, `1.5 GB`; bits are written `10Mb`.
fn is_size(text: &str, bits: bool) -> bool {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let last = if bits { "b" } else { "B" };
    let known = unit.is_empty()
        || unit == last
        || unit.strip_suffix(last).unwrap_or(unit).chars().all(|c| "KMGTPEZYkmgtpezy".contains(c))
            && unit.len() <= 2;
    number.parse::<f64>().is_ok() && known
}

fn describe(given: &Given) -> &'static str {
    match given {
        Given::Plain(Value::Null) => "nothing",
        Given::Plain(Value::Bool(_)) => "a truth value",
        Given::Plain(Value::Number(_)) => "a number",
        Given::Plain(_) => "a text",
        Given::List(_) => "a list",
        Given::Map(_) => "a mapping",
        Given::Later => "not known yet",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::SourceMap;
    use crate::playbook::argument_spec::decode_options;
    use serde_json::json;

    /// What is found wrong with `given` by arguments as they stand in a role's meta file.
    fn found(spec: &str, given: Value) -> String {
        let file = SourceMap::new().add("spec", spec);
        let node = crate::yaml::parse(file, spec).expect("YAML");
        let mut diags = Vec::new();
        let options = decode_options(node.get("options").expect("options"), Some(&node), &mut diags);
        assert!(diags.is_empty(), "{diags:?}");
        let Given::Map(pairs) = Placed::of(&given, None).value else { panic!("a mapping") };
        let shown = check(&options, &pairs, "role `r`").into_iter().map(|wrong| {
            let more = wrong.label.or(wrong.hint).map(|more| format!(" ({more})")).unwrap_or_default();
            format!("{}{more}", wrong.message)
        });
        shown.collect::<Vec<_>>().join("\n")
    }

    /// Every row was put to ansible-core 2.19, but for lists and mappings as `str`, which it takes.
    #[test]
    fn types_convert_as_ansible_converts_them() {
        let table = [
            (
                "bool",
                json!([true, "yes", "Off", " on ", "t", 1, 0, 1.0, "1"]),
                json!([2, "maybe", "", [], {}]),
            ),
            (
                "int",
                json!([5, "5", " 5 ", "5.0", 5.0, "1e3", true, "1_000"]),
                json!([5.5, "five", "", [], {}]),
            ),
            ("float", json!([1, 1.5, "1.5", "1e3", true, "inf"]), json!(["x", "", [], {}])),
            ("str", json!(["", 5, 1.5, true]), json!([["a"], {"a": 1}])),
            ("path", json!(["/x", 5]), json!([["a"]])),
            ("list", json!([[], ["a"], "", "a,b", 5, true, 1.5]), json!([{"a": 1}])),
            ("dict", json!([{}, {"a": 1}, "a=1", "a=1, b='x y'", "{\"a\": 1}"]), json!(["a", "", [], 5])),
            ("raw", json!([1, [], {}, "x"]), json!([])),
            ("json", json!(["{}", [], {}]), json!([5, true])),
            ("bytes", json!([5, "10M", "1.5 GB", "7B"]), json!(["ten", "10X", []])),
            ("bits", json!(["10Mb", 5]), json!(["10MB"])),
        ];
        for (kind, fits, fails) in table {
            let spec = format!("options: {{x: {{type: {kind}, required: true}}}}");
            for value in fits.as_array().expect("a list") {
                assert_eq!(found(&spec, json!({ "x": value })), "", "{kind}: {value}");
            }
            for value in fails.as_array().expect("a list") {
                assert!(
                    found(&spec, json!({ "x": value })).starts_with("`x` of role `r` is "),
                    "{kind}: {value}"
                );
            }
        }
        // Nothing stands for not given where nothing is required.
        assert_eq!(found("options: {x: {type: int}}", json!({"x": null})), "");
        assert_eq!(
            found("options: {x: {type: int, required: true}}", json!({"x": null})),
            "`x` of role `r` is nothing, not an int"
        );
        // Without a type Ansible takes the text of everything.
        assert_eq!(found("options: {x: {description: text}}", json!({"x": {"a": [1]}})), "");
    }

    const USERS: &str = "
options:
  users:
    type: list
    elements: dict
    required_if:
      - [state, present, [flags]]
    mutually_exclusive:
      - [expires, forever]
    required_together:
      - [cert, key]
    required_by: {limit: flags}
    options:
      name: {type: str, required: true, aliases: [user], description: the account}
      state: {type: str, choices: [present, absent], default: present}
      flags: {type: list, elements: str, choices: [LOGIN, CREATEDB]}
      expires: {type: str}
      forever: {type: bool}
      cert: {type: path}
      key: {type: path}
      limit: {type: int}
      more: {type: dict, options: {deep: {type: int, required: true}}}
";

    #[test]
    fn items_are_checked_key_by_key() {
        let one = |item: Value| found(USERS, json!({ "users": [{"name": "ok", "flags": ["LOGIN"]}, item] }));
        let table = [
            (json!({"name": "a", "flags": "LOGIN,CREATEDB"}), ""),
            (json!({"user": "a", "state": "absent"}), ""),
            (json!({"name": 7, "flags": [], "limit": "3"}), ""),
            (json!({"flags": []}), "`users[1]` of role `r` needs `name` (it is: the account)"),
            (
                json!({"nmae": "a", "name": "b", "flags": []}),
                "unknown key `nmae` in `users[1]` of role `r` (did you mean `name`?)",
            ),
            (
                json!({"name": "b", "flags": [], "colour": 1}),
                "unknown key `colour` in `users[1]` of role `r` (it takes name, state, flags, expires, forever, cert, key, limit, more)",
            ),
            (
                json!({"name": "a", "user": "a", "state": "absent"}),
                "`name` of `users[1]` is given twice, by two names",
            ),
            (
                json!({"name": "a", "state": "abesnt"}),
                "`users[1].state` of role `r` is one of present, absent (did you mean `absent`?)",
            ),
            (
                json!({"name": "a", "flags": ["LOGNI"]}),
                "`users[1].flags` of role `r` is one of LOGIN, CREATEDB (did you mean `LOGIN`?)",
            ),
            (json!({"name": "a"}), "`users[1]` of role `r`: with `state: present` `flags` is needed"),
            (
                json!({"name": "a", "flags": [], "expires": "x", "forever": true}),
                "`users[1]` of role `r`: `expires`, `forever` exclude each other",
            ),
            (
                json!({"name": "a", "flags": [], "key": "x"}),
                "`users[1]` of role `r`: `cert`, `key` belong together; `cert` is missing",
            ),
            (
                json!({"name": "a", "state": "absent", "limit": 1}),
                "`users[1]` of role `r`: `limit` needs `flags`",
            ),
            (
                json!({"name": "a", "flags": [], "limit": "many"}),
                "`users[1].limit` of role `r` is a text, not an int",
            ),
            (
                json!({"name": "a", "flags": [], "more": {}}),
                "`users[1].more` of role `r` needs `deep` (add it)",
            ),
            (
                json!({"name": "a", "flags": [], "more": {"deep": "x"}}),
                "`users[1].more.deep` of role `r` is a text, not an int",
            ),
            (json!("a"), "`users[1]` of role `r` is a text, not a dict"),
        ];
        for (item, wanted) in table {
            assert_eq!(one(item.clone()), wanted, "{item}");
        }
        assert_eq!(
            found(USERS, json!({"users": {"name": "a"}})),
            "`users` of role `r` is a mapping, not a list"
        );
        assert_eq!(found(USERS, json!({"others": 1})), "");
    }

    #[test]
    fn what_is_not_known_yet_is_left_for_later() {
        let file = SourceMap::new().add("spec", USERS);
        let node = crate::yaml::parse(file, USERS).expect("YAML");
        let options = decode_options(node.get("options").expect("options"), Some(&node), &mut Vec::new());
        let later = || Placed { value: Given::Later, span: None };
        let pair = |key: &str, value: Placed| Pair { key: key.to_owned(), span: None, value };
        let item = Given::Map(vec![pair("name", later()), pair("state", later()), pair("stat", later())]);
        let users =
            Placed { value: Given::List(vec![Placed { value: item, span: None }, later()]), span: None };
        assert!(!users.known());
        let found = check(&options, &[pair("users", users)], "role `r`");
        let shown: Vec<&str> = found.iter().map(|wrong| wrong.message.as_str()).collect();
        assert_eq!(shown, ["unknown key `stat` in `users[0]` of role `r`"]);
    }
}
