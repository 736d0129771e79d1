//! Settings for a machine that is not there.

use crate::folder::Folder;

fn run(words: &str) -> String {
    Folder::new("").run(words)
}

#[test]
fn settings_of_a_machine_that_is_not_there() {
    insta::assert_snapshot!(run("tune --dry-run --ram 16GB --cpus 4 --disk ssd --connections 300"), @"
    exit 0
    -- stdout
    16 GB RAM, 4 CPUs, SSD (as you say) · PostgreSQL 15 · mixed · 300 connections
      setting                              proposed                takes    why
      shared_buffers                       4GB                     restart  a quarter of 16 GB RAM
      effective_cache_size                 12GB                    reload   what shared_buffers and the page cache can hold
                                                                            together: three quarters of 16 GB RAM at most
      work_mem                             5MB                     reload   what (300 active backends + 4 parallel workers)
                                                                            × hash_mem_multiplier 2 × 2 sorts or hashes at
                                                                            once leave of the budget: 6.6 GB / 1216
      maintenance_work_mem                 1GB                     reload   a sixteenth of 16 GB RAM, 1 GB at most, for
                                                                            index builds and VACUUM by hand, one at a time
      autovacuum_work_mem                  85MB                    reload   a 64th of 16 GB RAM shared by 3 workers, so that
                                                                            they never take maintenance_work_mem each
      huge_pages                           try                     restart  used where the kernel has them reserved; would
                                                                            save 2.3 GB of page tables with 300 active
                                                                            backends
      max_connections                      300                     restart  the most that any host of the cluster is asked
                                                                            for; equal on every host, since each may become
                                                                            the primary
      max_worker_processes                 8                       restart  at least the CPUs of the biggest host, 4 more,
                                                                            and those of extensions; equal on every host,
                                                                            since each may become the primary
      max_wal_senders                      10                      restart  0 standbys, two base backups at once, and spare;
                                                                            equal on every host, since each may become the
                                                                            primary
      max_prepared_transactions            0                       restart  two-phase commit is not asked for; equal on
                                                                            every host, since each may become the primary
      max_locks_per_transaction            64                      restart  the most that any workload of the cluster needs;
                                                                            equal on every host, since each may become the
                                                                            primary
      max_replication_slots                10                      restart  a slot for every host and spare, on each host
                                                                            because the primary may change; 0 standbys now
      wal_level                            replica                 restart  enough for standbys and WAL archiving
      wal_log_hints                        on                      restart  pg_rewind can then bring a failed primary back
      track_commit_timestamp               off                     restart  nobody asks for commit times
      max_wal_size                         8GB                     reload   half of the WAL budget of 16 GB (the filesystem
                                                                            of pg_wal was not measured; 64 GB assumed),
                                                                            capped for this workload
      min_wal_size                         2GB                     reload   a quarter of max_wal_size, kept for reuse
      max_slot_wal_keep_size               16GB                    reload   slots of standbys that are gone may hold the WAL
                                                                            budget of 16 GB (the filesystem of pg_wal was
                                                                            not measured; 64 GB assumed) and no more
      wal_keep_size                        0                       reload   no standby to keep WAL for
      wal_buffers                          16MB                    restart  a 32nd of shared_buffers, 16MB (one segment) at
                                                                            most
      checkpoint_timeout                   15min                   reload   a checkpoint every 15 minutes at most often
                                                                            writes fewer full pages
      checkpoint_completion_target         0.9                     reload   spreads a checkpoint's writes over nearly the
                                                                            whole interval
      wal_compression                      lz4                     reload   full pages compress well, and lz4 costs little
                                                                            CPU
      max_parallel_workers                 4                       reload   one a core, 2 at least: 4 cores
      max_parallel_workers_per_gather      2                       reload   half of 4 cores, 4 at most, so that a report
                                                                            leaves room for short work
      max_parallel_maintenance_workers     2                       reload   half of 4 cores, 4 at most, for one index build
      random_page_cost                     1.1                     reload   the disk is ssd (as you say), and most reads are
                                                                            taken to hit the cache; raise it where they do
                                                                            not
      effective_io_concurrency             200                     reload   the disk is ssd (as you say): so many reads at
                                                                            once keep it busy
      maintenance_io_concurrency           100                     reload   the disk is ssd (as you say): so many reads at
                                                                            once keep it busy
      default_statistics_target            100                     reload   enough for short queries; raise it per column
                                                                            where estimates are wrong
      jit                                  off                     reload   short queries lose more time to compiling than
                                                                            they gain, and each backend that compiled keeps
                                                                            10 MB
      autovacuum_max_workers               3                       restart  3, and one more with every doubling from 16
                                                                            CPUs; here 4
      autovacuum_naptime                   20s                     reload   every database is looked at every 20 s
      autovacuum_vacuum_scale_factor       0.05                    reload   many small writes: a table is cleaned before it
                                                                            bloats
      autovacuum_analyze_scale_factor      0.02                    reload   many small writes: a table is cleaned before it
                                                                            bloats
      autovacuum_vacuum_cost_limit         2000                    reload   ten times the default of 200, which dates from
                                                                            slower disks
      tcp_keepalives_idle                  60                      reload   a client that vanished is noticed after 60 s + 6
                                                                            × 10 s instead of two hours
      tcp_keepalives_interval              10                      reload   a client that vanished is noticed after 60 s + 6
                                                                            × 10 s instead of two hours
      tcp_keepalives_count                 6                       reload   a client that vanished is noticed after 60 s + 6
                                                                            × 10 s instead of two hours
      client_connection_check_interval     10s                     reload   a query whose client is gone is ended within 10
                                                                            s
      idle_in_transaction_session_timeout  10min                   reload   a transaction that is left open holds back
                                                                            VACUUM and locks; 10 minutes are enough
      password_encryption                  scram-sha-256           reload   md5 hashes can be replayed
      row_security                         on                      reload   row policies are applied to everyone they are
                                                                            written for
      hot_standby                          on                      restart  standbys answer queries
      hot_standby_feedback                 on                      reload   queries on a standby are not cancelled by VACUUM
                                                                            on the primary; long ones delay its cleaning
      max_standby_streaming_delay          30s                     reload   replay waits at most 30 s for queries on a
                                                                            standby
      wal_receiver_timeout                 1min                    reload   a dead connection to the primary is noticed
                                                                            after a minute
      log_min_duration_statement           1s                      reload   statements slower than 1 s are logged
      log_checkpoints                      on                      reload   forced checkpoints show that max_wal_size is too
                                                                            small
      log_lock_waits                       on                      reload   waits longer than deadlock_timeout are logged
      log_temp_files                       10MB                    reload   sorts and hashes that spill 10 MB or more show
                                                                            where work_mem is too small
      log_autovacuum_min_duration          10s                     reload   runs of autovacuum longer than 10 s are logged
      log_line_prefix                      %m [%p] %q%u@%d %a %h   reload   time, process, user, database, application and
                                                                            client of every line
      track_io_timing                      on                      reload   time spent in reads and writes shows in EXPLAIN
                                                                            and statistics
    memory  16.0 GB |■■■■■■ shared 4.1|■■■ page tables 2.3|■ backends 0.7|■■■■■■■■■ work 5.9|■■ vacuum 1.2|■ OS 1.0|
                    |· 0.6 free
    Way out: a pool with 40 server connections would allow work_mem 50MB (--active 40).
    ");
    insta::assert_snapshot!(run("tune --dry-run --ram 16XB --cpus 4"), @"
    exit 1
    -- stderr
    error: invalid value '16XB' for '--ram <SIZE>': `16XB` has the unknown unit `XB`; PostgreSQL knows B, kB, MB, GB, TB, case-sensitive

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(run("tune --dry-run --ram 16GB"), @"
    exit 1
    -- stderr
    error: the following required arguments were not provided:
      --cpus <NUMBER>

    Usage: ishprov tune --ram <SIZE> --cpus <NUMBER> --dry-run [PATTERN]

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(run("tune --dry-run --ram 256MB --cpus 1 --connections 5000"), @"
    exit 1
    -- stderr
    error: 5000 connections, 5000 of them active, do not fit into 256 MB RAM
     = operating system                192 MB
     = shared memory                 328.1 MB
     = backends                       12.2 GB
     = page tables                     625 MB
     = autovacuum                        4 MB
     = maintenance                      16 MB
     = least for work_mem             19.5 GB
     = sum                            32.9 GB  of 256 MB RAM
     = option: --connections
    ");
    insta::assert_snapshot!(run("tune --dry-run --ram 16GB --cpus 4 --workload wbe"), @"
    exit 1
    -- stderr
    error: invalid value 'wbe' for '--workload <KIND>': unknown workload `wbe`; known are web, oltp, dw, mixed, desktop; did you mean `web`?

    For more information, try '--help'.
    ");
}

#[test]
fn what_cannot_be_is_refused_with_its_range() {
    let table = [
        ("tune --dry-run --ram 64MB --cpus 2", "the range is 256 MB to 16 TB"),
        ("tune --dry-run --ram 0 --cpus 2", "the range is 256 MB to 16 TB"),
        ("tune --dry-run --ram 16XB --cpus 2", "PostgreSQL knows B, kB, MB, GB, TB"),
        ("tune --dry-run --ram 8GB --cpus 2 --connections 1000000000", "the range is 10 to 100000"),
        ("tune --dry-run --ram 8GB --cpus 2 --pg 12", "the range is 13 to 18"),
        ("tune --dry-run --ram 8GB --cpus 2 --workload oltpp", "did you mean `oltp`?"),
        ("tune --explain work_men --ram 8GB --cpus 2", "did you mean `work_mem`?"),
        ("tune", "none is named"),
    ];
    for (words, said) in table {
        let shown = run(words);
        assert!(!shown.starts_with("exit 0") && shown.contains(said), "{words}\n{shown}");
    }
}

#[test]
fn variables_of_a_wrong_kind_are_told_with_their_place() {
    let folder = Folder::new(
        "
== inventory.yaml
all:
  hosts:
    h1:
      postgresql_max_connections: many
      postgresql_settings: [work_mem, 8MB]
      postgresql_preload: pg_stat_statements
    h2:
      postgresql_preload: [{name: auto_explain}]
      postgresql_settings:
",
    );
    insta::assert_snapshot!(folder.run("tune --dry-run -i inventory.yaml"), @"
    exit 1
    -- stderr
    error: `postgresql_settings` is no mapping of settings to values
     --> inventory.yaml:5:28
      |
    5 |       postgresql_settings: [work_mem, 8MB]
      |                            ^^^^^^^^^^^^^^^
      |
      = host h1
    error: `postgresql_preload` is no list of libraries
     --> inventory.yaml:6:27
      |
    6 |       postgresql_preload: pg_stat_statements
      |                           ^^^^^^^^^^^^^^^^^^
      |
      = host h1
    error: `postgresql_max_connections` is no whole number
     --> inventory.yaml:4:35
      |
    4 |       postgresql_max_connections: many
      |                                   ^^^^
      |
      = host h1
    error: `postgresql_preload` is no list of names
     --> inventory.yaml:8:27
      |
    8 |       postgresql_preload: [{name: auto_explain}]
      |                           ^^^^^^^^^^^^^^^^^^^^^^
      |
      = host h2
    4 errors in 2 files. No host was contacted.
    ");
}

#[test]
fn every_format_can_be_read_by_what_it_is_for() {
    let of = |format: &str| {
        let shown =
            run(&format!("tune --ram 8GB --cpus 2 --connections 300 --workload oltp --format {format}"));
        let body = shown.split_once("-- stdout\n").expect("output").1.to_owned();
        body.split("-- stderr").next().unwrap_or_default().to_owned()
    };
    let json: serde_json::Value = serde_json::from_str(&of("json")).expect("JSON");
    let yaml: serde_json::Value = serde_yaml::from_str(&of("yaml")).expect("YAML");
    assert_eq!(json, yaml);
    assert_eq!(json["tuning"]["active"], 300);
    assert!(of("conf").contains("\nshared_buffers = 2GB\n"));
    assert!(of("sql").contains("\nALTER SYSTEM SET shared_buffers = '2GB';\n"));
}

/// A server of which pools may have 250 connections, and what is said of PgBouncer there.
const POOLED: &str =
    "tune --dry-run --ram 16GB --cpus 4 --connections 300 --workload oltp --direct 35 --monitoring 12";

fn output(words: &str) -> String {
    let shown = run(words);
    let body = shown.split_once("-- stdout\n").unwrap_or_else(|| panic!("no output: {shown}")).1;
    body.split("-- stderr").next().unwrap_or_default().to_owned()
}

#[test]
fn pools_that_fit_are_planned_with_the_settings() {
    let shown = output(&format!("{POOLED} --pool-pairs 39 --max-clients 800"));
    assert!(shown.starts_with(
        "16 GB RAM, 4 CPUs, unknown disk · PostgreSQL 15 · oltp · 300 connections, 281 active\n"
    ));
    // `--active` is the pools' to say: no way out names it.
    assert!(!shown.contains("--active"), "{shown}");
    let table = shown.find("\nPgBouncer: ").map(|start| &shown[start..]);
    insta::assert_snapshot!(table.expect("a plan below the settings"), @"
    PgBouncer: 6 × 39 pairs × 1 PgBouncer = 234 of 250 server connections: 6.8 % headroom
      setting              value        why
      pool_mode            transaction  a server connection is a client's for one transaction: what few connections need to
                                        serve many clients
      default_pool_size    6            250 for 39 pairs × 1 PgBouncer
      reserve_pool_size    0            what could be opened beyond the pool would have to fit too: the pool has it already
      min_pool_size        0            what lies idle in one pool is missing in none: the sum counts every pool full
      max_db_connections   250          no plan but a backstop: one database never takes more than this PgBouncer's part of
                                        the server
      max_client_conn      800          as you say
      server_idle_timeout  600          seconds; the sum counts every pool full, so closing sooner frees nothing and costs
                                        logins
      LimitNOFILE          1134         of the unit: 800 clients + 234 server connections + 100 of its own
    ");
    let one = "tune --dry-run --ram 16GB --cpus 4 --connections 300 --workload oltp --pool-pairs 1 --direct 0 --monitoring 0";
    let narrower = output(one);
    let way = narrower.lines().find(|line| line.starts_with("Way out:"));
    insta::assert_snapshot!(way.expect("a way out"), @"
    Way out: 40 server connections of each pool would allow work_mem 100MB (--pool-size 40).
    ");
    // And it leads where it says.
    let there = output(&format!("{one} --pool-size 40"));
    let promised = way.and_then(|way| way.split("work_mem ").nth(1)?.split(' ').next()).expect("a value");
    let row = there.lines().find(|line| line.starts_with("  work_mem ")).expect("a row");
    assert_eq!(row.split_whitespace().nth(1), Some(promised));
}

#[test]
fn pools_that_cannot_fit_are_refused() {
    insta::assert_snapshot!(run(&format!("{POOLED} --pool-pairs 39 --pool-size 30 --pool-reserve 10 --pool-min 10")), @"
    exit 1
    -- stderr
    error: the pools could ask for 1560 server connections, and 250 are theirs
     = 30 of each pool + 10 reserve, × 39 pairs of database and user × 1 PgBouncer = 1560
     = 300 - 3 (superuser_reserved_connections) - 35 (direct) - 12 (monitoring) = 250
     = 10 idle of each pool (min_pool_size), × 39 pairs of database and user × 1 PgBouncer = 390, more than 250
     = option: --pool-pairs
     = help: 6 of each pool without a reserve fit (--pool-size 6 --pool-reserve 0 --pool-min 6)
     = help: pool_mode = transaction, as planned here: a pool needs no more than its transactions at the same time
     = help: fewer pairs: one user for services that share a database; 6 fit (--pool-pairs 6)
     = help: 1610 connections of the server (--connections 1610), if its RAM carries them
    ");
    let table = [
        ("--pool-pairs 39 --pool-size 0", "option: --pool-size"),
        ("--pool-pairs 0", "option: --pool-pairs"),
        ("--pool-pairs 1 --pool-instances 0", "option: --pool-instances"),
        ("--pool-pairs 1 --max-clients 0", "option: --max-clients"),
        ("--pool-pairs 1 --max-clients 2000000", "option: --max-clients"),
        ("--pool-pairs 20 --pool-min 13", "12 at most (--pool-min 12)"),
        (
            "--pool-pairs 39 --reserved 212",
            "300 - 3 (superuser_reserved_connections) - 212 (reserved_connections) - 35 (direct) - 12 (monitoring) = 38",
        ),
        (
            "--pool-pairs 39 --superuser-reserved 215",
            "300 - 215 (superuser_reserved_connections) - 35 (direct) - 12 (monitoring) = 38",
        ),
        ("--pool-pairs 4294967295 --pool-instances 4294967295 --pool-size 4294967295", "250 are theirs"),
        ("--pool-pairs 1 --connections 4294967295", "the range is 10 to 100000"),
        ("--pool-pairs 20 --active 40", "cannot be used with"),
    ];
    for (words, said) in table {
        let pooled = if words.contains("--connections") {
            POOLED.replace("--connections 300 ", "")
        } else {
            POOLED.to_owned()
        };
        let shown = run(&format!("{pooled} {words}"));
        assert!(shown.starts_with("exit 1\n") && shown.contains(said), "{words}\n{shown}");
    }
}

#[test]
fn pools_stand_in_every_format() {
    let data = |format: &str, words: &str| -> serde_json::Value {
        serde_yaml::from_str(&output(&format!("{POOLED} --format {format} {words}"))).expect("data")
    };
    let pooled = data("json", "--pool-pairs 10 --pool-size 4");
    assert_eq!(pooled, data("yaml", "--pool-pairs 10 --pool-size 4"));
    insta::assert_snapshot!(serde_json::to_string_pretty(&pooled["pgbouncer"]).expect("JSON"), @r#"
    {
      "wish": {
        "max_connections": 300,
        "pairs": 10,
        "instances": 1,
        "size": 4,
        "reserve": 0,
        "min": 0,
        "superuser_reserved": 3,
        "reserved": 0,
        "direct": 35,
        "monitoring": 12,
        "clients": null
      },
      "capacity": 250,
      "demand": 40,
      "headroom_percent": 525.0,
      "size": 4,
      "active": 87,
      "settings": [
        {
          "name": "pool_mode",
          "value": "transaction",
          "why": "a server connection is a client's for one transaction: what few connections need to serve many clients",
          "source": "PgBouncer docs, pool_mode"
        },
        {
          "name": "default_pool_size",
          "value": "4",
          "why": "as you say; each pair's part would be 25",
          "source": "connection budget; PgBouncer docs, default_pool_size: it counts per pair of user and database"
        },
        {
          "name": "reserve_pool_size",
          "value": "0",
          "why": "what could be opened beyond the pool would have to fit too: the pool has it already",
          "source": "connection budget; PgBouncer docs, reserve_pool_size: in addition to the pool"
        },
        {
          "name": "min_pool_size",
          "value": "0",
          "why": "what lies idle in one pool is missing in none: the sum counts every pool full",
          "source": "connection budget; PgBouncer docs, min_pool_size: for every pool that has a client"
        },
        {
          "name": "max_db_connections",
          "value": "250",
          "why": "no plan but a backstop: one database never takes more than this PgBouncer's part of the server",
          "source": "PgBouncer docs, max_db_connections: per database, whoever comes first"
        },
        {
          "name": "max_client_conn",
          "value": "100",
          "why": "as many as there are server connections, and no fewer than PgBouncer's own default",
          "source": "PgBouncer docs, max_client_conn"
        },
        {
          "name": "server_idle_timeout",
          "value": "600",
          "why": "seconds; the sum counts every pool full, so closing sooner frees nothing and costs logins",
          "source": "PgBouncer docs, server_idle_timeout: its default"
        },
        {
          "name": "LimitNOFILE",
          "value": "240",
          "why": "of the unit: 100 clients + 40 server connections + 100 of its own",
          "source": "PgBouncer docs, max_client_conn: clients and the pools of all pairs"
        }
      ]
    }
    "#);
    assert_eq!(pooled["tuning"]["active"], 87);
    // Fewer at work, more memory for each.
    let alone = "tune --dry-run --ram 16GB --cpus 4 --connections 300 --workload oltp --format json";
    let alone: serde_json::Value = serde_json::from_str(&output(alone)).expect("JSON");
    assert!(alone["pgbouncer"].is_null());
    let work_mem = |data: &serde_json::Value| {
        let settings = data["tuning"]["settings"].as_array().expect("settings");
        let setting = settings.iter().find(|setting| setting["name"] == "work_mem").expect("set");
        setting["value"].as_str().and_then(|value| value.strip_suffix("MB")?.parse::<u32>().ok()).expect("MB")
    };
    assert!(work_mem(&pooled) > 2 * work_mem(&alone), "{} {}", work_mem(&pooled), work_mem(&alone));
    // What reads these files skips the plan, and without it they are the same.
    for (format, mark) in [("conf", "# "), ("sql", "-- ")] {
        let shown = output(&format!("{POOLED} --pool-pairs 10 --pool-size 4 --format {format}"));
        let start = shown.find(&format!("\n{mark}PgBouncer: 4 × 10 pairs")).expect("a plan");
        assert!(shown[start..].trim().lines().all(|line| line.starts_with(mark)), "{shown}");
        assert!(shown[start..].contains(&format!("{mark}  LimitNOFILE ")), "{shown}");
        let same =
            "tune --dry-run --ram 16GB --cpus 4 --connections 300 --workload oltp --active 87 --format";
        assert_eq!(shown[..start].trim(), output(&format!("{same} {format}")).trim());
    }
}

#[test]
fn a_setting_of_the_pools_is_explained() {
    insta::assert_snapshot!(output(&format!("{POOLED} --pool-pairs 39 --explain default_pool_size")), @"
    default_pool_size = 6
      why      250 for 39 pairs × 1 PgBouncer
      source   connection budget; PgBouncer docs, default_pool_size: it counts per pair of user and database
      sum      6 × 39 pairs × 1 PgBouncer = 234 of 250 server connections: 6.8 % headroom
      active   281 connections can be at work, which the memory budget carries
    ");
    assert!(output(&format!("{POOLED} --pool-pairs 39 --explain limitnofile")).starts_with("LimitNOFILE = "));
    let misspelt = run(&format!("{POOLED} --pool-pairs 39 --explain default_pool_sise"));
    assert!(misspelt.contains("did you mean `default_pool_size`?"), "{misspelt}");
    insta::assert_snapshot!(run("tune --ram 16GB --cpus 4 --explain default_pool_size"), @"
    exit 1
    -- stderr
    error: `default_pool_size` is PgBouncer's, and no pools are planned
     = help: `--dry-run --connections NUMBER --pool-pairs NUMBER` plans them
    ");
}

#[test]
fn options_that_would_have_no_effect_are_refused() {
    let of = |words: &str| run(&format!("tune --dry-run --ram 8GB --cpus 2 {words}"));
    let refused = |words: &str, error: &str, help: &str| {
        let wanted = format!("exit 1\n-- stderr\nerror: {error}\n = help: {help}");
        assert_eq!(of(words).trim_end(), wanted, "{words}");
    };
    refused(
        "--format json --compare pgtune",
        "`--format` with `--compare`: a comparison is printed as a table only",
        "leave `--format` out, or take `--format json` without `--compare`",
    );
    refused(
        "--format json --explain work_mem",
        "`--format` with `--explain`: an explanation is printed as text only",
        "leave `--format` out; `--format json` has the reason of every setting in it",
    );
    refused(
        "-e postgresql_workload=oltp",
        "`-e` without `-i`: variables are those of hosts, and no inventory names any",
        "give the value by its option (`--connections`, `--workload`, ...), or name an inventory",
    );
    refused(
        "--connections 100 --active 500",
        "`--active 500` with `--connections 100`: no more connections can be active than there are",
        "raise `--connections`, or lower `--active`",
    );
}

#[test]
fn a_number_that_nobody_asked_for_is_the_most_that_fits() {
    for workload in ["web", "oltp", "dw", "mixed", "desktop"] {
        for ram in ["1024MB", "1536MB", "2GB", "3GB"] {
            let text =
                run(&format!("tune --dry-run --ram {ram} --cpus 2 --workload {workload} --format json"));
            assert!(text.starts_with("exit 0"), "{workload} on {ram}: {text}");
        }
    }
    let text = run("tune --dry-run --ram 1GB --cpus 1 --workload oltp");
    let said: Vec<&str> = text.lines().filter(|line| line.starts_with("Note")).collect();
    let note = "Note: `max_connections` is 92, the most that fits: nobody asks for a number, and 300 would be usual.";
    assert_eq!(said, [note]);
}
