//! What `postgresql_standby` has a host do, as sh text.
//!
//! The clone is made in `DATA.cloning/data`; the file `DATA.cloning/.ishprov` says that the folder is ours, so that what
//! a broken run left is known and can be removed.

use super::postgresql_standby::{Found, Params};
use crate::shell::{join, quote};

/// Says what stands in the data directory; changes nothing.
pub(super) fn probe(params: &Params) -> String {
    let default = format!("/var/lib/postgresql/{}/{}", params.version, params.cluster);
    format!(
        "v={} n={} d={}\n{}",
        params.version,
        quote(&params.cluster),
        quote(params.data.as_deref().unwrap_or(&default)),
        PROBE
    )
}

const PROBE: &str = r#"c=/etc/postgresql/$v/$n b=/usr/lib/postgresql/$v/bin
[ -x "$b/postgres" ] && [ -x "$b/pg_basebackup" ] && [ -x /usr/bin/pg_createcluster ] && echo tools yes
if [ -f "$c/postgresql.conf" ]; then
  echo config yes
  x=$(pg_conftool -s "$v" "$n" show data_directory 2>/dev/null) && [ -n "$x" ] && d=$x
fi
echo "data $d"
if [ -d "$d" ]; then
  mountpoint -q "$d" 2>/dev/null && echo mounted yes
  ls -A "$d" | head -n 5 | sed 's/^/entry /'
fi
if [ -f "$d/PG_VERSION" ] && [ -f "$d/global/pg_control" ]; then
  echo "version $(cat "$d/PG_VERSION")"
  LC_ALL=C "$b/pg_controldata" "$d" | sed -n \
    -e 's/^Database system identifier: */identifier /p' -e "s/^Latest checkpoint's TimeLineID: */timeline /p"
  [ ! -e "$d/standby.signal" ] || echo signal yes
  [ ! -f "$d/postgresql.auto.conf" ] || sed 's/^/auto /' "$d/postgresql.auto.conf"
  if [ -f "$d/postmaster.pid" ]; then
    read -r p <"$d/postmaster.pid"
    [ "$(readlink -f "/proc/$p/cwd" 2>/dev/null)" = "$(readlink -f "$d")" ] && echo running yes
  fi
fi
if [ -f "$d.cloning/.ishprov" ]; then echo cloning ours; elif [ -e "$d.cloning" ]; then echo cloning foreign; fi
for x in "$d.old-"*; do [ ! -d "$x" ] || echo "old $x"; done
exit 0
"#;

/// The primary answers, is the right one, and has not fallen behind what is here. Nothing is touched before.
pub(super) fn check_primary(params: &Params, found: &Found, replaces: bool) -> String {
    let mut script = format!("f={}\n", quote(&params.primary));
    for file in &params.files {
        script.push_str(&format!(
            "test -r {0} || {{ echo 'the account postgres cannot read `'{0}'`' >&2; exit 1; }}\n",
            quote(file)
        ));
    }
    script.push_str(&format!(
        "who=$({} -c IDENTIFY_SYSTEM) || {{ echo \"the primary \\`$f\\` gives no replication connection\" >&2; exit 1; }}\n\
         i=${{who%%|*}} t=${{who#*|}}; t=${{t%%|*}}\n",
        replication(params)
    ));
    if let Some(wanted) = &params.system_identifier {
        script.push_str(&format!(
            "[ \"$i\" = {wanted} ] || {{ echo \"\\`$f\\` has the system identifier $i, not {wanted}: it is another cluster\" >&2; exit 1; }}\n"
        ));
    }
    if replaces {
        // What is here now, not what it was when the question was asked.
        script.push_str(&format!(
            "d={} b=/usr/lib/postgresql/{}/bin\n{}",
            quote(&found.data),
            params.version,
            r#"c=$(LC_ALL=C "$b/pg_controldata" "$d") || exit 1
x=$(printf '%s\n' "$c" | sed -n 's/^Database system identifier: *//p')
y=$(printf '%s\n' "$c" | sed -n "s/^Latest checkpoint's TimeLineID: *//p")
[ "$x" = "$i" ] || { echo "\`$d\` has the system identifier $x, the primary \`$f\` has $i: not replaced" >&2; exit 1; }
[ "$y" -le "$t" ] || { echo "\`$d\` is on timeline $y, newer than $t of \`$f\`: not replaced" >&2; exit 1; }
"#
        ));
    }
    script
}

/// An empty `DATA.cloning`, and parents that `postgres` may pass.
pub(super) fn prepare(params: &Params, found: &Found) -> String {
    format!(
        "set -e\nd={} v={}\n{}",
        quote(&found.data),
        params.version,
        r#"[ ! -f "$d.cloning/.ishprov" ] || rm -rf -- "$d.cloning"
p=${d%/*}
[ -d "$p" ] || install -d -o postgres -g postgres -m 0755 -- "$p"
mkdir -m 0700 -- "$d.cloning"
: >"$d.cloning/.ishprov"
chown -R postgres:postgres -- "$d.cloning"
"#
    )
}

/// Clones into `DATA.cloning/data`; prints what `ALTER SYSTEM` had said on the primary.
pub(super) fn clone(params: &Params, found: &Found) -> String {
    let mut words = vec![
        format!("/usr/lib/postgresql/{}/bin/pg_basebackup", params.version),
        "-D".to_owned(),
        format!("{}.cloning/data", found.data),
        "-d".to_owned(),
        params.conninfo.clone(),
        "-X".to_owned(),
        "stream".to_owned(),
        "--checkpoint=fast".to_owned(),
        "--no-password".to_owned(),
        "--label=ishprov".to_owned(),
    ];
    if let Some(slot) = &params.slot {
        words.push(format!("--slot={slot}"));
    }
    if let Some(rate) = &params.max_rate {
        words.push(format!("--max-rate={rate}"));
    }
    format!(
        "c={}\numask 077\n{} || {{ s=$?; rm -rf -- \"$c/data\"; exit $s; }}\n\
         sed -n 's/^[[:space:]]*\\([a-zA-Z_].*\\)$/removed: \\1/p' \"$c/data/postgresql.auto.conf\"\n\
         rm -f -- \"$c/data/recovery.signal\"\n\
         for s in {SHOWN}; do\n  x=$({} -c \"SHOW $s\") || exit 1\n  \
         printf \"%s = '%s'\\n\" \"$s\" \"$(printf %s \"$x\" | sed \"s/'/''/g\")\"\ndone >\"$c/settings\"\n",
        quote(&format!("{}.cloning", found.data)),
        join(words),
        replication(params),
    )
}

/// What initdb wrote into the primary's `postgresql.conf` for its locale: a standby that is promoted must answer alike.
const SHOWN: &str =
    "datestyle timezone log_timezone lc_messages lc_monetary lc_numeric lc_time default_text_search_config";

/// The clone takes the place of the data directory.
pub(super) fn swap(params: &Params, found: &Found) -> String {
    format!(
        "set -e\nd={} v={} n={}\n{}",
        quote(&found.data),
        params.version,
        quote(&params.cluster),
        r#"[ -f "$d.cloning/data/global/pg_control" ] && [ -f "$d.cloning/data/standby.signal" ]
if [ -f "$d/PG_VERSION" ]; then
  k=1
  while [ -e "$d.old-$k" ]; do k=$((k + 1)); done
  mv -T -- "$d" "$d.old-$k"
elif [ -d "$d" ]; then
  rmdir -- "$d"
fi
# Debian registers a cluster from the files in its data directory.
if [ ! -f "/etc/postgresql/$v/$n/postgresql.conf" ]; then
  mv -- "$d.cloning/settings" "$d.cloning/data/ishprov.settings"
fi
mv -T -- "$d.cloning/data" "$d"
sync -f "$d" 2>/dev/null || sync
rm -rf -- "$d.cloning"
"#
    )
}

/// Makes the clone a Debian cluster. `conf.d`, `pg_hba.conf` and `pg_ident.conf` that are there already stay.
pub(super) fn register(params: &Params, found: &Found) -> String {
    format!(
        "set -e\nd={} v={} n={} p={}\n{}",
        quote(&found.data),
        params.version,
        quote(&params.cluster),
        params.session.port,
        r#"c=/etc/postgresql/$v/$n
cp -- "/usr/share/postgresql/$v/postgresql.conf.sample" "$d/postgresql.conf"
if [ -f "$d/ishprov.settings" ]; then cat -- "$d/ishprov.settings" >>"$d/postgresql.conf"; fi
printf 'local all postgres peer\nlocal all all peer\n' >"$d/pg_hba.conf"
: >"$d/pg_ident.conf"
for f in pg_hba.conf pg_ident.conf; do
  [ ! -f "$c/$f" ] || mv -f -- "$c/$f" "$c/.$f.ishprov"
done
chown postgres:postgres "$d/postgresql.conf" "$d/pg_hba.conf" "$d/pg_ident.conf"
s=0
pg_createcluster --start-conf auto -d "$d" -p "$p" "$v" "$n" >/dev/null || s=$?
for f in pg_hba.conf pg_ident.conf; do
  [ ! -f "$c/.$f.ishprov" ] || mv -f -- "$c/.$f.ishprov" "$c/$f"
done
[ "$s" = 0 ] || exit "$s"
# Without its own createcluster.conf Debian leaves this out.
grep -Eq "^[[:space:]]*include_dir[[:space:]=]" "$c/postgresql.conf" ||
  printf "\ninclude_dir = 'conf.d'\n" >>"$c/postgresql.conf"
[ -d "$c/conf.d" ] || install -d -o postgres -g postgres -m 0755 "$c/conf.d"
rm -f -- "$d/ishprov.settings"
systemctl daemon-reload
"#
    )
}

/// Starts or reloads, and waits until WAL streams; says why not.
pub(super) fn settle(params: &Params, verb: &str) -> String {
    format!(
        "u={} v={} n={}\nsystemctl {verb} -- \"$u\"; s=$?\n\
         q() {{ runuser -u postgres -- {} -c \"$1\" 2>&1 </dev/null; }}\n{}",
        quote(&params.unit()),
        params.version,
        quote(&params.cluster),
        quote_env(&params.session.psql("", "-XAtq")),
        r#"log() {
  l=$(pg_lsclusters -h "$v" "$n" 2>/dev/null | awk '{print $NF}')
  if [ -f "$l" ]; then echo "the last lines of $l:" >&2; tail -n 15 -- "$l" >&2; else journalctl -q -n 15 -u "$u" --no-pager >&2; fi
  exit 1
}
if [ "$s" != 0 ]; then echo "\`$u\` does not start (status $s)" >&2; log; fi
# A receiver that was just told of a new primary still reports the old connection.
k=0
sleep 1
while [ "$k" -lt 60 ]; do
  x=$(q "SELECT status FROM pg_stat_wal_receiver")
  [ "$x" = streaming ] && exit 0
  systemctl is-active -q -- "$u" || { echo "\`$u\` ended" >&2; log; }
  k=$((k + 1))
  sleep 1
done
echo "the standby runs, but does not stream after 60 s: ${x:-it has no WAL receiver}" >&2
log
"#
    )
}

/// What was moved aside for the standby that now streams.
pub(super) fn drop_old(found: &Found) -> String {
    format!(
        "d={}\nk=1\nwhile [ -e \"$d.old-$((k + 1))\" ]; do k=$((k + 1)); done\n\
         [ ! -f \"$d.old-$k/PG_VERSION\" ] || rm -rf -- \"$d.old-$k\"\n",
        quote(&found.data)
    )
}

/// `psql` on a replication connection to the primary.
fn replication(params: &Params) -> String {
    format!(
        "PGOPTIONS= PGCLIENTENCODING=UTF8 /usr/lib/postgresql/{}/bin/psql -XAtqw -d {}",
        params.version,
        quote(&format!("{} replication=true dbname=postgres", params.conninfo))
    )
}

/// A command that begins with assignments, for `runuser`.
fn quote_env(command: &str) -> String {
    format!("env {command}")
}
