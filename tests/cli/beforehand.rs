//! What is refused before anything is done on any host.

use crate::folder::Folder;

/// Two names of this machine, each with two certificates whose files have the same base name.
const SITE: &str = "
== inventory
one ansible_connection=local dir=DIR
two ansible_connection=local dir=DIR
== site.yaml
- hosts: all
  tasks:
    - name: before it
      copy: {content: \"{{ mark | default('first') }}\", dest: \"{{ dir }}/{{ inventory_hostname }}.mark\"}
    - name: folders
      file: {path: \"{{ dir }}/{{ inventory_hostname }}/{{ item }}\", state: directory}
      loop: [pg, bouncer]
    - name: our CA
      tls_ca: {key_type: ed25519}
      run_once: true
    - name: certificates
      tls_cert:
        sans: [\"{{ inventory_hostname }}\"]
        key_type: ed25519
        cert_path: \"{{ dir }}/{{ inventory_hostname }}/{{ item }}/server.crt\"
        key_path: \"{{ dir }}/{{ inventory_hostname }}/{{ item }}/server.key\"
        owner: root
        replace_foreign: \"{{ inventory_hostname in given_up | default('') }}\"
      loop: [pg, bouncer]
";

fn folder() -> Folder {
    let folder = Folder::new(SITE);
    let dir = folder.path("").display().to_string();
    folder.write("inventory", &folder.read("inventory").trim_end().replace("DIR", dir.trim_end_matches('/')));
    folder
}

fn recap(shown: &str) -> Vec<String> {
    let lines = shown.lines().filter(|line| line.contains(" : ok="));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn certificates_of_a_ca_that_is_lost_here_stay_as_they_are() {
    let folder = folder();
    assert!(folder.run("run site.yaml").starts_with("exit 0"));
    // Two certificates of one base name have two records: nothing to do any more.
    let again = folder.run("run site.yaml");
    assert!(recap(&again).iter().all(|line| line.contains("changed=0")), "{again}");
    let before = folder.read("two/pg/server.crt");
    std::fs::rename(folder.path("pki"), folder.path("away")).expect("it is there");
    std::fs::remove_dir_all(folder.path("one")).expect("it is there");
    for options in ["--check", "", "--window 1"] {
        let refused = folder.run(&format!("run site.yaml {options} -e mark=second"));
        assert!(refused.starts_with("exit 2"), "{refused}");
        assert!(
            refused.contains("its certificate is from `CN=ishprov CA`, and there is no CA in `pki`"),
            "{refused}"
        );
        assert!(
            refused.contains("every host is as it was") && refused.contains("certs rotate --ca"),
            "{refused}"
        );
        assert!(recap(&refused).iter().all(|line| line.contains("ok=0 changed=0")), "{refused}");
        assert_eq!(folder.read("one.mark"), "first", "a host that holds nothing was touched");
        assert_eq!(folder.read("two/pg/server.crt"), before);
        assert!(!folder.path("pki").exists() && !folder.path("one").exists());
    }
    // By name, and by that name only.
    let other = folder.run("run site.yaml -e given_up=one");
    assert!(other.starts_with("exit 2") && !folder.path("pki").exists(), "{other}");
    assert!(folder.run("run site.yaml -e given_up=two").starts_with("exit 0"));
    assert_ne!(folder.read("two/pg/server.crt"), before);
}

#[test]
fn half_a_folder_of_a_ca_is_refused_before_anything_is_done() {
    for (gone, says) in [
        ("ca.key", "there is a CA certificate but no CA key"),
        ("ca.crt", "there is a CA key but no CA certificate"),
        ("ca.key ca.crt", "`pki` has records of certificates that were issued, but no CA"),
    ] {
        let folder = folder();
        assert!(folder.run("run site.yaml").starts_with("exit 0"));
        for file in gone.split(' ') {
            std::fs::remove_file(folder.path("pki").join(file)).expect("it is there");
        }
        let refused = folder.run("run site.yaml -e mark=second");
        assert!(refused.starts_with("exit 2") && refused.contains(says), "{gone}: {refused}");
        assert_eq!(folder.read("one.mark"), "first", "{gone}");
    }
}
