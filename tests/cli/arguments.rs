//! What roles declare to take, and what they are given.

use crate::folder::Folder;
use crate::runs::untimed;

const ROLE: &str = "== inventory
[web]
h1 ansible_connection=local
== roles/shop/tasks/main.yml
- debug: {msg: ran}
== roles/shop/tasks/close.yml
- debug: {msg: closed}
== roles/shop/meta/argument_specs.yml
argument_specs:
  main:
    options:
      shop_open: {type: bool}
      shop_days: {type: list}
      shop_people:
        type: list
        elements: dict
        options:
          name: {type: str, required: true, description: what to call them}
          age: {type: int}
          role: {type: str, choices: [boss, clerk]}
  close:
    options:
      shop_reason: {type: str, required: true}
";

fn shop(site: &str) -> Folder {
    let folder = Folder::new(ROLE);
    folder.write("site.yaml", site);
    folder
}

#[test]
fn values_convert_as_in_ansible() {
    let folder = shop("- {hosts: web, gather_facts: false, roles: [shop]}");
    folder.write("group_vars/web.yaml", "shop_open: 1\nshop_days: ''");
    insta::assert_snapshot!(folder.run("lint site.yaml -i inventory"), @"
    exit 0
    -- stdout
    site.yaml: no errors in 5 files, 1 task
    ");
    folder.write("group_vars/web.yaml", "shop_open: maybe\nshop_days: {a: 1}");
    insta::assert_snapshot!(folder.run("lint site.yaml -i inventory"), @"
    exit 1
    -- stderr
    error: `shop_open` of role `shop` is a text, not a bool
     --> group_vars/web.yaml:1:12
      |
    1 | shop_open: maybe
      |            ^^^^^
      |
      = role `shop`, called at site.yaml:1:45
    error: `shop_days` of role `shop` is a mapping, not a list
     --> group_vars/web.yaml:2:12
      |
    2 | shop_days: {a: 1}
      |            ^^^^^^
      |
      = role `shop`, called at site.yaml:1:45
    2 errors in 5 files. No host was contacted.
    ");
}

#[test]
fn lists_of_mappings_are_checked_key_by_key() {
    let folder = shop("- {hosts: web, gather_facts: false, roles: [shop]}");
    folder.write(
        "group_vars/web.yaml",
        "shop_people:\n  - {name: anna, age: '30', role: boss}\n  - {nmae: berta, age: old}\n  - \"{{ carla }}\"\ncarla: {name: carla, role: clrk}",
    );
    insta::assert_snapshot!(untimed(&folder.run("run site.yaml -i inventory")), @"
    exit 1
    -- stderr
    error: `shop_people[1]` of role `shop` needs `name`
     --> group_vars/web.yaml:3:5
      |
    3 |   - {nmae: berta, age: old}
      |     ^^^^^^^^^^^^^^^^^^^^^^^
      |
      = role `shop`, called at site.yaml:1:45
      = help: it is: what to call them
    error: unknown key `nmae` in `shop_people[1]` of role `shop`
     --> group_vars/web.yaml:3:6
      |
    3 |   - {nmae: berta, age: old}
      |      ^^^^ did you mean `name`?
      |
      = role `shop`, called at site.yaml:1:45
    error: `shop_people[1].age` of role `shop` is a text, not an int
     --> group_vars/web.yaml:3:24
      |
    3 |   - {nmae: berta, age: old}
      |                        ^^^
      |
      = role `shop`, called at site.yaml:1:45
    error: `shop_people[2].role` of role `shop` is one of boss, clerk
     --> group_vars/web.yaml:5:28
      |
    5 | carla: {name: carla, role: clrk}
      |                            ^^^^ did you mean `clerk`?
      |
      = role `shop`, called at site.yaml:1:45
    4 errors in 5 files. No host was contacted.
    ");
}

#[test]
fn an_entry_point_is_the_file_of_tasks() {
    let folder = shop(
        "- hosts: web\n  gather_facts: false\n  tasks:\n    - include_role: {name: shop, tasks_from: close}\n    \
         - include_role: {name: shop, tasks_from: close}\n      when: false",
    );
    insta::assert_snapshot!(untimed(&folder.run("run site.yaml -i inventory")), @"
    exit 1
    -- stderr
    error: role `shop` needs the variable `shop_reason`, which nothing defines
     --> site.yaml:4:28
      |
    4 |     - include_role: {name: shop, tasks_from: close}
      |                            ^^^^
      |
      = help: set it in group_vars
    1 error in 4 files. No host was contacted.
    ");
}

#[test]
fn what_a_condition_leaves_out_is_not_checked() {
    let folder = shop(
        "- hosts: web\n  gather_facts: false\n  roles:\n    - {role: shop, when: false, shop_open: maybe}",
    );
    insta::assert_snapshot!(untimed(&folder.run("run site.yaml -i inventory")), @"
    exit 0
    -- stdout
    PLAY [web] ·················································································· 1 host
    PLAY RECAP
    h1 : ok=0   changed=0   unreachable=0   failed=0   skipped=1   rescued=0   ignored=0
    1 host, N s, at most 1 round trips a host
    ");
}

#[test]
fn what_only_the_run_knows_is_checked_before_the_role_acts() {
    let site = "- hosts: web\n  gather_facts: false\n  tasks:\n    - command: echo old\n      register: said\n    \
                - include_role: {name: shop}\n      vars:\n        shop_people:\n          - {name: anna, age: \"{{ said.stdout }}\"}";
    insta::assert_snapshot!(untimed(&shop(site).run("run site.yaml -i inventory")), @"
    exit 2
    -- stdout
    PLAY [web] ·················································································· 1 host
      command                                          changed   h1
      shop : arguments                                 FAILED    h1  (`shop_people[0].age` of role `shop` is a text, not an int)

    PLAY RECAP
    h1 : ok=1   changed=1   unreachable=0   failed=1   skipped=0   rescued=0   ignored=0
    1 host, N s, at most 2 round trips a host
    -- stderr
    error: `shop_people[0].age` of role `shop` is a text, not an int
     --> site.yaml:6:28
      |
    6 |     - include_role: {name: shop}
      |                            ^^^^
      |
      = role `shop`, called at site.yaml:6:28
      = host h1
    ");
    insta::assert_snapshot!(untimed(&shop(&site.replace("echo old", "echo 30")).run("run site.yaml -i inventory")), @"
    exit 0
    -- stdout
    PLAY [web] ·················································································· 1 host
      command                                          changed   h1
      shop : arguments                                 ok        h1
      shop : debug                                     ok        h1  (ran)
    PLAY RECAP
    h1 : ok=3   changed=1   unreachable=0   failed=0   skipped=0   rescued=0   ignored=0
    1 host, N s, at most 2 round trips a host
    ");
}

#[test]
fn a_slip_in_what_a_role_declares_is_seen() {
    let folder = shop("- {hosts: web, gather_facts: false, roles: [shop]}");
    folder.write(
        "roles/shop/meta/argument_specs.yml",
        "argument_specs:\n  main:\n    optoins: {}\n  close:\n    options:\n      a: {type: strr}\n      b: {type: list, options: {}}\n      c: {requierd: true}",
    );
    insta::assert_snapshot!(folder.run("lint site.yaml -i inventory"), @"
    exit 1
    -- stderr
    error: unknown key `optoins` of an entry point
     --> roles/shop/meta/argument_specs.yml:3:5
      |
    3 |     optoins: {}
      |     ^^^^^^^ did you mean `options`?
    error: unknown type `strr` of the argument `a`
     --> roles/shop/meta/argument_specs.yml:6:17
      |
    6 |       a: {type: strr}
      |                 ^^^^ did you mean `str`?
    warning: the `options` of `b` are not checked
     --> roles/shop/meta/argument_specs.yml:7:32
      |
    7 |       b: {type: list, options: {}}
      |                                ^^
      |
      = help: they hold for `type: dict`, and for `type: list` with `elements: dict`
    error: unknown key `requierd` of a role argument
     --> roles/shop/meta/argument_specs.yml:8:11
      |
    8 |       c: {requierd: true}
      |           ^^^^^^^^ did you mean `required`?
    3 errors in 4 files. No host was contacted.
    ");
}

/// The lists of the roles that come with the program.
#[test]
fn lists_of_our_own_roles_refuse_unknown_keys() {
    let folder = Folder::new(
        "== inventory/hosts.yaml
all: {children: {postgres: {children: {postgres_primary: {hosts: {pg1: {ansible_host: 198.18.103.1}}}}}}}
== inventory/group_vars/postgres.yaml
postgresql_users:
  - {name: app, flag: LOGIN}
  - {name: gone, state: absnt}
postgresql_databases: [{name: app, ower: app}]
postgresql_privileges: [{database: app, type: databse, privs: ALL, roles: PUBLIC}]
postgresql_extensions: [{name: pg_trgm, database: app}]
postgresql_hba_rules: [{type: hostssl, source: all, methd: reject, method: reject}]
tls_more_certificates: [{name: x, dayz: 5}]
",
    );
    let site = concat!(env!("CARGO_MANIFEST_DIR"), "/site.yaml");
    let said = folder.run(&format!("lint {site} -i inventory"));
    let errors: Vec<&str> =
        said.lines().filter(|line| line.starts_with("error: ") || line.contains("^ did you mean")).collect();
    insta::assert_snapshot!(errors.join("\n"), @"
    error: unknown key `flag` in `postgresql_users[0]` of role `replication`
      |                 ^^^^ did you mean `flags`?
    error: `postgresql_users[1].state` of role `replication` is one of present, absent
      |                         ^^^^^ did you mean `absent`?
    error: unknown key `ower` in `postgresql_databases[0]` of role `replication`
      |                                    ^^^^ did you mean `owner`?
    error: `postgresql_privileges[0].type` of role `replication` is one of table, sequence, function, procedure, database, schema, tablespace, type, language, default_privs, group
      |                                               ^^^^^^^ did you mean `database`?
    error: unknown key `database` in `postgresql_extensions[0]` of role `replication`
    error: unknown key `methd` in `postgresql_hba_rules[0]` of role `postgresql`
      |                                                     ^^^^^ did you mean `method`?
    error: unknown key `dayz` in `tls_more_certificates[0]` of role `tls`
      |                                   ^^^^ did you mean `days`?
    ");
}

#[test]
fn what_cannot_be_both_is_named() {
    let vars = concat!(env!("CARGO_MANIFEST_DIR"), "/roles/replication/vars/main.yml");
    let folder = Folder::new(&format!(
        "== inventory
h1 ansible_connection=local
== group_vars/all.yaml
postgresql_users: [{{name: app}}, {{name: gone, state: absent}}, {{name: app}}]
postgresql_databases: [{{name: app, owner: gone}}, {{name: old, state: absent}}]
postgresql_extensions: [{{name: pg_trgm, db: old}}, {{name: hstore, db: old, state: absent}}]
postgresql_privileges: [{{database: old, type: database, privs: ALL, roles: app}}]
== site.yaml
- hosts: all
  gather_facts: false
  vars_files: [{vars}]
  tasks:
    - debug: {{msg: \"{{{{ replication_clashes }}}}\"}}
"
    ));
    insta::assert_snapshot!(untimed(&folder.run("run site.yaml -i inventory")), @r"
    exit 0
    -- stdout
    PLAY [all] ·················································································· 1 host
      debug                                            ok        h1
          h1: the account gone is absent and owns the database app;
            the database old is absent and has the extension pg_trgm;
            the database old is absent and has rights for app;
            the account app is listed twice;
    PLAY RECAP
    h1 : ok=1   changed=0   unreachable=0   failed=0   skipped=0   rescued=0   ignored=0
    1 host, N s, at most 1 round trips a host
    ");
}

/// What is computed from others, and nobody's to give.
const COMPUTED: &[&str] = &[
    "firewall_peers",
    "firewall_networks",
    "tls_given_up",
    "postgresql_config_directory",
    "replication_slot",
    "replication_standbys",
    "replication_rebuild",
    "replication_renew",
];

#[test]
fn our_own_roles_declare_what_they_take() {
    let roles = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("roles");
    let mut missing = Vec::new();
    for role in std::fs::read_dir(roles).expect("roles") {
        let role = role.expect("a role").path();
        let read = |name: &str| std::fs::read_to_string(role.join(name)).expect("a file");
        let (defaults, meta) = (read("defaults/main.yml"), read("meta/main.yml"));
        let names = defaults.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
        let names = names.filter_map(|line| line.split_once(':')).map(|(name, _)| name.to_owned());
        missing.extend(names.filter(|name| {
            !meta.contains(&format!("\n      {name}:")) && !COMPUTED.contains(&name.as_str())
        }));
        // A list without a type for its items takes anything.
        for part in meta.split("type: list\n").skip(1) {
            assert!(part.trim_start().starts_with("elements: "), "{}: {part:.60}", role.display());
        }
    }
    assert!(missing.is_empty(), "not declared: {missing:?}");
}
