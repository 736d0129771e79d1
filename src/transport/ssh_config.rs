//! What the user's ssh_config says of a host: asked of the `ssh` binary itself (`ssh -G`), so that it is exact.

use super::endpoint::Endpoint;
use super::error::TransportError;
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;

/// How a host is reached.
pub(super) enum Resolved {
    /// By us: the hops in order, the host itself last.
    Native(Vec<Hop>),
    /// The configuration asks for what only the user's own binary can do.
    NeedsOpenSsh,
}

/// One SSH server on the way.
#[derive(Debug, Clone)]
pub(super) struct Hop {
    pub address: String,
    pub port: u16,
    pub user: String,
    /// Private key files, in the order to try.
    pub keys: Vec<PathBuf>,
    /// Whether the user named them (then a missing one is worth a word).
    pub named_keys: bool,
    pub certificates: Vec<PathBuf>,
    /// Only the keys named, no others of the agent.
    pub identities_only: bool,
    /// `None`: no agent.
    pub agent: Option<PathBuf>,
    /// First one is written to.
    pub known_hosts: Vec<PathBuf>,
    /// Name to look up in known_hosts.
    pub alias: Option<String>,
}

/// Resolves a host and the hosts to jump over.
pub(super) async fn resolve(endpoint: &Endpoint) -> Result<Resolved, TransportError> {
    let address = endpoint.address.as_deref().unwrap_or(&endpoint.name);
    let mut hops = Vec::new();
    let mut wanted =
        vec![Wanted { address: address.to_owned(), port: endpoint.port, user: endpoint.user.clone() }];
    // Jump hosts may have jump hosts; the last resolved is the first to connect to.
    while let Some(next) = wanted.pop() {
        if hops.len() > 8 {
            return Err(TransportError::config(format!("the ProxyJump of `{address}` leads in a circle")));
        }
        let config = match endpoint.ssh_config {
            true if hops.is_empty() => ask_ssh(&next, &endpoint.ssh_args).await?,
            true => ask_ssh(&next, &for_jumps(&endpoint.ssh_args)).await?,
            false => None,
        };
        let config = config.unwrap_or_default();
        let one =
            |key: &str| config.get(key).and_then(|values| values.first()).filter(|value| *value != "none");
        if !endpoint.jumps.is_empty() {
            if hops.is_empty() {
                wanted.extend(endpoint.jumps.iter().map(|jump| Wanted::parse(jump)));
            }
        } else if one("proxycommand").is_some() || one("pkcs11provider").is_some() {
            return Ok(Resolved::NeedsOpenSsh);
        } else if let Some(jumps) = one("proxyjump") {
            wanted.extend(jumps.split(',').map(Wanted::parse));
        }
        hops.push(hop(&next, &config, endpoint, hops.is_empty()));
    }
    hops.reverse();
    Ok(Resolved::Native(hops))
}

/// The options of a host that hold for the hosts on the way to it, too: as with ssh itself its configuration file, and
/// beyond that which network and which known hosts. The others say how the host itself is reached.
fn for_jumps(args: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut args = args.iter();
    let known = |option: &str| {
        let name = option.split(['=', ' ']).next().unwrap_or_default().to_ascii_lowercase();
        ["userknownhostsfile", "globalknownhostsfile", "addressfamily"].contains(&name.as_str())
    };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-4" | "-6" => kept.push(arg.clone()),
            "-F" => kept.extend(std::iter::once(arg).chain(args.next()).cloned()),
            "-o" => {
                if let Some(option) = args.next().filter(|option| known(option)) {
                    kept.extend([arg.clone(), option.clone()]);
                }
            }
            // Options with a value of their own: it is none of the above.
            _ if arg.len() == 2 && VALUED.contains(&arg[1..]) => drop(args.next()),
            _ if arg.starts_with("-F") => kept.push(arg.clone()),
            _ if arg.strip_prefix("-o").is_some_and(known) => kept.push(arg.clone()),
            _ => {}
        }
    }
    kept
}

/// ssh's options of one letter that take a value (ssh(1)).
const VALUED: &str = "BbcDEeIiJLlmOPpQRSWw";

type Config = HashMap<String, Vec<String>>;

struct Wanted {
    address: String,
    port: Option<u16>,
    user: Option<String>,
}

impl Wanted {
    /// `[user@]host[:port]` or `ssh://...`, as ProxyJump has it.
    fn parse(text: &str) -> Self {
        let text = text.trim().trim_start_matches("ssh://").trim_end_matches('/');
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, text),
        };
        let (address, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, port)) => (address, port.strip_prefix(':')),
            None if rest.matches(':').count() == 1 => {
                rest.split_once(':').map_or((rest, None), |(address, port)| (address, Some(port)))
            }
            None => (rest, None),
        };
        Self { address: address.to_owned(), port: port.and_then(|port| port.parse().ok()), user }
    }
}

/// `None` when there is no ssh binary here.
async fn ask_ssh(wanted: &Wanted, args: &[String]) -> Result<Option<Config>, TransportError> {
    let text = effective(wanted, args).await?;
    Ok(text.map(|text| parse(&text)))
}

/// What ssh would go by for the host, its options applied, as text of an ssh_config.
pub(super) async fn with_args(endpoint: &Endpoint) -> Result<String, TransportError> {
    let address = endpoint.address.as_deref().unwrap_or(&endpoint.name);
    let wanted = Wanted { address: address.to_owned(), port: endpoint.port, user: endpoint.user.clone() };
    let text = effective(&wanted, &endpoint.ssh_args).await?.unwrap_or_default();
    let kept = |line: &&str| {
        let key = line.split(' ').next().unwrap_or_default();
        // Those that say how the host is reached and who we are; how we connect is our own business.
        [
            "hostname",
            "identity",
            "certificatefile",
            "proxy",
            "pkcs11",
            "gssapi",
            "userknownhosts",
            "ciphers",
            "kex",
        ]
        .iter()
        .any(|start| key.starts_with(start))
    };
    Ok(text.lines().filter(kept).fold(String::new(), |text, line| text + line + "\n"))
}

async fn effective(wanted: &Wanted, args: &[String]) -> Result<Option<String>, TransportError> {
    let mut command = tokio::process::Command::new("ssh");
    command.arg("-G").args(args);
    if let Some(port) = wanted.port {
        command.args(["-p", &port.to_string()]);
    }
    if let Some(user) = &wanted.user {
        command.args(["-l", user]);
    }
    let out = command.arg("--").arg(&wanted.address).stdin(Stdio::null()).output().await;
    let out = match out {
        Ok(out) => out,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(TransportError::config(format!("cannot run `ssh -G`: {error}"))),
    };
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
        let options = if args.is_empty() { String::new() } else { format!(" with `{}`", args.join(" ")) };
        return Err(TransportError::config(format!("ssh_config cannot be used{options}: {said}")));
    }
    Ok(Some(String::from_utf8_lossy(&out.stdout).into_owned()))
}

fn parse(text: &str) -> Config {
    let mut config = Config::new();
    for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
        config.entry(key.to_ascii_lowercase()).or_default().push(value.trim().to_owned());
    }
    config
}

fn hop(wanted: &Wanted, config: &Config, endpoint: &Endpoint, last: bool) -> Hop {
    let one = |key: &str| {
        config.get(key).and_then(|values| values.first()).filter(|value| *value != "none").cloned()
    };
    let user = wanted.user.clone().or_else(|| one("user")).unwrap_or_else(local_user);
    let address = one("hostname").unwrap_or_else(|| wanted.address.clone());
    let port = wanted.port.or_else(|| one("port")?.parse().ok()).unwrap_or(22);
    let expand = |text: &str| {
        let text = text
            .replace("%h", &address)
            .replace("%r", &user)
            .replace("%d", &home())
            .replace("%p", &port.to_string());
        tilde(text.trim_matches('"'))
    };
    let named = !endpoint.keys.is_empty() && (last || !endpoint.jumps.is_empty());
    let keys = match config.get("identityfile") {
        _ if named => endpoint.keys.clone(),
        Some(files) => files.iter().filter(|file| *file != "none").map(|file| expand(file)).collect(),
        None => {
            ["id_ed25519", "id_ecdsa", "id_rsa"].iter().map(|name| tilde(&format!("~/.ssh/{name}"))).collect()
        }
    };
    let agent = match config.get("identityagent").and_then(|values| values.first()).map(String::as_str) {
        Some("none") => None,
        None | Some("SSH_AUTH_SOCK") => std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from),
        Some(path) => match path.strip_prefix('$') {
            Some(name) => std::env::var_os(name).map(PathBuf::from),
            None => Some(expand(path)),
        },
    };
    let known_hosts = if endpoint.known_hosts.is_empty() {
        let listed: Vec<PathBuf> = ["userknownhostsfile", "globalknownhostsfile"]
            .iter()
            .filter_map(|key| one(key))
            .flat_map(|files| files.split_ascii_whitespace().map(&expand).collect::<Vec<_>>())
            .collect();
        if listed.is_empty() {
            vec![tilde("~/.ssh/known_hosts"), PathBuf::from("/etc/ssh/ssh_known_hosts")]
        } else {
            listed
        }
    } else {
        endpoint.known_hosts.clone()
    };
    Hop {
        certificates: config.get("certificatefile").into_iter().flatten().map(|file| expand(file)).collect(),
        // As with `ssh -i` and IdentitiesOnly: a server ends the connection after a few wrong keys.
        identities_only: named || one("identitiesonly").as_deref() == Some("yes"),
        alias: one("hostkeyalias"),
        named_keys: named,
        user,
        address,
        port,
        keys,
        agent,
        known_hosts,
    }
}

fn local_user() -> String {
    std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "root".to_owned())
}

fn home() -> String {
    std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned())
}

fn tilde(path: &str) -> PathBuf {
    match path.strip_prefix("~/") {
        Some(rest) => PathBuf::from(home()).join(rest),
        None => PathBuf::from(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_file_goes_with_every_hop() {
        let kept = |args: &str| {
            let args: Vec<String> = args.split(' ').map(str::to_owned).collect();
            for_jumps(&args).join(" ")
        };
        assert_eq!(kept("-F cfg -J jb1 -o ProxyJump=jb1 -oUser=x -i -F"), "-F cfg");
        assert_eq!(kept("-p 22 -Fcfg -4 -C -vv -l me"), "-Fcfg -4");
        assert_eq!(
            kept("-o UserKnownHostsFile=kh -oGlobalKnownHostsFile=none -o IdentityFile=k"),
            "-o UserKnownHostsFile=kh -oGlobalKnownHostsFile=none"
        );
        assert_eq!(kept("-F"), "-F");
    }

    #[test]
    fn jumps_are_read_in_every_form() {
        for (text, address, port, user) in [
            ("bastion", "bastion", None, None),
            ("me@bastion:2222", "bastion", Some(2222), Some("me")),
            ("ssh://me@bastion:2222/", "bastion", Some(2222), Some("me")),
            ("[2001:db8::1]:22", "2001:db8::1", Some(22), None),
            ("2001:db8::1", "2001:db8::1", None, None),
        ] {
            let wanted = Wanted::parse(text);
            assert_eq!(
                (wanted.address.as_str(), wanted.port, wanted.user.as_deref()),
                (address, port, user),
                "{text}"
            );
        }
    }

    #[test]
    fn what_the_inventory_says_wins_over_ssh_config() {
        let config = parse(
            "hostname 198.18.1.1\nport 2222\nuser cfg\nidentityfile ~/.ssh/a\nidentityfile /k/%r\nidentitiesonly yes\n\
             userknownhostsfile ~/kh1 /kh2\nhostkeyalias db\ncertificatefile none\n",
        );
        let endpoint = Endpoint::new("db1");
        let wanted = Wanted { address: "db1".into(), port: None, user: None };
        let from_config = hop(&wanted, &config, &endpoint, true);
        assert_eq!(
            (from_config.address.as_str(), from_config.port, from_config.user.as_str()),
            ("198.18.1.1", 2222, "cfg")
        );
        assert_eq!(from_config.keys[1], PathBuf::from("/k/cfg"));
        assert_eq!(from_config.known_hosts.len(), 2);
        assert!(from_config.identities_only && from_config.alias.as_deref() == Some("db"));
        let endpoint = Endpoint { keys: vec!["/mine".into()], known_hosts: vec!["/kh".into()], ..endpoint };
        let wanted = Wanted { address: "db1".into(), port: Some(22), user: Some("me".into()) };
        let ours = hop(&wanted, &config, &endpoint, true);
        assert_eq!((ours.port, ours.user.as_str(), ours.keys.len()), (22, "me", 1));
        assert_eq!(ours.known_hosts, [PathBuf::from("/kh")]);
    }
}
