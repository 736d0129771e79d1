//! One rule of ufw, as it is asked for, as ufw writes it down, and as the words that add or delete it.
//!
//! ufw keeps a comment line above each rule in `user.rules` and `user6.rules`:
//! `### tuple ### [route:]ACTION[_log] PROTO DPORT DST SPORT SRC [DAPP SAPP] DIRECTION[_IFACE][!out_IFACE] [comment=HEX]`

use crate::diag::Fault;
use std::net::IpAddr;

/// A rule without its address family: any address stands for both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `allow`, `deny`, `reject`, `limit`.
    pub action: String,
    /// `""`, `log` or `log-all`.
    pub log: &'static str,
    /// Forwarded packets instead of our own.
    pub route: bool,
    /// `in` or `out`.
    pub direction: &'static str,
    pub interface_in: Option<String>,
    pub interface_out: Option<String>,
    /// `any`, `tcp`, `udp`, ...
    pub proto: String,
    /// Normal form; `None` is any.
    pub from: Option<String>,
    /// Normal form; `None` is any.
    pub to: Option<String>,
    pub from_port: Option<String>,
    pub to_port: Option<String>,
    /// Application profile in place of the port.
    pub app: Option<String>,
    pub comment: Option<String>,
}

/// A rule that the host has, of one address family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuple {
    /// IPv6.
    pub v6: bool,
    action: String,
    proto: String,
    to_port: String,
    to: String,
    from_port: String,
    from: String,
    app: String,
    from_app: String,
    direction: String,
    comment: String,
}

/// How a rule stands to those of a host.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not there, in at least one family.
    Missing,
    /// There, with another action, logging or comment: what is there, for people.
    Differs(String),
    /// There.
    There,
}

impl Rule {
    /// Whether it is about IPv4 and IPv6.
    fn families(&self, ipv6: bool) -> (bool, bool) {
        let v6 = |address: &Option<String>| address.as_deref().map(|text| text.contains(':'));
        match (v6(&self.from), v6(&self.to)) {
            (Some(true), _) | (_, Some(true)) => (false, true),
            (Some(false), _) | (_, Some(false)) => (true, false),
            // These protocols are IPv4's own; ufw skips the other family.
            _ if matches!(self.proto.as_str(), "ipv6" | "igmp") => (true, false),
            _ => (true, ipv6),
        }
    }

    /// Holds it against the host's rules. `ipv6`: whether ufw manages IPv6.
    pub fn standing(&self, tuples: &[Tuple], ipv6: bool) -> Standing {
        let (v4, v6) = self.families(ipv6);
        let mut differs = None;
        for family in [v4.then_some(false), v6.then_some(true)].into_iter().flatten() {
            let Some(tuple) = tuples.iter().find(|tuple| tuple.v6 == family && self.same_place(tuple)) else {
                return Standing::Missing;
            };
            let comment = self.comment.as_ref().is_none_or(|comment| *comment == tuple.comment);
            if tuple.action != self.action_word() || !comment {
                differs = Some(tuple.shown());
            }
        }
        differs.map_or(Standing::There, Standing::Differs)
    }

    /// The rules of the host that deleting this one would remove.
    pub fn removed<'a>(&self, tuples: &'a [Tuple]) -> Vec<&'a Tuple> {
        let same = |tuple: &&Tuple| {
            let (v4, v6) = self.families(true);
            (if tuple.v6 { v6 } else { v4 }) && self.same_place(tuple) && tuple.action == self.action_word()
        };
        tuples.iter().filter(same).collect()
    }

    /// Whether it matches the same packets.
    fn same_place(&self, tuple: &Tuple) -> bool {
        let any = if tuple.v6 { "::/0" } else { "0.0.0.0/0" };
        let port = |port: &Option<String>| port.clone().unwrap_or_else(|| "any".to_owned());
        let place = match &self.app {
            // Which ports a profile stands for is ufw's business.
            Some(app) => tuple.app == *app,
            None => tuple.app == "-" && tuple.to_port == port(&self.to_port) && tuple.proto == self.proto,
        };
        place
            && tuple.from_app == "-"
            && tuple.from_port == port(&self.from_port)
            && tuple.from == self.from.as_deref().unwrap_or(any)
            && tuple.to == self.to.as_deref().unwrap_or(any)
            && tuple.direction == self.direction_word()
    }

    fn action_word(&self) -> String {
        let route = if self.route { "route:" } else { "" };
        let log = if self.log.is_empty() { String::new() } else { format!("_{}", self.log) };
        format!("{route}{}{log}", self.action)
    }

    fn direction_word(&self) -> String {
        match (&self.interface_in, &self.interface_out) {
            (Some(inside), Some(outside)) => format!("in_{inside}!out_{outside}"),
            (Some(inside), None) => format!("in_{inside}"),
            (None, Some(outside)) => format!("out_{outside}"),
            (None, None) => self.direction.to_owned(),
        }
    }

    /// The words behind `ufw` that add it (`place`: `prepend`, or `insert` and a number) or delete it.
    pub fn words(&self, place: &[&str]) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        let mut add = |more: &[&str]| words.extend(more.iter().map(|word| (*word).to_owned()));
        if self.route {
            add(&["route"]);
        }
        add(place);
        add(&[&self.action]);
        match (&self.interface_in, &self.interface_out) {
            (None, None) if !self.route => add(&[self.direction]),
            (inside, outside) => {
                inside.iter().for_each(|name| add(&["in", "on", name]));
                outside.iter().for_each(|name| add(&["out", "on", name]));
            }
        }
        if !self.log.is_empty() {
            add(&[self.log]);
        }
        if self.proto != "any" {
            add(&["proto", &self.proto]);
        }
        add(&["from", self.from.as_deref().unwrap_or("any")]);
        self.from_port.iter().for_each(|port| add(&["port", port]));
        add(&["to", self.to.as_deref().unwrap_or("any")]);
        self.to_port.iter().for_each(|port| add(&["port", port]));
        self.app.iter().for_each(|name| add(&["app", name]));
        if !place.contains(&"delete") {
            self.comment.iter().for_each(|comment| add(&["comment", comment]));
        }
        words
    }
}

impl Tuple {
    /// A line of `user.rules` (`v6`: of `user6.rules`).
    pub fn parse(line: &str, v6: bool) -> Option<Self> {
        let mut words: Vec<&str> = line.strip_prefix("### tuple ###")?.split_whitespace().collect();
        let comment = match words.last()?.strip_prefix("comment=") {
            Some(hex) => {
                words.pop();
                unhex(hex)
            }
            None => String::new(),
        };
        let (app, from_app, direction) = match words[..] {
            [_, _, _, _, _, _, direction] => ("-", "-", direction),
            [_, _, _, _, _, _, app, from_app, direction] => (app, from_app, direction),
            _ => return None,
        };
        let owned = |word: &str| word.to_owned();
        Some(Self {
            v6,
            action: owned(words[0]),
            proto: owned(words[1]),
            to_port: owned(words[2]),
            to: owned(words[3]),
            from_port: owned(words[4]),
            from: owned(words[5]),
            app: app.replace("%20", " "),
            from_app: from_app.replace("%20", " "),
            direction: owned(direction),
            comment,
        })
    }

    /// For people.
    pub fn shown(&self) -> String {
        let comment = if self.comment.is_empty() { String::new() } else { format!(" # {}", self.comment) };
        format!("{} {}{comment}", self.action, self.place())
    }

    fn place(&self) -> String {
        let port = if self.app == "-" { &self.to_port } else { &self.app };
        format!("{} {} {} from {}", self.direction, port, self.proto, self.from)
    }

    /// Its comment; empty when it has none.
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// Whether it lets a new TCP connection from `client` to `port` in, on any interface.
    pub fn admits(&self, client: IpAddr, port: u16) -> bool {
        self.action == "allow" && self.touches(client, port)
    }

    /// Whether it could turn such a connection away.
    pub fn hinders(&self, client: IpAddr, port: u16) -> bool {
        let own = ["deny", "reject", "limit"].iter().any(|word| self.action.starts_with(word));
        own && self.direction.starts_with("in") && self.touches_address(client) && self.touches_port(port)
    }

    fn touches(&self, client: IpAddr, port: u16) -> bool {
        self.direction == "in"
            && matches!(self.to.as_str(), "0.0.0.0/0" | "::/0")
            && self.from_port == "any"
            && self.touches_address(client)
            && self.touches_port(port)
    }

    fn touches_address(&self, client: IpAddr) -> bool {
        match self.from.parse::<ipnet::IpNet>() {
            Ok(net) => net.contains(&client),
            Err(_) => self.from.parse() == Ok(client),
        }
    }

    fn touches_port(&self, port: u16) -> bool {
        let fits = |range: &str| match range.split_once(':') {
            Some((first, last)) => {
                first.parse().is_ok_and(|first: u16| first <= port)
                    && last.parse().is_ok_and(|last: u16| port <= last)
            }
            None => range.parse() == Ok(port),
        };
        matches!(self.proto.as_str(), "tcp" | "any")
            && (self.to_port == "any" || self.to_port.split(',').any(fits))
    }
}

/// ufw's normal form of an address or network; `None` for any.
pub fn address(param: &str, text: &str) -> Result<Option<String>, Fault> {
    let wrong = || {
        Fault::param(param, format!("`{text}` is no address or network"))
            .hint("`198.18.0.7`, `198.18.0.0/24`, `fd00::/8` or `any`")
    };
    if matches!(text, "any" | "0.0.0.0/0" | "::/0") {
        return Ok(None);
    }
    let (host, mask) = match text.split_once('/') {
        Some((host, mask)) => (host, Some(mask)),
        None => (text, None),
    };
    let host: IpAddr = host.parse().map_err(|_| wrong())?;
    let full = if host.is_ipv6() { 128 } else { 32 };
    let prefix = match mask {
        None => full,
        Some(mask) => match mask.parse::<u8>() {
            Ok(prefix) if prefix <= full => prefix,
            Ok(_) => return Err(wrong()),
            Err(_) => {
                let mask: IpAddr = mask.parse().map_err(|_| wrong())?;
                ipnet::ip_mask_to_prefix(mask).map_err(|_| wrong())?
            }
        },
    };
    let net = ipnet::IpNet::new(host, prefix).map_err(|_| wrong())?;
    Ok(Some(match net {
        _ if prefix == full => host.to_string(),
        // ufw cuts the host's part off for IPv4 only.
        ipnet::IpNet::V4(net) => net.trunc().to_string(),
        ipnet::IpNet::V6(net) => net.to_string(),
    }))
}

/// ufw's normal form of ports: `80,443`, `6000:6007`; `None` for any. The second value tells a protocol
/// (`53/udp`).
pub fn ports(param: &str, text: &str) -> Result<(Option<String>, Option<String>), Fault> {
    if text == "any" {
        return Ok((None, None));
    }
    let (list, proto) = match text.split_once('/') {
        Some((list, proto)) => (list, Some(proto.to_owned())),
        None => (text, None),
    };
    let mut ranges = Vec::new();
    for range in list.split(',') {
        let number = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
        let parsed = match range.split_once([':', '-']) {
            Some((first, last)) => number(first).zip(number(last)).filter(|(first, last)| first < last),
            None => number(range).map(|port| (port, port)),
        };
        ranges.push(parsed.ok_or_else(|| {
            Fault::param(param, format!("`{range}` is no port"))
                .hint("a number, a range `6000:6007`, or several separated by commas; `name` takes an application profile")
        })?);
    }
    ranges.sort_unstable();
    let texts = ranges.iter().map(
        |(first, last)| {
            if first == last { first.to_string() } else { format!("{first}:{last}") }
        },
    );
    Ok((Some(texts.collect::<Vec<_>>().join(",")), proto))
}

/// iptables' name of a policy.
pub fn target(policy: &str) -> &'static str {
    match policy {
        "allow" => "accept",
        "reject" => "reject",
        _ => "drop",
    }
}

/// ufw's name of iptables' policy.
pub fn source(target: &str) -> &str {
    match target {
        "accept" => "allow",
        "drop" => "deny",
        other => other,
    }
}

fn unhex(hex: &str) -> String {
    let bytes = hex
        .as_bytes()
        .chunks(2)
        .map_while(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_ports_take_ufws_form() {
        for (text, wanted) in [
            ("198.18.0.5/24", Some("198.18.0.0/24")),
            ("198.18.0.5/255.255.255.0", Some("198.18.0.0/24")),
            ("10.0.0.1/32", Some("10.0.0.1")),
            ("2001:DB8:0:0::1", Some("2001:db8::1")),
            ("2001:db8::5/32", Some("2001:db8::5/32")),
            ("any", None),
        ] {
            assert_eq!(address("from", text).expect(text).as_deref(), wanted, "{text}");
        }
        assert!(address("from", "198.18.0").is_err() && address("from", "::1/200").is_err());
        for (text, wanted, proto) in [
            ("443,80", Some("80,443"), None),
            ("6000-6007/udp", Some("6000:6007"), Some("udp")),
            ("any", None, None),
        ] {
            let (ports, found) = ports("port", text).expect(text);
            assert_eq!((ports.as_deref(), found.as_deref()), (wanted, proto), "{text}");
        }
        assert!(ports("port", "ssh").is_err() && ports("port", "70000").is_err());
    }

    #[test]
    fn tuples_of_a_real_host() {
        let line = "### tuple ### limit_log tcp 80,443 0.0.0.0/0 any 198.18.1.0/24 WWW%20Full - in_eth0 comment=7067206974";
        let tuple = Tuple::parse(line, false).expect("parses");
        assert_eq!(
            (tuple.app.as_str(), tuple.comment(), tuple.direction.as_str()),
            ("WWW Full", "pg it", "in_eth0")
        );
        let client = "198.18.1.9".parse().expect("an address");
        assert!(tuple.hinders(client, 443) && !tuple.hinders(client, 22) && !tuple.admits(client, 443));
        let open =
            Tuple::parse("### tuple ### allow any 20:25 0.0.0.0/0 any 0.0.0.0/0 in", false).expect("parses");
        assert!(open.admits(client, 22) && !open.admits(client, 26));
        assert!(Tuple::parse("### RULES ###", false).is_none());
        assert!(Tuple::parse("### tuple ### allow", false).is_none());
    }
}
