//! The shipped site with IPv6 addresses and with names in the place of addresses.

use crate::folder::Folder;
use std::process::Command;

/// The shipped site and its inventory, with these words in the place of the hosts' addresses.
pub fn shipped(addresses: [&str; 3]) -> Folder {
    let folder = Folder::new("");
    for part in ["site.yaml", "inventory", "roles", "templates"] {
        let from = format!("{}/{part}", env!("CARGO_MANIFEST_DIR"));
        assert!(Command::new("cp").args(["-r", &from]).arg(folder.path("")).status().expect("cp").success());
    }
    for (host, address) in ["pg-primary", "pg-replica1", "pg-replica2"].iter().zip(addresses) {
        folder.write(&format!("inventory/host_vars/{host}.yaml"), &format!("ansible_host: {address}"));
    }
    folder
}

#[test]
fn ipv6_addresses_and_names_are_addresses_of_hosts() {
    let folder = shipped(["fd00:102::11", "fd00:102::12", "db2.example.org"]);
    let shown = folder.run("lint site.yaml -i inventory");
    assert!(shown.starts_with("exit 0"), "{shown}");
}

#[test]
fn rules_are_for_one_address_whatever_its_kind() {
    let folder = shipped(["fd00:102::11", "198.18.102.12", "db2.example.org"]);
    folder.write(
        "inventory/host_vars/pg-primary.yaml",
        "ansible_host: fd00:102::11\nansible_connection: local",
    );
    folder.write(
        "ask.yaml",
        "- hosts: pg-primary\n  gather_facts: false\n  vars: {firewall_hosts: \"{{ groups['postgres'] }}\", \
         postgresql_hosts: \"{{ groups['postgres'] }}\", postgresql_replication_user: replicator}\n  tasks:\n    \
         - debug: {msg: \"{{ lookup('template', 'pg_hba.yaml.j2') | from_yaml | selectattr('databases', 'equalto', 'replication') | map(attribute='source') | join(' ') }}\"}\n    \
         - debug: {msg: \"{{ lookup('template', 'peers.yaml.j2') | from_yaml | join(' ') }}\"}",
    );
    let shown = folder.run("run ask.yaml -i inventory");
    assert!(shown.contains("(fd00:102::11 198.18.102.12 db2.example.org)"), "{shown}");
    assert!(shown.contains("(fd00:102::11 198.18.102.12)"), "{shown}");
}
