//! SSH by the user's own binary: for ProxyCommand, hardware keys, GSSAPI and whatever else ssh_config can ask for.

use super::endpoint::{Endpoint, HostKeyPolicy};
use super::error::TransportError;
use super::link::{Event, Keeper, Link, pump, queue};
use openssh::{ControlPersist, KnownHosts, SessionBuilder, Stdio};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// Connects and starts the command.
pub(super) async fn open(endpoint: &Endpoint, command: &str) -> Result<Link, TransportError> {
    if endpoint.password.is_some() {
        return Err(TransportError::config("the transport `openssh` cannot log in by password: use a key"));
    }
    let mut builder = SessionBuilder::default();
    builder
        .known_hosts_check(match endpoint.host_keys {
            HostKeyPolicy::Strict => KnownHosts::Strict,
            HostKeyPolicy::AcceptNew => KnownHosts::Add,
        })
        .connect_timeout(endpoint.timeout)
        // Three of them without an answer are ssh's limit: a cut connection is noticed within 10 seconds.
        .server_alive_interval(Duration::from_secs(3))
        // The master must not outlive a killed control machine for long.
        .control_persist(ControlPersist::IdleFor(std::num::NonZeroUsize::MIN));
    if let Some(user) = &endpoint.user {
        builder.user(user.clone());
    }
    if let Some(port) = endpoint.port {
        builder.port(port);
    }
    if let Some(key) = endpoint.keys.first() {
        builder.keyfile(key);
    }
    if let Some(file) = endpoint.known_hosts.first() {
        builder.user_known_hosts_file(file);
    }
    let failed = |error: std::io::Error| {
        TransportError::config(format!("cannot write ssh's options to a temporary file: {error}"))
    };
    // The options of the inventory: the session takes them from a file only. It is read before `connect_mux` returns.
    let mut options = tempfile::NamedTempFile::new().map_err(failed)?;
    if endpoint.ssh_config && !endpoint.ssh_args.is_empty() {
        options.write_all(super::ssh_config::with_args(endpoint).await?.as_bytes()).map_err(failed)?;
        builder.config_file(options.path());
    }
    let address = endpoint.address.as_deref().unwrap_or(&endpoint.name);
    let session = builder.connect_mux(address).await.map_err(|error| refused(endpoint, &error))?;
    let session = Arc::new(session);
    let mut child = session
        .clone()
        .arc_raw_command(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .await
        .map_err(|error| refused(endpoint, &error))?;
    let streams = (child.stdin().take(), child.stdout().take(), child.stderr().take());
    let (Some(stdin), Some(stdout), Some(stderr)) = streams else {
        return Err(TransportError::Shell { why: "it started without its streams".to_owned() });
    };
    let (sender, events) = queue();
    let out = tokio::spawn(pump(stdout, sender.clone(), Event::Out));
    let err = tokio::spawn(pump(stderr, sender.clone(), Event::Err));
    let exit = tokio::spawn(async move {
        let event = match child.wait().await {
            Ok(status) => Event::Exit(status.code().unwrap_or(255)),
            Err(error) => Event::Broken(whole(&error)),
        };
        // Its last words come first: they are still on their way.
        tokio::time::sleep(Duration::from_millis(20)).await;
        sender.send(event).await;
    });
    let keeper = Keeper { tasks: vec![out, err, exit], handles: vec![Box::new(session)] };
    Ok(Link { writer: Box::new(stdin), events, keeper })
}

fn refused(endpoint: &Endpoint, error: &openssh::Error) -> TransportError {
    let why = whole(error);
    let address = endpoint.shown();
    if why.contains("Host key verification failed") || why.contains("REMOTE HOST IDENTIFICATION") {
        return TransportError::config(format!(
            "{address}: {why} (the transport `openssh` checks host keys by ssh itself)"
        ));
    }
    if why.contains("Permission denied") {
        let user = endpoint.user.clone().unwrap_or_else(|| "the configured one".to_owned());
        return TransportError::Auth { address, user, tried: vec!["ssh".to_owned()], accepted: vec![why] };
    }
    let passing = ["Connection reset", "Connection closed", "kex_exchange_identification", "banner exchange"];
    if passing.iter().any(|words| why.contains(words)) {
        return TransportError::Dropped { address, why };
    }
    TransportError::Unreachable { address, why }
}

/// An error with its causes.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
