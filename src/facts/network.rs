//! Addresses, interfaces, the way out, and the connection this session came by.

use super::answer::Answer;
use serde_json::{Map, Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Adds the network facts.
pub fn gather(answer: &Answer, facts: &mut Map<String, Value>, ours: &mut Map<String, Value>) {
    let addresses: Vec<Address> =
        answer.section("ip").iter().filter_map(|line| Address::parse(line)).collect();
    let interfaces = interfaces(answer, &addresses);
    let all = |v6: bool| -> Vec<String> {
        let kind = addresses.iter().filter(|a| a.address.is_ipv6() == v6 && a.scope != "host");
        kind.filter(|a| !a.address.is_loopback()).map(|a| a.address.to_string()).collect()
    };
    facts.insert("all_ipv4_addresses".to_owned(), json!(all(false)));
    facts.insert("all_ipv6_addresses".to_owned(), json!(all(true)));
    facts.insert("default_ipv4".to_owned(), way_out(route(answer, "8.8.8.8 "), &addresses, &interfaces));
    facts.insert("default_ipv6".to_owned(), way_out(route(answer, "2404:"), &addresses, &interfaces));
    let names: Vec<&str> = interfaces.iter().map(|(name, _)| *name).collect();
    facts.insert("interfaces".to_owned(), json!(names));
    for (name, interface) in interfaces {
        // Ansible's rule for names that are no identifiers.
        let key = name.replace(['-', '.', ':'], "_");
        facts.entry(key).or_insert(Value::Object(interface));
    }
    ours.insert(
        "ssh_connection".to_owned(),
        json!(connection(answer.section("ssh").iter().copied()).map(shown)),
    );
}

struct Address<'a> {
    interface: &'a str,
    address: IpAddr,
    prefix: u8,
    broadcast: Option<&'a str>,
    scope: &'a str,
    secondary: bool,
}

impl<'a> Address<'a> {
    /// `4: eth0    inet 192.0.2.2/24 brd 192.0.2.255 scope global eth0\ ...`
    fn parse(line: &'a str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let behind =
            |word: &str| words.iter().position(|w| *w == word).and_then(|at| words.get(at + 1)).copied();
        let address = behind("inet").or_else(|| behind("inet6"))?;
        let (address, prefix) = match address.split_once('/') {
            Some((address, prefix)) => (address.parse().ok()?, prefix.parse().ok()?),
            // Point to point: `inet 10.0.0.1 peer 10.0.0.2/32`.
            None => (address.parse().ok()?, 32),
        };
        Some(Self {
            interface: words.get(1)?.split('@').next()?.trim_end_matches(':'),
            address,
            prefix,
            broadcast: behind("brd"),
            scope: behind("scope").unwrap_or("global"),
            secondary: words.contains(&"secondary"),
        })
    }

    fn show(&self) -> Value {
        match self.address {
            IpAddr::V4(address) => {
                let mask = mask(self.prefix);
                let network = Ipv4Addr::from_bits(address.to_bits() & mask.to_bits());
                json!({
                    "address": address.to_string(), "broadcast": self.broadcast.unwrap_or_default(),
                    "netmask": mask.to_string(), "network": network.to_string(),
                    "prefix": self.prefix.to_string(),
                })
            }
            IpAddr::V6(address) => {
                json!({"address": address.to_string(), "prefix": self.prefix.to_string(), "scope": self.scope})
            }
        }
    }
}

fn mask(prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0))
}

fn interfaces<'a>(answer: &Answer<'a>, addresses: &[Address<'a>]) -> Vec<(&'a str, Map<String, Value>)> {
    let mut interfaces: Vec<(&str, Map<String, Value>)> = Vec::new();
    for (path, value) in answer.below("/sys/class/net") {
        let Some((name, file)) = path.split_once('/') else { continue };
        let at = match interfaces.iter().position(|(known, _)| *known == name) {
            Some(at) => at,
            None => {
                interfaces.push((name, Map::from_iter([("device".to_owned(), json!(name))])));
                interfaces.len() - 1
            }
        };
        let map = &mut interfaces[at].1;
        match file {
            "address" => map.insert("macaddress".to_owned(), json!(value)),
            "mtu" => map.insert("mtu".to_owned(), json!(value.parse::<u64>().ok())),
            // Loopback and tunnels say `unknown` while they are up.
            "operstate" => map.insert("active".to_owned(), json!(value != "down")),
            "type" => {
                let kind = match value {
                    "1" => "ether",
                    "772" => "loopback",
                    _ => "unknown",
                };
                map.insert("type".to_owned(), json!(kind))
            }
            _ => None,
        };
    }
    for (name, map) in &mut interfaces {
        let own = || addresses.iter().filter(|address| address.interface == *name);
        let mut v4: Vec<&Address> = own().filter(|a| a.address.is_ipv4()).collect();
        v4.sort_by_key(|address| address.secondary);
        let mut v4 = v4.into_iter().map(Address::show);
        if let Some(first) = v4.next() {
            map.insert("ipv4".to_owned(), first);
        }
        let rest: Vec<Value> = v4.collect();
        if !rest.is_empty() {
            map.insert("ipv4_secondaries".to_owned(), json!(rest));
        }
        let v6: Vec<Value> = own().filter(|a| a.address.is_ipv6()).map(Address::show).collect();
        if !v6.is_empty() {
            map.insert("ipv6".to_owned(), json!(v6));
        }
    }
    interfaces
}

/// The kernel's answer to which way leads to a well-known address.
fn route<'a>(answer: &Answer<'a>, start: &str) -> Option<&'a str> {
    answer.section("ip").iter().find(|line| line.starts_with(start)).copied()
}

/// Ansible's `default_ipv4`: interface, gateway and source address of the way to the internet.
fn way_out(line: Option<&str>, addresses: &[Address], interfaces: &[(&str, Map<String, Value>)]) -> Value {
    let words: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
    let behind = |word: &str| words.iter().position(|w| *w == word).and_then(|at| words.get(at + 1)).copied();
    let (Some(name), Some(source)) = (behind("dev"), behind("src")) else { return json!({}) };
    let Ok(source) = source.parse::<IpAddr>() else { return json!({}) };
    let mut map = match addresses.iter().find(|a| a.address == source && a.interface == name) {
        Some(address) => address.show(),
        None => json!({"address": source.to_string()}),
    };
    if let Some(map) = map.as_object_mut() {
        map.insert("interface".to_owned(), json!(name));
        map.insert("alias".to_owned(), json!(name));
        if let Some(gateway) = behind("via") {
            map.insert("gateway".to_owned(), json!(gateway));
        }
        if let Some((_, interface)) = interfaces.iter().find(|(known, _)| *known == name) {
            for key in ["macaddress", "mtu", "type"] {
                map.extend(interface.get(key).map(|value| (key.to_owned(), value.clone())));
            }
        }
    }
    map
}

/// The TCP connection that a session came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// Address of the control machine, as the host sees it.
    pub client: IpAddr,
    /// Its port.
    pub client_port: u16,
    /// The host's own address.
    pub server: IpAddr,
    /// The port that sshd answered on.
    pub server_port: u16,
}

/// The connection among lines of /proc/net/tcp and tcp6; `None` when this is no session over a network.
pub fn connection<'a>(lines: impl IntoIterator<Item = &'a str>) -> Option<Connection> {
    let sockets = lines.into_iter().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (server, server_port) = endpoint(words.nth(1)?)?;
        let (client, client_port) = endpoint(words.next()?)?;
        Some(Connection { client, client_port, server, server_port })
    });
    sockets.last()
}

fn shown(connection: Connection) -> Value {
    json!({
        "client": connection.client.to_string(), "client_port": connection.client_port,
        "server": connection.server.to_string(), "server_port": connection.server_port,
    })
}

/// `0202000A:0016`: the address as host-order words of the (little-endian) kernel, the port in plain hex.
fn endpoint(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::new();
    for word in address.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_le_bytes());
    }
    let address = match <[u8; 16]>::try_from(bytes.as_slice()) {
        Ok(bytes) => Ipv6Addr::from(bytes).to_canonical(),
        Err(_) => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.as_slice()).ok()?)),
    };
    Some((address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_the_kernel_are_read() {
        let v4 = "  12: 0202C6C6:0016 0102C6C6:D431 01 00000000:00000000 02:00000000 00000000 0 0 77 2 0";
        assert_eq!(
            json!(connection([v4]).map(shown)),
            json!({"client": "198.198.2.1", "client_port": 54321, "server": "198.198.2.2", "server_port": 22})
        );
        let mapped = endpoint("0000000000000000FFFF00000202C6C6:0016").expect("parses");
        assert_eq!(mapped, ("198.198.2.2".parse().expect("an address"), 22));
        let v6 = endpoint("000000FD000000000000000002000000:08AE").expect("parses");
        assert_eq!(v6, ("fd00::2".parse().expect("an address"), 2222));
        assert_eq!(connection([]), None);
    }

    #[test]
    fn netmasks() {
        for (prefix, text) in [(0, "0.0.0.0"), (15, "255.254.0.0"), (32, "255.255.255.255")] {
            assert_eq!(mask(prefix).to_string(), text);
        }
    }
}
