//! One rule of `pg_hba.conf`: read from a task, refused where it is never right, and written as a line.

use super::hba_name::{Column, Name, names, token};
use crate::diag::{Fault, did_you_mean};
use serde_json::Value;
use std::net::IpAddr;

/// One line of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rule {
    kind: &'static str,
    databases: Vec<Name>,
    users: Vec<Name>,
    /// Empty for `local`.
    source: String,
    method: &'static str,
    options: Vec<(String, String)>,
    pub(super) comment: String,
}

const KINDS: &[&str] = &["local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"];
const METHODS: &[&str] = &[
    "trust",
    "reject",
    "scram-sha-256",
    "md5",
    "password",
    "gss",
    "sspi",
    "ident",
    "peer",
    "ldap",
    "radius",
    "cert",
    "pam",
    "bsd",
    "oauth",
];
const KEYS: &[&str] = &[
    "type",
    "contype",
    "databases",
    "database",
    "users",
    "user",
    "source",
    "address",
    "netmask",
    "mask",
    "method",
    "options",
    "comment",
];

/// Every option of every method, of 13 to 18.
const OPTIONS: &[&str] = &[
    "map",
    "clientcert",
    "clientname",
    "krb_realm",
    "include_realm",
    "compat_realm",
    "upn_username",
    "ldapserver",
    "ldapport",
    "ldaptls",
    "ldapscheme",
    "ldapprefix",
    "ldapsuffix",
    "ldapbasedn",
    "ldapbinddn",
    "ldapbindpasswd",
    "ldapsearchattribute",
    "ldapsearchfilter",
    "ldapurl",
    "pamservice",
    "pam_use_hostname",
    "radiusservers",
    "radiussecrets",
    "radiusports",
    "radiusidentifiers",
    "issuer",
    "scope",
    "validator",
    "delegate_ident_mapping",
];

impl Rule {
    /// Nobody else gets in.
    pub(super) fn reject(database: &'static str) -> Self {
        Self {
            kind: "host",
            databases: vec![Name::Word(database)],
            users: vec![Name::Word("all")],
            source: "all".to_owned(),
            method: "reject",
            options: Vec::new(),
            comment: if database == "all" { "Everything else".to_owned() } else { String::new() },
        }
    }

    /// The rule of this number, for a server of this major version.
    pub(super) fn decode(value: &Value, number: usize, version: u32) -> Result<Self, Fault> {
        let fault = |what: String| Fault::param("rules", format!("rule {number}: {what}"));
        let map = value.as_object().ok_or_else(|| fault("a rule is a mapping".to_owned()))?;
        if let Some(key) = map.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let unknown = fault(format!("unknown key `{key}`"));
            return Err(match did_you_mean(key, KEYS.iter().copied()) {
                Some(near) => unknown.hint(near),
                None => unknown.hint("type, databases, users, source, method, options, comment"),
            });
        }
        let get =
            |names: [&str; 2]| names.iter().find_map(|name| map.get(*name)).filter(|value| !value.is_null());
        let word = |names: [&str; 2], known: &'static [&'static str]| {
            let text = get(names)
                .and_then(Value::as_str)
                .ok_or_else(|| fault(format!("`{}` is missing", names[0])))?;
            known.iter().copied().find(|word| *word == text).ok_or_else(|| {
                let unknown = fault(format!("`{}` is no {}", text, names[0]));
                match did_you_mean(text, known.iter().copied()) {
                    Some(near) => unknown.hint(near),
                    None => unknown.hint(known.join(", ")),
                }
            })
        };
        let column = |keys: [&str; 2], column: Column| match get(keys) {
            None => Ok(vec![Name::Word("all")]),
            Some(value) => names(value, column, version).map_err(&fault),
        };
        let kind = word(["type", "contype"], KINDS)?;
        let method = word(["method", "method"], METHODS)?;
        let databases = column(["databases", "database"], Column::Databases)?;
        let users = column(["users", "user"], Column::Users)?;
        let mask = match get(["netmask", "mask"]) {
            None => None,
            Some(Value::String(mask)) => Some(mask.as_str()),
            Some(_) => return Err(fault("`netmask` takes one text".to_owned())),
        };
        let source = match (get(["source", "address"]).map(|source| source.as_str()), kind) {
            (None, "local") => String::new(),
            (None, _) => {
                return Err(fault("`source` is missing: a network, an address, or `all`".to_owned()));
            }
            (Some(_), "local") => return Err(fault("`local` has no `source`".to_owned())),
            (Some(None), _) => return Err(fault("`source` takes one text".to_owned())),
            (Some(Some(text)), _) => {
                source_of(text, mask).map_err(|why| fault(format!("`source: {text}`: {why}")))?
            }
        };
        if kind == "local" && mask.is_some() {
            return Err(fault("`local` has no `netmask`".to_owned()));
        }
        let options = options_of(get(["options", "options"])).ok_or_else(|| {
            fault("`options` takes a mapping".to_owned())
                .hint("options: {clientcert: verify-full, map: people}")
        })?;
        if let Some((name, _)) = options.iter().find(|(name, _)| !OPTIONS.contains(&name.as_str())) {
            let unknown = fault(format!("`{name}` is no option of a rule"));
            return Err(match did_you_mean(name, OPTIONS.iter().copied()) {
                Some(near) => unknown.hint(near),
                None => unknown.hint(format!("options are {}", OPTIONS.join(", "))),
            });
        }
        let comment = match get(["comment", "comment"]) {
            None => String::new(),
            Some(Value::String(text)) => remark(text),
            Some(_) => return Err(fault("`comment` takes a text".to_owned())),
        };
        let rule = Self { kind, databases, users, source, method, options, comment };
        rule.check().map_err(|(what, hint)| fault(what).note(rule.line()).hint(hint))?;
        Ok(rule)
    }

    /// What is never right.
    fn check(&self) -> Result<(), (String, String)> {
        let refuse = |what: &str, hint: &str| Err((what.to_owned(), hint.to_owned()));
        let remote = self.kind != "local" && !is_loopback(&self.source);
        let encrypted = matches!(self.kind, "hostssl" | "hostgssenc");
        let accepts = self.method != "reject";
        if remote && accepts && !encrypted {
            return refuse(
                &format!("`{}` lets connections in from outside without TLS", self.kind),
                "`type: hostssl`, or `method: reject`",
            );
        }
        if self.kind != "local" && self.method == "trust" {
            return refuse(
                "`trust` lets everybody in who reaches the port",
                "`method: scram-sha-256` or `cert`",
            );
        }
        if self.kind != "local" && self.method == "peer" {
            return refuse("`peer` works on the local socket only", "`type: local`");
        }
        if remote && matches!(self.method, "password" | "ident" | "md5") {
            return refuse(
                &format!("`{}` can be forged or read on the way", self.method),
                "`method: scram-sha-256`",
            );
        }
        if self.method == "cert" && self.kind != "hostssl" {
            return refuse("`cert` needs TLS", "`type: hostssl`");
        }
        if let Some((_, value)) = self.options.iter().find(|(name, _)| name == "clientcert") {
            if self.kind != "hostssl" {
                return refuse("`clientcert` needs TLS", "`type: hostssl`");
            }
            if !matches!(value.as_str(), "verify-ca" | "verify-full") {
                return refuse(&format!("`clientcert={value}` is no choice"), "`verify-full` or `verify-ca`");
            }
        }
        Ok(())
    }

    /// Whether what it matches is written the same.
    pub(super) fn matches_like(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.databases == other.databases
            && self.users == other.users
            && self.source == other.source
    }

    /// Files of names that it reads.
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.databases.iter().chain(&self.users).filter_map(|name| match name {
            Name::File(path) => Some(path.as_str()),
            _ => None,
        })
    }

    /// The line, in columns.
    pub(super) fn line(&self) -> String {
        let column = |names: &[Name], column: Column| {
            names.iter().map(|name| name.written(column)).collect::<Vec<_>>().join(",")
        };
        let options: String =
            self.options.iter().map(|(name, value)| format!(" {}", option(name, value))).collect();
        let line = format!(
            "{:<9} {:<15} {:<15} {:<23} {}{options}",
            self.kind,
            column(&self.databases, Column::Databases),
            column(&self.users, Column::Users),
            self.source,
            self.method
        );
        line.trim_end().to_owned()
    }
}

/// `postgres` must get in by the local socket: every later task asks the server that way.
pub(super) fn keep_postgres(rules: &[Rule]) -> Result<(), Fault> {
    let covers = |names: &[Name]| names.iter().any(|name| name.means("postgres"));
    let first =
        rules.iter().find(|rule| rule.kind == "local" && covers(&rule.users) && covers(&rule.databases));
    match first {
        Some(rule) if matches!(rule.method, "peer" | "trust") => Ok(()),
        found => {
            let fault = Fault::param("rules", "`postgres` could not connect by the local socket any more");
            let fault = match found {
                Some(rule) => fault.note(format!("the first rule that matches: {}", rule.line())),
                None => fault.note("no `local` rule matches user `postgres` and database `postgres`"),
            };
            Err(fault.hint("put `{type: local, databases: all, users: postgres, method: peer}` first"))
        }
    }
}

fn options_of(value: Option<&Value>) -> Option<Vec<(String, String)>> {
    let text = |value: &Value| match value {
        Value::String(text) if !text.contains(char::is_control) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(if *truth { "1" } else { "0" }.to_owned()),
        _ => None,
    };
    match value {
        None => Some(Vec::new()),
        Some(Value::Object(map)) => {
            map.iter().map(|(name, value)| Some((name.clone(), text(value)?))).collect()
        }
        Some(Value::String(words)) if !words.contains(char::is_control) => words_of(words)?
            .iter()
            .map(|word| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
            .collect(),
        Some(_) => None,
    }
}

/// Words between blanks; double quotes keep them together, and two stand for one. `None` when quotes are left open.
fn words_of(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                word.get_or_insert_default().push('"');
            }
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    (!quoted).then_some(words)
}

/// An option as a word of the line. A backslash at the end of a line would join the next one to it.
fn option(name: &str, value: &str) -> String {
    let word = format!("{name}={value}");
    if word.ends_with('\\') { format!("\"{}\"", word.replace('"', "\"\"")) } else { token(&word) }
}

/// A text as a comment of one line, which joins no other to it: PostgreSQL takes a backslash at the end for that, in
/// comments too.
pub(super) fn remark(text: &str) -> String {
    let line = text.replace(['\n', '\r'], " ");
    line.trim_end_matches(|c: char| c == '\\' || c.is_whitespace()).to_owned()
}

/// A source in its shortest exact form: networks with their prefix, host names as they are.
fn source_of(text: &str, mask: Option<&str>) -> Result<String, String> {
    const WORDS: &[&str] = &["all", "samehost", "samenet"];
    if mask.is_none() && WORDS.contains(&text) {
        return Ok(text.to_owned());
    }
    if let Some(word) = WORDS.iter().find(|word| word.eq_ignore_ascii_case(text)) {
        return Err(match mask {
            Some(_) => format!("`{word}` has no netmask"),
            None => format!("PostgreSQL's word is `{word}`"),
        });
    }
    // `ADDRESS MASK` and `ADDRESS/MASK` mean what a prefix length says.
    let pair = mask.map(|mask| (text, mask)).or_else(|| {
        let (address, mask) = text.split_once([' ', '/'])?;
        (text.contains(' ') || mask.contains(['.', ':'])).then_some((address, mask.trim()))
    });
    if let Some((address, mask)) = pair {
        let address: IpAddr = address.parse().map_err(|_| format!("`{address}` is no address"))?;
        let mask: IpAddr = mask.parse().map_err(|_| format!("`{mask}` is no netmask"))?;
        let network = ipnet::IpNet::with_netmask(address, mask)
            .map_err(|_| format!("`{mask}` is no netmask of `{address}`"))?;
        return source_of(&network.to_string(), None);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 }));
    }
    if text.contains('/') {
        let network: ipnet::IpNet = text.parse().map_err(|_| "no address with a prefix length".to_owned())?;
        if network.trunc() != network {
            return Err(format!("host bits are set; the network is {}", network.trunc()));
        }
        return Ok(network.to_string());
    }
    let name = text.strip_prefix('.').unwrap_or(text);
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let numeric = name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if numeric || !name.split('.').all(label) {
        return Err("neither a network nor an address nor a host name".to_owned());
    }
    Ok(text.to_owned())
}

fn is_loopback(source: &str) -> bool {
    match source.parse::<ipnet::IpNet>() {
        Ok(ipnet::IpNet::V4(network)) => network.network().is_loopback() && network.prefix_len() >= 8,
        Ok(ipnet::IpNet::V6(network)) => network.network().is_loopback() && network.prefix_len() == 128,
        Err(_) => source == "samehost",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sources_take_their_exact_form() {
        let table = [
            ("198.18.0.1", Ok("198.18.0.1/32")),
            ("fd00::1", Ok("fd00::1/128")),
            ("198.18.0.0/24", Ok("198.18.0.0/24")),
            ("198.18.0.0 255.255.255.0", Ok("198.18.0.0/24")),
            ("198.18.0.0/255.255.255.0", Ok("198.18.0.0/24")),
            ("fd00:: ffff:ffff:ffff:ffff::", Ok("fd00::/64")),
            (".example.org", Ok(".example.org")),
            ("db1.example.org", Ok("db1.example.org")),
            ("samenet", Ok("samenet")),
            ("ALL", Err("PostgreSQL's word is `all`")),
            ("198.18.0.7/24", Err("host bits are set; the network is 198.18.0.0/24")),
            ("198.18.0.7 255.255.255.0", Err("host bits are set; the network is 198.18.0.0/24")),
            ("198.18.0.0 255.0.255.0", Err("`255.0.255.0` is no netmask of `198.18.0.0`")),
        ];
        for (text, wanted) in table {
            assert_eq!(source_of(text, None).as_deref().map_err(String::as_str), wanted, "{text}");
        }
        assert_eq!(source_of("198.18.0.0", Some("255.255.0.0")).as_deref(), Ok("198.18.0.0/16"));
        assert!(source_of("all", Some("255.255.0.0")).is_err());
        for bad in ["198.18.0", "198.18.0.0/33", "a b", "", "1.2.3.4.5"] {
            assert!(source_of(bad, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn loopback_is_no_outside() {
        assert!(is_loopback("127.0.0.1/32") && is_loopback("::1/128") && is_loopback("127.0.0.0/8"));
        assert!(!is_loopback("0.0.0.0/0") && !is_loopback("all") && !is_loopback("::/0"));
    }

    #[test]
    fn options_keep_their_quotes_and_no_line_swallows_the_next() {
        let line = |options: Value| {
            let rule =
                json!({"type": "local", "method": "peer", "options": options, "comment": "the end \\"});
            Rule::decode(&rule, 1, 15).map(|rule| (rule.line(), rule.comment)).map_err(|fault| fault.message)
        };
        let (text, comment) = line(json!("map=\"my map\" krb_realm=A")).expect("a rule");
        assert!(text.ends_with("peer \"map=my map\" krb_realm=A"), "{text}");
        assert_eq!(comment, "the end");
        let (text, _) = line(json!({"map": "a\\"})).expect("a rule");
        assert!(text.ends_with("\"map=a\\\""), "{text}");
        assert!(line(json!("map=\"open")).is_err());
        assert_eq!(line(json!({"mpa": "x"})), Err("rule 1: `mpa` is no option of a rule".to_owned()));
    }

    #[test]
    fn postgres_gets_in_by_the_first_rule_that_surely_means_it() {
        let keeps = |rules: Value| {
            let rules = rules.as_array().expect("a list").iter();
            let rules: Vec<Rule> = rules.map(|rule| Rule::decode(rule, 1, 17).expect("a rule")).collect();
            keep_postgres(&rules).is_ok()
        };
        assert!(keeps(
            json!([{"type": "local", "databases": "sameuser", "users": "postgres", "method": "peer"}])
        ));
        assert!(!keeps(json!([{"type": "local", "users": ["/^post"], "method": "reject"},
            {"type": "local", "users": "postgres", "method": "peer"}])));
        assert!(!keeps(
            json!([{"type": "local", "databases": "replication", "users": "all", "method": "peer"}])
        ));
        assert!(!keeps(json!([{"type": "local", "users": "+postgres", "method": "peer"}])));
    }
}
