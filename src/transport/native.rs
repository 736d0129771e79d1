//! SSH in this process, by russh.

use super::endpoint::{Endpoint, HostKeyPolicy};
use super::error::TransportError;
use super::known_hosts::{HostKey, HostKeyError, KnownHosts, remember};
use super::link::{Event, Keeper, Link, queue};
use super::ssh_config::{Hop, Resolved, resolve};
use crate::shell::Secret;
use russh::client::{self, AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{ChannelMsg, Disconnect, MethodKind, MethodSet};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Silence after which a connection counts as cut: four keepalives without an answer. sshd itself answers them, however
/// long and quiet what it runs.
const SILENCE: Duration = Duration::from_secs(8);

/// Connects over all hops and starts the command.
pub(super) async fn open(endpoint: &Endpoint, hops: Vec<Hop>, command: &str) -> Result<Link, TransportError> {
    let (handle, via) = connect(endpoint, &hops, true).await?;
    let channel = handle.channel_open_session().await?;
    channel.exec(true, command).await?;
    let (mut reader, writer) = channel.split();
    let (sender, events) = queue();
    let read = tokio::spawn(async move {
        while let Some(message) = reader.wait().await {
            let event = match message {
                ChannelMsg::Data { data } => Event::Out(data.to_vec()),
                ChannelMsg::ExtendedData { data, .. } => Event::Err(data.to_vec()),
                ChannelMsg::ExitStatus { exit_status } => Event::Exit(exit_status as i32),
                ChannelMsg::ExitSignal { signal_name, .. } => {
                    Event::Broken(format!("its shell was ended by signal {signal_name:?}"))
                }
                ChannelMsg::Failure => Event::Broken("the host refused to run a command".to_owned()),
                _ => continue,
            };
            if !sender.send(event).await {
                return;
            }
        }
    });
    let stdin = writer.make_writer();
    // The write half closes the channel when dropped: it lives as long as the connection.
    let kept: Vec<Box<dyn std::any::Any + Send + Sync>> =
        vec![Box::new(writer), Box::new(handle), Box::new(via)];
    Ok(Link { writer: Box::new(stdin), events, keeper: Keeper { tasks: vec![read], handles: kept } })
}

/// The first host key on the way to a host that is not known yet; `None` when all are. Nothing is logged into beyond
/// the jump hosts.
///
/// # Errors
/// The host cannot be reached, or shows a changed or revoked key.
pub async fn probe_host_key(endpoint: &Endpoint) -> Result<Option<HostKey>, TransportError> {
    let Resolved::Native(hops) = resolve(endpoint).await? else { return Ok(None) };
    let strict = Endpoint { host_keys: HostKeyPolicy::Strict, ..endpoint.clone() };
    let tried = tokio::time::timeout(endpoint.timeout, connect(&strict, &hops, false)).await;
    match tried {
        Ok(Ok(_)) => Ok(None),
        Ok(Err(TransportError::HostKey(HostKeyError::Unknown(key)))) => Ok(Some(*key)),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(TransportError::Timeout {
            what: format!("connecting to {}", endpoint.shown()),
            seconds: endpoint.timeout.as_secs(),
        }),
    }
}

/// The known_hosts file that new keys of a host belong into.
///
/// # Errors
/// The ssh_config cannot be used.
pub async fn known_hosts_file(endpoint: &Endpoint) -> Result<Option<PathBuf>, TransportError> {
    match resolve(endpoint).await? {
        Resolved::Native(hops) => Ok(hops.last().and_then(|hop| hop.known_hosts.first().cloned())),
        Resolved::NeedsOpenSsh => Ok(endpoint.known_hosts.first().cloned()),
    }
}

/// A connection that others lead over; it lasts as long as one of them.
struct Jump {
    handle: Handle<Guard>,
    /// The way to it.
    _via: Option<Arc<Jump>>,
}

/// Connections to jump hosts, by all that says how they are made.
static JUMPS: LazyLock<Mutex<HashMap<String, Arc<tokio::sync::Mutex<Weak<Jump>>>>>> =
    LazyLock::new(Mutex::default);

/// The way to the last of `hops`: one connection for all hosts behind it, since a server takes few logins at a time.
fn jump<'a>(
    endpoint: &'a Endpoint,
    hops: &'a [Hop],
) -> Pin<Box<dyn Future<Output = Result<Option<Arc<Jump>>, TransportError>> + Send + 'a>> {
    Box::pin(async move {
        let Some((last, before)) = hops.split_last() else { return Ok(None) };
        let key = format!("{hops:?} {:?}", endpoint.host_keys);
        let place = {
            let mut jumps = JUMPS.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(jumps.entry(key).or_default())
        };
        // Whoever comes second waits for the first one's login.
        let mut known = place.lock().await;
        if let Some(jump) = known.upgrade().filter(|jump| !jump.handle.is_closed()) {
            return Ok(Some(jump));
        }
        let via = jump(endpoint, before).await?;
        let mut handle = reach(endpoint, last, via.as_deref()).await?;
        log_into(&mut handle, last, None, &shown(last)).await?;
        let jump = Arc::new(Jump { handle, _via: via });
        *known = Arc::downgrade(&jump);
        Ok(Some(jump))
    })
}

/// Connects over all hops but the last, and to that one; logs into it only when asked to.
async fn connect(
    endpoint: &Endpoint,
    hops: &[Hop],
    log_in: bool,
) -> Result<(Handle<Guard>, Option<Arc<Jump>>), TransportError> {
    let Some((last, before)) = hops.split_last() else {
        return Err(TransportError::config("no host to connect to"));
    };
    let via = jump(endpoint, before).await?;
    let mut handle = reach(endpoint, last, via.as_deref()).await?;
    if log_in {
        log_into(&mut handle, last, endpoint.password.as_ref(), &shown(last)).await?;
    }
    Ok((handle, via))
}

/// Where the login to the last hop arrives, and over what.
pub(super) fn address(hops: &[Hop]) -> String {
    hops.iter().map(shown).collect::<Vec<_>>().join(" ")
}

fn shown(hop: &Hop) -> String {
    format!("{}:{}", hop.address, hop.port)
}

/// Connects to a hop and checks its key.
async fn reach(endpoint: &Endpoint, hop: &Hop, via: Option<&Jump>) -> Result<Handle<Guard>, TransportError> {
    let known = KnownHosts::read(&hop.known_hosts)?;
    let name = hop.alias.clone().unwrap_or_else(|| hop.address.clone());
    let port = if hop.alias.is_some() { 22 } else { hop.port };
    let config = Arc::new(config(&known, &name, port));
    let guard = Guard {
        known,
        name,
        port,
        // A jump host is somebody else's business: it is accepted by the same rule, but never silently replaced.
        accept_into: hop
            .known_hosts
            .first()
            .filter(|_| endpoint.host_keys == HostKeyPolicy::AcceptNew)
            .cloned(),
    };
    let unreachable = |why: String| TransportError::Unreachable { address: shown(hop), why };
    let dropped = |why: String| TransportError::Dropped { address: shown(hop), why };
    let connected = match via {
        None => {
            let socket = TcpStream::connect((hop.address.as_str(), hop.port)).await;
            let socket = socket.map_err(|error| match error.kind() {
                ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => dropped(error.to_string()),
                _ => unreachable(error.to_string()),
            })?;
            socket.set_nodelay(true).map_err(|error| unreachable(error.to_string()))?;
            // What was sent and is not acknowledged: the answers to keepalives do not count while a write waits.
            let _ = rustix::net::sockopt::set_tcp_user_timeout(&socket, SILENCE.as_millis() as u32);
            handshake(config, socket, guard).await
        }
        Some(jump) => {
            let channel = jump
                .handle
                .channel_open_direct_tcpip(hop.address.clone(), u32::from(hop.port), "127.0.0.1", 0)
                .await
                .map_err(|error| match jump.handle.is_closed() {
                    true => dropped(format!("its jump host is gone: {error}")),
                    false => unreachable(format!("over its jump host: {error}")),
                })?;
            handshake(config, channel.into_stream(), guard).await
        }
    };
    connected.map_err(|error| match error {
        TransportError::Lost { why } => dropped(why),
        error => error,
    })
}

async fn handshake<S>(
    config: Arc<client::Config>,
    stream: S,
    guard: Guard,
) -> Result<Handle<Guard>, TransportError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    client::connect_stream(config, stream, guard).await
}

fn config(known: &KnownHosts, name: &str, port: u16) -> client::Config {
    let mut preferred = russh::Preferred::DEFAULT;
    preferred.compression = Cow::Borrowed(&[russh::compression::NONE]);
    let on_file = known.algorithms(name, port);
    let is_on_file = |algorithm: &Algorithm| match algorithm {
        Algorithm::Rsa { .. } => on_file.iter().any(|known| matches!(known, Algorithm::Rsa { .. })),
        other => on_file.contains(other),
    };
    let mut keys: Vec<Algorithm> = preferred.key.to_vec();
    keys.retain(|algorithm| *algorithm != Algorithm::Rsa { hash: None });
    // What is on file comes first, or a host with several keys would look changed.
    keys.sort_by_key(|algorithm| !is_on_file(algorithm));
    if known.has_authority(name, port) {
        preferred.host_key_certificates = Cow::Owned(keys.clone());
    }
    preferred.key = Cow::Owned(keys);
    client::Config {
        preferred,
        keepalive_interval: Some(SILENCE / 4),
        keepalive_max: 3,
        nodelay: true,
        ..client::Config::default()
    }
}

/// Checks host keys.
struct Guard {
    known: KnownHosts,
    name: String,
    port: u16,
    accept_into: Option<PathBuf>,
}

impl client::Handler for Guard {
    type Error = TransportError;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, TransportError> {
        let verdict = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.known.check(&self.name, self.port, key),
            PublicKeyOrCertificate::Certificate(shown) => {
                self.known.check_certificate(&self.name, self.port, shown)
            }
        };
        match (verdict, &self.accept_into) {
            (Ok(()), _) => Ok(true),
            (Err(HostKeyError::Unknown(key)), Some(file)) => {
                remember(file, &[*key])?;
                Ok(true)
            }
            (Err(error), _) => Err(error.into()),
        }
    }
}

impl From<russh::Error> for TransportError {
    fn from(error: russh::Error) -> Self {
        match error {
            russh::Error::KeepaliveTimeout | russh::Error::InactivityTimeout => Self::lost("no sign of life"),
            russh::Error::NoCommonAlgo { kind, .. } => Self::config(format!(
                "the host and we have no common algorithm ({kind:?}); its sshd is too old or too strict"
            )),
            error => Self::lost(error),
        }
    }
}

/// What was tried, and what the host would take.
struct Attempts {
    tried: Vec<String>,
    accepted: MethodSet,
}

impl Attempts {
    fn note(&mut self, what: impl Into<String>, result: AuthResult) -> bool {
        match result {
            AuthResult::Success => true,
            AuthResult::Failure { remaining_methods, .. } => {
                self.tried.push(what.into());
                self.accepted = remaining_methods;
                false
            }
        }
    }

    fn takes(&self, method: MethodKind) -> bool {
        self.tried.is_empty() || self.accepted.contains(&method)
    }
}

async fn log_into(
    handle: &mut Handle<Guard>,
    hop: &Hop,
    password: Option<&Secret>,
    shown: &str,
) -> Result<(), TransportError> {
    let mut attempts = Attempts { tried: Vec::new(), accepted: MethodSet::empty() };
    let entered = attempt_all(handle, hop, password, &mut attempts).await;
    let untried = attempts.tried.is_empty();
    let refused = TransportError::Auth {
        address: shown.to_owned(),
        user: hop.user.clone(),
        tried: attempts.tried,
        accepted: attempts.accepted.iter().map(|method| <&str>::from(method).to_owned()).collect(),
    };
    match entered {
        Ok(true) => Ok(()),
        Ok(false) => {
            let _ = handle.disconnect(Disconnect::NoMoreAuthMethodsAvailable, "", "").await;
            Err(refused)
        }
        // It hung up before anything was refused: as when it is too busy for a login.
        Err(error) if untried => {
            Err(TransportError::Dropped { address: shown.to_owned(), why: error.to_string() })
        }
        // A server that hangs up has had enough of us.
        Err(_) => Err(refused),
    }
}

async fn attempt_all(
    handle: &mut Handle<Guard>,
    hop: &Hop,
    password: Option<&Secret>,
    attempts: &mut Attempts,
) -> Result<bool, russh::Error> {
    let mut agent = Agent::open(hop).await;
    if !hop.identities_only && agent.attempt(handle, hop, None, attempts).await? {
        return Ok(true);
    }
    for path in &hop.keys {
        if !attempts.takes(MethodKind::PublicKey) {
            break;
        }
        let shown = path.display();
        if !path.exists() {
            // The public half alone stands for a key in the agent.
            let of_agent = agent.attempt(handle, hop, Some(path), attempts).await?;
            if of_agent {
                return Ok(true);
            }
            if hop.named_keys {
                attempts.tried.push(format!("{shown} (no such file)"));
            }
            continue;
        }
        match russh::keys::load_secret_key(path, None) {
            Ok(key) => {
                if attempt_key(handle, hop, path, Arc::new(key), attempts).await? {
                    return Ok(true);
                }
            }
            Err(russh::keys::Error::KeyIsEncrypted) => {
                if hop.identities_only && agent.attempt(handle, hop, Some(path), attempts).await? {
                    return Ok(true);
                }
                attempts.tried.push(format!("{shown} (encrypted: load it into ssh-agent)"));
            }
            Err(error) => {
                attempts.tried.push(format!("{shown} ({error})"));
            }
        }
    }
    let Some(password) = password else {
        if attempts.accepted.is_empty() {
            // Nothing was offered at all: learn at least what the host would take.
            let none = handle.authenticate_none(hop.user.clone()).await?;
            if matches!(none, AuthResult::Success) {
                return Ok(true);
            }
            if let AuthResult::Failure { remaining_methods, .. } = none {
                attempts.accepted = remaining_methods;
            }
        }
        return Ok(false);
    };
    if attempts.takes(MethodKind::Password) {
        let result = handle.authenticate_password(hop.user.clone(), password.expose()).await?;
        if attempts.note("password", result) {
            return Ok(true);
        }
    }
    if attempts.takes(MethodKind::KeyboardInteractive) {
        return keyboard(handle, hop, password, attempts).await;
    }
    Ok(false)
}

async fn attempt_key(
    handle: &mut Handle<Guard>,
    hop: &Hop,
    path: &Path,
    key: Arc<PrivateKey>,
    attempts: &mut Attempts,
) -> Result<bool, russh::Error> {
    let mut beside = path.as_os_str().to_owned();
    beside.push("-cert.pub");
    for certificate in hop.certificates.iter().chain([&PathBuf::from(beside)]) {
        let Ok(certificate) = russh::keys::load_openssh_certificate(certificate) else { continue };
        if certificate.public_key() != key.public_key().key_data() {
            continue;
        }
        let result = handle.authenticate_openssh_cert(hop.user.clone(), key.clone(), certificate).await?;
        if attempts.note(format!("{} (certificate)", path.display()), result) {
            return Ok(true);
        }
    }
    let hash = rsa_hash(handle, &key.algorithm()).await?;
    let result =
        handle.authenticate_publickey(hop.user.clone(), PrivateKeyWithHashAlg::new(key, hash)).await?;
    Ok(attempts.note(path.display().to_string(), result))
}

/// RSA keys sign by the best hash that the server knows; asking costs up to a second, so only they ask.
async fn rsa_hash(handle: &Handle<Guard>, algorithm: &Algorithm) -> Result<Option<HashAlg>, russh::Error> {
    if !matches!(algorithm, Algorithm::Rsa { .. }) {
        return Ok(None);
    }
    Ok(handle.best_supported_rsa_hash().await?.flatten().or(Some(HashAlg::Sha256)))
}

async fn keyboard(
    handle: &mut Handle<Guard>,
    hop: &Hop,
    password: &Secret,
    attempts: &mut Attempts,
) -> Result<bool, russh::Error> {
    let mut response = handle.authenticate_keyboard_interactive_start(hop.user.clone(), None).await?;
    for _ in 0..4 {
        match response {
            KeyboardInteractiveAuthResponse::Success => return Ok(true),
            KeyboardInteractiveAuthResponse::Failure { .. } => break,
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                // Only the password is known: one hidden question is it, anything else is not.
                let answers = prompts.iter().map(|_| password.expose().to_owned()).collect();
                if prompts.len() > 1 {
                    break;
                }
                response = handle.authenticate_keyboard_interactive_respond(answers).await?;
            }
        }
    }
    attempts.tried.push("keyboard-interactive".to_owned());
    Ok(false)
}

type AgentStream = AgentClient<Box<dyn russh::keys::agent::client::AgentStream + Send + Unpin>>;

/// The user's ssh-agent, when there is one.
struct Agent {
    client: Option<AgentStream>,
    identities: Vec<AgentIdentity>,
}

impl Agent {
    async fn open(hop: &Hop) -> Self {
        let mut none = Self { client: None, identities: Vec::new() };
        let Some(socket) = &hop.agent else { return none };
        let Ok(client) = AgentClient::connect_uds(socket).await else { return none };
        let mut client = client.dynamic();
        none.identities = client.request_identities().await.unwrap_or_default();
        none.client = Some(client);
        none
    }

    /// Offers the agent's keys: all, or the one that belongs to a key file.
    async fn attempt(
        &mut self,
        handle: &mut Handle<Guard>,
        hop: &Hop,
        only: Option<&Path>,
        attempts: &mut Attempts,
    ) -> Result<bool, russh::Error> {
        let Some(client) = &mut self.client else { return Ok(false) };
        let wanted = match only {
            None => None,
            Some(path) => {
                let mut public = path.as_os_str().to_owned();
                public.push(".pub");
                match russh::keys::load_public_key(PathBuf::from(public)) {
                    Ok(key) => Some(key),
                    Err(_) => return Ok(false),
                }
            }
        };
        for identity in &self.identities {
            let (key, comment) = match identity {
                AgentIdentity::PublicKey { key, comment } => (key.clone(), comment),
                AgentIdentity::Certificate { certificate, comment } => {
                    if wanted.is_none() && attempts.takes(MethodKind::PublicKey) {
                        let hash = rsa_hash(handle, &certificate.algorithm()).await?;
                        let user = hop.user.clone();
                        let result = handle
                            .authenticate_certificate_with(user, certificate.clone(), hash, client)
                            .await;
                        if let Ok(result) = result
                            && attempts.note(format!("certificate {comment} of the agent"), result)
                        {
                            return Ok(true);
                        }
                    }
                    continue;
                }
            };
            if wanted.as_ref().is_some_and(|wanted| wanted.key_data() != key.key_data()) {
                continue;
            }
            if !attempts.takes(MethodKind::PublicKey) {
                break;
            }
            let hash = rsa_hash(handle, &key.algorithm()).await?;
            // An agent that declines to sign is no reason to give up.
            let result = handle.authenticate_publickey_with(hop.user.clone(), key, hash, client).await;
            if let Ok(result) = result
                && attempts.note(format!("key {comment} of the agent"), result)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
