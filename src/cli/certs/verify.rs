//! `ishprov certs verify`: every server, as a careful client sees it from this machine.

use super::host::{Service, chosen, socket};
use super::store::{read, text};
use super::{Done, blame};
use crate::cli::args::CertsVerifyArgs;
use crate::cli::exit;
use crate::console::Screen;
use crate::diag::Fault;
use serde_json::json;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// What came out for one server.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Proven,
    Wrong(String),
    Unreachable(String),
}

/// Connects to every server; the exit code.
pub async fn verify(args: &CertsVerifyArgs, screen: &Screen) -> Done<i32> {
    let dir = &args.pki.pki;
    read(dir)?;
    let bundle = match text(dir, "ca-bundle.crt")? {
        Some(_) => dir.join("ca-bundle.crt"),
        None => dir.join("ca.crt"),
    };
    let mut code = exit::OK;
    let mut shown = Vec::new();
    for (service, ..) in chosen(&args.pattern, args.limit.as_deref(), &args.inventory, &args.connect)? {
        let verdict = judge(&service, &bundle).await.map_err(|fault| vec![blame(dir, fault)])?;
        let at = socket(&service.address, service.port);
        let (word, why) = match &verdict {
            Verdict::Proven => ("proven", "chain, name and TLSv1.3; TLSv1.2 is refused"),
            Verdict::Wrong(why) => ("wrong", why.as_str()),
            Verdict::Unreachable(why) => ("unreachable", why.as_str()),
        };
        code = code.max(match verdict {
            Verdict::Proven => exit::OK,
            Verdict::Wrong(_) => exit::FAILED,
            Verdict::Unreachable(_) => exit::UNREACHABLE,
        });
        if !screen.json {
            screen.line(&format!("{}  {at}  {word}: {why}", service.name));
        }
        shown.push(json!({ "host": service.name, "address": service.address, "port": service.port, "verdict": word, "why": why }));
    }
    if screen.json {
        screen.line(&json!({ "event": "certs_verify", "code": code, "hosts": shown }).to_string());
    }
    Ok(code)
}

async fn judge(service: &Service, bundle: &Path) -> Result<Verdict, Fault> {
    let names = if service.address == service.name {
        vec![&service.name]
    } else {
        vec![&service.address, &service.name]
    };
    for name in names {
        let strict = talk(service, &["-tls1_3", "-verify_return_error"], Some((bundle, name))).await?;
        match strict {
            Talk::Done => {}
            Talk::Refused(why) => return Ok(Verdict::Unreachable(why)),
            Talk::Failed(why) => return Ok(Verdict::Wrong(format!("as `{name}`: {why}"))),
        }
    }
    Ok(match talk(service, &["-tls1_2"], None).await? {
        Talk::Done => Verdict::Wrong(
            "it still talks TLSv1.2: `ssl_min_protocol_version = 'TLSv1.3'` ends that".to_owned(),
        ),
        // Only a refusal of the version itself proves that: alert 70 is `protocol_version` (RFC 8446, section 6.2).
        Talk::Failed(why) if why.contains("alert number 70") || why.contains("protocol version") => {
            Verdict::Proven
        }
        Talk::Failed(why) => Verdict::Wrong(format!(
            "by TLSv1.3 it is sound; whether it refuses TLSv1.2 could not be told: {why}"
        )),
        Talk::Refused(why) => Verdict::Unreachable(why),
    })
}

enum Talk {
    Done,
    Failed(String),
    /// Nothing answers.
    Refused(String),
}

/// A TLS handshake after PostgreSQL's request for it, by this machine's `openssl`.
async fn talk(service: &Service, how: &[&str], proof: Option<(&Path, &str)>) -> Result<Talk, Fault> {
    let mut command = Command::new("openssl");
    command.args([
        "s_client",
        "-brief",
        "-starttls",
        "postgres",
        "-connect",
        &socket(&service.address, service.port),
    ]);
    command.args(how);
    if let Some((bundle, name)) = proof {
        let kind = if name.parse::<std::net::IpAddr>().is_ok() { "-verify_ip" } else { "-verify_hostname" };
        command.args(["-no-CApath", "-no-CAstore", "-CAfile"]).arg(bundle).args([kind, name]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let failed = |error: std::io::Error| {
        Fault::task(format!("cannot run `openssl` on this machine: {error}")).hint("`apt install openssl`")
    };
    let output = match tokio::time::timeout(Duration::from_secs(15), command.output()).await {
        Ok(output) => output.map_err(failed)?,
        Err(_) => return Ok(Talk::Refused("it gave no answer within 15 s".to_owned())),
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(hear(output.status.success(), &said))
}

/// What openssl's words mean.
fn hear(success: bool, said: &str) -> Talk {
    if said.contains("CONNECTION ESTABLISHED") && (success || !said.contains("verify error")) {
        return Talk::Done;
    }
    let verify = said.lines().find_map(|line| line.split_once("verify error:num=").map(|(_, why)| why));
    if let Some(why) = verify {
        return Talk::Failed(why.split_once(':').map_or(why, |(_, why)| why).to_owned());
    }
    let connecting = [
        "connect:errno",
        "Connection refused",
        "No route",
        "Name or service",
        "BIO_lookup",
        "Network is unreachable",
    ];
    let line = said.lines().find(|line| connecting.iter().any(|word| line.contains(word)));
    if line.is_some() {
        return Talk::Refused("nothing answers there; a firewall may let only the cluster in".to_owned());
    }
    if said.contains("PostgreSQL server does not")
        || said.contains("didn't")
        || said.contains("SSL not supported")
    {
        return Talk::Failed("it does not offer TLS".to_owned());
    }
    let last = said.lines().rfind(|line| line.contains("error")).unwrap_or("the handshake failed");
    Talk::Failed(last.rsplit(':').find(|part| part.contains(' ')).unwrap_or(last).trim().to_owned())
}
