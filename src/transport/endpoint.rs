//! Where a host is and how to get in: plain data.

use crate::shell::{Hold, Secret, bootstrap, quote};
use std::path::PathBuf;
use std::time::Duration;

/// A host as the transports see it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Inventory name, for messages and as the alias looked up in ssh_config.
    pub name: String,
    /// Host name or address; `None` leaves it to ssh_config, then the name.
    pub address: Option<String>,
    /// Port; `None` leaves it to ssh_config, then 22.
    pub port: Option<u16>,
    /// Login name; `None` leaves it to ssh_config, then the local user.
    pub user: Option<String>,
    /// Hosts to connect over, in order, as ProxyJump has them (`[user@]host[:port]`); empty leaves it to ssh_config.
    pub jumps: Vec<String>,
    /// Private key files. When given, only these are offered (and the agent's, when empty).
    pub keys: Vec<PathBuf>,
    /// Login password, when one was given.
    pub password: Option<Secret>,
    /// Which account to become after login.
    pub r#become: Option<Become>,
    /// known_hosts files, the first is written to; empty leaves it to ssh_config, then the user's own.
    pub known_hosts: Vec<PathBuf>,
    /// What to do with a host that is in none of them.
    pub host_keys: HostKeyPolicy,
    /// Limit for connecting, and again for becoming another account.
    pub timeout: Duration,
    /// Silence after which the connection counts as lost. Whatever takes long says every two seconds that it runs; what
    /// does not (a `stat` on a disk that hangs, `dpkg-query`) has this long.
    pub silence: Duration,
    /// How to connect.
    pub kind: Kind,
    /// Whether the user's ssh_config is read.
    pub ssh_config: bool,
    /// Options as ssh takes them, before what ssh_config says.
    pub ssh_args: Vec<String>,
    /// The run that wants the host for itself; none for one that only looks.
    pub hold: Option<Hold>,
}

/// What happens with a host whose key is not known yet. A changed key is always refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostKeyPolicy {
    /// Refuse.
    #[default]
    Strict,
    /// Accept and remember.
    AcceptNew,
}

/// How to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// SSH in this process.
    #[default]
    Native,
    /// SSH by the user's own binary.
    OpenSsh,
    /// This machine.
    Local,
}

/// Which account to become, and how.
#[derive(Debug, Clone)]
pub struct Become {
    /// The tool.
    pub method: BecomeMethod,
    /// The account.
    pub user: String,
    /// Password for the tool, when it wants one.
    pub password: Option<Secret>,
}

/// The tool that changes the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BecomeMethod {
    /// sudo, also sudo-rs.
    #[default]
    Sudo,
    /// su.
    Su,
    /// doas (without a password).
    Doas,
}

impl BecomeMethod {
    /// Its name in Ansible and on the host.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sudo => "sudo",
            Self::Su => "su",
            Self::Doas => "doas",
        }
    }
}

impl Endpoint {
    /// A host by its inventory name, everything else by default.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            address: None,
            port: None,
            user: None,
            jumps: Vec::new(),
            keys: Vec::new(),
            password: None,
            r#become: None,
            known_hosts: Vec::new(),
            host_keys: HostKeyPolicy::Strict,
            timeout: Duration::from_secs(15),
            silence: Duration::from_secs(120),
            kind: Kind::Native,
            ssh_config: true,
            ssh_args: Vec::new(),
            hold: None,
        }
    }

    /// This machine.
    pub fn local(name: impl Into<String>) -> Self {
        Self { kind: Kind::Local, ..Self::new(name) }
    }

    /// Address and port for messages.
    pub(super) fn shown(&self) -> String {
        let address = self.address.as_deref().unwrap_or(&self.name);
        match self.port {
            Some(port) if port != 22 => format!("{address} port {port}"),
            _ => address.to_owned(),
        }
    }

    /// The account change that is really needed.
    pub(super) fn change(&self) -> Option<&Become> {
        self.r#become.as_ref().filter(|change| match self.kind {
            Kind::Local => change.user != "root" || !rustix::process::geteuid().is_root(),
            _ => self.user.as_deref() != Some(change.user.as_str()),
        })
    }

    /// The command for the login shell, whichever shell that is: nothing but plain words, `"$NAME"` and single quotes.
    pub(super) fn bootstrap_command(&self, nonce: &str) -> String {
        // Where the connection comes from, for firewall rules; sshd always sets it.
        let origin = if self.kind == Kind::Local { "" } else { "SSH_CONNECTION=\"$SSH_CONNECTION\" " };
        // Who logged in: behind the change of the account nothing tells any more.
        let login = if self.change().is_some() { "i_login=\"$LOGNAME\" " } else { "" };
        let shell = format!(
            "env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C {origin}{login}sh -c {}",
            quote(&bootstrap(nonce))
        );
        let Some(change) = self.change() else { return format!("exec {shell}") };
        let user = quote(&change.user);
        match change.method {
            // -k: a remembered login would leave the password unread; the loop skips it, but it had better be read.
            BecomeMethod::Sudo if change.password.is_some() => {
                format!("exec sudo -S -k -p '' -H -u {user} -- {shell}")
            }
            BecomeMethod::Sudo => format!("exec sudo -n -H -u {user} -- {shell}"),
            BecomeMethod::Su => format!("exec su {user} -s /bin/sh -c {}", quote(&format!("exec {shell}"))),
            BecomeMethod::Doas => format!("exec doas -n -u {user} {shell}"),
        }
    }
}
