//! What `postgresql_standby` has a host do, as sh text.
//!
//! The clone is made in `DATA.cloning/data`; the file `DATA.cloning/.ishprov` says that the folder is ours, so that what
//! a broken run left is known and can be removed. Tablespaces are cloned inside of their own folders (they may be file
//! systems of their own), the WAL beside its folder; all of them take their places together. While they do, `.ishprov`
//! names their folders: what a run that was killed just then left in them is known as ours.

use super::postgresql_standby::{Found, Params};
use crate::shell::{join, quote};

/// Says what stands in the data directory; changes nothing.
pub(super) fn probe(params: &Params) -> String {
    let default = format!("/var/lib/postgresql/{}/{}", params.version, params.cluster);
    format!(
        "v={} n={} d={} w={}\nset --{}\n{}",
        params.version,
        quote(&params.cluster),
        quote(params.data.as_deref().unwrap_or(&default)),
        quote(params.wal_directory.as_deref().unwrap_or_default()),
        params.tablespaces.iter().map(|space| format!(" {}", quote(space))).collect::<String>(),
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
if [ -f "$d/PG_VERSION" ]; then
  if [ -L "$d/pg_wal" ]; then
    x=$(readlink "$d/pg_wal"); echo "wal $x"; [ -n "$w" ] || w=$x
  fi
  for l in "$d"/pg_tblspc/*; do
    [ -L "$l" ] || continue
    x=$(readlink "$l"); echo "linked $x"
    f=; for t in "$@"; do [ "$t" != "$x" ] || f=1; done; [ -n "$f" ] || set -- "$@" "$x"
  done
fi
for t in "$@"; do
  if [ -e "$t/ishprov.cloning-$v" ] && [ ! -f "$t/ishprov.cloning-$v/.ishprov" ]; then echo "place foreign $t"
  elif [ -e "$t" ] && [ ! -d "$t" ]; then echo "place foreign $t"
  elif [ ! -e "$t" ]; then echo "place absent $t"
  elif ls -d "$t/PG_${v}_"* >/dev/null 2>&1; then echo "place holds $t"
  else echo "place room $t"; fi
done
if [ -n "$w" ]; then
  if [ -e "$w.cloning" ] && [ ! -f "$w.cloning/.ishprov" ]; then echo "place foreign $w"
  elif [ ! -e "$w" ]; then echo "place absent $w"
  elif mountpoint -q "$w" 2>/dev/null; then echo "place mounted $w"
  elif [ -n "$(ls -A "$w" 2>/dev/null)" ]; then echo "place holds $w"
  else echo "place room $w"; fi
fi
[ ! -s "$d.cloning/.ishprov" ] || sed 's/^/begun /' "$d.cloning/.ishprov"
if [ -f "$d.cloning/.ishprov" ]; then echo cloning ours; elif [ -e "$d.cloning" ]; then echo cloning foreign; fi
for x in "$d.old-"*; do [ ! -e "$x" ] || echo "old $x"; done
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

/// What a clone fills and where it goes, as shell variables: data `d`, its clone, the place of the old data `o`, the number
/// of that `k`, the WAL's folder `w` (empty: in the data directory); the arguments are the folders of tablespaces.
fn places(params: &Params, found: &Found, replaces: bool) -> String {
    let aside = found.aside();
    format!(
        "d={} v={} o={} k={} w={}\nset --{}\n",
        quote(&found.data),
        params.version,
        quote(&aside),
        aside.rsplit('-').next().unwrap_or_default(),
        quote(&params.wal_target(found, replaces).unwrap_or_default()),
        params.spaces(found).iter().map(|space| format!(" {}", quote(space))).collect::<String>(),
    )
}

/// An empty `DATA.cloning`, room for tablespaces and WAL, and parents that `postgres` may pass.
pub(super) fn prepare(params: &Params, found: &Found, replaces: bool) -> String {
    format!(
        "set -e\n{}{}",
        places(params, found, replaces),
        r#"b=
[ ! -f "$d.cloning/.ishprov" ] || b=$(cat "$d.cloning/.ishprov")
# What a run that was killed while the folders changed places left in them.
printf '%s\n' "$b" | while IFS= read -r t; do
  [ -n "$t" ] || continue
  if [ "$t" = "$w" ]; then
    [ -L "$d/pg_wal" ] || [ ! -e "$w" ] || [ -e "$w.old-$k" ] || mv -T -- "$w" "$w.old-$k"
  else
    used=; for l in "$d"/pg_tblspc/*; do [ "$(readlink "$l")" != "$t" ] || used=1; done
    for x in "$t/PG_${v}_"*; do
      if [ -d "$x" ] && [ -z "$used" ]; then install -d -o postgres -g postgres -m 0700 -- "$t/ishprov.old-$v-$k" && mv -- "$x" "$t/ishprov.old-$v-$k/"; fi
    done
  fi
done
[ ! -f "$d.cloning/.ishprov" ] || rm -rf -- "$d.cloning"
p=${d%/*}
[ -d "$p" ] || install -d -o postgres -g postgres -m 0755 -- "$p"
mkdir -m 0700 -- "$d.cloning"
: >"$d.cloning/.ishprov"
chown -R postgres:postgres -- "$d.cloning"
for t in "$@"; do
  [ -d "$t" ] || install -d -o postgres -g postgres -m 0700 -- "$t"
  [ ! -f "$t/ishprov.cloning-$v/.ishprov" ] || rm -rf -- "$t/ishprov.cloning-$v"
  mkdir -m 0700 -- "$t/ishprov.cloning-$v"
  : >"$t/ishprov.cloning-$v/.ishprov"
  chown -R postgres:postgres -- "$t/ishprov.cloning-$v"
  runuser -u postgres -- test -w "$t" || { echo "the account postgres cannot write to \`$t\`, the folder of a tablespace" >&2; exit 1; }
done
if [ -n "$w" ]; then
  p=${w%/*}
  [ -z "$p" ] || [ -d "$p" ] || install -d -m 0755 -- "$p"
  [ ! -f "$w.cloning/.ishprov" ] || rm -rf -- "$w.cloning"
  mkdir -m 0700 -- "$w.cloning"
  : >"$w.cloning/.ishprov"
  chown -R postgres:postgres -- "$w.cloning"
fi
"#
    )
}

/// Clones into `DATA.cloning/data`; prints what `ALTER SYSTEM` had said on the primary.
pub(super) fn clone(params: &Params, found: &Found, replaces: bool) -> String {
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
    for space in params.spaces(found) {
        words.push(format!("--tablespace-mapping={space}={space}/ishprov.cloning-{}/data", params.version));
    }
    if let Some(wal) = params.wal_target(found, replaces) {
        words.push(format!("--waldir={wal}.cloning/wal"));
    }
    if let Some(rate) = &params.max_rate {
        words.push(format!("--max-rate={rate}"));
    }
    format!(
        "{}c={}\numask 077\n{} 2>\"$c/said\" || {{\n  s=$?; cat -- \"$c/said\" >&2; rm -rf -- \"$c/data\"\n  \
         for t in \"$@\"; do rm -rf -- \"$t/ishprov.cloning-$v/data\"; done\n  [ -z \"$w\" ] || rm -rf -- \"$w.cloning/wal\"\n  \
         # The reason last, behind what it says of its own tidying.\n  \
         e=$(sed -n 's/^pg_basebackup: error: //p' \"$c/said\" | head -n 1); [ -z \"$e\" ] || echo \"the primary is not cloned: $e\" >&2\n  \
         exit $s\n}}\n\
         sed -n 's/^[[:space:]]*\\([a-zA-Z_].*\\)$/removed: \\1/p' \"$c/data/postgresql.auto.conf\"\n\
         rm -f -- \"$c/data/recovery.signal\"\n\
         for s in {SHOWN}; do\n  x=$({} -c \"SHOW $s\") || exit 1\n  \
         printf \"%s = '%s'\\n\" \"$s\" \"$(printf %s \"$x\" | sed \"s/'/''/g\")\"\ndone >\"$c/settings\"\n",
        places(params, found, replaces),
        quote(&format!("{}.cloning", found.data)),
        join(words),
        replication(params),
    )
}

/// What initdb wrote into the primary's `postgresql.conf` for its locale: a standby that is promoted must answer alike.
const SHOWN: &str =
    "datestyle timezone log_timezone lc_messages lc_monetary lc_numeric lc_time default_text_search_config";

/// The clone takes the place of the data directory, and with it those of its tablespaces and WAL. The data directory goes
/// first: while the others change places no server can start on them.
pub(super) fn swap(params: &Params, found: &Found, replaces: bool) -> String {
    format!(
        "set -e\n{}n={}\n{}",
        places(params, found, replaces),
        quote(&params.cluster),
        r#"[ -f "$d.cloning/data/global/pg_control" ] && [ -f "$d.cloning/data/standby.signal" ]
[ ! -e "$o" ] || { echo "\`$o\` has come about meanwhile: run again" >&2; exit 1; }
{ for t in "$@"; do echo "$t"; done; [ -z "$w" ] || echo "$w"; } >"$d.cloning/.ishprov"
sync -f "$d.cloning/.ishprov" 2>/dev/null || sync
if [ -f "$d/PG_VERSION" ]; then
  mv -T -- "$d" "$o"
elif [ -d "$d" ]; then
  rmdir -- "$d"
fi
relink() {
  for l in "$1"/pg_tblspc/*; do
    [ ! -L "$l" ] || [ "$(readlink "$l")" != "$2" ] || { ln -sfn -- "$3" "$l"; chown -h postgres:postgres "$l"; }
  done
}
for t in "$@"; do
  for x in "$t/PG_${v}_"*; do
    [ -d "$x" ] || continue
    [ -d "$t/ishprov.old-$v-$k" ] || install -d -o postgres -g postgres -m 0700 -- "$t/ishprov.old-$v-$k"
    mv -- "$x" "$t/ishprov.old-$v-$k/"
  done
  [ ! -d "$o" ] || relink "$o" "$t" "$t/ishprov.old-$v-$k"
  for x in "$t/ishprov.cloning-$v/data/"PG_*; do [ ! -d "$x" ] || mv -- "$x" "$t/"; done
  relink "$d.cloning/data" "$t/ishprov.cloning-$v/data" "$t"
done
if [ -n "$w" ]; then
  if [ -d "$o" ] && [ "$(readlink "$o/pg_wal")" = "$w" ]; then
    mv -T -- "$w" "$w.old-$k"
    ln -sfn -- "$w.old-$k" "$o/pg_wal"
    chown -h postgres:postgres "$o/pg_wal"
  elif [ -d "$w" ]; then
    rmdir -- "$w"
  fi
  mv -T -- "$w.cloning/wal" "$w"
  ln -sfn -- "$w" "$d.cloning/data/pg_wal"
  chown -h postgres:postgres "$d.cloning/data/pg_wal"
  sync -f "$w" 2>/dev/null || sync
fi
for t in "$@"; do sync -f "$t" 2>/dev/null || sync; done
# Debian registers a cluster from the files in its data directory.
if [ ! -f "/etc/postgresql/$v/$n/postgresql.conf" ]; then
  mv -- "$d.cloning/settings" "$d.cloning/data/ishprov.settings"
fi
mv -T -- "$d.cloning/data" "$d"
sync -f "$d" 2>/dev/null || sync
for t in "$@"; do rm -rf -- "$t/ishprov.cloning-$v"; done
[ -z "$w" ] || rm -rf -- "$w.cloning"
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

/// What was moved aside for the standby that now streams: this very folder, and what went with it.
pub(super) fn drop_old(params: &Params, found: &Found) -> String {
    format!(
        "{}{}",
        places(params, found, true),
        r#"[ ! -f "$o/PG_VERSION" ] || rm -rf -- "$o"
for t in "$@"; do rm -rf -- "$t/ishprov.old-$v-$k"; done
[ -z "$w" ] || rm -rf -- "$w.old-$k"
"#
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
