//! Filters of addresses and networks, as `ansible.utils.ipaddr` and its family.

use super::{Args, Filter, Refusal, int_of};
use crate::template::python;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) const FILTERS: &[(&str, Filter)] = &[
    ("ipaddr", ipaddr),
    ("ipmath", ipmath),
    ("ipsubnet", ipsubnet),
    ("ipv4", ipv4),
    ("ipv6", ipv6),
    ("ipwrap", ipwrap),
    ("network_in_network", network_in_network),
    ("nthhost", nthhost),
];

/// An address with or without its network.
#[derive(Clone, Copy)]
struct Given {
    net: IpNet,
    /// Whether a prefix or netmask was written.
    prefixed: bool,
}

fn parse(text: &str) -> Option<Given> {
    let text = text.trim();
    match text.split_once('/') {
        None => {
            text.parse::<IpAddr>().ok().map(|address| Given { net: IpNet::from(address), prefixed: false })
        }
        Some((address, tail)) => {
            let address: IpAddr = address.parse().ok()?;
            let length = match (tail.parse::<u8>(), tail.parse::<Ipv4Addr>()) {
                (Ok(length), _) => length,
                (_, Ok(mask)) => ipnet::ip_mask_to_prefix(IpAddr::V4(mask)).ok()?,
                _ => return None,
            };
            IpNet::new(address, length).ok().map(|net| Given { net, prefixed: true })
        }
    }
}

fn ipaddr(args: Args) -> Result<Value, Refusal> {
    asked(args, None)
}

fn ipv4(args: Args) -> Result<Value, Refusal> {
    asked(args, Some(4))
}

fn ipv6(args: Args) -> Result<Value, Refusal> {
    asked(args, Some(6))
}

/// `ipaddr(query='')`: false for what is no address; a list keeps the addresses in it.
fn asked(mut args: Args, family: Option<u8>) -> Result<Value, Refusal> {
    let input = args.input()?;
    let query = args.take("query").unwrap_or_else(|| Value::from(""));
    args.take_named("version");
    args.take_named("alias");
    args.done()?;
    let one = |value: &Value| -> Result<Value, Refusal> {
        let Some(given) = (match value {
            Value::String(text) => parse(text),
            _ => None,
        }) else {
            return Ok(Value::Bool(false));
        };
        match (family, given.net) {
            (Some(4), IpNet::V6(_)) | (Some(6), IpNet::V4(_)) => Ok(Value::Bool(false)),
            _ => answer(given, &python::str(value), &query),
        }
    };
    match &input {
        Value::Array(items) => {
            let answers = items.iter().map(one).collect::<Result<Vec<_>, _>>()?;
            Ok(answers.into_iter().filter(python::truthy).collect())
        }
        other => one(other),
    }
}

fn number_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

fn address_of(number: u128, like: IpAddr) -> Option<IpAddr> {
    Some(match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(u32::try_from(number).ok()?)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(number)),
    })
}

/// How many addresses a network has; `u128::MAX` for all of IPv6.
fn size(net: IpNet) -> u128 {
    1_u128.checked_shl(u32::from(net.max_prefix_len() - net.prefix_len())).unwrap_or(u128::MAX)
}

/// The address that many places into the network; negative counts from its end.
fn nth(net: IpNet, index: i64) -> Option<IpAddr> {
    let count = size(net);
    let offset = if index < 0 { count.checked_sub(u128::from(index.unsigned_abs()))? } else { index as u128 };
    if offset >= count {
        return None;
    }
    address_of(number_of(net.network()).checked_add(offset)?, net.addr())
}

fn answer(given: Given, text: &str, query: &Value) -> Result<Value, Refusal> {
    let Given { net, prefixed } = given;
    let is_network = prefixed && net.addr() == net.network() && net.prefix_len() < net.max_prefix_len();
    let text_of = |value: String| Ok(Value::String(value));
    let no = Ok(Value::Bool(false));
    let with_prefix = |address: IpAddr| format!("{address}/{}", net.prefix_len());
    if let Some(index) = int_of(query).filter(|_| !query.is_boolean()) {
        return nth(net, index).map_or(no, |address| text_of(with_prefix(address)));
    }
    match python::str(query).as_str() {
        "" => text_of(text.trim().to_owned()),
        "bool" => Ok(Value::Bool(true)),
        "address" | "ip" | "addr" => if is_network { no } else { text_of(net.addr().to_string()) },
        "host" | "host/prefix" | "hostnet" => if is_network { no } else { text_of(with_prefix(net.addr())) },
        "address/prefix" | "gateway" | "gw" | "net/prefix" => if is_network { no } else { text_of(with_prefix(net.addr())) },
        "net" => if is_network { text_of(net.to_string()) } else { no },
        "network" | "network_id" => text_of(net.network().to_string()),
        "network/prefix" | "subnet" | "cidr" => text_of(format!("{}/{}", net.network(), net.prefix_len())),
        "prefix" => Ok(Value::from(net.prefix_len())),
        "netmask" => text_of(net.netmask().to_string()),
        "hostmask" | "wildcard" => text_of(net.hostmask().to_string()),
        "broadcast" => match net {
            IpNet::V4(v4) if v4.prefix_len() < 31 => text_of(v4.broadcast().to_string()),
            _ => no,
        },
        "size" => Ok(u64::try_from(size(net)).map_or_else(|_| Value::String(size(net).to_string()), Value::from)),
        "first_usable" | "first" => usable(net, 1).map_or(no, |address| text_of(address.to_string())),
        "last_usable" | "last" => usable(net, -1).map_or(no, |address| text_of(address.to_string())),
        "next_usable" => neighbour(net, 1).map_or(no, |address| text_of(address.to_string())),
        "previous_usable" => neighbour(net, -1).map_or(no, |address| text_of(address.to_string())),
        "range_usable" => match (usable(net, 1), usable(net, -1)) {
            (Some(first), Some(last)) => text_of(format!("{first}-{last}")),
            _ => no,
        },
        "version" | "type" if python::str(query) == "version" => Ok(Value::from(if net.addr().is_ipv4() { 4 } else { 6 })),
        "type" => text_of(if is_network { "network" } else { "address" }.to_owned()),
        "int" => text_of(number_of(net.addr()).to_string()),
        "private" => if is_private(net.addr()) { text_of(text.trim().to_owned()) } else { no },
        "public" => if is_private(net.addr()) || is_special(net.addr()) { no } else { text_of(text.trim().to_owned()) },
        "loopback" | "lo" => if net.addr().is_loopback() { text_of(text.trim().to_owned()) } else { no },
        "multicast" => if net.addr().is_multicast() { text_of(text.trim().to_owned()) } else { no },
        "link-local" | "lladdr" => if is_link_local(net.addr()) { text_of(text.trim().to_owned()) } else { no },
        "unicast" => if net.addr().is_multicast() { no } else { text_of(text.trim().to_owned()) },
        "revdns" => text_of(reverse_name(net.addr())),
        "ipv4" | "v4" => if net.addr().is_ipv4() { text_of(text.trim().to_owned()) } else { no },
        "ipv6" | "v6" => if net.addr().is_ipv6() { text_of(text.trim().to_owned()) } else { no },
        "wrap" => text_of(wrapped(text)),
        other => match parse(other) {
            // A network as query: whether the address lies in it.
            Some(outer) => Ok(if outer.net.contains(&net) { Value::from(text.trim()) } else { Value::Bool(false) }),
            None => Err(Refusal::new(format!("unknown question `{other}`")).hint(
                "address, network, prefix, netmask, broadcast, host, subnet, size, first_usable, last_usable, private, public, revdns, a number or a network",
            )),
        },
    }
}

fn usable(net: IpNet, side: i64) -> Option<IpAddr> {
    // Two of a network's addresses are its own, except where there are no more than two.
    let inner = matches!(net, IpNet::V4(_)) && size(net) > 2;
    match (side > 0, inner) {
        (true, true) => nth(net, 1),
        (true, false) => nth(net, 0),
        (false, true) => nth(net, -2),
        (false, false) => nth(net, -1),
    }
}

fn neighbour(net: IpNet, step: i64) -> Option<IpAddr> {
    let number = number_of(net.addr()).checked_add_signed(i128::from(step))?;
    let address = address_of(number, net.addr())?;
    let (first, last) = (usable(net, 1)?, usable(net, -1)?);
    (number_of(first)..=number_of(last)).contains(&number).then_some(address)
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn is_special(address: IpAddr) -> bool {
    address.is_loopback() || address.is_multicast() || address.is_unspecified() || is_link_local(address)
}

fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        IpAddr::V6(address) => {
            let digits: String =
                format!("{:032x}", u128::from(address)).chars().rev().flat_map(|c| [c, '.']).collect();
            format!("{digits}ip6.arpa.")
        }
    }
}

fn wrapped(text: &str) -> String {
    match parse(text) {
        Some(Given { net: IpNet::V6(net), prefixed }) if prefixed => {
            format!("[{}]/{}", net.addr(), net.prefix_len())
        }
        Some(Given { net: IpNet::V6(net), .. }) => format!("[{}]", net.addr()),
        _ => text.to_owned(),
    }
}

/// Brackets around IPv6 addresses, as URLs want them; anything else as it is.
fn ipwrap(mut args: Args) -> Result<Value, Refusal> {
    let one = |value: &Value| Value::String(wrapped(&python::str(value)));
    Ok(match args.input()? {
        Value::Array(items) => items.iter().map(one).collect(),
        other => one(&other),
    })
}

/// `ipmath(amount)`.
fn ipmath(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    let amount = args.int("amount")?.ok_or("it needs a number")?;
    args.done()?;
    let given = parse(&text).ok_or("it takes an address")?;
    number_of(given.net.addr())
        .checked_add_signed(i128::from(amount))
        .and_then(|number| address_of(number, given.net.addr()))
        .map(|address| Value::String(address.to_string()))
        .ok_or_else(|| "there is no such address".into())
}

/// `nthhost(index)`.
fn nthhost(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    let index = args.int("query")?.ok_or("it needs a number")?;
    args.done()?;
    let given = parse(&text).ok_or("it takes a network")?;
    Ok(nth(given.net, index).map_or(Value::Bool(false), |address| Value::String(address.to_string())))
}

/// `network | network_in_network(inner)`.
fn network_in_network(mut args: Args) -> Result<Value, Refusal> {
    let outer = args.input_text()?;
    let inner = args.needed_text("test")?;
    args.done()?;
    Ok(Value::Bool(match (parse(&outer), parse(&inner)) {
        (Some(outer), Some(inner)) => outer.net.contains(&inner.net),
        _ => false,
    }))
}

/// `ipsubnet(prefix, index=None)`: how many subnets of that length there are, or one of them.
fn ipsubnet(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    let length = args.int("query")?;
    let index = args.int("index")?;
    args.done()?;
    let Some(given) = parse(&text) else { return Ok(Value::Bool(false)) };
    let net = given.net;
    let Some(length) = length else { return Ok(Value::String(net.trunc().to_string())) };
    let length = u8::try_from(length)
        .ok()
        .filter(|length| *length <= net.max_prefix_len())
        .ok_or("the prefix is out of range")?;
    let is_network = given.prefixed && net.addr() == net.network();
    if !is_network || length < net.prefix_len() {
        let outer = match net.addr() {
            IpAddr::V4(address) => Ipv4Net::new(address, length).map(|net| IpNet::V4(net.trunc())),
            IpAddr::V6(address) => Ipv6Net::new(address, length).map(|net| IpNet::V6(net.trunc())),
        };
        return Ok(outer.map_or(Value::Bool(false), |net| Value::String(net.to_string())));
    }
    let count = 1_u128.checked_shl(u32::from(length - net.prefix_len())).unwrap_or(u128::MAX);
    let Some(index) = index else { return Ok(Value::String(count.to_string())) };
    let place =
        if index < 0 { count.checked_sub(u128::from(index.unsigned_abs())) } else { Some(index as u128) };
    let step = 1_u128.checked_shl(u32::from(net.max_prefix_len() - length)).unwrap_or(u128::MAX);
    let start = place
        .filter(|place| *place < count)
        .and_then(|place| place.checked_mul(step))
        .and_then(|offset| number_of(net.network()).checked_add(offset))
        .and_then(|number| address_of(number, net.addr()));
    Ok(start.map_or(Value::Bool(false), |address| Value::String(format!("{address}/{length}"))))
}
