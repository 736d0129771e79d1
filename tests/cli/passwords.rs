//! `lookup('password', ...)`: where passwords are kept, and that nothing else takes them for its own.

use crate::folder::Folder;
use crate::runs::untimed;
use std::os::unix::fs::PermissionsExt as _;

fn site(tasks: &str) -> Folder {
    let folder = Folder::new("== inventory/hosts.yaml\nall: {hosts: {h1: {ansible_connection: local}}}");
    folder.write("site.yaml", &format!("- hosts: all\n  gather_facts: false\n  tasks:\n{tasks}"));
    folder
}

#[test]
fn one_for_once_is_new_each_time_and_kept_nowhere() {
    let folder = site(
        "    - copy: {dest: \"{{ playbook_dir }}/one\", content: \"{{ lookup('password', '/dev/null length=12 chars=digits') }}\"}\n    \
         - copy: {dest: \"{{ playbook_dir }}/two\", content: \"{{ lookup('ansible.builtin.password', '/dev/null', length=12) }}\"}",
    );
    let said = folder.run("run site.yaml -i inventory");
    assert!(said.starts_with("exit 0"), "{said}");
    let (one, two) = (folder.read("one"), folder.read("two"));
    assert_eq!((one.len(), two.len()), (12, 12));
    assert!(one.bytes().all(|byte| byte.is_ascii_digit()), "{one}");
    assert!(!said.contains(&one) && !said.contains(&two), "{said}");
}

#[test]
fn names_of_every_kind_stay_in_their_folder() {
    let folder = site(
        "    - assert: {that: \"lookup('password', 'secrets/' ~ item ~ ' length=9') | length == 9\"}\n      \
         loop: [Shop Owner, müller, 100%, a/b]",
    );
    let said = folder.run("run site.yaml -i inventory");
    assert!(said.starts_with("exit 0"), "{said}");
    let folder = site(
        "    - debug: {msg: \"{{ lookup('password', 'secrets/' ~ item) | length }}\"}\n      loop: [good, ../evil]",
    );
    insta::assert_snapshot!(untimed(&folder.run("run site.yaml -i inventory")), @r#"
    exit 1
    -- stderr
    error: lookup `password`: `secrets/../evil` leads out of the folder that passwords are kept in
     --> site.yaml:4:24
      |
    4 |     - debug: {msg: "{{ lookup('password', 'secrets/' ~ item) | length }}"}
      |                        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = the item is `../evil`
      = help: give a name inside of it, or an absolute path
    1 error in 2 files. No host was contacted.
    "#);
    assert!(!folder.path("inventory/evil").exists());
}

#[test]
fn slips_in_options_are_refused() {
    let of = |term: &str| {
        let said = site(&format!("    - debug: {{msg: \"{{{{ lookup('password', {term}) }}}}\"}}"))
            .run("run site.yaml -i inventory");
        said.lines()
            .filter(|line| line.starts_with("error: ") || line.contains("= help"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    insta::assert_snapshot!(of("'a lenght=5'"), @"
    error: lookup `password`: `lenght` is not supported
      = help: it takes length= and chars=
    ");
    insta::assert_snapshot!(of("'a', lenght=5"), @"
    error: lookup `password`: `lenght` is not supported
      = help: it takes length= and chars=
    ");
    insta::assert_snapshot!(of("'a encrypt=sha512_crypt'"), @"
    error: lookup `password`: `encrypt` is not supported
      = help: keep the hash itself in a vault value: a salt drawn anew would change every run
    ");
}

#[test]
fn an_empty_file_is_no_password() {
    let folder = site("    - debug: {msg: \"{{ lookup('password', 'secrets/app') }}\"}");
    folder.write("inventory/secrets/app", "");
    let said = folder.run("run site.yaml -i inventory");
    assert!(said.contains("`inventory/secrets/app` is empty"), "{said}");
}

/// Neither in `secrets/`, at any depth, nor one that lies among inventories; and none is ever shown.
#[test]
fn no_password_is_read_as_an_inventory() {
    let folder = site("    - debug: {msg: \"{{ groups.all | join(' ') }}\"}");
    for name in
        ["inventory/secrets/app", "inventory/more/secrets/x/app", "inventory/pki/serial", "inventory/evil"]
    {
        folder.write(name, "Xy7pQsecret");
        std::fs::set_permissions(folder.path(name), std::fs::Permissions::from_mode(0o600)).expect("a mode");
    }
    insta::assert_snapshot!(untimed(&folder.run("run site.yaml -i inventory")), @"
    exit 0
    -- stdout
    PLAY [all] ·················································································· 1 host
      debug                                            ok        h1  (h1)
    PLAY RECAP
    h1 : ok=1   changed=0   unreachable=0   failed=0   skipped=0   rescued=0   ignored=0
    1 host, N s, at most 1 round trips a host
    -- stderr
    warning: `inventory/evil` is not read as an inventory: it looks like a kept secret
     = help: passwords belong into `secrets/`; an inventory of one host is named `NAME.ini`
    ");
    insta::assert_snapshot!(folder.run("lab up -i inventory/secrets/app --name none"), @"
    exit 1
    -- stderr
    error: `inventory/secrets/app` is no inventory: it lies in a folder of secrets
    1 error in 1 file. No host was contacted.
    ");
}
