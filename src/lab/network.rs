//! The lab's bridge, its way out, and cuts between hosts. Everything carries the lab's mark; what does not is left
//! alone.

use super::cgroup::Cgroups;
use super::command::{QUICK, run, run_with_input, try_run};
use super::record::{NetworkRecord, io_failure};
use super::{LabHost, LabResult};
use crate::diag::Diagnostic;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

/// A comment in nft holds 128 bytes, an interface's alias 255.
const MARK_MAX: usize = 100;
const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Checks the hosts' addresses and names the subnet and gateway that follow from them. Pure.
pub(super) fn subnet_of(hosts: &[LabHost]) -> LabResult<(Ipv4Addr, Ipv4Addr)> {
    let mut faults = Vec::new();
    for host in hosts {
        let [a, b, _, last] = host.address.octets();
        if a != 198 || !(18..=19).contains(&b) {
            faults.push(
                Diagnostic::error("lab-address", format!("address {} is not one the lab may use", host.address))
                    .host(&host.name)
                    .hint("choose addresses inside 198.18.0.0/15, which is set aside for test networks: nothing real answers there"),
            );
        } else if last == 0 || last == 255 {
            let fault = format!("address {} is the network's own or its broadcast", host.address);
            faults.push(Diagnostic::error("lab-address", fault).host(&host.name));
        }
    }
    let subnets: BTreeSet<Ipv4Addr> = hosts.iter().map(|host| first_of_24(host.address)).collect();
    if subnets.len() > 1 && faults.is_empty() {
        let list: Vec<String> = subnets.iter().map(|subnet| format!("{subnet}/24")).collect();
        faults.push(
            Diagnostic::error("lab-address", format!("the hosts are spread over {}", list.join(" and ")))
                .hint("one lab is one /24: give all its hosts addresses that differ in the last number only"),
        );
    }
    let Some(subnet) = subnets.first() else {
        return Err(vec![
            Diagnostic::error("lab-no-hosts", "the lab has no hosts").hint("name at least one host"),
        ]);
    };
    if !faults.is_empty() {
        return Err(faults);
    }
    let [a, b, c, _] = subnet.octets();
    let taken = |last: u8| hosts.iter().any(|host| host.address.octets()[3] == last);
    let gateway = [1, 254].into_iter().chain(2..=253).find(|last| !taken(*last));
    let Some(gateway) = gateway else {
        return Err(vec![Diagnostic::error(
            "lab-address",
            format!("{subnet}/24 has no address left for the gateway"),
        )]);
    };
    Ok((*subnet, Ipv4Addr::new(a, b, c, gateway)))
}

/// What is written on the bridge and the nft tables: whose they are.
pub(super) fn mark(lab_dir: &Path) -> String {
    let path: Vec<char> =
        lab_dir.to_string_lossy().chars().filter(|c| c.is_ascii_graphic() && *c != '"').collect();
    let end: String = path[path.len().saturating_sub(MARK_MAX)..].iter().collect();
    format!("ishprov lab {end}")
}

/// A number that nothing on this machine uses yet.
pub(super) fn free_id(cgroups: &Cgroups, taken: &[String]) -> LabResult<String> {
    let tables = run(QUICK, "nft", &["list", "tables"])?;
    let used = |id: &str| {
        link_exists(id)
            || !cables(id).is_empty()
            || cgroups.exists(id)
            || taken.iter().any(|other| other == id)
            || tables.lines().any(|line| line.split_whitespace().last() == Some(id))
    };
    (0..1000).map(|number| format!("ishlab{number}")).find(|id| !used(id)).ok_or_else(|| {
        vec![
            Diagnostic::error("lab-too-many", "1000 labs exist on this machine")
                .hint("remove some with `lab down`"),
        ]
    })
}

/// Makes the bridge with its gateway address, forwarding, masquerade and the tables for cuts; leaves what is right.
pub(super) fn ensure(network: &NetworkRecord, mark: &str) -> LabResult<()> {
    let id = &network.id;
    if link_exists(id) {
        own_link_or_refuse(id, mark)?;
    }
    refuse_taken(network, |_| None)?;
    if !link_exists(id) {
        run(QUICK, "ip", &["link", "add", "name", id, "address", &mac_of(mark), "type", "bridge"])?;
    }
    // For people; the kernel takes it only after the link was made.
    run(QUICK, "ip", &["link", "set", id, "alias", mark])?;
    run(QUICK, "ip", &["address", "replace", &format!("{}/24", network.gateway), "dev", id])?;
    run(QUICK, "ip", &["link", "set", id, "up"])?;
    for family in ["ip", "bridge"] {
        match table_mark(family, id)? {
            Some(found) if found == mark => {}
            Some(_) => return Err(not_ours(&format!("nft table `{family} {id}`"))),
            // One transaction: a table is there whole or not at all.
            None => {
                drop(run_with_input(QUICK, "nft", &["-f", "-"], ruleset(family, network, mark).as_bytes())?)
            }
        }
    }
    Ok(())
}

/// Refuses a subnet that this machine already reaches by another way. `holder` knows which lab has a bridge.
pub(super) fn refuse_taken(
    network: &NetworkRecord,
    holder: impl Fn(&str) -> Option<String>,
) -> LabResult<()> {
    refuse_foreign_routes(network, &run(QUICK, "ip", &["-j", "-4", "route", "show", "table", "all"])?, holder)
}

/// Removes bridge and tables, if they are ours.
pub(super) fn remove(network: &NetworkRecord, mark: &str) -> LabResult<()> {
    let id = &network.id;
    for family in ["ip", "bridge"] {
        match table_mark(family, id)? {
            None => {}
            Some(found) if found == mark => drop(run(QUICK, "nft", &["delete", "table", family, id])?),
            Some(_) => return Err(not_ours(&format!("nft table `{family} {id}`"))),
        }
    }
    if link_exists(id) {
        own_link_or_refuse(id, mark)?;
        // A host's network may outlive the host for a while, and its cable's name would stand in the next one's way.
        for cable in cables(id) {
            // It may go by itself just now.
            let _ = run(QUICK, "ip", &["link", "delete", &cable]);
        }
        run(QUICK, "ip", &["link", "delete", id])?;
    }
    Ok(())
}

/// Switches forwarding on and returns what it was before.
pub(super) fn enable_forwarding() -> LabResult<bool> {
    let file = Path::new(IP_FORWARD);
    let was = fs::read_to_string(file).map_err(|error| io_failure("read", file, &error))?.trim() == "1";
    if !was {
        set_forwarding(true)?;
    }
    Ok(was)
}

/// Sets forwarding.
pub(super) fn set_forwarding(on: bool) -> LabResult<()> {
    let file = Path::new(IP_FORWARD);
    fs::write(file, if on { "1" } else { "0" }).map_err(|error| io_failure("write", file, &error))
}

/// Whether any lab's bridge is left on this machine.
pub(super) fn any_left() -> bool {
    let links = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    links.filter_map(|link| link.file_name().into_string().ok()).any(|name| name.starts_with("ishlab"))
}

/// Drops every frame from and to an address, the control machine's included.
pub(super) fn cut(network: &NetworkRecord, address: Ipv4Addr) -> LabResult<()> {
    element("add", network, "cut", &address.to_string())
}

/// Drops every frame between two addresses, both ways.
pub(super) fn cut_pair(network: &NetworkRecord, one: Ipv4Addr, other: Ipv4Addr) -> LabResult<()> {
    element("add", network, "pairs", &format!("{one} . {other}, {other} . {one}"))
}

/// Undoes every cut that touches an address; tells whether there was one.
pub(super) fn join(network: &NetworkRecord, address: Ipv4Addr) -> LabResult<bool> {
    let mut found = false;
    let cuts = cuts(network)?;
    let address = address.to_string();
    if cuts.alone.contains(&address) {
        element("delete", network, "cut", &address)?;
        found = true;
    }
    for (one, other) in cuts.pairs.iter().filter(|(one, other)| *one == address || *other == address) {
        element("delete", network, "pairs", &format!("{one} . {other}"))?;
        found = true;
    }
    Ok(found)
}

/// The addresses that are cut off now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cuts {
    pub alone: BTreeSet<String>,
    pub pairs: BTreeSet<(String, String)>,
}

/// Reads the cuts that hold now.
pub(super) fn cuts(network: &NetworkRecord) -> LabResult<Cuts> {
    let finished = try_run(QUICK, "nft", &["-j", "list", "table", "bridge", &network.id], b"")?;
    // No table, no cuts.
    Ok(if finished.ok() { parse_cuts(&finished.stdout) } else { Cuts::default() })
}

fn parse_cuts(json: &str) -> Cuts {
    let mut cuts = Cuts::default();
    let parsed: Value = serde_json::from_str(json).unwrap_or_default();
    let items = parsed["nftables"].as_array().into_iter().flatten();
    for set in items.map(|item| &item["set"]).filter(|set| !set.is_null()) {
        for element in set["elem"].as_array().into_iter().flatten() {
            if let Some(address) = element.as_str() {
                cuts.alone.insert(address.to_owned());
            } else if let [Value::String(one), Value::String(other)] =
                element["concat"].as_array().map_or(&[][..], Vec::as_slice)
            {
                cuts.pairs.insert((one.clone(), other.clone()));
            }
        }
    }
    cuts
}

fn element(verb: &str, network: &NetworkRecord, set: &str, elements: &str) -> LabResult<()> {
    run(QUICK, "nft", &[verb, "element", "bridge", &network.id, set, &format!("{{ {elements} }}")]).map(drop)
}

fn ruleset(family: &str, network: &NetworkRecord, mark: &str) -> String {
    let id = &network.id;
    let mut text = format!("add table {family} {id} {{ comment \"{mark}\"; }}\n");
    if family == "ip" {
        let subnet = format!("{}/24", network.subnet);
        text.push_str(&format!(
            "add chain ip {id} leave {{ type nat hook postrouting priority 100; }}\n\
             add rule ip {id} leave ip saddr {subnet} ip daddr != {subnet} masquerade\n"
        ));
        return text;
    }
    text.push_str(&format!(
        "add set bridge {id} cut {{ type ipv4_addr; }}\nadd set bridge {id} pairs {{ type ipv4_addr . ipv4_addr; }}\n"
    ));
    // Other bridges' frames pass these hooks too, but the addresses are this lab's alone.
    for hook in ["forward", "input", "output"] {
        text.push_str(&format!(
            "add chain bridge {id} at_{hook} {{ type filter hook {hook} priority 0; }}\n"
        ));
        for field in ["ip saddr", "ip daddr", "arp saddr ip", "arp daddr ip"] {
            text.push_str(&format!("add rule bridge {id} at_{hook} {field} @cut drop\n"));
        }
        for fields in ["ip saddr . ip daddr", "arp saddr ip . arp daddr ip"] {
            text.push_str(&format!("add rule bridge {id} at_{hook} {fields} @pairs drop\n"));
        }
    }
    text
}

fn table_mark(family: &str, id: &str) -> LabResult<Option<String>> {
    let finished = try_run(QUICK, "nft", &["list", "table", family, id], b"")?;
    if !finished.ok() {
        return Ok(None);
    }
    let comment = finished.stdout.lines().find_map(|line| line.trim().strip_prefix("comment \""));
    Ok(Some(comment.and_then(|rest| rest.strip_suffix('"')).unwrap_or("").to_owned()))
}

/// The ends of hosts' cables that belong to a bridge, plugged in or not.
fn cables(id: &str) -> Vec<String> {
    let links = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let names = links.filter_map(|link| link.file_name().into_string().ok());
    names.filter(|name| name.starts_with(&format!("vb-{id}-"))).collect()
}

fn link_exists(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

/// A bridge is ours by its alias. A run that was killed before it wrote that left the hardware address, the one mark
/// that a bridge can be made with in a single step.
fn own_link_or_refuse(id: &str, mark: &str) -> LabResult<()> {
    let link = Path::new("/sys/class/net").join(id);
    let says = |file: &str| fs::read_to_string(link.join(file)).unwrap_or_default();
    let alias = says("ifalias");
    let ours = alias.trim() == mark || (alias.trim().is_empty() && says("address").trim() == mac_of(mark));
    if ours && link.join("bridge").exists() { Ok(()) } else { Err(not_ours(&format!("interface `{id}`"))) }
}

/// A locally administered hardware address that stands for a mark (FNV-1a, which stays the same for ever).
fn mac_of(mark: &str) -> String {
    let hash = mark.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let octets: Vec<String> = hash.to_be_bytes()[..5].iter().map(|octet| format!("{octet:02x}")).collect();
    format!("02:{}", octets.join(":"))
}

fn not_ours(what: &str) -> Vec<Diagnostic> {
    vec![
        Diagnostic::error(
            "lab-not-ours",
            format!("{what} exists, but this lab did not make it: it is left alone"),
        )
        .hint("remove it yourself if nobody needs it, then try again"),
    ]
}

/// A subnet that already leads somewhere is somebody's.
fn refuse_foreign_routes(
    network: &NetworkRecord,
    routes: &str,
    holder: impl Fn(&str) -> Option<String>,
) -> LabResult<()> {
    let routes: Value = serde_json::from_str(routes).unwrap_or_default();
    for route in routes.as_array().into_iter().flatten() {
        let (Some(target), device) = (route["dst"].as_str(), route["dev"].as_str().unwrap_or("?")) else {
            continue;
        };
        if device != network.id && overlaps_24(target, network.subnet) {
            let (who, way_out) = match holder(device) {
                Some(lab) => (
                    format!("lab `{lab}` has it"),
                    format!("take that lab down with `ishprov lab down --name {lab}`, or give"),
                ),
                None => (format!("this machine reaches {target} through `{device}`"), "give".to_owned()),
            };
            return Err(vec![
                Diagnostic::error("lab-address-taken", format!("{}/24 is in use: {who}", network.subnet))
                    .hint(format!("{way_out} these hosts another /24 of 198.18.0.0/15")),
            ]);
        }
    }
    Ok(())
}

/// Whether a route's target and a /24 share an address. The default route is everyone's.
fn overlaps_24(target: &str, subnet: Ipv4Addr) -> bool {
    let (address, bits) = target.split_once('/').unwrap_or((target, "32"));
    let (Ok(address), Ok(bits)) = (address.parse::<Ipv4Addr>(), bits.parse::<u32>()) else { return false };
    let bits = bits.min(24);
    bits > 0 && (u32::from(address) ^ u32::from(subnet)) >> (32 - bits) == 0
}

fn first_of_24(address: Ipv4Addr) -> Ipv4Addr {
    let [a, b, c, _] = address.octets();
    Ipv4Addr::new(a, b, c, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(addresses: &[&str]) -> Vec<LabHost> {
        addresses
            .iter()
            .enumerate()
            .map(|(i, text)| LabHost::new(format!("h{i}"), text.parse().unwrap()))
            .collect()
    }

    fn network() -> NetworkRecord {
        NetworkRecord {
            id: "ishlab0".into(),
            subnet: Ipv4Addr::new(198, 18, 7, 0),
            gateway: Ipv4Addr::new(198, 18, 7, 1),
        }
    }

    #[test]
    fn the_gateway_steps_aside_for_hosts() {
        let gateway = |addresses: &[&str]| subnet_of(&hosts(addresses)).unwrap().1.to_string();
        assert_eq!(gateway(&["198.18.7.11"]), "198.18.7.1");
        assert_eq!(gateway(&["198.18.7.1"]), "198.18.7.254");
        assert_eq!(gateway(&["198.19.7.1", "198.19.7.254"]), "198.19.7.2");
    }

    #[test]
    fn real_addresses_and_split_subnets_are_refused_all_at_once() {
        let refusal = subnet_of(&hosts(&["10.0.0.5", "198.18.7.255", "198.20.0.1"])).unwrap_err();
        assert_eq!(refusal.len(), 3);
        assert_eq!(refusal[0].hosts, ["h0"]);
        let refusal = subnet_of(&hosts(&["198.18.7.2", "198.18.8.2"])).unwrap_err();
        assert_eq!(refusal[0].message, "the hosts are spread over 198.18.7.0/24 and 198.18.8.0/24");
        assert_eq!(subnet_of(&[]).unwrap_err()[0].code, "lab-no-hosts");
    }

    #[test]
    fn a_route_into_the_subnet_is_refused() {
        let refused = |dst: &str, dev: &str| {
            let routes = format!(r#"[{{"dst":"{dst}","dev":"{dev}"}}]"#);
            refuse_foreign_routes(&network(), &routes, |_| None).is_err()
        };
        assert!(
            refused("198.18.0.0/15", "eth1")
                && refused("198.18.7.9", "eth1")
                && refused("198.18.7.128/25", "tun0")
        );
        assert!(
            !refused("default", "eth0")
                && !refused("198.18.6.0/24", "eth1")
                && !refused("198.18.7.0/24", "ishlab0")
        );
        let routes = r#"[{"dst":"198.18.7.0/24","dev":"ishlab4"}]"#;
        let refusal = refuse_foreign_routes(&network(), routes, |bridge| Some(format!("of-{bridge}")));
        let refusal = refusal.unwrap_err().remove(0);
        assert_eq!(refusal.message, "198.18.7.0/24 is in use: lab `of-ishlab4` has it");
        assert!(refusal.hints[0].starts_with("take that lab down with `ishprov lab down --name of-ishlab4`"));
    }

    #[test]
    fn a_mark_is_always_the_same_hardware_address() {
        assert_eq!(
            mac_of("ishprov lab /var/lib/ishprov-lab/dev"),
            mac_of("ishprov lab /var/lib/ishprov-lab/dev")
        );
        assert_ne!(mac_of("ishprov lab /a"), mac_of("ishprov lab /b"));
        assert_eq!(mac_of(""), "02:cb:f2:9c:e4:84");
    }

    #[test]
    fn cuts_are_read_back() {
        let json = r#"{"nftables":[{"metainfo":{}},{"set":{"name":"cut","elem":["198.18.7.2"]}},
            {"set":{"name":"pairs","elem":[{"concat":["198.18.7.2","198.18.7.3"]}]}}]}"#;
        let cuts = parse_cuts(json);
        assert!(cuts.alone.contains("198.18.7.2"));
        assert!(cuts.pairs.contains(&("198.18.7.2".into(), "198.18.7.3".into())));
        assert_eq!(parse_cuts(""), Cuts::default());
    }
}
