//! A private key that is made on the host and never leaves it, for `tls_cert` with `key_origin: host`.
//!
//! A key that is there is never made again. A new one lies beside it as `PATH.next` (`next: true`): the next certificate
//! is then issued for that one, and both take their places together. Needs `openssl` on the host.
//! Registers `path`.
//!
//! EXAMPLES
//! - name: The server's key
//!   tls_key: {path: /etc/postgresql-tls/server.key}
//! - name: Its certificate
//!   tls_cert:
//!     key_origin: host
//!     sans: ["{{ inventory_hostname }}"]
//!     key_path: /etc/postgresql-tls/server.key
//!     cert_path: /etc/postgresql-tls/server.crt

use super::attrs::{AttrDiff, Attrs, Ids};
use super::instance::{Lines, check_mode};
use super::tls;
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::pki::KeyKind;
use crate::shell::{Action, Answers, Ask, FileState, Follow, Output, quote};
use serde_json::{Map, Value, json};

/// The module `tls_key`.
pub struct TlsKey;

/// Which key, and whose.
#[derive(Debug)]
pub struct Params {
    path: String,
    kind: KeyKind,
    attrs: Attrs,
    check_mode: bool,
}

/// What was found.
pub struct Found {
    key: FileState,
    ids: Option<Ids>,
    openssl: bool,
    readable: bool,
}

/// What is to be done.
pub struct Diff {
    make: bool,
    attrs: AttrDiff,
}

impl Module for TlsKey {
    type Params = Params;
    type State = Found;
    type Diff = Diff;

    const SPEC: Spec = Spec {
        name: "tls_key",
        aliases: &[],
        summary: "A private key that is made on the host and stays there",
        source: include_str!("tls_key.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("path", Kind::Path, "Where it lies").required().aliases(&["key_path"]),
            Param::new("next", Kind::Bool, "Make the one that takes the place of the one there")
                .default("false"),
            Param::new("owner", Kind::Str, "Its owner").default("postgres"),
            Param::new("group", Kind::Str, "Its group").default("the owner's name"),
            Param::new("mode", Kind::Mode, "Its mode: 0600, or 0640 with owner root").default("0600"),
            tls::KEY_TYPE,
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let path = super::attrs::path(args, "path")?.unwrap_or_default();
        let path = if args.bool("next").unwrap_or(false) { format!("{path}.next") } else { path };
        let attrs = tls::key_attrs(args)?;
        Ok(Params { path, kind: tls::key_type(args)?, attrs, check_mode: check_mode(args) })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        let mut asks = vec![Ask::stat_follow(&params.path), readable(params)];
        asks.extend(params.attrs.asks());
        asks
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        let text = answers.output(&readable(params))?.text();
        let lines = Lines::of(&text);
        Ok(Found {
            key: answers.file(&Ask::stat_follow(&params.path))?.clone(),
            ids: params.attrs.resolve_or_announced(answers, params.check_mode)?,
            openssl: lines.get("openssl").is_some(),
            readable: lines.get("readable").is_some(),
        })
    }

    fn diff(params: &Params, found: &Found) -> Result<Verdict<Diff>, Fault> {
        if !found.openssl && !params.check_mode {
            return Err(Fault::task("the host has no `openssl`, which makes the key")
                .hint("`apt: {name: openssl}` before this task"));
        }
        if found.key.exists() && found.openssl && !found.readable {
            return Err(Fault::param("path", format!("`{}` is there and holds no private key", params.path))
                .hint("move it away: what lies there is never overwritten"));
        }
        let attrs = match &found.ids {
            Some(ids) if found.key.exists() => params.attrs.diff(ids, &found.key, false),
            _ => AttrDiff::default(),
        };
        if found.key.exists() && attrs.is_empty() {
            return Ok(Verdict::InState("the key is there".to_owned()));
        }
        Ok(Verdict::Act(Diff { make: !found.key.exists(), attrs }))
    }

    fn show(params: &Params, found: &Found, diff: &Diff) -> Vec<Change> {
        let mut changes = Vec::new();
        if diff.make {
            changes.push(Change::field(&params.path, "", format!("a new private key, {}", params.kind)));
        }
        if let Some(ids) = &found.ids {
            changes.extend(params.attrs.show(ids, &diff.attrs));
        }
        changes
    }

    fn actions(params: &Params, _found: &Found, diff: &Diff) -> Vec<Action> {
        if !diff.make {
            return params.attrs.actions(&params.path, &diff.attrs, Follow::Own);
        }
        let algorithm = match params.kind {
            KeyKind::EcdsaP256 => "EC -pkeyopt ec_paramgen_curve:P-256",
            KeyKind::EcdsaP384 => "EC -pkeyopt ec_paramgen_curve:P-384",
            KeyKind::Ed25519 => "ED25519",
            KeyKind::Rsa2048 => "RSA -pkeyopt rsa_keygen_bits:2048",
            KeyKind::Rsa3072 => "RSA -pkeyopt rsa_keygen_bits:3072",
            KeyKind::Rsa4096 => "RSA -pkeyopt rsa_keygen_bits:4096",
        };
        let attrs = &params.attrs;
        let account =
            [attrs.owner.as_deref().unwrap_or("root"), attrs.group.as_deref().unwrap_or("root")].join(":");
        vec![Action::sh(format!(
            "set -e; umask 077; k={}; n=\"$k.new\"; rm -f -- \"$n\"; trap 'rm -f -- \"$n\"' EXIT\n\
             openssl genpkey -quiet -algorithm {algorithm} -out \"$n\" 2>/dev/null || \
             openssl genpkey -algorithm {algorithm} -out \"$n\"\n\
             chown -- {} \"$n\"; chmod -- {:04o} \"$n\"; sync -- \"$n\" 2>/dev/null || sync; mv -- \"$n\" \"$k\"\n",
            quote(&params.path),
            quote(&account),
            attrs.new_mode(false),
        ))]
    }

    fn result(params: &Params, _found: &Found, _ran: &[Output]) -> Map<String, Value> {
        Map::from_iter([("path".to_owned(), json!(params.path))])
    }
}

/// Whether a key can be read where it lies; nothing of it is printed.
fn readable(params: &Params) -> Ask {
    let key = quote(&params.path);
    Ask::sh(format!(
        "command -v openssl >/dev/null || exit 0\nprintf 'openssl\\t1\\n'\n\
         [ -s {key} ] && openssl pkey -in {key} -noout 2>/dev/null </dev/null && printf 'readable\\t1\\n'\nexit 0\n"
    ))
}
