//! Accounts, extensions and rights: what the inventory declares is what each account can do, and no more.

use super::bench::Bench;
use super::{ALL, PRIMARY};
use serde_json::json;

pub fn accounts_can_do_what_was_declared_and_no_more(bench: &Bench) {
    for host in ALL {
        assert_eq!(
            bench.sql(host, "SHOW shared_preload_libraries"),
            "pg_stat_statements,auto_explain",
            "{host}"
        );
        assert_eq!(bench.sql(host, "SHOW auto_explain.log_min_duration"), "1s", "{host}");
    }
    let as_role = |role: &str, statement: &str| {
        bench.try_sql(PRIMARY, &format!("\\connect app\nSET ROLE {role};\n{statement};"))
    };
    as_role("app", "CREATE TABLE harvest (field text, tons int); INSERT INTO harvest VALUES ('north', 7)")
        .expect("the application owns its database");
    assert_eq!(as_role("app_readonly", "SELECT tons FROM harvest").expect("the reader reads"), "7");
    let refused = as_role("app_readonly", "INSERT INTO harvest VALUES ('south', 1)").expect_err("no writer");
    assert!(refused.contains("permission denied for table harvest"), "{refused}");
    let seen =
        as_role("monitoring", "SELECT count(*) > 0 FROM pg_stat_statements WHERE query LIKE '%harvest%'");
    assert_eq!(seen.expect("monitoring sees statements"), "t");
    let refused = as_role("monitoring", "SELECT tons FROM harvest").expect_err("no reader");
    assert!(refused.contains("permission denied for table harvest"), "{refused}");
}

/// Quotes, `$`, backticks, backslashes and UTF-8 reach names, passwords and settings as they are, and a second run finds them so.
pub fn values_arrive_as_they_are(bench: &Bench) {
    let (database, role, prefix) =
        ("o'dd \"db\" $x `y` ö", "we\"ird 'user' $1 \\", "%m it's \"$x\" `y` \\ ö ");
    let password = "pa'ss\"w $x `y` \\ end";
    let vars = json!({
        "postgresql_databases": [{"name": "app", "owner": "app"}, {"name": database, "owner": role}],
        "postgresql_users": [{"name": "app"}, {"name": role, "password": password}],
        "postgresql_settings": {"log_line_prefix": prefix},
    });
    let vars = vars.to_string();
    bench.run(&["-e", &vars]).code(0);
    assert_eq!(bench.sql(PRIMARY, "SELECT datname FROM pg_database WHERE datname ~ 'dd'"), database);
    assert_eq!(
        bench.sql(PRIMARY, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname ~ 'dd'"),
        role
    );
    for host in ALL {
        assert_eq!(
            bench.sql(host, "SELECT setting || '|' FROM pg_settings WHERE name = 'log_line_prefix'"),
            format!("{prefix}|")
        );
    }
    let conninfo = format!("host={} dbname=app sslmode=require", bench.address(PRIMARY));
    assert_eq!(bench.login_as(PRIMARY, role, password, &conninfo), role);
    let again = bench.run(&["-e", &vars]);
    again.code(0);
    assert!(ALL.iter().all(|host| again.stats(host)["changed"] == 0), "{}", again.stdout);
    // What is absent goes, in an order in which it can: the database before its owner.
    let absent = json!({
        "postgresql_databases": [{"name": "app", "owner": "app"}, {"name": database, "state": "absent"}],
        "postgresql_users": [{"name": "app"}, {"name": role, "state": "absent"}],
        "postgresql_privileges": [
            {"database": "app", "type": "database", "privs": "ALL", "roles": role, "state": "absent"},
        ],
    });
    let absent = absent.to_string();
    bench.run(&["-e", &absent]).code(0);
    let left = "SELECT count(*) FROM pg_database FULL JOIN pg_roles ON false WHERE datname ~ 'dd' OR rolname ~ 'ird'";
    assert_eq!(bench.sql(PRIMARY, left), "0");
    let again = bench.run(&["-e", &absent]);
    again.code(0);
    assert!(ALL.iter().all(|host| again.stats(host)["changed"] == 0), "{}", again.stdout);
    bench.run(&[]).code(0);
}
