//! Accounts, extensions and rights: what the inventory declares is what each account can do, and no more.

use super::bench::Bench;
use super::{ALL, PRIMARY};

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
