//! The text of a file that `postgresql_set` wrote: pure.

use serde_json::{Value, json};

/// Settings of a file of ours that no reason stands above: what a site needs besides the tuned ones. They stay.
pub fn unexplained(text: &str) -> Vec<(String, String)> {
    let without = entries(text).into_iter().filter(|(_, _, reason)| !reason);
    without.map(|(name, value, _)| (name.to_owned(), plain(value))).collect()
}

/// What a file of ours sets a setting to.
pub fn value(text: &str, name: &str) -> Option<String> {
    let (_, value, _) = entries(text).into_iter().find(|(known, ..)| *known == name)?;
    Some(plain(value))
}

/// Name, value as it stands, and whether a reason stands above.
fn entries(text: &str) -> Vec<(&str, &str, bool)> {
    let body = text.lines().skip_while(|line| line.starts_with('#'));
    let (mut found, mut reason) = (Vec::new(), false);
    for line in body {
        match line.trim() {
            "" => reason = false,
            line if line.starts_with('#') => reason = true,
            line => {
                if let Some((name, value)) = line.split_once('=') {
                    found.push((name.trim(), value.trim(), reason));
                }
                reason = false;
            }
        }
    }
    found
}

/// A value of postgresql.conf without its quotes, as `postgresql_set` writes them.
fn plain(literal: &str) -> String {
    let Some(body) = literal.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) else {
        return literal.to_owned();
    };
    let (mut text, mut chars) = (String::new(), body.chars());
    while let Some(c) = chars.next() {
        match c {
            '\'' => text.extend(chars.next()),
            '\\' => text.extend(chars.next().map(|next| match next {
                'n' => '\n',
                'r' => '\r',
                other => other,
            })),
            c => text.push(c),
        }
    }
    text
}

/// A text that a host told, for variables that are rendered: what looks like a template there is none.
pub fn literal(text: &str) -> Value {
    let templated = ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark));
    if templated { json!(text.replace('{', "{{ '{' }}")) } else { json!(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_site_needs_besides_is_kept_and_unquoted() {
        let text = "# Written by ishprov for oltp, 300 connections, 300 of them active: changes by hand are overwritten.\n\
                    # A file of a later name\n\n# a quarter of RAM\nshared_buffers = 2GB\n\n# why\n# why more\njit = off\n\
                    listen_addresses = '*'\nport = 5432\nssl_ca_file = '/etc/it''s\\\\ca.crt'\n";
        let kept = unexplained(text);
        let expected = [("listen_addresses", "*"), ("port", "5432"), ("ssl_ca_file", "/etc/it's\\ca.crt")];
        assert_eq!(kept, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let of = |name: &str| value(text, name);
        assert_eq!(of("shared_buffers").as_deref(), Some("2GB"));
        assert_eq!(of("ssl_ca_file").as_deref(), Some("/etc/it's\\ca.crt"));
        assert_eq!(of("buffers"), None);
    }
}
