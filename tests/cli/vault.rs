//! Secrets that cannot be opened.

use crate::folder::Folder;
use std::fs;

/// A site with a vault file and a vault value, both under the password `right`.
fn folder() -> Folder {
    let folder = Folder::new(
        "
== right
right
== wrong
another one
== inventory/hosts.yaml
all:
  hosts: {h1: }
== inventory/group_vars/all/main.yaml
plain: 1
== inventory/group_vars/all/secret.yaml
db_password: hunter2
== site.yaml
- hosts: all
  tasks:
    - debug: {msg: \"{{ db_password }} {{ token }}\"}
",
    );
    folder.run("vault encrypt inventory/group_vars/all/secret.yaml --vault-password-file right");
    let value =
        folder.run_with_input("vault encrypt-string --name token --vault-password-file right -", "hunter3");
    let value = value.split_once("-- stdout\n").expect("a value").1;
    fs::write(folder.path("inventory/group_vars/all/token.yaml"), value).expect("a file");
    folder
}

#[test]
fn the_right_password() {
    let shown = folder().run("lint site.yaml --vault-password-file right");
    insta::assert_snapshot!(shown, @"
    exit 0
    -- stdout
    site.yaml: no errors in 5 files, 1 task
    ");
}

#[test]
fn the_wrong_password() {
    let shown = folder().run("run site.yaml --vault-password-file wrong");
    insta::assert_snapshot!(shown, @"
    exit 1
    -- stderr
    error: cannot open the vault file `inventory/group_vars/all/secret.yaml`: wrong vault password, or the text was altered
    1 error in 4 files. No host was contacted.
    ");
}

#[test]
fn no_password() {
    insta::assert_snapshot!(folder().run("run site.yaml"), @"
    exit 1
    -- stderr
    error: cannot open the vault file `inventory/group_vars/all/secret.yaml`: no vault password was given
     = help: give it with `--vault-password-file` or `--ask-vault-pass`
    1 error in 4 files. No host was contacted.
    ");
}

#[test]
fn a_password_file_that_is_not_there() {
    insta::assert_snapshot!(folder().run("run site.yaml --vault-password-file rihgt"), @"
    exit 1
    -- stderr
    error: no vault password from `rihgt`: No such file or directory (os error 2)
     = help: `--vault-password-file` takes a file that holds the password, or a program that prints it
    1 error in 4 files. No host was contacted.
    ");
}

#[test]
fn a_password_program_that_fails() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder();
    folder.write("ask", "#!/bin/sh\necho locked >&2\nexit 3");
    fs::set_permissions(folder.path("ask"), fs::Permissions::from_mode(0o700)).expect("a mode");
    insta::assert_snapshot!(folder.run("run site.yaml --vault-password-file ask"), @"
    exit 1
    -- stderr
    locked
    error: no vault password from `ask`: it is a program, and it failed (exit status: 3)
     = help: `--vault-password-file` takes a file that holds the password, or a program that prints it
    1 error in 4 files. No host was contacted.
    ");
}

#[test]
fn a_vault_file_that_was_cut_off() {
    let folder = folder();
    let path = folder.path("inventory/group_vars/all/secret.yaml");
    let text = fs::read_to_string(&path).expect("a file");
    fs::write(&path, &text[..text.len() / 2]).expect("a file");
    insta::assert_snapshot!(folder.run("run site.yaml --vault-password-file right"), @"
    exit 1
    -- stderr
    error: cannot open the vault file `inventory/group_vars/all/secret.yaml`: damaged vault text in line 4: an odd number of hexadecimal digits
    1 error in 4 files. No host was contacted.
    ");
}

#[test]
fn the_vault_commands() {
    let folder = folder();
    insta::assert_snapshot!(folder.run("vault view inventory/group_vars/all/secret.yaml --vault-password-file right"), @"
    exit 0
    -- stdout
    db_password: hunter2
    ");
    insta::assert_snapshot!(folder.run("vault view inventory/group_vars/all/secret.yaml --vault-password-file wrong"), @"
    exit 1
    -- stderr
    error: cannot decrypt `inventory/group_vars/all/secret.yaml`: wrong vault password, or the text was altered
    ");
    insta::assert_snapshot!(folder.run("vault view site.yaml --vault-password-file right"), @"
    exit 1
    -- stderr
    error: `site.yaml` is not encrypted
     = help: an encrypted file begins with `$ANSIBLE_VAULT;`
    ");
    insta::assert_snapshot!(folder.run("vault encrypt inventory/group_vars/all/secret.yaml --vault-password-file right"), @"
    exit 1
    -- stderr
    error: `inventory/group_vars/all/secret.yaml` is encrypted already
     = help: `ishprov vault rekey` gives it another password
    ");
    insta::assert_snapshot!(folder.run("vault decrypt nowhere.yaml --vault-password-file right"), @"
    exit 1
    -- stderr
    error: cannot read `nowhere.yaml`: No such file or directory (os error 2)
    ");
    insta::assert_snapshot!(folder.run("vault edit nowhere.yaml --vault-password-file right"), @"
    exit 0
    -- stderr
    nowhere.yaml: not changed
    ");
    insta::assert_snapshot!(folder.run("vault view inventory/group_vars/all/secret.yaml"), @"
    exit 1
    -- stderr
    error: no vault password was given, and there is no terminal to ask for it
     = help: give a file that holds it with `--vault-password-file`, or set ANSIBLE_VAULT_PASSWORD_FILE
    ");
}
