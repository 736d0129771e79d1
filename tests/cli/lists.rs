//! What is shown of a site and an inventory without contacting a host.

use crate::folder::Folder;

const SITE: &str = "
== inventory/hosts.yaml
all:
  children:
    postgres:
      vars: {pg_version: 15}
      children:
        primary:
          hosts:
            pg1: {ansible_host: 198.18.103.1}
        replicas:
          hosts:
            pg[2:3]: {ansible_user: ops}
    web:
      hosts:
        w1: {greeting: \"hello from {{ inventory_hostname }}\", token: !unsafe \"{{ no }}\"}
== inventory/group_vars/all.yaml
region: eu
== inventory/host_vars/pg2.yaml
region: us
== site.yaml
- name: databases
  hosts: postgres
  tags: [db]
  pre_tasks:
    - name: say hello
      debug: {msg: hello}
      tags: always
  roles:
    - role: server
      tags: [server, slow]
  tasks:
    - debug: {msg: \"{{ item }}\"}
      loop: [1, 2]
    - block:
        - name: inside
          file: {path: /srv/x, state: directory}
          tags: files
- name: front
  hosts: web
  tasks:
    - name: only when asked
      debug: {msg: hello}
      tags: never
    - include_tasks: \"{{ region }}.yaml\"
== roles/server/tasks/main.yml
- name: package
  apt: {name: postgresql}
- name: service
  service: {name: postgresql, state: started}
  notify: reload
== roles/server/handlers/main.yml
- name: reload
  service: {name: postgresql, state: reloaded}
== eu.yaml
- debug: {msg: eu}
";

#[test]
fn hosts_of_a_site() {
    let folder = Folder::new(SITE);
    insta::assert_snapshot!(folder.run("run site.yaml --list-hosts"), @"
    exit 0
    -- stdout
    play #1 (postgres): databases
      hosts (3):
        pg1
        pg2
        pg3
    play #2 (web): front
      hosts (1):
        w1
    ");
    insta::assert_snapshot!(folder.run("run site.yaml --list-hosts --limit 'replicas:!pg3'"), @"
    exit 0
    -- stdout
    play #1 (postgres): databases
      hosts (1):
        pg2
    play #2 (web): front
      hosts (0):
    ");
}

#[test]
fn tasks_of_a_site() {
    let folder = Folder::new(SITE);
    insta::assert_snapshot!(folder.run("run site.yaml --list-tasks"), @"
    exit 0
    -- stdout
    play #1 (postgres): databases
        say hello  TAGS: [db, always]
        server : package  TAGS: [db, server, slow]
        server : service  TAGS: [db, server, slow]
        debug  TAGS: [db]
        inside  TAGS: [db, files]
    play #2 (web): front
        include_tasks
    ");
    insta::assert_snapshot!(folder.run("run site.yaml --list-tasks --tags server,never --skip-tags files"), @"
    exit 0
    -- stdout
    play #1 (postgres): databases
        say hello  TAGS: [db, always]
        server : package  TAGS: [db, server, slow]
        server : service  TAGS: [db, server, slow]
    play #2 (web): front
        only when asked  TAGS: [never]
    ");
}

#[test]
fn a_site_without_faults() {
    let folder = Folder::new(SITE);
    insta::assert_snapshot!(folder.run("run site.yaml --syntax-check"), @"
    exit 0
    -- stdout
    site.yaml: no errors
    ");
    insta::assert_snapshot!(folder.run("lint site.yaml"), @"
    exit 0
    -- stdout
    site.yaml: no errors in 7 files, 8 tasks
    ");
    insta::assert_snapshot!(folder.run("lint site.yaml --output json"), @"exit 0");
}

#[test]
fn an_inventory() {
    let folder = Folder::new(SITE);
    insta::assert_snapshot!(folder.run("inventory graph"), @"
    exit 0
    -- stdout
    @all:
      |--@ungrouped:
      |--@postgres:
      |  |--@primary:
      |  |  |--pg1
      |  |--@replicas:
      |  |  |--pg2
      |  |  |--pg3
      |--@web:
      |  |--w1
    ");
    insta::assert_snapshot!(folder.run("inventory list"), @r#"
    exit 0
    -- stdout
    {
      "_meta": {
        "hostvars": {
          "pg1": {
            "ansible_host": "198.18.103.1",
            "pg_version": 15,
            "region": "eu"
          },
          "pg2": {
            "ansible_user": "ops",
            "pg_version": 15,
            "region": "us"
          },
          "pg3": {
            "ansible_user": "ops",
            "pg_version": 15,
            "region": "eu"
          },
          "w1": {
            "greeting": "hello from w1",
            "region": "eu",
            "token": "{{ no }}"
          }
        }
      },
      "all": {
        "children": [
          "ungrouped",
          "postgres",
          "web"
        ]
      },
      "postgres": {
        "children": [
          "primary",
          "replicas"
        ]
      },
      "primary": {
        "hosts": [
          "pg1"
        ]
      },
      "replicas": {
        "hosts": [
          "pg2",
          "pg3"
        ]
      },
      "web": {
        "hosts": [
          "w1"
        ]
      }
    }
    "#);
    insta::assert_snapshot!(folder.run("inventory host pg2"), @r#"
    exit 0
    -- stdout
    {
      "ansible_user": "ops",
      "pg_version": 15,
      "region": "us"
    }
    -- stderr
    pg_version: inventory/hosts.yaml:4:26 (vars of group `postgres`)
    region: inventory/group_vars/all.yaml:1:9 (inventory/group_vars/all.yaml)
    ansible_user: inventory/hosts.yaml:11:37 (vars of the host in the inventory)
    region: inventory/host_vars/pg2.yaml:1:9 (inventory/host_vars/pg2.yaml)
    "#);
    insta::assert_snapshot!(folder.run("inventory host w1"), @r#"
    exit 0
    -- stdout
    {
      "greeting": "hello from w1",
      "region": "eu",
      "token": "{{ no }}"
    }
    -- stderr
    region: inventory/group_vars/all.yaml:1:9 (inventory/group_vars/all.yaml)
    greeting: inventory/hosts.yaml:14:24 (vars of the host in the inventory)
    token: inventory/hosts.yaml:14:78 (vars of the host in the inventory)
    "#);
    insta::assert_snapshot!(folder.run("inventory graph -i one,two"), @"
    exit 0
    -- stdout
    @all:
      |--@ungrouped:
      |  |--one
      |  |--two
    ");
}
