//! A certificate and its private key on a host, issued by the CA of `tls_ca`.
//!
//! The key is made for this host, travels to it over the connection, and is not kept on the control machine. With
//! `key_origin: host` it never travels: `tls_key` makes it there, and its certificate request is signed here. A
//! certificate that is valid, holds the names asked for, comes from the CA and belongs to the key is never issued
//! again; it is renewed 30 days before its end, and at once when it was revoked (`ishprov certs revoke`). The
//! certificate (which is public) is recorded in `DIR/issued/HOST+etc+pg+server.crt` (host and path) and
//! `DIR/index/SERIAL.json`.
//!
//! `usage: server` takes `sans`, every name and address by which clients reach the host. `usage: client` takes `role`,
//! the PostgreSQL role it logs in as; `sans` then tell certificates of several hosts for one role apart. `ca_path` puts
//! what the host shall trust beside it: `DIR/ca-bundle.crt` where that exists (while one CA takes the place of
//! another), else `DIR/ca.crt`. `crl_path` puts the list of revoked certificates there, `DIR/crl.pem`, once there is
//! one: the server's `ssl_crl_file`. It must hold a list of every CA that is trusted, or the server would refuse all.
//!
//! A host whose certificate is from a CA that is not known here, or that trusts one, is refused before anything is done
//! on any host: this folder is not the one that its certificates were made with. `replace_foreign` gives them up.
//!
//! A new key and its certificate take the place of the old ones together, so that no reload finds half of them.
//! Whatever uses the files must be told of new ones: `reload` names the systemd units, which are reloaded when they run;
//! when several tasks are for the same file (two servers that share it), the units of all of them. (`postgresql_rollout`
//! sees newer files by itself.) What the task says is kept beside the record, as `.json`: `ishprov certs rotate` goes by it.
//! Registers `days_left`, `not_after`, `fingerprint` and `serial`.
//!
//! EXAMPLES
//! - name: The server's certificate
//!   tls_cert:
//!     usage: server
//!     sans: ["{{ inventory_hostname }}", "{{ ansible_facts.default_ipv4.address }}", localhost]
//!     cert_path: /etc/postgresql/15/main/server.crt
//!     key_path: /etc/postgresql/15/main/server.key
//!     ca_path: /etc/postgresql/15/main/ca.crt
//!     reload: postgresql@15-main
//! - name: The standby's certificate
//!   tls_cert:
//!     usage: client
//!     role: replicator
//!     sans: ["{{ inventory_hostname }}"]
//!     cert_path: /etc/postgresql/15/main/replicator.crt
//!     key_path: /etc/postgresql/15/main/replicator.key

use super::attrs::{AttrDiff, Attrs, Ids};
use super::instance::{Lines, check_mode};
use super::tls::{self, pem_time};
use super::tls_record::{Kept, Record};
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::pki::{self, Ca, CertInfo, LeafPolicy};
use crate::shell::{Action, Answers, Ask, FileKind, FileState, Follow, LocalAsk, Output, Put, Secret, quote};
use base64::Engine;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

/// The module `tls_cert`.
pub struct TlsCert;

/// What the certificate shall be, and where it lies.
#[derive(Debug)]
pub struct Params {
    dir: String,
    policy: LeafPolicy,
    cert_path: String,
    key_path: String,
    ca_path: Option<String>,
    crl_path: Option<String>,
    /// Of the key; the certificates are readable for everybody.
    attrs: Attrs,
    record: Record,
    /// The key is made on the host.
    on_host: bool,
    /// Serial numbers of certificates that shall go although they are good.
    replace: Vec<String>,
    /// What is from another CA may go.
    replace_foreign: bool,
    check_mode: bool,
}

/// What was found, and what is needed to issue one.
pub struct Found {
    cert: Option<String>,
    key: FileState,
    /// What `openssl` says of the key: its public half, DER.
    public: Option<Vec<u8>>,
    openssl: bool,
    /// A certificate request (PEM) of the key on the host that the next certificate is for, and whether that is the one
    /// that `tls_key` has put beside it.
    request: Option<(String, bool)>,
    /// Of the key's owner and group; `None` where they are only announced.
    ids: Option<Ids>,
    ca_there: Option<String>,
    folders: Vec<(String, FileKind)>,
    ca_cert: Option<String>,
    ca_key: Option<String>,
    bundle: Option<String>,
    /// CAs before and after the one there, while one takes the place of the other.
    beside: Vec<String>,
    crl: Option<String>,
    crl_there: Option<String>,
    kept: Kept,
    password: Option<Secret>,
    new_key: Secret,
    serial: Vec<u8>,
    now: OffsetDateTime,
}

/// What is to be done.
#[derive(Default)]
pub struct Diff {
    /// Issue: why, and the new certificate (`None` where it is only announced).
    issue: Option<(String, Option<String>)>,
    /// Mode, owner and group of the key.
    attrs: AttrDiff,
    /// What the host shall trust.
    ca: Option<String>,
    /// The list of what counts no more.
    crl: Option<String>,
    /// The record on the control machine is missing or another one.
    record: bool,
}

impl Module for TlsCert {
    type Params = Params;
    type State = Found;
    type Diff = Diff;

    const SPEC: Spec = Spec {
        name: "tls_cert",
        aliases: &[],
        summary: "A certificate and its key on a host, issued by the site's CA",
        source: include_str!("tls_cert.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            tls::DIR,
            Param::new("usage", Kind::Choice(&["server", "client", "peer"]), "What it may be used for")
                .default("server"),
            Param::new("name", Kind::Str, "Common name")
                .default("the first of `sans`, or `role`")
                .aliases(&["common_name"]),
            Param::new("sans", Kind::List, "Names and addresses it stands for"),
            Param::new("role", Kind::Str, "The PostgreSQL role that a client logs in as: its common name"),
            Param::new("cert_path", Kind::Path, "Where the certificate lies on the host").required(),
            Param::new("key_path", Kind::Path, "Where its key lies on the host").required(),
            Param::new("ca_path", Kind::Path, "Where the CA certificates lie that the host trusts"),
            Param::new(
                "crl_path",
                Kind::Path,
                "Where the list of revoked certificates lies that the host obeys",
            ),
            Param::new("owner", Kind::Str, "Owner of the files").default("postgres"),
            Param::new("group", Kind::Str, "Group of the files").default("the owner's name"),
            Param::new("mode", Kind::Mode, "Mode of the key: 0600, or 0640 with owner root").default("0600"),
            Param::new("days", Kind::Int, "Lifetime").default("365"),
            tls::KEY_TYPE,
            Param::new(
                "key_origin",
                Kind::Choice(&["control", "host"]),
                "Where the key is made: here, or on the host by `tls_key`",
            )
            .default("control"),
            Param::new("reload", Kind::List, "The systemd units to reload after a change, when they run"),
            Param::new(
                "replace",
                Kind::List,
                "Serial numbers of certificates to replace although they are good: for `ishprov certs rotate`",
            ),
            Param::new(
                "replace_foreign",
                Kind::Bool,
                "Replace what is from a CA that is not known here, whoever still trusts it",
            )
            .default("false"),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let sans = args.list("sans");
        let name = args.str("name").or_else(|| args.str("role"));
        let in_sans = |fault: Fault| match fault.param.as_deref() {
            Some("names") => Fault { param: Some("sans".to_owned()), ..fault },
            Some("common_name") => Fault { param: Some("name".to_owned()), ..fault },
            _ => fault,
        };
        let mut policy = match (args.str("usage").as_deref(), &name) {
            (Some("client"), None) => {
                return Err(Fault::param("usage", "`usage: client` needs `role`, what it logs in as"));
            }
            (Some("client"), Some(role)) => LeafPolicy::replication(role, &sans).map_err(in_sans)?,
            (Some("peer"), _) => LeafPolicy::peer(&sans).map_err(in_sans)?,
            _ => LeafPolicy::server(&sans).map_err(in_sans)?,
        };
        if let Some(name) = name {
            policy.common_name = name;
        }
        policy.days = tls::days(args, policy.days)?;
        policy.key_kind = tls::key_type(args)?;
        policy.validate().map_err(in_sans)?;
        let path = |name: &str| super::attrs::path(args, name);
        let attrs = tls::key_attrs(args)?;
        let reload = args.list("reload");
        let unit = |c: char| c.is_ascii_alphanumeric() || "-_.@:\\".contains(c);
        if let Some(name) = reload.iter().find(|name| name.is_empty() || !name.chars().all(unit)) {
            return Err(Fault::param("reload", format!("`{name}` cannot be the name of a systemd unit"))
                .hint("like `postgresql@15-main` or `pgbouncer`"));
        }
        let cert_path = path("cert_path")?.unwrap_or_default();
        let host = args.context("inventory_hostname").and_then(Value::as_str).unwrap_or("host");
        let (dir, key_path) = (tls::dir(args)?, path("key_path")?.unwrap_or_default());
        let record = Record::of(args, &dir, host, &cert_path, &key_path);
        Ok(Params {
            dir,
            policy,
            key_path,
            ca_path: path("ca_path")?,
            crl_path: path("crl_path")?,
            cert_path,
            attrs,
            record,
            on_host: args.str("key_origin").as_deref() == Some("host"),
            replace: args.list("replace"),
            replace_foreign: args.bool("replace_foreign").unwrap_or(false),
            check_mode: check_mode(args),
        })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        let mut asks = vec![
            Ask::content(&params.cert_path),
            Ask::stat_follow(&params.key_path),
            key_ask(params),
            local(params, "ca.crt"),
            local(params, "ca.key"),
            local(params, "ca-bundle.crt"),
            local(params, BESIDE[0]),
            local(params, BESIDE[1]),
            local(params, "crl.pem"),
            Ask::Local(LocalAsk::VaultPassword),
            Ask::Local(LocalAsk::NewKey(params.policy.key_kind.to_string())),
            Ask::Local(LocalAsk::Random(pki::SERIAL_LEN)),
            Ask::Local(LocalAsk::Now),
        ];
        asks.extend(params.record.asks());
        asks.extend(params.attrs.asks());
        asks.extend(params.ca_path.iter().chain(&params.crl_path).map(Ask::content));
        asks.extend(params.folders().into_iter().map(Ask::stat_follow));
        asks
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        let text = answers.output(&key_ask(params))?.text();
        let lines = Lines::of(&text);
        let base64 = base64::engine::general_purpose::STANDARD;
        let mut folders = Vec::new();
        for folder in params.folders() {
            let kind = answers.file(&Ask::stat_follow(&folder))?.kind;
            folders.push((folder, kind));
        }
        Ok(Found {
            cert: answers.text(&Ask::content(&params.cert_path))?,
            key: answers.file(&Ask::stat_follow(&params.key_path))?.clone(),
            public: lines.get("public").and_then(|text| base64.decode(text).ok()),
            openssl: lines.get("openssl").is_some(),
            request: [("request-next", true), ("request", false)].into_iter().find_map(|(name, next)| {
                let pem = base64.decode(lines.get(name)?).ok()?;
                Some((String::from_utf8(pem).ok()?, next))
            }),
            ids: params.attrs.resolve_or_announced(answers, params.check_mode)?,
            ca_there: match &params.ca_path {
                Some(path) => answers.text(&Ask::content(path))?,
                None => None,
            },
            folders,
            ca_cert: answers.text(&local(params, "ca.crt"))?,
            ca_key: answers.text(&local(params, "ca.key"))?,
            bundle: answers.text(&local(params, "ca-bundle.crt"))?,
            beside: BESIDE
                .iter()
                .filter_map(|name| answers.text(&local(params, name)).transpose())
                .collect::<Result<_, _>>()?,
            crl: answers.text(&local(params, "crl.pem"))?,
            crl_there: match &params.crl_path {
                Some(path) => answers.text(&Ask::content(path))?,
                None => None,
            },
            kept: params.record.kept(answers)?,
            password: answers.password(&Ask::Local(LocalAsk::VaultPassword))?.clone(),
            new_key: answers.key(&Ask::Local(LocalAsk::NewKey(params.policy.key_kind.to_string())))?.clone(),
            serial: answers.random(&Ask::Local(LocalAsk::Random(pki::SERIAL_LEN)))?.clone(),
            now: tls::now(answers)?,
        })
    }

    const LOOKS_AHEAD: bool = true;

    fn forbids(params: &Params, found: &Found) -> Result<(), Fault> {
        let texts = [&found.ca_cert, &found.bundle].into_iter().flatten().chain(&found.beside);
        let known: Vec<CertInfo> = texts.filter_map(|text| CertInfo::all(text).ok()).flatten().collect();
        let there = (found.cert.as_deref(), found.ca_there.as_deref());
        let Some(what) = pki::foreign(&known, there.0, there.1, found.now) else { return Ok(()) };
        if params.replace_foreign {
            return Ok(());
        }
        let dir = &params.dir;
        let here = match found.ca_cert.as_deref().map(CertInfo::first) {
            Some(Ok(ca)) => format!("the CA in `{dir}` is `{}` ({:.16})", ca.subject, ca.fingerprint),
            Some(Err(_)) => format!("the CA in `{dir}` cannot be read"),
            None => format!("there is no CA in `{dir}`"),
        };
        Err(Fault::param("dir", format!("{what}, and {here}: everybody who trusts the other would be cut off"))
            .note(format!("it lies in `{}`", params.cert_path))
            .hint(format!("fetch `{dir}` from where the site was last run: it is shared by all who run it (README, \"Shared by a team\")"))
            .hint(format!("another CA takes over without a break by `ishprov certs rotate --ca`, with the old `{dir}`"))
            .hint("lost for good: `replace_foreign: true` replaces them (role tls: `-e tls_replace_foreign=HOST,HOST`)")
            .certain())
    }

    fn diff(params: &Params, found: &Found) -> Result<Verdict<Diff>, Fault> {
        Self::forbids(params, found)?;
        let Some(ca_cert) = &found.ca_cert else {
            if params.check_mode {
                let issue = Some(("the CA is made before it".to_owned(), None));
                return Ok(Verdict::Act(Diff { issue, ..Diff::default() }));
            }
            return Err(Fault::param("dir", format!("there is no CA in `{}`", params.dir))
                .hint(format!("`tls_ca: {{dir: {}}}` before this task, with `run_once: true`", params.dir)));
        };
        let missing = found.folders.iter().find(|(_, kind)| *kind != FileKind::Directory);
        if let (Some((folder, _)), false) = (missing, params.check_mode) {
            return Err(Fault::task(format!("the folder `{folder}` does not exist"))
                .hint(format!("make it first: `file: {{path: {folder}, state: directory}}`")));
        }
        if !found.openssl && found.key.exists() {
            return Err(Fault::task(
                "the host has no `openssl`, so the key there cannot be held against its certificate",
            )
            .hint("`apt: {name: openssl}` before this task"));
        }
        let mut diff = Diff::default();
        let verdict = pki::needs(found.cert.as_deref(), &params.policy, ca_cert, found.now)?;
        let because = match verdict {
            pki::Verdict::Issue { because } => Some(because),
            pki::Verdict::Keep { .. } => match key_fault(found)?.or(revoked(found, ca_cert)?) {
                None => replaced(params, found)?,
                because => because,
            },
        };
        let mut days_left = 0;
        match because {
            Some(because) if params.check_mode => diff.issue = Some((because, None)),
            Some(because) => diff.issue = Some((because, Some(issue(params, found, ca_cert)?))),
            None => {
                if let Some(ids) = &found.ids {
                    diff.attrs = params.attrs.diff(ids, &found.key, false);
                }
                if let Some(cert) = &found.cert {
                    days_left = CertInfo::first(cert)?.days_left(found.now);
                    diff.record = !params.record.holds(&found.kept, cert);
                }
            }
        }
        let trusted = found.bundle.as_ref().unwrap_or(ca_cert);
        if params.ca_path.is_some() && found.ca_there.as_ref() != Some(trusted) {
            diff.ca = Some(trusted.clone());
        }
        if let (Some(_), Some(list)) = (&params.crl_path, &found.crl) {
            let silent = pki::without_list(trusted, list)?;
            if !silent.is_empty() {
                return Err(Fault::param(
                    "crl_path",
                    format!(
                        "`{}/crl.pem` has no list of {}: a server that obeys it would refuse everybody",
                        params.dir,
                        silent.join(", ")
                    ),
                )
                .hint("append that CA's own list (PEM) to the file, or leave `crl_path` out"));
            }
            if found.crl_there != found.crl {
                diff.crl = found.crl.clone();
            }
        }
        let still = diff.attrs.is_empty() && diff.ca.is_none() && diff.crl.is_none();
        if diff.issue.is_none() && still && !diff.record {
            return Ok(Verdict::InState(format!("the certificate is good for {days_left} days")));
        }
        Ok(Verdict::Act(diff))
    }

    fn show(params: &Params, found: &Found, diff: &Diff) -> Vec<Change> {
        let mut changes = Vec::new();
        if let Some((because, _)) = &diff.issue {
            let policy = &params.policy;
            let sans = policy.sans.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let what = format!(
                "{} certificate `{}` ({sans}), {} days",
                policy.usage, policy.common_name, policy.days
            );
            changes.push(Change::field(&params.cert_path, "", what));
            changes.push(Change::field("because", "", because));
        }
        if let Some(ids) = &found.ids {
            changes.extend(params.attrs.show(ids, &diff.attrs));
        }
        if let (Some(trusted), Some(path)) = (&diff.ca, &params.ca_path) {
            let names = |text: &str| {
                let list = CertInfo::all(text).unwrap_or_default();
                list.iter()
                    .map(|ca| format!("{} {:.16}", ca.subject, ca.fingerprint))
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            let before = found.ca_there.as_deref().map(names).unwrap_or_default();
            changes.push(Change::field(path, before, names(trusted)));
        }
        if let (Some(_), Some(path)) = (&diff.crl, &params.crl_path) {
            changes.push(Change::field(path, "", "the list of revoked certificates"));
        }
        if diff.record {
            changes.push(Change::field("record", "", params.record.path()));
        }
        changes
    }

    fn actions(params: &Params, found: &Found, diff: &Diff) -> Vec<Action> {
        let mut actions = Vec::new();
        let put = |path: &str, content: &str, mode: Option<u32>| {
            Action::Put(Put {
                mode,
                owner: params.attrs.owner.clone(),
                group: params.attrs.group.clone(),
                ..Put::new(path, content)
            })
        };
        if let (Some(trusted), Some(path)) = (&diff.ca, &params.ca_path) {
            actions.push(put(path, trusted, Some(0o644)));
        }
        if let (Some(list), Some(path)) = (&diff.crl, &params.crl_path) {
            actions.push(put(path, list, Some(0o644)));
        }
        match &diff.issue {
            Some((_, Some(cert))) => {
                // Both are there whole before either takes its place; the key last, so that none is left behind by a
                // full disk. A run that ends between both moves finds a key of another certificate, and issues again.
                let cert_new = format!("{}.new", params.cert_path);
                actions.push(put(&cert_new, cert, Some(0o644)));
                let key_new = match &found.request {
                    _ if !params.on_host => {
                        let key_new = format!("{}.new", params.key_path);
                        actions.push(put(
                            &key_new,
                            found.new_key.expose(),
                            Some(params.attrs.new_mode(false)),
                        ));
                        Some(key_new)
                    }
                    Some((_, true)) => Some(format!("{}.next", params.key_path)),
                    _ => None,
                };
                let moved = |from: &str, to: &str| format!("mv -f -- {} {}", quote(from), quote(to));
                let moves = key_new.map(|from| moved(&from, &params.key_path)).into_iter();
                let moves: Vec<String> = moves.chain([moved(&cert_new, &params.cert_path)]).collect();
                actions.push(Action::sh(moves.join(" && ") + "\n"));
                actions.extend(params.record.write(&found.kept, cert));
            }
            Some((_, None)) => {}
            None => {
                actions.extend(params.attrs.actions(&params.key_path, &diff.attrs, Follow::Own));
                if let (true, Some(cert)) = (diff.record, &found.cert) {
                    actions.extend(params.record.write(&found.kept, cert));
                }
            }
        }
        let touched = diff.issue.is_some() || diff.ca.is_some() || diff.crl.is_some();
        for unit in params.record.units(&found.kept).iter().filter(|_| touched) {
            let unit = quote(unit);
            actions.push(Action::sh(format!(
                "if systemctl -q is-active -- {unit}; then systemctl reload -- {unit}; fi\n"
            )));
        }
        actions
    }

    fn result(params: &Params, found: &Found, _ran: &[Output]) -> Map<String, Value> {
        let mut result = Map::from_iter([
            ("cert_path".to_owned(), json!(params.cert_path)),
            ("key_path".to_owned(), json!(params.key_path)),
        ]);
        if let Some(info) = found.cert.as_deref().and_then(|cert| CertInfo::first(cert).ok()) {
            result.insert("days_left".to_owned(), json!(info.days_left(found.now)));
            result.insert("not_after".to_owned(), json!(pem_time(info.not_after)));
            result.insert("fingerprint".to_owned(), json!(info.fingerprint));
            result.insert("serial".to_owned(), json!(info.serial));
        }
        result
    }
}

impl Params {
    /// The folders that must be there, each once.
    fn folders(&self) -> Vec<String> {
        let mut folders: Vec<String> = Vec::new();
        for path in
            [Some(&self.cert_path), Some(&self.key_path), self.ca_path.as_ref(), self.crl_path.as_ref()]
                .into_iter()
                .flatten()
        {
            let folder = path.rsplit_once('/').map(|(folder, _)| folder).filter(|folder| !folder.is_empty());
            let folder = folder.unwrap_or("/").to_owned();
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        folders
    }
}

/// CAs that are known while one takes the place of another.
const BESIDE: [&str; 2] = ["previous/ca.crt", "next/ca.crt"];

fn local(params: &Params, name: &str) -> Ask {
    Ask::Local(LocalAsk::File(format!("{}/{name}", params.dir)))
}

/// Why a certificate that is good otherwise counts no more.
fn revoked(found: &Found, ca_cert: &str) -> Result<Option<String>, Fault> {
    let (Some(crl), Some(cert)) = (&found.crl, &found.cert) else { return Ok(None) };
    let revoked = pki::is_revoked(crl, ca_cert, &CertInfo::first(cert)?.serial)?;
    Ok(revoked.then(|| "it was revoked".to_owned()))
}

/// Why a certificate that is good otherwise goes all the same.
fn replaced(params: &Params, found: &Found) -> Result<Option<String>, Fault> {
    let Some(cert) = &found.cert else { return Ok(None) };
    let serial = CertInfo::first(cert)?.serial;
    Ok(params.replace.contains(&serial).then(|| "another shall take its place".to_owned()))
}

/// The public half of the key, and a request for it where it is made on the host; the key itself is not sent.
fn key_ask(params: &Params) -> Ask {
    let key = quote(&params.key_path);
    if params.on_host {
        let next = quote(&format!("{}.next", params.key_path));
        return Ask::sh(format!(
            "command -v openssl >/dev/null || exit 0\nprintf 'openssl\\t1\\n'\n\
             ask() {{ [ -s \"$2\" ] && printf '%s\\t%s\\n' \"$1\" \
             \"$(openssl req -new -key \"$2\" -subj /CN=request 2>/dev/null </dev/null | base64 | tr -d '\\n')\"; }}\n\
             ask request-next {next}\n[ -s {key} ] || exit 0\nask request {key}\n\
             printf 'public\\t%s\\n' \"$(openssl pkey -in {key} -pubout 2>/dev/null </dev/null | grep -v -e '^-' | tr -d '\\n')\"\n"
        ));
    }
    Ask::sh(format!(
        "command -v openssl >/dev/null || exit 0\nprintf 'openssl\\t1\\n'\n[ -s {key} ] || exit 0\n\
         printf 'public\\t%s\\n' \"$(openssl pkey -in {key} -pubout 2>/dev/null </dev/null | grep -v -e '^-' | tr -d '\\n')\"\n"
    ))
}

/// Why the key does not serve the certificate.
fn key_fault(found: &Found) -> Result<Option<String>, Fault> {
    let Some(cert) = &found.cert else { return Ok(None) };
    if !found.key.exists() {
        return Ok(Some("its private key is gone".to_owned()));
    }
    let spki = CertInfo::first(cert)?.spki;
    Ok(match &found.public {
        Some(public) if *public == spki => None,
        Some(public) if !public.is_empty() => {
            Some("its private key belongs to another certificate".to_owned())
        }
        _ => Some("its private key is unreadable".to_owned()),
    })
}

fn issue(params: &Params, found: &Found, ca_cert: &str) -> Result<String, Fault> {
    let key = found.ca_key.as_deref().ok_or_else(|| {
        Fault::param("dir", format!("the CA key is missing in `{}`", params.dir))
            .hint("restore `ca.key` from a backup")
    })?;
    let ca = Ca::load(ca_cert, &tls::open(key, found.password.as_ref())?)?;
    if params.on_host {
        let Some((request, _)) = &found.request else {
            return Err(Fault::param(
                "key_path",
                format!("there is no key `{}` on the host", params.key_path),
            )
            .hint(format!("`tls_key: {{path: {}}}` before this task makes it", params.key_path)));
        };
        return ca.sign_request(&params.policy, request, tls::array(&found.serial)?, found.now);
    }
    ca.issue(&params.policy, found.new_key.expose(), tls::array(&found.serial)?, found.now)
}
