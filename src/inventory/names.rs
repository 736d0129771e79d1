//! What may be the name of a host or a group, and what an address or an account may look like.
//!
//! A name becomes part of paths (`host_vars/NAME`, records of certificates, `secrets/` ~ inventory_hostname), of
//! commands, patterns and messages. So it is made of letters and digits of any script, and of a few signs that mean
//! nothing anywhere.

/// The longest name: what DNS allows, and what fits into the name of a file.
const LONGEST: usize = 253;

/// Refuses what is no name of a host.
///
/// # Errors
/// What is wrong with it.
pub(super) fn host(name: &str) -> Result<(), String> {
    // The colon is for IPv6 addresses, with `%` before a zone.
    check(name, "host", ".-_:%@+")
}

/// Refuses what is no name of a group.
///
/// # Errors
/// What is wrong with it.
pub(super) fn group(name: &str) -> Result<(), String> {
    check(name, "group", ".-_@+")
}

/// Refuses what is no address: ssh would take a leading `-` for an option.
///
/// # Errors
/// What is wrong with it.
pub(super) fn address(name: &str) -> Result<(), String> {
    check(
        name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name),
        "address",
        ".-_:%@+",
    )
}

/// Refuses what cannot be the name of an account to log in as: also `DOMAIN\name` and `name@realm`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn account(name: &str) -> Result<(), String> {
    check(name, "account", ".-_@+\\$")
}

fn check(name: &str, what: &str, signs: &str) -> Result<(), String> {
    let shown = name.escape_debug();
    if name.is_empty() {
        return Err(format!("the name of a {what} is empty"));
    }
    if name.len() > LONGEST {
        let head: String = name.chars().take(20).collect();
        return Err(format!("`{}...` is longer than a name can be: {LONGEST} bytes", head.escape_debug()));
    }
    if let Some(stranger) = name.chars().find(|c| !c.is_alphanumeric() && !signs.contains(*c)) {
        return Err(match stranger {
            ' ' => format!("`{shown}` is no name of a {what}: it holds a blank"),
            c => format!("`{shown}` is no name of a {what}: it holds `{}`", c.escape_debug()),
        });
    }
    if name.contains("..") {
        return Err(format!("`{shown}` is no name of a {what}: it holds `..`"));
    }
    match name.chars().next() {
        Some(c) if c.is_alphanumeric() || c == '_' || name.starts_with("::") => Ok(()),
        _ => Err(format!("`{shown}` is no name of a {what}: it begins with a sign")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_nothing_to_a_path_or_a_shell() {
        for name in
            ["db1", "db-1.example.com", "_x", "2001:db8::1", "::1", "fe80::1%eth0", "größe", "データ1", "a@b"]
        {
            assert_eq!(host(name), Ok(()), "{name}");
        }
        let long = "a".repeat(254);
        for name in [
            "",
            ".",
            "..",
            "../../esc",
            "a/b",
            "/etc",
            "a..b",
            "a b",
            "a\tb",
            "a\nb",
            "a\0b",
            "-oProxyCommand=x",
            "a;b",
            "$(id)",
            "`id`",
            "a'b",
            "a\"b",
            "a|b",
            "a&b",
            "a<b",
            "a>b",
            "a*",
            "a?",
            "a[1]",
            "~root",
            "a\\b",
            "a,b",
            "!a",
            "\u{1b}[2J",
            "a\u{202e}b",
            "a\u{200b}",
            "a\u{a0}b",
            ".hidden",
            "#a",
            "{{x}}",
            "a=b",
            long.as_str(),
        ] {
            assert!(host(name).is_err(), "{name:?}");
            assert!(group(name).is_err(), "{name:?}");
            assert!(address(name).is_err(), "{name:?}");
        }
        assert!(group("a:b").is_err());
        assert_eq!(address("[2001:db8::1]"), Ok(()));
        assert_eq!(account("CORP\\eve"), Ok(()));
        assert_eq!(account("svc$"), Ok(()));
        assert!(account("-l").is_err());
        assert_eq!(host("../../esc"), Err("`../../esc` is no name of a host: it holds `/`".to_owned()));
        assert_eq!(host("a\u{1b}"), Err("`a\\u{1b}` is no name of a host: it holds `\\u{1b}`".to_owned()));
    }
}
