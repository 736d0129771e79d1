//! One connection per host, and over it one long-lived, privileged POSIX shell that answers frames.
//!
//! [`connect`] opens the connection, becomes root and sends the first frame in the same breath; from then on every
//! [`Transport::frame`] is one round trip. Closing the stream, however that happens, ends what runs on the host.

mod endpoint;
mod error;
pub mod known_hosts;
mod link;
mod local;
mod logins;
mod native;
mod openssh;
mod session;
mod ssh_config;

pub use endpoint::{Become, BecomeMethod, Endpoint, HostKeyPolicy, Kind};
pub use error::TransportError;
pub use native::{known_hosts_file, probe_host_key};
pub use session::{Greeting, Session, Traffic};

use crate::shell::{Frame, ItemReply};
use std::future::Future;
use std::time::Instant;

/// What the engine needs of a connected host.
pub trait Transport: Send {
    /// Sends a frame and waits for all of its replies, one per item. After an error, or when the future was dropped
    /// before its end, the connection is of no more use.
    fn frame(&mut self, frame: &Frame)
    -> impl Future<Output = Result<Vec<ItemReply>, TransportError>> + Send;

    /// Round trips and bytes so far.
    fn traffic(&self) -> Traffic;

    /// Ends the connection; the host's shell removes what it left.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// Connects, becomes the wanted account and runs the first frame.
///
/// # Errors
/// Every way in which that can fail, see [`TransportError`].
pub async fn connect(endpoint: &Endpoint, first: &Frame) -> Result<(Session, Greeting), TransportError> {
    let nonce = session::nonce()?;
    let command = endpoint.bootstrap_command(&nonce);
    let started = Instant::now();
    let mut tries = 0;
    let link = loop {
        let error = match open(endpoint, &command).await {
            Ok(link) => break link,
            Err(error) => error,
        };
        let passing = matches!(error, TransportError::Dropped { .. });
        let pause = logins::pause(tries, &nonce);
        if !passing || started.elapsed() + pause > logins::PATIENCE {
            return Err(error);
        }
        tries += 1;
        tokio::time::sleep(pause).await;
    };
    Session::start(link, endpoint, nonce, first).await
}

/// One try: at most so many logins to one address at a time, the time for a place among them not counted.
async fn open(endpoint: &Endpoint, command: &str) -> Result<link::Link, TransportError> {
    let late = || TransportError::Timeout {
        what: format!("connecting to {}", endpoint.shown()),
        seconds: endpoint.timeout.as_secs(),
    };
    let route = match endpoint.kind {
        Kind::Local => return local::open(command),
        Kind::OpenSsh => None,
        Kind::Native => {
            match tokio::time::timeout(endpoint.timeout, ssh_config::resolve(endpoint))
                .await
                .map_err(|_| late())??
            {
                ssh_config::Resolved::Native(route) => Some(route),
                ssh_config::Resolved::NeedsOpenSsh => None,
            }
        }
    };
    let _place = match &route {
        Some(route) => logins::place(&native::address(route)).await,
        None => logins::place(&endpoint.shown()).await,
    };
    let opened = async {
        match route {
            Some(route) => native::open(endpoint, route, command).await,
            None => openssh::open(endpoint, command).await,
        }
    };
    tokio::time::timeout(endpoint.timeout, opened).await.map_err(|_| late())?
}
