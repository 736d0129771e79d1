//! A PostgreSQL cluster of Debian's kind: made once with `pg_createcluster`, never made again, never wiped.
//!
//! `state: present` initialises the data directory where it is missing or empty. `state: configured` makes the
//! configuration alone and leaves the data directory empty, for a standby that is to be cloned. A data directory that
//! is initialised but has no configuration (a clone, a disk moved from another host) is taken as it is.
//!
//! Nothing is touched, and the task refused, when the data directory holds something that is no cluster; when another
//! cluster or another program has the port; when the cluster that is there has another version, encoding or locale, or
//! no checksums, or its WAL elsewhere than `wal_directory`.
//!
//! The port is that of `postgresql.conf`: where a file of `conf.d` names another one, that is the business of
//! `postgresql_set`, and the server follows both by a restart (`postgresql_rollout`).
//!
//! The server is neither started nor stopped here: `postgresql_rollout` does that once the configuration is complete.
//! Put `create_main_cluster = false` into /etc/postgresql-common/createcluster.conf before the server is installed, or
//! the package makes a cluster of its own, without checksums.
//!
//! Registers `version`, `cluster`, `port`, `data_directory`, `config_directory`, `unit`, `initialised`, and, once
//! initialised, `system_identifier` and `checksums`.
//!
//! EXAMPLES
//! - name: The cluster
//!   postgresql_cluster: {version: 15, port: 5432}
//! - name: Room for a clone
//!   postgresql_cluster: {version: 15, state: configured, data_directory: /srv/pg/15}

use super::instance::{self, CREATE_SECONDS, Instance, Lines, check_mode};
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output, Run, join, quote};
use serde_json::{Map, Value, json};

/// The module `postgresql_cluster`.
pub struct PostgresqlCluster;

/// What the cluster shall be.
#[derive(Debug)]
pub struct Params {
    instance: Instance,
    port: i64,
    initialise: bool,
    checksums: bool,
    encoding: String,
    locale: String,
    wal_directory: Option<String>,
    start_conf: String,
    check_mode: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// `pg_createcluster` and `initdb` are there.
    tools: bool,
    clusters: Vec<Listed>,
    /// What lies in the configuration directory; `None` when there is none.
    config: Option<String>,
    data: Data,
    start_conf: Option<String>,
    /// Encoding, collation and character type, where the server runs.
    encoding: Option<[String; 3]>,
    /// Who listens on the port.
    listener: Option<String>,
    /// The port that `postgresql.conf` itself names.
    conf_port: Option<String>,
    /// Where `pg_wal` leads, when it is a link.
    wal_link: Option<String>,
    /// What lies in the WAL directory that is wanted.
    wal_holds: Option<String>,
    /// The configuration reads `conf.d`, which is there.
    includes: bool,
}

/// A line of `pg_lsclusters`.
#[derive(Debug)]
struct Listed {
    version: String,
    name: String,
    port: String,
    online: bool,
    data_directory: String,
}

/// What the data directory holds.
#[derive(Debug, Default)]
enum Data {
    /// Nothing, or it is not there.
    #[default]
    Empty,
    /// Something that is no cluster.
    Foreign(String),
    /// A cluster.
    Cluster { version: String, checksums: Option<bool>, system_identifier: Option<String> },
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Diff {
    /// Make the cluster.
    Create,
    /// Make the configuration of a data directory that is there.
    Adopt,
    /// Change what can be changed.
    Change {
        /// The data directory of the configuration that is there is empty.
        initialise: bool,
        /// The port found.
        port: Option<String>,
        /// The way of starting found.
        start_conf: Option<String>,
        /// `conf.d` is missing or not read.
        include: bool,
    },
}

impl Module for PostgresqlCluster {
    type Params = Params;
    type State = Found;
    type Diff = Diff;

    const SPEC: Spec = Spec {
        name: "postgresql_cluster",
        aliases: &[],
        summary: "A PostgreSQL cluster, initialised once",
        source: include_str!("postgresql_cluster.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            instance::VERSION,
            Param::new("cluster", Kind::Str, "Name of the cluster").default("main").aliases(&["name"]),
            Param::new("port", Kind::Int, "Port of the server").default("5432"),
            instance::DATA_DIRECTORY,
            Param::new(
                "state",
                Kind::Choice(&["present", "configured"]),
                "`configured` leaves the data directory empty",
            )
            .default("present"),
            Param::new("checksums", Kind::Bool, "Data checksums").default("true"),
            Param::new("encoding", Kind::Str, "Encoding of the databases").default("UTF8"),
            Param::new("locale", Kind::Str, "Locale of the databases").default("C.UTF-8"),
            Param::new(
                "wal_directory",
                Kind::Path,
                "Where pg_wal lies, an empty folder or none yet; a cluster that has it elsewhere is refused",
            )
            .default("the data directory"),
            Param::new(
                "start_conf",
                Kind::Choice(&["auto", "manual", "disabled"]),
                "Whether the server starts with the host: `manual` where another program starts it",
            )
            .default("auto"),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let port = args.int("port").unwrap_or(5432);
        if !(1..=65535).contains(&port) {
            return Err(Fault::param("port", format!("`{port}` is no port")).hint("1 to 65535"));
        }
        let text = |name: &str, usual: &str| args.str(name).unwrap_or_else(|| usual.to_owned());
        Ok(Params {
            instance: Instance::decode(args)?,
            port,
            initialise: args.str("state").as_deref() != Some("configured"),
            checksums: args.bool("checksums").unwrap_or(true),
            encoding: text("encoding", "UTF8"),
            locale: text("locale", "C.UTF-8"),
            wal_directory: super::attrs::path(args, "wal_directory")?,
            start_conf: text("start_conf", "auto"),
            check_mode: check_mode(args),
        })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        vec![ask(params)]
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        let output = answers.output(&ask(params))?;
        let text = output.text();
        let lines = Lines::of(&text);
        if lines.get("end").is_none() {
            return Err(Fault::task("the state of the PostgreSQL clusters could not be read")
                .note(output.error_text().trim().to_owned()));
        }
        let data = match (lines.get("version"), lines.get("holds")) {
            (Some(version), _) => Data::Cluster {
                version: version.to_owned(),
                checksums: lines.get("checksums").and_then(|n| n.parse::<u32>().ok()).map(|n| n > 0),
                system_identifier: lines.get("identifier").map(str::to_owned),
            },
            (None, Some(holds)) => Data::Foreign(holds.trim().to_owned()),
            (None, None) => Data::Empty,
        };
        let encoding = lines.get("encoding").and_then(|line| {
            let mut words = line.split('\t').map(str::to_owned);
            Some([words.next()?, words.next()?, words.next()?])
        });
        Ok(Found {
            tools: lines.get("tools").is_some(),
            clusters: lines.all("cluster").filter_map(Listed::parse).collect(),
            config: lines.get("config").map(|names| names.trim().to_owned()),
            data,
            start_conf: lines.get("start").map(str::to_owned),
            encoding,
            listener: lines.get("listener").map(str::to_owned),
            conf_port: lines.get("port").map(str::to_owned),
            wal_link: lines.get("wal_link").map(str::to_owned),
            wal_holds: lines.get("wal_holds").map(str::to_owned),
            includes: lines.get("includes").is_some(),
        })
    }

    fn diff(params: &Params, found: &Found) -> Result<Verdict<Diff>, Fault> {
        let ours = found.ours(&params.instance);
        refuse_data(params, found)?;
        match ours {
            Some(ours) => existing(params, found, ours),
            None => missing(params, found),
        }
    }

    fn show(params: &Params, _found: &Found, diff: &Diff) -> Vec<Change> {
        let instance = &params.instance;
        let checksums = if params.checksums { "on" } else { "off" };
        let options = format!("{}, {}, checksums {checksums}", params.encoding, params.locale);
        let mut changes = Vec::new();
        match diff {
            Diff::Create => {
                changes.push(Change::field("cluster", "", instance.label()));
                changes.push(Change::field("port", "", params.port.to_string()));
                changes.push(Change::field("start_conf", "", &params.start_conf));
                changes.push(Change::field("data_directory", "", &instance.data_directory));
                if params.initialise {
                    changes.push(Change::field("initialised", "", options));
                    changes.extend(
                        params.wal_directory.as_ref().map(|path| Change::field("wal_directory", "", path)),
                    );
                }
            }
            Diff::Adopt => {
                changes.push(Change::field("cluster", "", instance.label()));
                changes.push(Change::field(
                    "data_directory",
                    "",
                    format!("{} (as it is)", instance.data_directory),
                ));
                changes.push(Change::field("port", "", params.port.to_string()));
            }
            Diff::Change { initialise, port, start_conf, include } => {
                if *initialise {
                    changes.push(Change::field("initialised", "", options));
                }
                if *include {
                    changes.push(Change::field("include_dir", "", "conf.d"));
                }
                changes
                    .extend(port.as_ref().map(|port| Change::field("port", port, params.port.to_string())));
                changes.extend(
                    start_conf.as_ref().map(|found| Change::field("start_conf", found, &params.start_conf)),
                );
            }
        }
        changes
    }

    fn actions(params: &Params, _found: &Found, diff: &Diff) -> Vec<Action> {
        let instance = &params.instance;
        let data = quote(&instance.data_directory);
        let script = match diff {
            Diff::Create => {
                let room = if params.initialise { wal_room(params) } else { String::new() };
                let mut script =
                    format!("set -e\n{}{room}{}\n", emptied_config(instance), create(params, true))
                        + &includes(instance);
                script.push_str(&marked(instance));
                if !params.initialise {
                    // It was empty or missing before, and no server has run on it.
                    script.push_str(&format!("find {data} -mindepth 1 -delete\n"));
                }
                script
            }
            Diff::Adopt => {
                let samples = format!("/usr/share/postgresql/{}", instance.version);
                format!(
                    "set -e\n{}\
                     # pg_createcluster moves these to /etc/postgresql; a clone of a Debian cluster has none.\n\
                     own() {{ [ -e {data}/\"$1\" ] || install -o postgres -g postgres -m 0640 \"$2\" {data}/\"$1\"; }}\n\
                     own postgresql.conf {samples}/postgresql.conf.sample\nown pg_ident.conf {samples}/pg_ident.conf.sample\n\
                     [ -e {data}/pg_hba.conf ] || {{\n own pg_hba.conf /dev/null\n \
                     printf 'local all postgres peer\\nlocal all all peer\\n' >{data}/pg_hba.conf\n}}\n{}\n{}",
                    emptied_config(instance),
                    create(params, false),
                    includes(instance)
                )
            }
            Diff::Change { initialise, port, start_conf, include } => {
                let mut script = String::from("set -e\n");
                if *initialise {
                    script.push_str(&wal_room(params));
                    script.push_str(&initdb(params));
                }
                if *include {
                    script.push_str(&includes(instance));
                }
                let cluster = [instance.version.to_string(), instance.name.clone()];
                if port.is_some() {
                    let words = ["pg_conftool", &cluster[0], &cluster[1], "set", "port"];
                    script.push_str(&format!("{} {}\n", join(words), params.port));
                }
                if start_conf.is_some() {
                    let path = quote(&format!("{}/start.conf", instance.config_directory()));
                    script.push_str(&format!(
                        "printf '%s\\n' {} >{path}.new\nchown postgres:postgres {path}.new\nmv {path}.new {path}\n\
                         systemctl daemon-reload\n",
                        quote(&params.start_conf)
                    ));
                }
                script
            }
        };
        let shown = match diff {
            Diff::Create | Diff::Adopt => create(params, *diff == Diff::Create),
            Diff::Change { initialise: true, .. } => format!("initdb -D {data}"),
            Diff::Change { .. } => format!("settings of cluster {}", instance.label()),
        };
        let initialises = matches!(diff, Diff::Create | Diff::Change { initialise: true, .. });
        let script = if initialises { instance.whole(&script) } else { script };
        vec![Action::Run(Run::new(script).timeout(CREATE_SECONDS + 60).shown(shown))]
    }

    fn result(params: &Params, found: &Found, _ran: &[Output]) -> Map<String, Value> {
        let instance = &params.instance;
        let mut result = Map::from_iter([
            ("version".to_owned(), json!(instance.version)),
            ("cluster".to_owned(), json!(instance.name)),
            ("port".to_owned(), json!(params.port)),
            ("data_directory".to_owned(), json!(instance.data_directory)),
            ("config_directory".to_owned(), json!(instance.config_directory())),
            ("unit".to_owned(), json!(instance.unit())),
            ("initialised".to_owned(), json!(matches!(found.data, Data::Cluster { .. }))),
        ]);
        if let Data::Cluster { checksums, system_identifier, .. } = &found.data {
            result.extend(system_identifier.as_ref().map(|id| ("system_identifier".to_owned(), json!(id))));
            result.extend(checksums.map(|on| ("checksums".to_owned(), json!(on))));
        }
        result
    }
}

impl Found {
    fn ours(&self, instance: &Instance) -> Option<&Listed> {
        self.clusters
            .iter()
            .find(|listed| listed.version == instance.version.to_string() && listed.name == instance.name)
    }
}

impl Listed {
    /// `15 main 5432 online,recovery postgres /var/lib/postgresql/15/main`
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ').map(str::to_owned);
        let (version, name, port, status) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let data_directory = words.nth(1)?;
        Some(Self { version, name, port, online: status.starts_with("online"), data_directory })
    }
}

fn ask(params: &Params) -> Ask {
    let instance = &params.instance;
    let mut script = instance.settled() + &instance.sql_function();
    script.push_str(&format!(
        "D={} C={} B=/usr/lib/postgresql/{}/bin P={} W={}\n",
        quote(&instance.data_directory),
        quote(&instance.config_directory()),
        instance.version,
        params.port,
        quote(params.wal_directory.as_deref().unwrap_or_default())
    ));
    script.push_str(&format!(
        "[ -d \"$C/conf.d\" ] && grep -Eqs {INCLUDE} \"$C/postgresql.conf\" && printf 'includes\\t1\\n'\n"
    ));
    script.push_str(PROBE);
    Ask::sh(script)
}

const PROBE: &str = r#"say() { printf '%s\t%s\n' "$1" "$2"; }
command -v pg_createcluster >/dev/null && [ -x "$B/initdb" ] && say tools yes
if command -v pg_lsclusters >/dev/null; then
 pg_lsclusters -h | while read -r v n p s o d l; do say cluster "$v $n $p $s $o $d"; done
fi
[ -d "$C" ] && say config "$(ls -A "$C" | head -n 5 | tr '\n' ' ')"
if [ -f "$C/postgresql.conf" ]; then
 p=$(sed -n "s/^[[:space:]]*port[[:space:]]*=\{0,1\}[[:space:]]*'\{0,1\}\([0-9][0-9]*\).*/\1/p" "$C/postgresql.conf" | tail -n 1)
 [ -z "$p" ] || say port "$p"
fi
[ -L "$D/pg_wal" ] && say wal_link "$(readlink "$D/pg_wal")"
[ -n "$W" ] && [ -d "$W" ] && [ -n "$(ls -A "$W")" ] && say wal_holds "$(ls -A "$W" | head -n 3 | tr '\n' ' ')"
[ -f "$C/start.conf" ] && say start "$(sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' "$C/start.conf" | head -n 1)"
if [ -e "$D/PG_VERSION" ]; then
 say version "$(head -n 1 "$D/PG_VERSION")"
 LC_ALL=C "$B/pg_controldata" -D "$D" 2>/dev/null |
  sed -n -e 's/^Data page checksum version: */checksums\t/p' -e 's/^Database system identifier: */identifier\t/p'
elif [ -e "$D" ] && { [ ! -d "$D" ] || [ -n "$(ls -A "$D")" ]; }; then
 say holds "$(ls -A "$D" | head -n 5 | tr '\n' ' ')"
fi
e=$(sql 2>/dev/null <<'X'
SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database WHERE datname = 'template0'
X
) && [ -n "$e" ] && say encoding "$e"
if command -v ss >/dev/null; then
 l=$(ss -Hltnp "sport = :$P" | head -n 1)
 if [ -n "$l" ]; then
  case $l in *'(("'*) l=${l#*'(("'} l=${l%%'"'*} ;; *) l=unknown ;; esac
  say listener "$l"
 fi
fi
say end 1
"#;

/// Whatever lies in the data directory must be what is wanted.
fn refuse_data(params: &Params, found: &Found) -> Result<(), Fault> {
    let instance = &params.instance;
    let path = &instance.data_directory;
    match &found.data {
        Data::Empty => {}
        Data::Foreign(holds) => {
            return Err(Fault::param("data_directory", format!("`{path}` is not empty and is no cluster"))
                .certain()
                .note(format!("it holds: {holds}"))
                .hint("name another `data_directory`, or move what lies there away by hand"));
        }
        Data::Cluster { version, .. } if *version != instance.version.to_string() => {
            return Err(Fault::param("version", format!("the data in `{path}` is of PostgreSQL {version}"))
                .certain()
                .hint(format!(
                    "`version: {version}` takes it as it is; an upgrade is a procedure of its own"
                )));
        }
        Data::Cluster { checksums: Some(false), .. } if params.checksums => {
            return Err(Fault::param("checksums", format!("the cluster in `{path}` has no data checksums"))
                .certain()
                .hint("`checksums: false` takes it as it is")
                .hint(format!(
                    "stop it cleanly and run `{} --enable -D {path}`: reads and writes all data once",
                    instance.program("pg_checksums")
                )));
        }
        Data::Cluster { .. } => {}
    }
    if let Some(wanted) = &params.wal_directory {
        let elsewhere = || format!("{path}/pg_wal");
        let link = found.wal_link.clone().unwrap_or_else(elsewhere);
        if matches!(found.data, Data::Cluster { .. }) && link.trim_end_matches('/') != wanted {
            return Err(Fault::param("wal_directory", format!("the WAL of the cluster lies in `{link}`, not in `{wanted}`"))
                .certain()
                .hint("leave `wal_directory` out to take it as it is")
                .hint(format!(
                    "or move it while the server is stopped: `mv {link} {wanted}`, then `ln -sfn {wanted} {path}/pg_wal`"
                )));
        }
        let initialises = matches!(found.data, Data::Empty) && params.initialise;
        if let Some(holds) = found.wal_holds.as_ref().filter(|_| initialises) {
            return Err(Fault::param("wal_directory", format!("`{wanted}` is not empty"))
                .certain()
                .note(format!("it holds: {}", holds.trim()))
                .hint("name an empty folder, or move what lies there away by hand"));
        }
    }
    if let Some([encoding, collate, ctype]) = &found.encoding {
        if !same_encoding(encoding, &params.encoding) {
            return Err(Fault::param("encoding", format!("the cluster has the encoding {encoding}"))
                .certain()
                .hint(format!(
                    "`encoding: {encoding}` takes it as it is; another one takes a dump and restore"
                )));
        }
        if !same_locale(collate, &params.locale) {
            return Err(Fault::param("locale", format!("the cluster has the locale {collate}"))
                .certain()
                .note(format!("collation {collate}, character types {ctype}"))
                .hint(format!(
                    "`locale: {collate}` takes it as it is; another one takes a dump and restore"
                )));
        }
    }
    Ok(())
}

fn existing(params: &Params, found: &Found, ours: &Listed) -> Result<Verdict<Diff>, Fault> {
    let instance = &params.instance;
    if ours.data_directory != instance.data_directory {
        return Err(Fault::param(
            "data_directory",
            format!("cluster {} lies in `{}`", instance.label(), ours.data_directory),
        )
        .certain()
        .hint(format!("`data_directory: {}` takes it as it is", ours.data_directory)));
    }
    let initialise = matches!(found.data, Data::Empty) && params.initialise;
    if initialise {
        if ours.online {
            return Err(Fault::task(format!(
                "cluster {} runs, but its data directory is empty",
                instance.label()
            ))
            .certain()
            .hint("something removed or covered it while the server ran: look at the mounts"));
        }
        need_tools(params, found)?;
    }
    // What the file itself says: a file of conf.d has the last word, and `postgresql_set` writes that.
    let (standing, wanted) = (found.conf_port.as_ref().unwrap_or(&ours.port), params.port.to_string());
    let port = (*standing != wanted).then(|| standing.clone());
    if ours.port != wanted {
        refuse_port(params, found)?;
    }
    let start = found.start_conf.clone().unwrap_or_else(|| "auto".to_owned());
    let start_conf = (start != params.start_conf).then_some(start);
    let include = !found.includes;
    if initialise || port.is_some() || start_conf.is_some() || include {
        return Ok(Verdict::Act(Diff::Change { initialise, port, start_conf, include }));
    }
    Ok(Verdict::InState(match &found.data {
        Data::Cluster { system_identifier: Some(id), .. } => {
            format!("cluster {} is there, system identifier {id}", instance.label())
        }
        Data::Empty => format!("cluster {} is configured, its data directory is empty", instance.label()),
        _ => format!("cluster {} is there", instance.label()),
    }))
}

fn missing(params: &Params, found: &Found) -> Result<Verdict<Diff>, Fault> {
    let instance = &params.instance;
    if let Some(names) = found.config.as_ref().filter(|names| !names.is_empty()) {
        return Err(Fault::param(
            "cluster",
            format!("`{}` is not empty, but holds no cluster's configuration", instance.config_directory()),
        )
        .certain()
        .note(format!("it holds: {names}"))
        .hint("move it away by hand, or take another name"));
    }
    if let Some(other) = found.clusters.iter().find(|other| other.data_directory == instance.data_directory) {
        return Err(Fault::param(
            "data_directory",
            format!("`{}` belongs to cluster {}/{}", instance.data_directory, other.version, other.name),
        )
        .certain());
    }
    refuse_port(params, found)?;
    need_tools(params, found)?;
    Ok(Verdict::Act(match found.data {
        Data::Cluster { .. } => Diff::Adopt,
        _ => Diff::Create,
    }))
}

/// The port must be free for us.
fn refuse_port(params: &Params, found: &Found) -> Result<(), Fault> {
    let (instance, port) = (&params.instance, params.port);
    let other = found.clusters.iter().find(|listed| {
        listed.port == port.to_string()
            && !(listed.version == instance.version.to_string() && listed.name == instance.name)
    });
    if let Some(Listed { version, name, online, data_directory, .. }) = other {
        let runs = if *online { "runs" } else { "does not run" };
        let mut fault = Fault::param("port", format!("port {port} belongs to cluster {version}/{name}"))
            .certain()
            .note(format!("it {runs}; its data lies in `{data_directory}`"))
            .hint("take another `port`, or the cluster that is there by `version` and `cluster`");
        if name == "main" {
            fault = fault.hint(format!(
                "if the package made it and it holds nothing: `pg_dropcluster --stop {version} {name}`, and \
                 `create_main_cluster = false` in /etc/postgresql-common/createcluster.conf before the installation"
            ));
        }
        return Err(fault);
    }
    if let Some(listener) = &found.listener {
        return Err(Fault::param("port", format!("port {port} is in use on the host"))
            .healed_by(&["service"])
            .note(format!("the program that listens there: {listener}"))
            .hint("stop it, or take another `port`"));
    }
    Ok(())
}

fn need_tools(params: &Params, found: &Found) -> Result<(), Fault> {
    // In check mode the packages may only have been announced.
    if found.tools || params.check_mode {
        return Ok(());
    }
    let version = params.instance.version;
    Err(Fault::param("version", format!("PostgreSQL {version} is not installed"))
        .healed_by(&["apt"])
        .hint(format!("`apt: {{name: postgresql-{version}}}` before this task")))
}

/// Initialises the data directory of a configuration that is there.
fn initdb(params: &Params) -> String {
    let (instance, data) = (&params.instance, quote(&params.instance.data_directory));
    let program = instance.program("initdb");
    let mut words =
        vec![program.as_str(), "-D", &instance.data_directory, "--auth-local", "peer", "--auth-host"];
    words.extend([
        "scram-sha-256",
        "--no-instructions",
        "--encoding",
        &params.encoding,
        "--locale",
        &params.locale,
    ]);
    words.extend(checksum_option(params));
    words.extend(params.wal_directory.iter().flat_map(|path| ["--waldir", path.as_str()]));
    format!(
        "[ -d {data} ] || install -d -o postgres -g postgres -m 0700 {data}\n\
         (cd / && runuser -u postgres -- {})\n\
         # The configuration in /etc/postgresql is the one that counts.\n\
         rm -f {data}/postgresql.conf {data}/pg_hba.conf {data}/pg_ident.conf\n",
        join(words)
    )
}

/// A cluster that was made here is known as such from its first moment on, by the first lines of its files: a run that is
/// cut off before it has written them leaves nothing that looks like somebody else's.
fn marked(instance: &Instance) -> String {
    let config = quote(&instance.config_directory());
    format!(
        "[ -e {config}/conf.d/50-ishprov.conf ] || {{\n \
         echo '# Written by ishprov: it made the cluster, the settings follow.' >{config}/conf.d/50-ishprov.conf\n \
         chown postgres:postgres {config}/conf.d/50-ishprov.conf\n}}\n\
         sed -i '1i # Written by ishprov: it made the cluster, the rules follow.' {config}/pg_hba.conf\n"
    )
}

/// A createcluster.conf without `add_include_dir` leaves conf.d out.
fn includes(instance: &Instance) -> String {
    let config = quote(&instance.config_directory());
    format!(
        "[ -d {config}/conf.d ] || install -d -o postgres -g postgres -m 0755 {config}/conf.d\n\
         grep -Eq {INCLUDE} {config}/postgresql.conf || printf '\\ninclude_dir = '\\''conf.d'\\''\\n' \
         >>{config}/postgresql.conf\n"
    )
}

const INCLUDE: &str = r#""^[[:space:]]*include_dir[[:space:]]*=?[[:space:]]*'conf[.]d'""#;

/// A folder for the WAL, as its owner needs it.
fn wal_room(params: &Params) -> String {
    params.wal_directory.as_ref().map_or_else(String::new, |path| {
        format!("install -d -o postgres -g postgres -m 0700 {}\n", quote(path))
    })
}

fn emptied_config(instance: &Instance) -> String {
    // An empty folder there makes pg_createcluster of some versions refuse.
    let path = quote(&instance.config_directory());
    format!("[ ! -d {path} ] || rmdir {path}\n")
}

fn create(params: &Params, initialise: bool) -> String {
    let instance = &params.instance;
    let port = params.port.to_string();
    let version = instance.version.to_string();
    let mut words = vec!["pg_createcluster"];
    if initialise {
        words.extend(["--locale", &params.locale, "-e", &params.encoding]);
    }
    words.extend(["-p", &port, "-d", &instance.data_directory, "--start-conf", &params.start_conf]);
    words.extend([version.as_str(), &instance.name]);
    if initialise {
        let mut options: Vec<&str> = checksum_option(params).into_iter().collect();
        if params.initialise {
            options.extend(params.wal_directory.iter().flat_map(|path| ["--waldir", path.as_str()]));
        }
        if !options.is_empty() {
            words.push("--");
            words.extend(options);
        }
    }
    join(words)
}

/// Checksums are the default of initdb since version 18.
fn checksum_option(params: &Params) -> Option<&'static str> {
    match (params.checksums, params.instance.version) {
        (true, _) => Some("--data-checksums"),
        (false, 18..) => Some("--no-data-checksums"),
        (false, _) => None,
    }
}

fn same_encoding(found: &str, wanted: &str) -> bool {
    let plain = |name: &str| name.to_ascii_lowercase().replace(['-', '_'], "");
    plain(found) == plain(wanted)
}

/// `C.UTF-8` and `C.utf8` are one locale; `C` and `POSIX` as well.
fn same_locale(found: &str, wanted: &str) -> bool {
    let plain = |name: &str| match name.split_once('.') {
        Some((language, encoding)) => {
            format!("{language}.{}", encoding.to_ascii_lowercase().replace('-', ""))
        }
        None if name == "POSIX" => "C".to_owned(),
        None => name.to_owned(),
    };
    plain(found) == plain(wanted)
}
