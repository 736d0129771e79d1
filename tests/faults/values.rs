//! Whatever a value holds, it arrives byte for byte.

use crate::bench::Bench;
use serde_json::json;

pub fn arrive_as_they_are(bench: &Bench) {
    let odd = "it's \"quoted\" $HOME ${x} `id` \\ \\n \t tab\n{{ no template }} {% nor this %} # no comment\n\
               ünïcödé ☃ 日本\n trailing space \n%s %d !! ; | & > < * ? ~ [a]\n\nlast line without end";
    let line = "it's \"quoted\" $HOME `id` \\1 \\n & {{ x }} ☃ %s | ; #";
    let name = "na me 'q' $x `y` ü";
    let mega: String = "0123456789abcdef'\"$`\\ü☃\n".chars().cycle().take(1_000_000).collect();
    let vars = format!(
        "odd: !unsafe {}\nodd_line: !unsafe {}\nodd_name: {}\nmega: !unsafe {}\n",
        json!(odd),
        json!(line),
        json!(name),
        json!(mega)
    );
    bench.write("values_vars.yaml", vars);
    bench.sh("h1", "mkdir -p /srv/v");
    let ran = bench.run("values.yaml", &["-e", "@values_vars.yaml"]);
    ran.code(0);
    for file in ["copy", "template", "argv", "said", "env"] {
        let found = bench.read("h1", &format!("/srv/v/{file}"));
        assert_eq!(String::from_utf8_lossy(&found), odd, "by {file}");
    }
    assert_eq!(String::from_utf8_lossy(&bench.read("h1", "/srv/v/line")), format!("{line}\n"));
    assert_eq!(
        String::from_utf8_lossy(&bench.read("h1", "/srv/v/block")),
        format!("# BEGIN ANSIBLE MANAGED BLOCK\n{line}\n# END ANSIBLE MANAGED BLOCK\n")
    );
    assert_eq!(bench.sh("h1", "cat /srv/v/braces"), "{{ }} {%");
    assert!(bench.read("h1", "/srv/v/mega") == mega.as_bytes(), "a megabyte came altered");
    assert_eq!(bench.sh("h1", "ls /srv/v").lines().filter(|found| *found == name).count(), 1);
    let again = bench.run("values.yaml", &["-e", "@values_vars.yaml"]);
    assert_eq!(again.code(0).stats("h1")["changed"], 0, "{}", again.stdout);
}
