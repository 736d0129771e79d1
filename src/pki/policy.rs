//! What certificates shall be: names, lifetimes, keys and usages, checked before anything is signed.

use crate::diag::Fault;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use time::Duration;

/// File mode of a private key on the control machine.
pub const KEY_MODE: u32 = 0o600;

/// Length of a serial number in bytes: 126 random bits remain, RFC 5280 allows 20 bytes.
pub const SERIAL_LEN: usize = 16;

/// How far a certificate's start lies in the past, for hosts whose clock is behind.
pub const BACKDATE: Duration = Duration::minutes(5);

/// RFC 5280 `ub-common-name`: longest common name in characters.
const MAX_COMMON_NAME: usize = 64;

/// The kinds of key that PostgreSQL, OpenSSL and our signer all handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum KeyKind {
    /// Small, fast, understood everywhere.
    #[default]
    EcdsaP256,
    /// For sites whose rules ask for 192 bits of security.
    EcdsaP384,
    /// Good for leaves. A CA with such a key breaks password logins over TLS, see [`CaPolicy::warning`].
    Ed25519,
    /// For old clients.
    Rsa2048,
    /// For sites whose rules ask for 128 bits of security and RSA.
    Rsa3072,
    /// Slow to make and to sign with.
    Rsa4096,
}

impl KeyKind {
    const ALL: [(Self, &str); 6] = [
        (Self::EcdsaP256, "ecdsa-p256"),
        (Self::EcdsaP384, "ecdsa-p384"),
        (Self::Ed25519, "ed25519"),
        (Self::Rsa2048, "rsa-2048"),
        (Self::Rsa3072, "rsa-3072"),
        (Self::Rsa4096, "rsa-4096"),
    ];

    /// Whether it is an RSA key of any size.
    pub fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(kind, _)| kind == self).map_or("", |(_, name)| name))
    }
}

impl FromStr for KeyKind {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        Self::ALL.iter().find(|(_, name)| *name == text).map(|(kind, _)| *kind).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|(_, name)| format!("`{name}`")).collect();
            Fault::param("key_kind", format!("unknown kind of key `{text}`"))
                .hint(format!("one of {}", names.join(", ")))
        })
    }
}

/// What a leaf may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Usage {
    /// To be connected to: EKU `serverAuth`.
    Server,
    /// To log in with: EKU `clientAuth`.
    Client,
    /// Members of one cluster talking to each other (etcd, Patroni).
    Peer,
}

impl Usage {
    /// Whether a server may present it.
    pub fn serves(self) -> bool {
        self != Self::Client
    }

    /// Whether a client may present it.
    pub fn logs_in(self) -> bool {
        self != Self::Server
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Peer => "server and client",
        })
    }
}

/// A subject alternative name: what a verifier compares with the name it connected to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum San {
    /// A host name, lower case, ASCII, without a final dot; `*` alone may be its first label.
    Dns(String),
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

impl FromStr for San {
    type Err = Fault;

    /// Reads an address or a host name by RFC 1123, with `_` and a leading `*.` allowed.
    fn from_str(text: &str) -> Result<Self, Fault> {
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(ip));
        }
        let refuse =
            |why: &str| Fault::param("names", format!("`{text}` cannot stand in a certificate: {why}"));
        if !text.is_ascii() {
            return Err(refuse("it is not ASCII").hint("write its punycode form, `xn--...`"));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if name.contains('%') {
            return Err(refuse("an address with a zone is of use on one host only"));
        }
        if name.contains('/') {
            return Err(
                refuse("it is a network, not an address").hint("name the addresses of the host one by one")
            );
        }
        if name.contains(':') {
            return Err(
                refuse("it is neither an address nor a host name").hint("a name stands without its port")
            );
        }
        if name.len() > 253 {
            return Err(refuse("a host name has at most 253 characters"));
        }
        let (plain, wildcard) = name.strip_prefix("*.").map_or((name.as_str(), false), |rest| (rest, true));
        for label in plain.split('.') {
            if label.is_empty() || label.len() > 63 {
                return Err(refuse("each part of a host name has 1 to 63 characters"));
            }
            if label.starts_with('-') || label.ends_with('-') {
                return Err(refuse("no part of a host name begins or ends with `-`"));
            }
            if let Some(c) = label.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-' && *c != '_') {
                return Err(refuse(&match c {
                    '*' => "`*` may only be the whole first part".to_string(),
                    c => format!("`{}` is no character of a host name", c.escape_default()),
                }));
            }
        }
        if wildcard && !plain.contains('.') {
            return Err(refuse("verifiers want at least two parts behind `*`"));
        }
        if plain.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
            return Err(refuse("its last part is a number, so it reads as a damaged address"));
        }
        Ok(Self::Dns(name))
    }
}

/// What a CA may sign for (RFC 5280 name constraints): verifiers refuse every other name below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permit {
    /// A DNS name and everything below it.
    Dns(String),
    /// A range of addresses.
    Net(ipnet::IpNet),
}

impl Permit {
    /// Whether the name lies within.
    pub fn covers(&self, san: &San) -> bool {
        match (self, san) {
            (Self::Dns(suffix), San::Dns(name)) => {
                let name = name.strip_prefix("*.").unwrap_or(name);
                name == suffix || name.strip_suffix(suffix.as_str()).is_some_and(|head| head.ends_with('.'))
            }
            (Self::Net(net), San::Ip(ip)) => net.contains(ip),
            _ => false,
        }
    }

    /// The first name that the constraints forbid. They hold for a kind of name (DNS, address) once one permits any of it.
    pub fn forbidden<'a>(permits: &[Self], sans: &'a [San]) -> Option<&'a San> {
        let same_kind =
            |permit: &Self, san: &San| matches!(permit, Self::Dns(_)) == matches!(san, San::Dns(_));
        sans.iter().find(|san| {
            permits.iter().any(|permit| same_kind(permit, san))
                && !permits.iter().any(|permit| permit.covers(san))
        })
    }
}

impl fmt::Display for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(suffix) => f.write_str(suffix),
            Self::Net(net) => net.fmt(f),
        }
    }
}

impl FromStr for Permit {
    type Err = Fault;

    /// Reads `example.org`, `10.0.0.0/8`, `10.0.0.1`.
    fn from_str(text: &str) -> Result<Self, Fault> {
        if let Ok(net) = text.parse::<ipnet::IpNet>() {
            return Ok(Self::Net(net.trunc()));
        }
        let refuse = |fault: Fault| Fault { param: Some("permit".to_owned()), ..fault };
        match text.strip_prefix('.').unwrap_or(text).parse::<San>().map_err(refuse)? {
            San::Ip(ip) => Ok(Self::Net(ip.into())),
            San::Dns(name) if name.starts_with("*.") => {
                Err(Fault::param("permit", format!("`{text}` is a wildcard"))
                    .hint("the suffix alone covers all below it"))
            }
            San::Dns(name) => Ok(Self::Dns(name)),
        }
    }
}

/// What a leaf certificate shall be. Build it with one of the constructors, then change fields as needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafPolicy {
    /// The subject's CN: for a client the PostgreSQL role, which `pg_hba.conf`'s `cert` compares.
    pub common_name: String,
    /// Subject alternative names, in the order they are written.
    pub sans: Vec<San>,
    /// What it may be used for.
    pub usage: Usage,
    /// The kind of its key.
    pub key_kind: KeyKind,
    /// Lifetime in days from now, 1 to 3650; never beyond the CA's.
    pub days: u32,
    /// How many days before its end it is issued again; at most a third of the lifetime counts.
    pub renew_before_days: u32,
}

impl LeafPolicy {
    /// A server with all its names and addresses. The first that fits 64 characters becomes the CN as well.
    ///
    /// # Errors
    /// A name that cannot stand in a certificate, no name at all, or none that fits the CN.
    pub fn server<I>(names: I) -> Result<Self, Fault>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let sans = sans(names)?;
        let common_name = sans.iter().map(San::to_string).find(|name| name.len() <= MAX_COMMON_NAME);
        let common_name = match common_name {
            Some(name) => name,
            None if sans.is_empty() => {
                return Err(Fault::param("names", "a server certificate needs a name"));
            }
            None => {
                return Err(Fault::param(
                    "names",
                    "every name is longer than the 64 characters of a common name",
                )
                .hint("add a short name or an address of the host"));
            }
        };
        Self::new(common_name, sans, Usage::Server)
    }

    /// A member of a cluster that both serves and connects.
    ///
    /// # Errors
    /// As [`server`](Self::server).
    pub fn peer<I>(names: I) -> Result<Self, Fault>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        Ok(Self { usage: Usage::Peer, ..Self::server(names)? })
    }

    /// A client that logs in as `role`.
    ///
    /// # Errors
    /// A role that cannot be a common name.
    pub fn client(role: &str) -> Result<Self, Fault> {
        Self::new(role.to_string(), Vec::new(), Usage::Client)
    }

    /// A standby that logs in as `role`; the names of its host tell the certificates of several standbys apart.
    ///
    /// # Errors
    /// A role that cannot be a common name, a name that cannot stand in a certificate.
    pub fn replication<I>(role: &str, names: I) -> Result<Self, Fault>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        Self::new(role.to_string(), sans(names)?, Usage::Client)
    }

    /// Checks every field; what signs and what decides call it first.
    ///
    /// # Errors
    /// The first field that cannot be.
    pub fn validate(&self) -> Result<(), Fault> {
        check_common_name(&self.common_name)?;
        for san in &self.sans {
            if let San::Dns(name) = san
                && name.parse::<San>()? != *san
            {
                return Err(Fault::param("names", format!("`{name}` is not in its plain form")));
            }
        }
        if self.usage.serves() && self.sans.is_empty() {
            return Err(Fault::param("names", "a server certificate needs a name"));
        }
        check_days(self.days, 3650)
    }

    /// How long before its end it is issued again.
    pub fn renew_before(&self) -> Duration {
        renew_before(self.days, self.renew_before_days)
    }

    fn new(common_name: String, sans: Vec<San>, usage: Usage) -> Result<Self, Fault> {
        let policy =
            Self { common_name, sans, usage, key_kind: KeyKind::default(), days: 365, renew_before_days: 30 };
        policy.validate()?;
        Ok(policy)
    }
}

/// What the CA shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaPolicy {
    /// The subject's CN: `main CA`.
    pub common_name: String,
    /// The subject's O, if any.
    pub organization: Option<String>,
    /// The kind of its key; counts for a new CA only.
    pub key_kind: KeyKind,
    /// Lifetime in days from now, 1 to 36500; counts for a new CA only.
    pub days: u32,
    /// The only names and addresses it may sign for; empty for any. Counts for a new CA only.
    pub permits: Vec<Permit>,
    /// How many days before its end it is due to be rotated; at most a third of the lifetime counts.
    pub renew_before_days: u32,
}

impl CaPolicy {
    /// A CA for ten years, due a year and a month before its end so that leaves never outlive it.
    ///
    /// # Errors
    /// A name that cannot be a common name.
    pub fn new(common_name: &str) -> Result<Self, Fault> {
        let policy = Self {
            common_name: common_name.to_string(),
            organization: None,
            key_kind: KeyKind::default(),
            days: 3650,
            permits: Vec::new(),
            renew_before_days: 395,
        };
        policy.validate()?;
        Ok(policy)
    }

    /// Checks every field.
    ///
    /// # Errors
    /// The first field that cannot be.
    pub fn validate(&self) -> Result<(), Fault> {
        check_common_name(&self.common_name)?;
        if let Some(organization) = &self.organization
            && (organization.is_empty() || organization.chars().count() > 64 || has_control(organization))
        {
            return Err(Fault::param("organization", "an organization has 1 to 64 printable characters"));
        }
        check_days(self.days, 36_500)
    }

    /// How long before its end it is due to be rotated.
    pub fn renew_before(&self) -> Duration {
        renew_before(self.days, self.renew_before_days)
    }

    /// What the user should know before a CA is made that way.
    pub fn warning(&self) -> Option<&'static str> {
        scram_warning(self.key_kind)
    }
}

/// RFC 5929 binds a SCRAM login to the digest of the server certificate's signature. Ed25519 has none, so both the
/// server and libpq (which binds by default) give up with `could not find digest for NID UNDEF`.
pub(super) fn scram_warning(ca_key: KeyKind) -> Option<&'static str> {
    (ca_key == KeyKind::Ed25519).then_some(
        "password logins (SCRAM) over TLS fail under an Ed25519 CA unless every client sets `channel_binding=disable`",
    )
}

fn sans<I>(names: I) -> Result<Vec<San>, Fault>
where
    I: IntoIterator<Item: AsRef<str>>,
{
    let mut sans = Vec::new();
    for name in names {
        let san = name.as_ref().parse()?;
        if !sans.contains(&san) {
            sans.push(san);
        }
    }
    Ok(sans)
}

fn check_common_name(name: &str) -> Result<(), Fault> {
    let refuse = |why: &str| Err(Fault::param("common_name", format!("`{}` {why}", name.escape_debug())));
    match name.chars().count() {
        0 => Err(Fault::param("common_name", "the common name is empty")),
        n if n > MAX_COMMON_NAME => refuse("is longer than the 64 characters of a common name"),
        // PostgreSQL refuses a certificate whose CN holds a NUL, and nobody can type the others.
        _ if has_control(name) => refuse("holds a control character"),
        _ => Ok(()),
    }
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

fn check_days(days: u32, most: u32) -> Result<(), Fault> {
    if (1..=most).contains(&days) {
        return Ok(());
    }
    Err(Fault::param("days", format!("a lifetime of {days} days is not possible: 1 to {most}")))
}

/// A third of the lifetime at most: otherwise a short-lived certificate would be due the moment it is issued.
fn renew_before(days: u32, renew_before_days: u32) -> Duration {
    Duration::days(renew_before_days.into()).min(Duration::days(days.into()) / 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_told_apart() {
        let dns = |name: &str| San::Dns(name.to_string());
        let cases = [
            ("pg-primary", dns("pg-primary")),
            ("PG.Example.org.", dns("pg.example.org")),
            ("*.example.org", dns("*.example.org")),
            ("xn--bcher-kva.example", dns("xn--bcher-kva.example")),
            ("pg_1.local", dns("pg_1.local")),
            ("10.0.0.1", San::Ip("10.0.0.1".parse().unwrap())),
            ("FD00::0:1", San::Ip("fd00::1".parse().unwrap())),
        ];
        for (text, san) in cases {
            assert_eq!(text.parse::<San>().unwrap(), san);
        }
    }

    #[test]
    fn impossible_names_say_why() {
        let long = "a".repeat(64);
        let longer = ["abcdefghi"; 26].join(".");
        let cases = [
            ("", "1 to 63 characters"),
            ("a..b", "1 to 63 characters"),
            (&long, "1 to 63 characters"),
            (&longer, "at most 253 characters"),
            ("-a", "begins or ends with `-`"),
            ("a b", "` ` is no character"),
            ("a*.example.org", "`*` may only be the whole first part"),
            ("*.org", "two parts behind `*`"),
            ("*", "`*` may only be the whole first part"),
            ("bücher.example", "not ASCII"),
            ("10.0.0.300", "damaged address"),
            ("10.0.0.0/24", "a network"),
            ("fe80::1%eth0", "a zone"),
            ("pg:5432", "neither an address nor a host name"),
        ];
        for (text, why) in cases {
            let fault = text.parse::<San>().unwrap_err();
            assert!(fault.message.contains(why), "{text}: {}", fault.message);
            assert_eq!(fault.param.as_deref(), Some("names"));
        }
    }

    #[test]
    fn the_common_name_of_a_server_is_the_first_that_fits() {
        let long = format!("{}.{}.example.org", "a".repeat(40), "b".repeat(40));
        let policy = LeafPolicy::server([long.as_str(), "10.0.0.1", "pg1"]).unwrap();
        assert_eq!(policy.common_name, "10.0.0.1");
        assert_eq!(policy.sans.len(), 3);
        let fault = LeafPolicy::server([long]).unwrap_err();
        assert!(fault.message.contains("64 characters"), "{}", fault.message);
        assert!(LeafPolicy::server(Vec::<String>::new()).unwrap_err().message.contains("needs a name"));
        assert_eq!(LeafPolicy::server(["a.b", "A.B."]).unwrap().sans.len(), 1);
    }

    #[test]
    fn a_role_is_a_common_name_of_at_most_64_characters() {
        assert!(LeafPolicy::client(&"ü".repeat(64)).is_ok());
        for role in ["", "a\0b", &"a".repeat(65)] {
            assert_eq!(
                LeafPolicy::client(role).unwrap_err().param.as_deref(),
                Some("common_name"),
                "{role:?}"
            );
        }
    }

    #[test]
    fn lifetimes_are_bounded_and_short_ones_are_not_due_at_once() {
        let mut policy = LeafPolicy::client("app").unwrap();
        assert_eq!(policy.renew_before(), Duration::days(30));
        policy.days = 3;
        assert_eq!(policy.renew_before(), Duration::days(1));
        for days in [0, 3651] {
            policy.days = days;
            assert_eq!(policy.validate().unwrap_err().param.as_deref(), Some("days"));
        }
    }

    #[test]
    fn only_an_ed25519_ca_is_warned_of() {
        for (kind, _) in KeyKind::ALL {
            let policy = CaPolicy { key_kind: kind, ..CaPolicy::new("main CA").unwrap() };
            assert_eq!(policy.warning().is_some(), kind == KeyKind::Ed25519);
        }
    }

    #[test]
    fn kinds_of_key_are_read_back_from_their_names() {
        for (kind, name) in KeyKind::ALL {
            assert_eq!(name.parse::<KeyKind>().unwrap(), kind);
            assert_eq!(kind.to_string(), name);
        }
        assert!("dsa".parse::<KeyKind>().is_err());
    }
}
