//! Rules of `pg_hba.conf` as the module `postgresql_hba` writes them, judged by who gets in.

use crate::builds::Origin;
use crate::instance::Bench;
use std::process::{Command, Stdio};

/// Who may log in where: members of a group and others, names that PostgreSQL could take for words, files of names.
pub fn logins_follow_the_rules(origin: Origin) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("only root can give the file to `postgres`: not tried");
        return;
    }
    let bench = Bench::new(origin);
    let instance = bench.init("pg");
    instance.start();
    let roles =
        ["Sales Team", "rejected", "Sales Team 2", "all", "+odd", "web", "listed", "app_7", "app_77", "free"];
    for role in roles {
        instance.sql(&format!("CREATE ROLE \"{role}\" LOGIN PASSWORD '{}'", bench.password()));
    }
    instance.sql("GRANT \"Sales Team\" TO rejected; CREATE DATABASE \"all\"; CREATE DATABASE web; CREATE DATABASE \"my db\"");
    let data = instance.data();
    std::fs::write(data.join("my admins"), "listed, free\n").expect("a file");
    let regex = bench.build.major >= 16;
    // Before 16 the names themselves stand where an expression may stand later.
    let app = if regex { r#"['/^app_\d{1,1}$']"# } else { "[app_7]" };
    let site = format!(
        "- hosts: all
  gather_facts: false
  tasks:
    - postgresql_hba:
        version: {}
        data_directory: {data}
        file: {data}/pg_hba.conf
        rules:
          - {{type: local, users: postgres, method: peer}}
          - {{type: host, users: postgres, source: 127.0.0.1, method: scram-sha-256}}
          - {{type: host, users: '+Sales Team', source: 127.0.0.0, netmask: 255.0.0.0, method: reject, comment: 'not these \\'}}
          - {{type: host, databases: '\"all\"', users: '\"all\"', source: 127.0.0.1, method: scram-sha-256}}
          - {{type: host, databases: sameuser, users: web, source: samehost, method: scram-sha-256}}
          - {{type: host, databases: postgres, users: '\"+odd\"', source: 127.0.0.1, method: scram-sha-256}}
          - {{type: host, databases: 'my db, web', users: '@my admins', source: 127.0.0.1, method: scram-sha-256}}
          - {{type: host, databases: [postgres], users: {app}, source: 127.0.0.1, method: scram-sha-256}}
",
        bench.build.major,
        data = data.display(),
    );
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("site.yaml"), site).expect("a file");
    std::fs::write(folder.path().join("hosts"), "here ansible_connection=local\n").expect("a file");
    let mut program = Command::new(env!("CARGO_BIN_EXE_ishprov"));
    let output =
        program.args(["run", "site.yaml", "-i", "hosts"]).current_dir(folder.path()).stdin(Stdio::null());
    let output = output.output().expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    instance.sql("SELECT pg_reload_conf()");
    assert_eq!(instance.sql("SELECT line_number, error FROM pg_hba_file_rules WHERE error IS NOT NULL"), "");
    let groups = "SELECT user_name FROM pg_hba_file_rules WHERE user_name::text LIKE '%Sales%'";
    assert_eq!(instance.sql(groups), "{\"+Sales Team\"}");

    let table = [
        ("Sales Team", "postgres", false),
        ("rejected", "postgres", false),
        ("rejected", "web", false),
        ("Sales Team 2", "postgres", false),
        ("all", "all", true),
        ("all", "postgres", false),
        ("web", "all", false),
        ("web", "web", true),
        ("web", "postgres", false),
        ("+odd", "postgres", true),
        ("listed", "my db", true),
        ("free", "web", true),
        ("listed", "postgres", false),
        ("app_7", "postgres", true),
        ("app_77", "postgres", false),
        ("free", "postgres", false),
        ("postgres", "my db", true),
    ];
    for (role, database, allowed) in table {
        let login = instance.login(role, database);
        assert_eq!(login.is_ok(), allowed, "{origin:?}: {role} in {database}: {login:?}");
        if let Err(why) = login {
            assert!(
                why.contains("pg_hba.conf rejects connection"),
                "{origin:?}: {role} in {database}: {why}"
            );
        }
    }
    // Whom the group's rule turned away gets in by the rule behind it once he is no member.
    instance.sql("REVOKE \"Sales Team\" FROM rejected; ALTER ROLE rejected RENAME TO app_8");
    instance.sql(&format!("ALTER ROLE app_8 PASSWORD '{}'", bench.password()));
    assert_eq!(instance.login("app_8", "postgres").is_ok(), regex);
    instance.sql("GRANT \"Sales Team\" TO app_8");
    assert!(instance.login("app_8", "postgres").is_err());
}
