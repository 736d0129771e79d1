//! Texts in, trees and messages out.

use super::*;
use crate::diag::SourceMap;

fn read(text: &str) -> Result<Node, Vec<Diagnostic>> {
    parse(SourceMap::new().add("t.yml", text), text)
}

fn value(text: &str) -> serde_json::Value {
    read(text).map(|node| node.to_value()).unwrap_or_else(|faults| panic!("{text}: {faults:?}"))
}

#[test]
fn values() {
    for (text, wanted) in [
        ("", "null"),
        ("# nothing\n---\n", "null"),
        ("a: 1\nb: [x, 'yes', yes, \"1\"]\n", r#"{"a":1,"b":["x","yes",true,"1"]}"#),
        ("a:\nb: ~\n", r#"{"a":null,"b":null}"#),
        ("- a: |\n    x\n     y\n\n- >-\n  p\n  q\n", r#"[{"a":"x\n y\n"},"p q"]"#),
        ("a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  q: 3\n", r#"{"a":{"p":1,"q":2},"b":{"p":1,"q":3}}"#),
        (
            "a: &x {p: 1}\nb: &y {p: 2, q: 2}\nc: {<<: [*x, *y]}\n",
            r#"{"a":{"p":1},"b":{"p":2,"q":2},"c":{"p":1,"q":2}}"#,
        ),
        ("? a\n: b\n", r#"{"a":"b"}"#),
        ("{a: {b: c}, d}", r#"{"a":{"b":"c"},"d":null}"#),
        ("---\na: b\n...\n", r#"{"a":"b"}"#),
        ("a: !!str 12\nb: !!int '12'\nc: !!bool Yes", r#"{"a":"12","b":12,"c":true}"#),
        ("\"<<\": 1", r#"{"<<":1}"#),
        ("a: \"{{ x }}\"", r#"{"a":"{{ x }}"}"#),
        ("a: |\n  end without line feed", r#"{"a":"end without line feed"}"#),
        ("a:\n- 1\n- 2\nb: x", r#"{"a":[1,2],"b":"x"}"#),
        ("\u{feff}a: 1", r#"{"a":1}"#),
    ] {
        assert_eq!(value(text).to_string(), wanted, "{text}");
    }
}

#[test]
fn tagged_texts() {
    let node =
        read("a: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3030\nb: !unsafe '{{ x }}'\nc: !unsafe [a, 1]\n")
            .unwrap_or_else(|faults| panic!("{faults:?}"));
    let kind = |key: &str| node.get(key).map(|node| node.kind.clone());
    assert_eq!(kind("a"), Some(Kind::Vault("$ANSIBLE_VAULT;1.1;AES256\n3030\n".to_owned())));
    assert_eq!(kind("b"), Some(Kind::Unsafe("{{ x }}".to_owned())));
    assert_eq!(
        node.get("c").and_then(|c| c.as_seq()).map(|c| c[0].kind.clone()),
        Some(Kind::Unsafe("a".to_owned()))
    );
}

#[test]
fn spans_cover_what_was_written() {
    let text = "a: 'x y' # c\nb:\n  - 1\n  - {p: q}\nc: |\n  one\n  two\n\nd: plain text\n";
    let mut sources = SourceMap::new();
    let file = sources.add("t.yml", text);
    let node = parse(file, text).unwrap_or_else(|faults| panic!("{faults:?}"));
    let snippet = |node: &Node| sources.snippet(node.span).to_owned();
    assert_eq!(node.get("a").map(&snippet).as_deref(), Some("'x y'"));
    assert_eq!(node.get("b").map(&snippet).as_deref(), Some("- 1\n  - {p: q}"));
    let items =
        node.get("b").and_then(Node::as_seq).map(|items| items.iter().map(&snippet).collect::<Vec<_>>());
    assert_eq!(items, Some(vec!["1".to_owned(), "{p: q}".to_owned()]));
    assert_eq!(node.get("c").map(&snippet).as_deref(), Some("one\n  two"));
    assert_eq!(node.get("d").map(&snippet).as_deref(), Some("plain text"));
    assert_eq!(node.entry("d").map(|entry| snippet(&entry.key)).as_deref(), Some("d"));
    assert_eq!(snippet(&node), text.trim_end());
}

/// `code at line:column message [frames] | hints`, a line a fault.
fn faults(text: &str) -> String {
    let mut sources = SourceMap::new();
    let file = sources.add("t", text);
    let faults = match parse(file, text) {
        Ok(node) => return format!("{node:?}"),
        Err(faults) => faults,
    };
    let place = |span| sources.locate(span).to_string();
    let shown = faults.iter().map(|fault| {
        let frames: String =
            fault.frames.iter().map(|frame| format!(" [{} {}]", frame.text, place(frame.span))).collect();
        let hints: String = fault.hints.iter().map(|hint| format!(" | {hint}")).collect();
        let span =
            fault.span.map(|span| format!("{} `{}`", place(span), sources.snippet(span))).unwrap_or_default();
        format!("{} {span} {}{frames}{hints}", fault.code, fault.message)
    });
    shown.collect::<Vec<_>>().join("\n")
}

#[test]
fn classic_traps() {
    insta::assert_snapshot!(faults("a: {{ x }}\nb: 1\n"), @r#"yaml-unquoted-template t:1:4 `{{ x }}` a value that starts with `{{` needs quotes | write "{{ x }}""#);
    insta::assert_snapshot!(faults("a: {{ x }}/y\nb: 1\n"), @r#"yaml-unquoted-template t:1:4 `{{ x }}/y` a value that starts with `{{` needs quotes | write "{{ x }}/y""#);
    insta::assert_snapshot!(faults("a:\n  - {{ x | d('') }} and more\n"), @r#"yaml-unquoted-template t:2:5 `{{ x | d('') }} and more` a value that starts with `{{` needs quotes | write "{{ x | d('') }} and more""#);
    insta::assert_snapshot!(faults("msg: value: x\n"), @r#"yaml-syntax t:1:11 `:` a second `: ` on the line makes a mapping where a text was begun | quote the value: `msg: "value: x"`"#);
    insta::assert_snapshot!(faults("- name: install: all\n  apt: x\n"), @r#"yaml-syntax t:1:16 `:` a second `: ` on the line makes a mapping where a text was begun | quote the value: `name: "install: all"`"#);
    insta::assert_snapshot!(faults("a:\n\tb: 1\n"), @r#"yaml-tab t:2:1 `	` a tab stands where YAML wants spaces | indent with spaces"#);
    insta::assert_snapshot!(faults("a:\n  b: 1\n c: 2\n"), @r#"yaml-syntax t:3:2 `c` this line does not fit the indentation of the lines above | keys of one mapping, and dashes of one list, start in the same column"#);
    insta::assert_snapshot!(faults("- a: 1\n   b: 2\n"), @r#"yaml-syntax t:2:5 `:` this line does not fit the indentation of the lines above | keys of one mapping, and dashes of one list, start in the same column"#);
    insta::assert_snapshot!(faults("a: \"x\" y\n"), @r#"yaml-syntax t:1:8 `y` there is more text behind the closing quote | quote the whole value, with the other kind of quotes outside: 'say "this" and that'"#);
    insta::assert_snapshot!(faults("a: \"\\d\"\n"), @r#"yaml-syntax t:1:4 `"` unknown escape in a text in double quotes | write `\\` for a backslash, or use single quotes, which know no escapes"#);
    insta::assert_snapshot!(faults("a: \"open\nb: 1\n"), @r#"yaml-syntax t:1:4 `"` a quote is opened and never closed"#);
    insta::assert_snapshot!(faults("a: @x\n"), @r#"yaml-syntax t:1:4 `@` a text cannot start with `@` | quote the text"#);
    insta::assert_snapshot!(faults("a: [1, 2\nb: 3\n"), @r#"yaml-syntax t:2:2 `:` a `:` stands inside a list in brackets | is a `[` above never closed?"#);
    insta::assert_snapshot!(faults("a: *glob\nb: *.conf\n"), @r#"
    yaml-unknown-alias t:1:4 `*glob` `*glob` refers to an anchor that is not set above | set it with `&glob`, or quote a text that starts with `*`
    yaml-unknown-alias t:2:4 `*.conf` `*.conf` refers to an anchor that is not set above | set it with `&.conf`, or quote a text that starts with `*`
    "#);
    insta::assert_snapshot!(faults("a: !lookup x\nb: !!python/tuple [1]\n"), @r#"
    yaml-unknown-tag t:1:4 `!lookup` unknown tag `!lookup` | the tags are `!vault` and `!unsafe`; quote a text that starts with `!`
    yaml-unknown-tag t:2:4 `!!python/tuple` unknown tag `!!python/tuple` | the tags are `!vault` and `!unsafe`; quote a text that starts with `!`
    "#);
    insta::assert_snapshot!(faults("a: 1\nb: 2\na: 3\nc: {d: 1, d: 2}\n"), @r#"
    yaml-duplicate-key t:3:1 `a` the key `a` stands here twice [`a` first set t:1:1]
    yaml-duplicate-key t:4:11 `d` the key `d` stands here twice [`d` first set t:4:5]
    "#);
    insta::assert_snapshot!(faults("a: 1\n---\nb: 2\n"), @r#"yaml-second-document t:2:1 `---` a second document starts here | remove this line, or move what follows into a file of its own"#);
    insta::assert_snapshot!(faults("{a: 1}: b\n"), @r#"yaml-complex-key t:1:1 `{a: 1}` a key of a mapping must be a text, not a mapping"#);
    insta::assert_snapshot!(faults("a: &x\n  b: *x\n"), @r#"yaml-alias-cycle t:2:6 `*x` this alias refers to what it is a part of"#);
    insta::assert_snapshot!(faults("a:\n  <<: text\n"), @r#"yaml-merge t:2:7 `text` `<<` merges mappings, not a text"#);
    insta::assert_snapshot!(faults("a: 1\nplain\nb: 2\n"), @r#"yaml-syntax t:2:1 `p` a `:` is missing behind this key | a key is followed by a colon and a space: `key: value`"#);
    insta::assert_snapshot!(faults("a: !!int x\n"), @r#"yaml-tag-mismatch t:1:10 `x` this is not what its tag `!!int` says"#);
}

#[test]
fn bombs_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        text += &format!("a{level}: &a{level} [{items}]\n");
    }
    assert!(faults(&text).contains("yaml-alias-bomb"));
    let mut text = "a0: &a0 [x]\n".to_owned();
    for level in 1..5000 {
        text += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
    }
    assert!(faults(&text).contains("yaml-alias-bomb"));
    assert!(faults(&"[".repeat(100_000)).contains("yaml-too-deep"));
    assert!(faults(&"- ".repeat(100_000)).contains("yaml-too-deep"));
}

proptest::proptest! {
    #[test]
    fn never_panics(text in r#"([ \t\n:\-{}\[\]"'|>&*!#%@,?~a0.<é]|: |- |\n  |\{\{ | \}\}|<<: |---|!vault |&a |\*a){0,60}"#) {
        let mut sources = SourceMap::new();
        let file = sources.add("t", text.as_str());
        if let Err(faults) = parse(file, &text) {
            proptest::prop_assert!(!faults.is_empty());
            for span in faults.iter().filter_map(|fault| fault.span) {
                proptest::prop_assert!(text.get(span.start as usize..span.end as usize).is_some());
            }
        }
    }

    #[test]
    fn never_panics_on_anything(text in "\\PC{0,200}") {
        let _ = parse(SourceMap::new().add("t", text.as_str()), &text);
    }

    // Without `_`: for the writer `1_` is a text, for PyYAML and us it is the number 1.
    #[test]
    fn reads_back_what_the_writer_wrote(texts in proptest::collection::vec("[ -^`-~éß\n\t]{0,30}", 0..8)) {
        let written = serde_yaml::to_string(&texts).unwrap_or_default();
        let read = value(&written);
        let wanted = serde_json::json!(texts);
        proptest::prop_assert_eq!(read, wanted, "{}", written);
    }
}
