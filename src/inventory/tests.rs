//! Whole inventories: text in, hosts and variables and messages out.

use super::*;
use crate::diag::{Diagnostic, Severity, SourceMap, Span, Spanned, Style, render};
use std::collections::BTreeMap;

/// Sources and vars files by path; `group_vars/` and `host_vars/` below `inventory/` and `site/` are vars files.
fn build(files: &[(&str, &str)]) -> (Inventory, Vec<Diagnostic>, SourceMap) {
    let mut map = SourceMap::new();
    let (mut sources, mut vars) = (Vec::new(), Vec::new());
    for (path, text) in files {
        let file = map.add(*path, *text);
        let beside = if path.starts_with("site/") { Beside::Playbook } else { Beside::Inventory(0) };
        let inner = path.split_once('/').map_or(*path, |(_, inner)| inner);
        match layout(&[inner.to_owned()]).vars.pop() {
            Some(found) => vars.push(VarsFile { file, owner: found.owner, beside, vaulted: false }),
            None if path.ends_with(',') => sources.push(InventorySource { file, kind: SourceKind::HostList }),
            None => sources.push(InventorySource { file, kind: SourceKind::Auto }),
        }
    }
    let (inventory, faults) = Inventory::build(&sources, &vars, &map);
    (inventory, faults, map)
}

fn good(files: &[(&str, &str)]) -> Inventory {
    let (inventory, faults, map) = build(files);
    assert!(faults.is_empty(), "{}", render(&faults, &map, &str::to_owned, Style::default()));
    inventory
}

fn faults(files: &[(&str, &str)]) -> String {
    let (_, faults, map) = build(files);
    render(&faults, &map, &str::to_owned, Style::default())
}

fn vars(inventory: &Inventory, host: &str) -> String {
    serde_json::Value::Object(inventory.plain_vars(host)).to_string()
}

const INI: &str = "\
# a comment
lonely ansible_host=10.0.0.9

[db]
pg[1:3] ansible_user=admin   ; not a comment in Ansible
";

const SITE: &str = "\
lonely ansible_host=10.0.0.9

[primary]
pg-primary ansible_host=10.0.0.1 ram_mb=16384 tags=\"['a', 'b']\" note='two words'

[replicas]
pg-replica[1:2] role=standby  # the standbys

[postgres:children]
primary
replicas

[postgres:vars]
ansible_user = admin
pg_version=15
flags = {'a': True}
mode=0644
";

#[test]
fn ini_with_ranges_children_and_vars() {
    let inventory = good(&[("inventory/hosts", SITE)]);
    insta::assert_snapshot!(inventory.graph(), @r#"
        @all:
          |--@ungrouped:
          |  |--lonely
          |--@postgres:
          |  |--@primary:
          |  |  |--pg-primary
          |  |--@replicas:
          |  |  |--pg-replica1
          |  |  |--pg-replica2
        "#);
    assert_eq!(
        vars(&inventory, "pg-primary"),
        r#"{"ansible_user":"admin","pg_version":15,"flags":{"a":true},"mode":"0644","ansible_host":"10.0.0.1","ram_mb":16384,"tags":["a","b"],"note":"two words"}"#
    );
    assert_eq!(inventory.members("postgres"), ["pg-primary", "pg-replica1", "pg-replica2"]);
    let groups: Vec<&str> =
        inventory.groups_of("pg-replica2").iter().map(|group| group.name.as_str()).collect();
    assert_eq!(groups, ["all", "postgres", "replicas"]);
    let magic = serde_json::Value::Object(inventory.magic("lonely")).to_string();
    assert_eq!(
        magic,
        r#"{"inventory_hostname":"lonely","inventory_hostname_short":"lonely","group_names":["ungrouped"],"inventory_file":"inventory/hosts","inventory_dir":"inventory"}"#
    );
    insta::assert_snapshot!(inventory.to_json(&|_| serde_json::Map::new()), @r#"{"_meta":{"hostvars":{"lonely":{},"pg-primary":{},"pg-replica1":{},"pg-replica2":{}}},"all":{"children":["ungrouped","postgres"]},"ungrouped":{"hosts":["lonely"]},"primary":{"hosts":["pg-primary"]},"replicas":{"hosts":["pg-replica1","pg-replica2"]},"postgres":{"children":["primary","replicas"]}}"#);
    assert_eq!(inventory.groups_value()["all"].as_array().map(Vec::len), Some(4));
}

#[test]
fn values_know_their_place() {
    let (inventory, _, map) = build(&[("inventory/hosts", SITE)]);
    let place = |name: &str| {
        let vars = inventory.host_vars("pg-primary");
        let (node, layer) = vars.get(name).cloned().unwrap_or_else(|| panic!("{name}"));
        format!("{} `{}` {layer}", map.locate(node.span), map.snippet(node.span))
    };
    assert_eq!(place("ram_mb"), "inventory/hosts:4:41 `16384` vars of the host in the inventory");
    assert_eq!(place("tags"), "inventory/hosts:4:52 `\"['a', 'b']\"` vars of the host in the inventory");
    assert_eq!(place("ansible_user"), "inventory/hosts:14:16 `admin` vars of group `postgres`");
}

#[test]
fn yaml_is_the_same_inventory() {
    let yaml = "\
all:
  hosts:
    lonely: {ansible_host: 10.0.0.9}
  children:
    postgres:
      vars: {ansible_user: admin, pg_version: 15, flags: {a: true}, mode: '0644'}
      children:
        primary:
          hosts:
            pg-primary: {ansible_host: 10.0.0.1, ram_mb: 16384, tags: [a, b], note: two words}
        replicas:
          hosts:
            pg-replica[1:2]:
              role: standby
";
    let (one, other) = (good(&[("inventory/hosts", SITE)]), good(&[("inventory/hosts.yml", yaml)]));
    assert_eq!(one.graph(), other.graph());
    for host in one.hosts() {
        assert_eq!(vars(&one, &host.name), vars(&other, &host.name), "{}", host.name);
    }
    // What we print as --list can be read again.
    let list = one.to_json(&|host| one.plain_vars(host)).to_string();
    let again = good(&[("inventory/list.json", &list)]);
    assert_eq!(again.graph(), one.graph());
    assert_eq!(vars(&again, "pg-primary"), vars(&one, "pg-primary"));
    // Without an ending the first line tells.
    assert_eq!(good(&[("inventory/hosts", yaml)]).graph(), one.graph());
}

#[test]
fn precedence_of_layers() {
    let inventory = good(&[
        (
            "inventory/hosts",
            "[child]\nh x=host\n[parent:children]\nchild\n[all:vars]\nx=all\n[parent:vars]\nx=parent\n[child:vars]\nx=child\n",
        ),
        ("inventory/group_vars/child.yml", "x: child file"),
        ("inventory/group_vars/parent.yml", "x: parent file"),
        ("inventory/group_vars/all.yml", "x: all file"),
        ("inventory/host_vars/h.yml", "x: host file"),
        ("site/group_vars/child.yml", "x: child beside playbook"),
        ("site/group_vars/all.yml", "x: all beside playbook"),
        ("site/host_vars/h.yml", "x: host beside playbook"),
        ("site/host_vars/other", "x: nobody"),
    ]);
    let layers = inventory.host_layers("h");
    let shown: Vec<String> =
        layers.iter().map(|layer| format!("{}: {}", layer.name, layer.vars["x"].to_value())).collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
        vars of group `all`: "all"
        vars of group `parent`: "parent"
        vars of group `child`: "child"
        inventory/group_vars/all.yml: "all file"
        site/group_vars/all.yml: "all beside playbook"
        inventory/group_vars/parent.yml: "parent file"
        inventory/group_vars/child.yml: "child file"
        site/group_vars/child.yml: "child beside playbook"
        vars of the host in the inventory: "host"
        inventory/host_vars/h.yml: "host file"
        site/host_vars/h.yml: "host beside playbook"
        "#);
}

#[test]
fn priority_and_names_order_groups_of_one_depth() {
    let text =
        "[b]\nh\n[a]\nh\n[c]\nh\n[a:vars]\nx=a\nansible_group_priority=10\n[b:vars]\nx=b\n[c:vars]\nx=c\n";
    assert_eq!(vars(&good(&[("i/hosts", text)]), "h"), r#"{"x":"a"}"#);
    let text = text.replace("ansible_group_priority=10\n", "");
    assert_eq!(vars(&good(&[("i/hosts", &text)]), "h"), r#"{"x":"c"}"#);
}

#[test]
fn several_sources_merge_in_order() {
    let inventory = good(&[
        ("i/one", "[db]\nh1 x=1 y=1\n"),
        ("i/two.yml", "db: {hosts: {h1: {x: 2}, h2: }}\nweb: {hosts: {h3: }}\n"),
        ("h4,h5:2222, 10.0.0.1,", "h4,h5:2222, 10.0.0.1,"),
    ]);
    assert_eq!(inventory.members("all").join(" "), "h1 h2 h3 h4 h5 10.0.0.1");
    assert_eq!(vars(&inventory, "h1"), r#"{"x":2,"y":1}"#);
    assert_eq!(vars(&inventory, "h5"), r#"{"ansible_port":2222}"#);
    assert_eq!(inventory.host("10.0.0.1").map(Host::short_name), Some("10.0.0.1"));
}

#[test]
fn localhost_is_there_without_being_named() {
    let inventory = good(&[("i/hosts", "h\n"), ("i/group_vars/all.yml", "x: 1\n")]);
    assert_eq!(vars(&inventory, "localhost"), r#"{"x":1}"#);
    assert_eq!(inventory.members("all"), ["h"]);
    assert!(inventory.host("localhost").is_some_and(|host| host.span.is_none()));
    assert_eq!(inventory.magic("localhost")["ansible_connection"], "local");
    assert!(!inventory.magic("h").contains_key("ansible_connection"));
    let named = good(&[("i/hosts", "localhost ansible_port=1\n")]);
    assert!(named.host("localhost").is_some_and(|host| host.span.is_some()));
}

fn select(pattern: &str) -> Result<String, String> {
    let mut map = SourceMap::new();
    let text = "h0\n[web]\nweb[1:3]\n[db]\ndb1\ndb2\n[old]\ndb2\nweb3\n[site:children]\nweb\ndb\n[empty]\n";
    let file = map.add("hosts", text);
    let (inventory, _) = Inventory::build(&[InventorySource { file, kind: SourceKind::Ini }], &[], &map);
    let place = map.add("site.yml", pattern);
    let pattern = Spanned::new(pattern.to_owned(), Span::new(place, 0, pattern.len()));
    let lists = BTreeMap::from([("r.retry".to_owned(), "db1\nweb2\n\n".to_owned())]);
    inventory.select(&[pattern], &lists).map(|hosts| hosts.join(" ")).map_err(|faults| {
        faults
            .iter()
            .map(|fault| format!("{} {}", fault.message, fault.label.clone().unwrap_or_default()))
            .collect()
    })
}

#[test]
fn patterns() {
    for (pattern, wanted) in [
        ("all", "h0 web1 web2 web3 db1 db2"),
        ("*", "h0 web1 web2 web3 db1 db2"),
        ("web", "web1 web2 web3"),
        ("db1", "db1"),
        ("db:web1", "db1 db2 web1"),
        ("db, web1", "db1 db2 web1"),
        ("web1,db", "web1 db1 db2"),
        ("site:!old", "web1 web2 db1"),
        ("!old:site", "web1 web2 db1"),
        ("site:&old", "web3 db2"),
        ("!db", "h0 web1 web2 web3"),
        ("&db", "db1 db2"),
        ("all:!web:&db:!db2", "db1"),
        ("web*", "web1 web2 web3"),
        ("?b1", "db1"),
        ("~(web|db)[12]", "web1 web2 db1 db2"),
        ("~web1$:db1", "web1 db1"),
        ("web[0]", "web1"),
        ("web[-1]", "web3"),
        ("web[1:2]", "web2 web3"),
        ("web[1:]", "web2 web3"),
        ("web[0-1]", "web1 web2"),
        ("web[0]:db[1]", "web1 db2"),
        ("site[3]", "db1"),
        ("empty", ""),
        ("ungrouped", "h0"),
        ("localhost", "localhost"),
        ("@r.retry", "db1 web2"),
        ("all:!@r.retry", "h0 web1 web3 db2"),
        ("nothing*", ""),
        ("", ""),
    ] {
        assert_eq!(select(pattern).as_deref(), Ok(wanted), "{pattern}");
    }
    for (pattern, wanted) in [
        ("wbe", "no host and no group is named `wbe` did you mean `web`?"),
        ("all:!odl", "no host and no group is named `odl` did you mean `old`?"),
        ("stranger", "no host and no group is named `stranger` "),
        ("web[7]", "`web[7]` is past the end: `web` has 3 hosts "),
        ("~(", "`(` is no regular expression: unclosed group "),
        ("@other", "the host list `other` was not read "),
    ] {
        assert_eq!(select(pattern), Err(wanted.to_owned()), "{pattern}");
    }
    assert_eq!(
        list_files(&[Spanned::new("@a:!@b".to_owned(), Span::new(SourceMap::new().add("", ""), 0, 0))]),
        ["a", "b"]
    );
}

#[test]
fn faults_in_ini() {
    insta::assert_snapshot!(faults(&[("hosts", "[db\nh\n[web:childen]\nx\n[a b]\n[web:children]\ndbs\n[dbs2:vars]\nx=1\n[dbb]\n")]), @r#"
        error: the section header `[db` is never closed
         --> hosts:1:1
          |
        1 | [db
          | ^^^
          |
          = help: write `[group]`
        error: a section of kind `childen` is not known
         --> hosts:3:6
          |
        3 | [web:childen]
          |      ^^^^^^^ did you mean `children`?
          |
          = help: the kinds are `[group]`, `[group:children]` and `[group:vars]`
        error: `a b` is no name of a group
         --> hosts:5:2
          |
        5 | [a b]
          |  ^^^
        error: there is no group `dbs`
         --> hosts:7:1
          |
        7 | dbs
          | ^^^ did you mean `dbb`?
          |
          = help: define it with a section `[dbs]`
        error: there is no group `dbs2`
         --> hosts:8:2
          |
        8 | [dbs2:vars]
          |  ^^^^
          |
          = help: define it with a section `[dbs2]`
        "#);
    insta::assert_snapshot!(faults(&[("hosts", "[db]\nh1 h2\nh3 a='open\npg[3:1]\nx=1\nh4 p=a#b\n[db:vars]\nnothing\nansible_group_priority=high\n")]), @r#"
        error: `h2` is not of the form `key=value`
         --> hosts:2:4
          |
        2 | h1 h2
          |    ^^
          |
          = help: one host a line; quote a value that holds blanks: key='two words'
        error: a quote is opened and never closed
         --> hosts:3:6
          |
        3 | h3 a='open
          |      ^
        error: the range `[3:1]` ends before it begins
         --> hosts:4:1
          |
        4 | pg[3:1]
          | ^^^^^^^
        error: `x=1` is no host
         --> hosts:5:1
          |
        5 | x=1
          | ^^^
          |
          = help: variables of a group stand below `[group:vars]`
        warning: a comment starts inside a value
         --> hosts:6:7
          |
        6 | h4 p=a#b
          |       ^^
          |
          = help: quote a value that holds a `#`; put a blank before a comment
        error: `nothing` is not of the form `key=value`
         --> hosts:8:1
          |
        8 | nothing
          | ^^^^^^^
        error: `ansible_group_priority` expects a whole number, found a text
         --> hosts:9:24
          |
        9 | ansible_group_priority=high
          |                        ^^^^
        "#);
    insta::assert_snapshot!(faults(&[("hosts", "[a:children]\nb\n[b:children]\nc\n[c:children]\na\nc\nall\n")]), @r#"
        error: group `a` cannot be below `c`: it is above it already
         --> hosts:6:1
          |
        6 | a
          | ^
          |
          = `c` put below `b` at hosts:4:1
          = `b` put below `a` at hosts:2:1
        error: group `c` cannot be its own child
         --> hosts:7:1
          |
        7 | c
          | ^
        error: group `all` cannot be below `c`: it is above every group
         --> hosts:8:1
          |
        8 | all
          | ^^^
        "#);
    insta::assert_snapshot!(faults(&[("hosts", "db\n[db]\nh\n")]), @r#"
        warning: `db` is the name of a host and of a group
         --> hosts:1:1
          |
        1 | db
          | ^^
          |
          = group `db` named at hosts:2:2
          = help: a pattern `db` means the group; rename one of them
        "#);
}

#[test]
fn faults_in_yaml_and_vars_files() {
    insta::assert_snapshot!(faults(&[("hosts.yml", "all:\n  hots: {a: }\n  hosts: [a]\n  vars: x\n  children: [b]\nweb: 3\ndb: {hosts: {h: x}}\n")]), @r#"
        error: `vars` expects a mapping, found a text
         --> hosts.yml:4:9
          |
        4 |   vars: x
          |         ^
        error: unknown key `hots` of group `all`
         --> hosts.yml:2:3
          |
        2 |   hots: {a: }
          |   ^^^^ did you mean `hosts`?
        error: `hosts` expects a mapping of hosts, found a list
         --> hosts.yml:3:10
          |
        3 |   hosts: [a]
          |          ^^^
          |
          = help: write each name as a key: `db1:`
        error: `children` expects a mapping of groups, found a list
         --> hosts.yml:5:13
          |
        5 |   children: [b]
          |             ^^^
          |
          = help: write each name as a key: `db:`
        error: group `web` is a mapping, found a number
         --> hosts.yml:6:6
          |
        6 | web: 3
          |      ^
        error: host `h` expects a mapping of variables, found a text
         --> hosts.yml:7:17
          |
        7 | db: {hosts: {h: x}}
          |                 ^
        "#);
    insta::assert_snapshot!(faults(&[
        ("i/hosts", "[web]\nh\n"),
        ("i/group_vars/wbe.yml", "a: 1"),
        ("i/group_vars/all.yml", "- a"),
        ("i/host_vars/h.yml", "a: {{ x }}\n"),
        ("site/host_vars/h.yml", "$ANSIBLE_VAULT;1.1;AES256\n3132\n"),
    ]), @r#"
        warning: `i/group_vars/wbe.yml` belongs to no group: there is no `wbe`
         = help: did you mean `web`?
        error: `i/group_vars/all.yml` expects a mapping of variables, found a list
         --> i/group_vars/all.yml:1:1
          |
        1 | - a
          | ^^^
        error: a value that starts with `{{` needs quotes
         --> i/host_vars/h.yml:1:4
          |
        1 | a: {{ x }}
          |    ^^^^^^^ quote it
          |
          = help: write "{{ x }}"
        error: `site/host_vars/h.yml` is encrypted and was not opened
         = help: give the vault password: --vault-password-file or --ask-vault-pass
        "#);
}

#[test]
fn a_source_that_is_wrong_leaves_the_rest() {
    let (inventory, faults, _) = build(&[("a.yml", "a: ["), ("b", "h\n")]);
    assert!(faults.iter().any(|fault| fault.severity == Severity::Error));
    assert_eq!(inventory.members("all"), ["h"]);
}

#[test]
fn semicolons_start_comments_at_line_start_only() {
    let (_, faults, _) = build(&[("hosts", INI)]);
    assert_eq!(faults.first().map(|fault| fault.code), Some("not-a-pair"));
}

proptest::proptest! {
    #[test]
    fn never_panics(text in r##"(\[|\]|[a-c ='"#;:!\n{},é-]|\[a\]\n|\[a:children\]\n|\[b:vars\]\n|all\n|hosts: |  ){0,40}"##) {
        for path in ["h", "h.yml", "a,"] {
            let (inventory, ..) = build(&[(path, &text)]);
            let _ = inventory.graph();
            for host in inventory.hosts() {
                let _ = inventory.host_layers(&host.name);
            }
        }
        let _ = select(&text);
    }
}
