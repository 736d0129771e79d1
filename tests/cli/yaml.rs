//! Texts that are no YAML.

use crate::folder::Folder;

fn lint(site: &str) -> String {
    let folder = Folder::new("== inventory\nh1");
    folder.write("site.yaml", site);
    folder.run("lint site.yaml -i inventory")
}

#[test]
fn a_tab_as_indentation() {
    insta::assert_snapshot!(lint("- hosts: all\n  tasks:\n\t- debug:\n\t    msg: hello"), @"
    exit 1
    -- stderr
    error: a tab stands where YAML wants spaces
     --> site.yaml:3:1
      |
    3 |     - debug:
      | ^^^^
      |
      = help: indent with spaces
    1 error in 2 files. No host was contacted.
    ");
}

#[test]
fn a_quote_that_never_ends() {
    insta::assert_snapshot!(lint("- hosts: all\n  tasks:\n    - debug:\n        msg: \"hello\n    - ping:"), @r#"
    exit 1
    -- stderr
    error: a quote is opened and never closed
     --> site.yaml:4:14
      |
    4 |         msg: "hello
      |              ^
    1 error in 2 files. No host was contacted.
    "#);
}

#[test]
fn a_colon_in_a_plain_text() {
    insta::assert_snapshot!(lint("- hosts: all\n  tasks:\n    - debug:\n        msg: note: this"), @r#"
    exit 1
    -- stderr
    error: a second `: ` on the line makes a mapping where a text was begun
     --> site.yaml:4:18
      |
    4 |         msg: note: this
      |                  ^
      |
      = help: quote the value: `msg: "note: this"`
    1 error in 2 files. No host was contacted.
    "#);
}

#[test]
fn a_line_that_stands_too_far_left() {
    insta::assert_snapshot!(lint("- hosts: all\n  tasks:\n    - debug:\n        msg: hello\n   - debug:\n        msg: again"), @"
    exit 1
    -- stderr
    error: this line does not fit the indentation of the lines above
     --> site.yaml:5:4
      |
    5 |    - debug:
      |    ^
      |
      = help: keys of one mapping, and dashes of one list, start in the same column
    1 error in 2 files. No host was contacted.
    ");
}

#[test]
fn a_template_without_quotes() {
    insta::assert_snapshot!(lint("- hosts: all\n  tasks:\n    - debug:\n        msg: {{ inventory_hostname }}"), @r#"
    exit 1
    -- stderr
    error: a value that starts with `{{` needs quotes
     --> site.yaml:4:14
      |
    4 |         msg: {{ inventory_hostname }}
      |              ^^^^^^^^^^^^^^^^^^^^^^^^ quote it
      |
      = help: write "{{ inventory_hostname }}"
    1 error in 2 files. No host was contacted.
    "#);
}

#[test]
fn the_same_key_twice() {
    insta::assert_snapshot!(lint("- hosts: all\n  tasks:\n    - debug:\n        msg: one\n        msg: two"), @"
    exit 1
    -- stderr
    error: the key `msg` stands here twice
     --> site.yaml:5:9
      |
    5 |         msg: two
      |         ^^^
      |
      = `msg` first set at site.yaml:4:9
    1 error in 2 files. No host was contacted.
    ");
}

#[test]
fn two_documents() {
    insta::assert_snapshot!(lint("- hosts: all\n---\n- hosts: all"), @"
    exit 1
    -- stderr
    error: a second document starts here
     --> site.yaml:2:1
      |
    2 | ---
      | ^^^ only one document a file is read
      |
      = help: remove this line, or move what follows into a file of its own
    1 error in 2 files. No host was contacted.
    ");
}

#[test]
fn a_mapping_where_a_list_belongs() {
    insta::assert_snapshot!(lint("hosts: all\ntasks: []"), @"
    exit 1
    -- stderr
    error: a site is a list of plays, this is a mapping
     --> site.yaml:1:1
      |
    1 | hosts: all
      | ^^^^^^^^^^
      |
      = help: start it with `- hosts: ...`
    1 error in 2 files. No host was contacted.
    ");
}

#[test]
fn nothing_at_all() {
    insta::assert_snapshot!(lint(""), @"
    exit 1
    -- stderr
    error: the site is empty
     --> site.yaml:1:1
      |
    1 |
      | ^
      |
      = help: start it with `- hosts: ...`
    1 error in 2 files. No host was contacted.
    ");
}

#[test]
fn bytes_that_are_no_text() {
    let folder = Folder::new("== inventory\nh1");
    std::fs::write(folder.path("site.yaml"), b"- hosts: all\xff\n").expect("a file");
    insta::assert_snapshot!(folder.run("lint site.yaml -i inventory"), @"
    exit 1
    -- stderr
    error: `site.yaml` is not UTF-8 text
    1 error in 1 file. No host was contacted.
    ");
}
