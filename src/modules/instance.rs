//! One PostgreSQL cluster of a Debian host: where its files lie and how its server is asked.

use super::{Args, Kind, Param};
use crate::diag::Fault;
use crate::shell::quote;

/// The parameter `version`.
pub const VERSION: Param = Param::new("version", Kind::Int, "Major version of PostgreSQL, 15").required();
/// The parameter `cluster`.
pub const CLUSTER: Param =
    Param::new("cluster", Kind::Str, "Name of the cluster as `pg_lsclusters` shows it").default("main");
/// The parameter `data_directory`.
pub const DATA_DIRECTORY: Param = Param::new("data_directory", Kind::Path, "Where its data lies")
    .default("/var/lib/postgresql/VERSION/CLUSTER");

/// Version and name of a cluster (`15/main`), and where its data lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Major version.
    pub version: u32,
    /// Name.
    pub name: String,
    /// Data directory.
    pub data_directory: String,
}

/// Seconds that making a cluster may take.
pub const CREATE_SECONDS: u64 = 600;

impl Instance {
    /// The transient unit that a cluster is made in.
    fn making(&self) -> String {
        format!("ishprov-create-{}-{}", self.version, self.name)
    }

    /// A script that is carried out to its end even when the connection that asked for it breaks: an `initdb` cut
    /// short leaves a directory that nobody may take for empty, nor for a cluster.
    pub fn whole(&self, script: &str) -> String {
        let unit = self.making();
        format!(
            "[ -d /run/systemd/system ] && command -v systemd-run >/dev/null || {{ ( {script} ); exit; }}\n\
             l=/run/{unit}.log\n\
             systemd-run --quiet --wait --collect --unit={unit} -p RuntimeMaxSec={CREATE_SECONDS} \
             -p StandardOutput=truncate:\"$l\" -p StandardError=append:\"$l\" sh -c {}\n\
             r=$?; [ $r = 0 ] || cat \"$l\" >&2; rm -f \"$l\"; exit $r\n",
            quote(script)
        )
    }

    /// Waits for a cluster that is just being made on behalf of a run that was ended.
    pub fn settled(&self) -> String {
        let unit = self.making();
        format!("while systemctl is-active -q {unit}.service 2>/dev/null; do sleep 0.2; done\n")
    }

    /// Reads `version`, `cluster` and `data_directory`.
    ///
    /// # Errors
    /// A version or a name that cannot be.
    pub fn decode(args: &Args) -> Result<Self, Fault> {
        let version = args
            .int("version")
            .and_then(|version| u32::try_from(version).ok())
            .filter(|version| (13..100).contains(version))
            .ok_or_else(|| {
                Fault::param("version", "`version` is the major version of PostgreSQL, 13 or later")
                    .hint("for example `version: 15`")
            })?;
        let name = args.str("cluster").unwrap_or_else(|| "main".to_owned());
        // Debian joins both by `-` in names of units, and by `/` in paths.
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(Fault::param("cluster", format!("`{name}` is no name of a cluster"))
                .hint("letters, digits and `_`"));
        }
        let usual = format!("/var/lib/postgresql/{version}/{name}");
        let data_directory = super::attrs::path(args, "data_directory")?.unwrap_or(usual);
        if data_directory == "/" || data_directory.contains(char::is_whitespace) {
            return Err(Fault::param(
                "data_directory",
                format!("`{data_directory}` cannot be a data directory"),
            )
            .hint("name a folder of its own, without blanks: Debian's tools split at them"));
        }
        Ok(Self { version, name, data_directory })
    }

    /// `15/main`, as Debian's tools show it.
    pub fn label(&self) -> String {
        format!("{}/{}", self.version, self.name)
    }

    /// `postgresql@15-main.service`.
    pub fn unit(&self) -> String {
        format!("postgresql@{}-{}.service", self.version, self.name)
    }

    /// Where its configuration lies.
    pub fn config_directory(&self) -> String {
        format!("/etc/postgresql/{}/{}", self.version, self.name)
    }

    /// A program of this version.
    pub fn program(&self, name: &str) -> String {
        format!("/usr/lib/postgresql/{}/bin/{name}", self.version)
    }

    /// Shell text that defines `sql`: runs the SQL of its standard input as `postgres` over the local socket, against
    /// the server that holds the data directory. It fails when none runs. Every statement has a time limit.
    pub fn sql_function(&self) -> String {
        format!(
            "sql() {{\n [ -s {pid} ] || return 3\n i_host=$(sed -n 5p {pid}) i_port=$(sed -n 4p {pid})\n \
             [ -n \"$i_host\" ] && [ -n \"$i_port\" ] || return 3\n \
             (cd / && timeout 60 runuser -u postgres -- env PGCONNECT_TIMEOUT=5 \
             PGOPTIONS='-c statement_timeout=20s -c lock_timeout=5s' PGAPPNAME=ishprov \
             {psql} -XAtq -F '\t' -v ON_ERROR_STOP=1 -h \"$i_host\" -p \"$i_port\" -d postgres \"$@\")\n}}\n",
            pid = quote(&format!("{}/postmaster.pid", self.data_directory)),
            psql = self.program("psql"),
        )
    }
}

/// An SQL string literal.
pub fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') {
        format!(" E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// Lines `key<TAB>value` of a probe.
pub struct Lines<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Lines<'a> {
    /// Splits a probe's output.
    pub fn of(text: &'a str) -> Self {
        Self(text.lines().map(|line| line.split_once('\t').unwrap_or((line, ""))).collect())
    }

    /// The first value of that key.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    /// Every value of that key.
    pub fn all(&self, key: &'a str) -> impl Iterator<Item = &'a str> + '_ {
        self.0.iter().filter(move |(name, _)| *name == key).map(|(_, value)| *value)
    }
}

/// Whether the task runs in check mode, where tasks before it may only have been announced.
pub fn check_mode(args: &Args) -> bool {
    args.context("check_mode").and_then(serde_json::Value::as_bool).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_hold_quotes_and_backslashes() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), " E'a\\\\''b'");
    }
}
