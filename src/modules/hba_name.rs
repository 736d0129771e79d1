//! Names in a rule of `pg_hba.conf`: what a person writes, what PostgreSQL reads in it, and how it is written down so
//! that both are the same.
//!
//! PostgreSQL's own syntax decides: `all`, `sameuser`, `samerole`, `samegroup` and `replication` are words; `+NAME` means
//! members of a group, `@NAME` a file of names, `/...` a regular expression (16 and later). In double quotes a word is
//! a plain name. The sign of a group or file stands before the quotes: `"+x"` is a role of that name, `+"x y"` a group.

use super::sql;
use serde_json::Value;

/// The column a name stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Databases,
    Users,
}

/// One entry of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    /// A word of PostgreSQL's own.
    Word(&'static str),
    /// Exactly this name.
    Plain(String),
    /// Members of this group, directly or by way of others.
    Group(String),
    /// A file of names, beside `pg_hba.conf` unless it says otherwise.
    File(String),
    /// A regular expression, with the `/` before it.
    Regex(String),
}

/// Words in the column of databases; of users there is only `all`.
const WORDS: &[&str] = &["all", "sameuser", "samerole", "samegroup", "replication"];

/// The first major version that knows regular expressions here.
const REGEX_SINCE: u32 = 16;

impl Column {
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Databases => "databases",
            Self::Users => "users",
        }
    }

    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Databases => WORDS,
            Self::Users => &["all"],
        }
    }
}

/// The names of a rule: a text with commas, or a list with one name an item.
pub(super) fn names(value: &Value, column: Column, version: u32) -> Result<Vec<Name>, String> {
    let wanted = || format!("`{}` takes a name, or a list of names", column.key());
    let names = match value {
        Value::String(text) => {
            let pieces = split(text);
            if pieces.len() > 1 && pieces.iter().any(|piece| piece.starts_with('/')) {
                return Err(format!(
                    "`{text}`: give the regular expression as an item of a list; commas may be part of it"
                ));
            }
            pieces.iter().map(|piece| Name::parse(piece, column, version)).collect::<Result<Vec<_>, _>>()?
        }
        Value::Array(items) => {
            items.iter().map(|item| item_name(item, column, version)).collect::<Result<Vec<_>, _>>()?
        }
        Value::Number(number) => vec![Name::parse(&number.to_string(), column, version)?],
        _ => return Err(wanted()),
    };
    if names.is_empty() { Err(wanted()) } else { Ok(names) }
}

fn item_name(item: &Value, column: Column, version: u32) -> Result<Name, String> {
    let text = match item {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return Err(format!("an item of `{}` is a name, not {item}", column.key())),
    };
    if !text.starts_with('/') && split(&text).len() > 1 {
        return Err(format!(
            "`{text}` is one item: make it several, or write `\"{text}\"` in double quotes for one name"
        ));
    }
    Name::parse(&text, column, version)
}

/// Pieces between commas that stand outside of double quotes.
fn split(text: &str) -> Vec<&str> {
    let mut quoted = false;
    let comma = |c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    };
    text.split(comma).map(str::trim).collect()
}

impl Name {
    fn parse(text: &str, column: Column, version: u32) -> Result<Self, String> {
        if text.contains(char::is_control) {
            return Err(format!("`{}` holds a control character", text.escape_debug()));
        }
        let regex = |pattern: String| match pattern.as_str() {
            "/" => Err("`/` is an empty regular expression: it would match every name".to_owned()),
            _ if version < REGEX_SINCE => Err(format!(
                "`{pattern}`: PostgreSQL {version} knows no regular expressions here, {REGEX_SINCE} does; name the {}",
                column.key()
            )),
            _ => Ok(Self::Regex(pattern)),
        };
        let known = |name: String| sql::ident(&name).map(|_| name);
        if text.starts_with('"') {
            let name = unquoted(text)?;
            return if name.starts_with('/') { regex(name) } else { known(name).map(Self::Plain) };
        }
        if let Some(rest) = text.strip_prefix('+') {
            return match column {
                Column::Users => known(unquoted(rest)?).map(Self::Group),
                Column::Databases => Err(format!(
                    "`{text}`: `+` means a group of users; a database of that name is written `\"{text}\"` in double quotes"
                )),
            };
        }
        if let Some(rest) = text.strip_prefix('@') {
            return match unquoted(rest)? {
                file if file.is_empty() => Err("`@` names no file".to_owned()),
                file => Ok(Self::File(file)),
            };
        }
        if text.starts_with('/') {
            return regex(text.to_owned());
        }
        let words = column.words();
        if let Some(word) = words.iter().find(|word| **word == text) {
            return Ok(Self::Word(word));
        }
        let quoted = format!("a name that is so is written `\"{text}\"` in double quotes");
        if let Some(word) = words.iter().find(|word| word.eq_ignore_ascii_case(text)) {
            return Err(format!("`{text}`: PostgreSQL's word is `{word}`; {quoted}"));
        }
        if column == Column::Users && WORDS[1..4].contains(&text) {
            return Err(format!("`{text}` is a word for `databases`, not for `users`; {quoted}"));
        }
        known(text.to_owned()).map(Self::Plain)
    }

    /// As it stands in the file.
    pub(super) fn written(&self, column: Column) -> String {
        match self {
            Self::Word(word) => (*word).to_owned(),
            Self::Plain(name)
                if column.words().contains(&name.as_str()) || name.starts_with(['+', '@', '/']) =>
            {
                quoted(name)
            }
            Self::Plain(name) => token(name),
            Self::Group(name) => format!("+{}", token(name)),
            Self::File(path) => format!("@{}", token(path)),
            Self::Regex(pattern) => token(pattern),
        }
    }

    /// Whether it surely means this user, or the database of the same name.
    pub(super) fn means(&self, name: &str) -> bool {
        match self {
            Self::Word(word) => *word != "replication",
            Self::Plain(known) => known == name,
            // PostgreSQL's expressions are a little richer; one that we cannot read decides nothing.
            Self::Regex(pattern) => {
                regex::Regex::new(&pattern[1..]).is_ok_and(|pattern| pattern.is_match(name))
            }
            Self::Group(_) | Self::File(_) => false,
        }
    }
}

/// What stands in double quotes, or the text itself where it does not begin with one.
fn unquoted(text: &str) -> Result<String, String> {
    let Some(rest) = text.strip_prefix('"') else { return Ok(text.to_owned()) };
    let inner = rest.strip_suffix('"').filter(|inner| !inner.replace("\"\"", "").contains('"'));
    match inner {
        Some("") => Err("`\"\"` is an empty name".to_owned()),
        Some(inner) => Ok(inner.replace("\"\"", "\"")),
        None => Err(format!("`{text}`: the double quotes do not enclose the whole name")),
    }
}

/// A word of the file, in double quotes where it holds what would end it.
pub(super) fn token(word: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | ',' | '#');
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { quoted(word) }
}

fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn written(value: &Value, column: Column, version: u32) -> String {
        match names(value, column, version) {
            Ok(names) => names.iter().map(|name| name.written(column)).collect::<Vec<_>>().join(","),
            Err(why) => format!("refused: {why}"),
        }
    }

    #[test]
    fn users_are_written_as_postgresql_reads_them() {
        let table = [
            (json!("app"), "app"),
            (json!("app, web"), "app,web"),
            (json!(["app", "web"]), "app,web"),
            (json!("Sales Team"), "\"Sales Team\""),
            (json!("+Sales Team"), "+\"Sales Team\""),
            (json!("+\"Sales Team\""), "+\"Sales Team\""),
            (json!("\"+Sales Team\""), "\"+Sales Team\""),
            (json!("+readers,app"), "+readers,app"),
            (
                json!(["+a,b"]),
                "refused: `+a,b` is one item: make it several, or write `\"+a,b\"` in double quotes for one name",
            ),
            (json!("+\"a,b\""), "+\"a,b\""),
            (json!("all"), "all"),
            (json!("\"all\""), "\"all\""),
            (
                json!("ALL"),
                "refused: `ALL`: PostgreSQL's word is `all`; a name that is so is written `\"ALL\"` in double quotes",
            ),
            (json!("\"ALL\""), "ALL"),
            (
                json!("samerole"),
                "refused: `samerole` is a word for `databases`, not for `users`; a name that is so is written `\"samerole\"` in double quotes",
            ),
            (json!("@admins"), "@admins"),
            (json!("@my admins"), "@\"my admins\""),
            (json!("a\"b"), "\"a\"\"b\""),
            (json!("\"a\"\"b\""), "\"a\"\"b\""),
            (json!("\"a\"b\""), "refused: `\"a\"b\"`: the double quotes do not enclose the whole name"),
            (json!("#x"), "\"#x\""),
            (json!(2024), "2024"),
            (json!([true]), "refused: an item of `users` is a name, not true"),
            (json!("a,,b"), "refused: a name in PostgreSQL cannot be empty"),
            (json!("+"), "refused: a name in PostgreSQL cannot be empty"),
            (json!([]), "refused: `users` takes a name, or a list of names"),
            (json!("a\nb"), "refused: `a\\nb` holds a control character"),
        ];
        for (given, wanted) in table {
            assert_eq!(written(&given, Column::Users, 15), wanted, "{given}");
        }
    }

    #[test]
    fn databases_have_words_of_their_own() {
        let table = [
            (json!("all,replication"), "all,replication"),
            (json!(["sameuser", "samerole", "samegroup"]), "sameuser,samerole,samegroup"),
            (json!("\"replication\""), "\"replication\""),
            (
                json!("Replication"),
                "refused: `Replication`: PostgreSQL's word is `replication`; a name that is so is written `\"Replication\"` in double quotes",
            ),
            (
                json!("+x"),
                "refused: `+x`: `+` means a group of users; a database of that name is written `\"+x\"` in double quotes",
            ),
            (json!("\"+x\""), "\"+x\""),
            (json!("my db"), "\"my db\""),
        ];
        for (given, wanted) in table {
            assert_eq!(written(&given, Column::Databases, 15), wanted, "{given}");
        }
    }

    #[test]
    fn regular_expressions_from_16_on() {
        let of = |given: Value, version| written(&given, Column::Users, version);
        assert_eq!(of(json!("/^app_"), 16), "/^app_");
        assert_eq!(of(json!(["/^a{1,2}$", "web"]), 17), "\"/^a{1,2}$\",web");
        assert_eq!(of(json!("\"/^a{1,2}$\",web"), 17), "\"/^a{1,2}$\",web");
        assert!(of(json!("/^a{1,2}$"), 17).contains("as an item of a list"));
        assert!(of(json!("/^app_"), 15).contains("PostgreSQL 15 knows no regular expressions"));
        assert!(of(json!("\"/^app_\""), 15).starts_with("refused"));
        assert!(of(json!("/"), 17).contains("would match every name"));
    }
}
