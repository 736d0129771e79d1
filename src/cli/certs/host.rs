//! What a host says of its certificates: one round trip.

use super::Done;
use crate::cli::args::{ConnectArgs, InventoryArgs};
use crate::cli::asking::{abreast, answers};
use crate::diag::Diagnostic;
use crate::engine::explain;
use crate::pki::State;
use crate::shell::{Ask, Output, quote};
use crate::transport::{Endpoint, Kind};
use base64::Engine as _;
use std::collections::BTreeMap;

/// A certificate as it lies on a host.
pub struct Lying {
    /// Where.
    pub path: String,
    /// Its text.
    pub pem: String,
    /// Its key, if there is one.
    pub key: Option<Key>,
}

/// A key as it lies on a host; never what is in it.
pub struct Key {
    /// Where.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub owner: String,
    /// Group.
    pub group: String,
    /// Its public half (DER), where the host could tell.
    pub public: Option<Vec<u8>>,
}

/// A host's answer.
pub struct Host {
    /// What lies there.
    pub certificates: Vec<Lying>,
    /// What its server shows (PEM, the leaf first).
    pub wire: Option<String>,
    /// The server's port.
    pub port: u16,
    /// Whether it could ask its server.
    pub openssl: bool,
    /// Seconds that its clock was ahead of this machine's when it answered.
    pub ahead: Option<i64>,
}

/// Where a server is reached.
#[derive(Debug, Clone)]
pub struct Service {
    /// The host's name in the inventory.
    pub name: String,
    /// Name or address.
    pub address: String,
    /// Port.
    pub port: u16,
}

type Answers = Vec<(String, Result<Host, Diagnostic>)>;

/// Hosts of a pattern, with how to reach them and their server; the folder that their certificates are in.
pub fn chosen(
    pattern: &str,
    limit: Option<&str>,
    inventory: &InventoryArgs,
    args: &ConnectArgs,
) -> Done<Vec<(Service, Endpoint, String)>> {
    let mut world = crate::cli::load::world(inventory, None, false);
    let pattern = world.pattern(pattern);
    let hosts = world.select(&pattern, limit);
    world.enter_lab(args);
    world.check_lab(&hosts);
    let mut all = Vec::new();
    for name in hosts {
        let setup = world.setup(&name, args, true);
        let port = world.var(&name, "postgresql_port").and_then(|(value, _)| match value {
            serde_json::Value::String(text) => text.parse().ok(),
            other => other.as_u64().and_then(|port| u16::try_from(port).ok()),
        });
        let folder =
            world.var(&name, "tls_directory").and_then(|(value, _)| value.as_str().map(str::to_owned));
        let address = match setup.endpoint.kind {
            Kind::Local => "127.0.0.1".to_owned(),
            _ => setup.endpoint.address.clone().unwrap_or_else(|| name.clone()),
        };
        let service = Service { name, address, port: port.unwrap_or(5432) };
        all.push((service, setup.endpoint, folder.unwrap_or_else(|| "/etc/postgresql-tls".to_owned())));
    }
    if world.has_errors() {
        return Err(world.diags);
    }
    if all.is_empty() {
        return Err(vec![
            Diagnostic::error("certs", "no host is meant").hint("name hosts or a group of the inventory"),
        ]);
    }
    Ok(all)
}

/// Asks hosts, side by side.
pub async fn hosts(
    pattern: &str,
    limit: Option<&str>,
    inventory: &InventoryArgs,
    args: &ConnectArgs,
    state: &State,
) -> Done<Answers> {
    let mut asked = Vec::new();
    for (service, endpoint, folder) in chosen(pattern, limit, inventory, args)? {
        let mut paths: BTreeMap<String, String> = BTreeMap::new();
        for entry in state.current() {
            if let (true, Some(cert), Some(key)) =
                (entry.host.as_deref() == Some(service.name.as_str()), &entry.cert_path, &entry.key_path)
            {
                paths.insert(cert.clone(), key.clone());
            }
        }
        asked.push((Ask::sh(script(&folder, &paths, &service)), service, endpoint));
    }
    let answers = abreast(asked, args.forks, |(ask, service, endpoint)| async move {
        let text = answer(&service.name, &endpoint, &ask).await;
        (service.name, text.map(|text| parse(&text, service.port, super::now().unix_timestamp())))
    });
    let ended = |error| vec![Diagnostic::error("certs", format!("a host's task ended: {error}"))];
    answers.await.into_iter().collect::<Result<_, _>>().map_err(ended)
}

/// `host:port`, as openssl wants it.
pub fn socket(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// What a script on a host prints, over a connection of its own.
pub async fn answer(name: &str, endpoint: &Endpoint, ask: &Ask) -> Result<String, Diagnostic> {
    let answers = answers(endpoint, ask).await.map_err(|error| explain(name, &error))?;
    let output = answers.and_then(|answers| answers.output(ask).map(Output::text).ok());
    output
        .ok_or_else(|| Diagnostic::error("certs", format!("`{name}` gave no answer about its certificates")))
}

/// Tells of a certificate and its key, and of the clock.
pub const FUNCTIONS: &str = r#"one() {
 [ -f "$1" ] || return 0
 printf 'cert\t%s\t%s\n' "$1" "$(base64 < "$1" | tr -d '\n')"
 [ -e "$2" ] || return 0
 printf 'key\t%s\t%s\t%s\n' "$2" "$(stat -L -c '%a %U %G' -- "$2")" \
  "$(openssl pkey -in "$2" -pubout 2>/dev/null </dev/null | grep -v -e '^-' | tr -d '\n')"
}
printf 'clock\t%s\n' "$(date +%s)"
"#;

/// Asks a host's own server, at the first place that answers, what it shows and whose clients it lets in.
pub fn wire(places: &[String]) -> String {
    let places: Vec<String> = places.iter().map(|place| quote(place)).collect();
    let ask = r#"if command -v openssl >/dev/null; then
 printf 'openssl\t1\n'
 for at in PLACES; do
  said=$(timeout 10 openssl s_client -starttls postgres -connect "$at" -showcerts </dev/null 2>/dev/null)
  shown=$(printf '%s\n' "$said" | sed -n '/-BEGIN CERTIFICATE-/,/-END CERTIFICATE-/p' | base64 | tr -d '\n')
  [ -n "$shown" ] || continue
  printf 'wire\t%s\n' "$shown"
  printf '%s\n' "$said" | awk '/^Acceptable client/{on=1;next} /^(Client Certificate Types|Requested|Peer|---)/{on=0} on{print "name\t" $0}'
  break
 done
fi
"#;
    ask.replace("PLACES", &places.join(" "))
}

/// Reads files and asks the host's own server: behind a firewall or a jump host that works as well.
fn script(folder: &str, paths: &BTreeMap<String, String>, service: &Service) -> String {
    let mut calls: Vec<String> =
        paths.iter().map(|(cert, key)| format!("one {} {}\n", quote(cert), quote(key))).collect();
    let folder = quote(folder);
    let known: Vec<String> = paths.keys().map(|path| quote(path.as_str())).collect();
    let skip = if known.is_empty() {
        String::new()
    } else {
        format!(" case $c in {}) continue;; esac;", known.join("|"))
    };
    calls.push(format!("for c in {folder}/*.crt; do{skip} one \"$c\" \"${{c%.crt}}.key\"; done\n"));
    let at = [&service.address, "127.0.0.1"].map(|address| socket(address, service.port));
    format!("{FUNCTIONS}{}{}exit 0\n", calls.concat(), wire(&at))
}

/// A text that came as base64.
pub fn decode_text(text: &str) -> String {
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads what a host said at `at`, in seconds since 1970.
pub fn parse(text: &str, port: u16, at: i64) -> Host {
    let decode = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).ok();
    let pem = decode_text;
    let mut host = Host { certificates: Vec::new(), wire: None, port, openssl: false, ahead: None };
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields[..] {
            ["clock", clock] => host.ahead = clock.parse().ok().map(|clock: i64| clock - at),
            ["openssl", _] => host.openssl = true,
            ["wire", shown] => host.wire = Some(pem(shown)),
            ["cert", path, content] => {
                host.certificates.push(Lying { path: path.to_owned(), pem: pem(content), key: None });
            }
            ["key", path, about, public] => {
                let mut words = about.split(' ');
                let mode = words.next().and_then(|mode| u32::from_str_radix(mode, 8).ok());
                if let (Some(last), Some(mode)) = (host.certificates.last_mut(), mode) {
                    last.key = Some(Key {
                        path: path.to_owned(),
                        mode,
                        owner: words.next().unwrap_or_default().to_owned(),
                        group: words.next().unwrap_or_default().to_owned(),
                        public: decode(public).filter(|public| !public.is_empty()),
                    });
                }
            }
            _ => {}
        }
    }
    host
}
