//! How to reach a host and become root on it: the `ansible_*` connection variables.

use crate::diag::{Fault, nearest};
use crate::shell::Secret;
use serde_json::{Map, Value};

/// How to reach one host. What is `None` is left to the command line, the SSH configuration and defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connection {
    /// `ansible_connection`.
    pub kind: ConnectionKind,
    /// `ansible_host`: name or address to connect to.
    pub address: Option<String>,
    /// `ansible_port`.
    pub port: Option<u16>,
    /// `ansible_user`.
    pub user: Option<String>,
    /// `ansible_password`, of the SSH login.
    pub password: Option<Secret>,
    /// `ansible_ssh_private_key_file`: a path on the control machine.
    pub private_key: Option<String>,
    /// `ansible_ssh_common_args` and `ansible_ssh_extra_args`, and `ansible_ssh_args` in front of them: options as
    /// ssh takes them.
    pub ssh_args: Vec<String>,
    /// `ansible_ssh_executable`.
    pub ssh_executable: Option<String>,
    /// `ansible_timeout`, of connecting, in seconds.
    pub timeout: Option<u64>,
    /// `ansible_host_key_checking`.
    pub host_key_checking: Option<bool>,
    /// `ansible_become`.
    pub become_root: Option<bool>,
    /// `ansible_become_user`.
    pub become_user: Option<String>,
    /// `ansible_become_method`: `sudo`, `su`, `doas`.
    pub become_method: Option<String>,
    /// `ansible_become_password`.
    pub become_password: Option<Secret>,
    /// `ansible_become_exe`.
    pub become_exe: Option<String>,
    /// `ansible_become_flags`.
    pub become_flags: Option<String>,
    /// Names that look like connection variables and are none.
    pub warnings: Vec<Fault>,
}

/// The way to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConnectionKind {
    /// SSH, in process where the user's configuration allows it.
    #[default]
    Ssh,
    /// SSH in process.
    Native,
    /// SSH by the user's own binary.
    OpenSsh,
    /// The control machine itself.
    Local,
}

/// Names that are read, each with the field it sets. Of several names of a field the first wins.
const READ: &[(&str, &[&str])] = &[
    ("address", &["ansible_host", "ansible_ssh_host"]),
    ("port", &["ansible_port", "ansible_ssh_port"]),
    ("user", &["ansible_user", "ansible_ssh_user"]),
    ("password", &["ansible_password", "ansible_ssh_pass", "ansible_ssh_password"]),
    ("private_key", &["ansible_ssh_private_key_file", "ansible_private_key_file"]),
    ("connection", &["ansible_connection"]),
    ("ssh_args", &["ansible_ssh_args"]),
    ("common_args", &["ansible_ssh_common_args"]),
    ("extra_args", &["ansible_ssh_extra_args"]),
    ("ssh_executable", &["ansible_ssh_executable"]),
    ("timeout", &["ansible_timeout", "ansible_ssh_timeout"]),
    ("host_key_checking", &["ansible_host_key_checking", "ansible_ssh_host_key_checking"]),
    ("become", &["ansible_become"]),
    ("become_user", &["ansible_become_user", "ansible_sudo_user"]),
    ("become_method", &["ansible_become_method"]),
    ("become_password", &["ansible_become_password", "ansible_become_pass", "ansible_sudo_pass"]),
    ("become_exe", &["ansible_become_exe", "ansible_sudo_exe"]),
    ("become_flags", &["ansible_become_flags", "ansible_sudo_flags"]),
];

/// Names of Ansible that have no meaning here: no Python runs on a host, and there is one connection only.
const IGNORED: &[&str] = &[
    "ansible_python_interpreter",
    "ansible_ssh_pipelining",
    "ansible_pipelining",
    "ansible_ssh_retries",
    "ansible_ssh_transfer_method",
    "ansible_ssh_use_tty",
    "ansible_ssh_control_path",
    "ansible_ssh_control_path_dir",
    "ansible_scp_if_ssh",
    "ansible_sftp_extra_args",
    "ansible_scp_extra_args",
    "ansible_sftp_executable",
    "ansible_scp_executable",
    "ansible_control_path",
    "ansible_control_path_dir",
    "ansible_shell_type",
    "ansible_shell_executable",
    "ansible_remote_tmp",
    "ansible_group_priority",
];

/// Beginnings of the names that only connection variables have.
const PREFIXES: &[&str] = &["ansible_ssh_", "ansible_become_", "ansible_sudo_"];

/// Reads the connection variables among the merged and rendered variables of a host.
///
/// # Errors
/// A fault for every value that cannot be what its variable is; [`Fault::param`] is the name of the variable.
pub fn read(vars: &Map<String, Value>) -> Result<Connection, Vec<Fault>> {
    let mut reader = Reader { vars, faults: Vec::new() };
    let mut connection = Connection {
        kind: reader.kind(),
        address: reader.name("address", super::names::address),
        port: reader.port(),
        user: reader.name("user", super::names::account),
        password: reader.secret("password"),
        private_key: reader.text("private_key"),
        ssh_args: Vec::new(),
        ssh_executable: reader.text("ssh_executable"),
        timeout: reader.timeout(),
        host_key_checking: reader.truth("host_key_checking"),
        become_root: reader.truth("become"),
        become_user: reader.name("become_user", super::names::account),
        become_method: reader.method(),
        become_password: reader.secret("become_password"),
        become_exe: reader.text("become_exe"),
        become_flags: reader.text("become_flags"),
        warnings: strangers(vars),
    };
    for field in ["ssh_args", "common_args", "extra_args"] {
        connection.ssh_args.extend(reader.words(field));
    }
    if reader.faults.is_empty() { Ok(connection) } else { Err(reader.faults) }
}

struct Reader<'a> {
    vars: &'a Map<String, Value>,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    /// The first of a field's names that is set.
    fn value(&self, field: &str) -> Option<(&'static str, &'a Value)> {
        let (_, names) = READ.iter().find(|(known, _)| *known == field)?;
        names.iter().find_map(|name| {
            self.vars.get(*name).filter(|value| !value.is_null()).map(|value| (*name, value))
        })
    }

    fn fault<T>(&mut self, name: &str, wanted: &str, value: &Value) -> Option<T> {
        let found = match value {
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "a mapping".to_owned(),
            // Never the text of a password.
            _ if name.contains("pass") => "something else".to_owned(),
            other => format!("`{}`", plain(other).unwrap_or_default()),
        };
        self.faults.push(Fault::param(name, format!("`{name}` expects {wanted}, found {found}")));
        None
    }

    fn text(&mut self, field: &str) -> Option<String> {
        let (name, value) = self.value(field)?;
        match plain(value) {
            Some(text) => Some(text).filter(|text| !text.is_empty()),
            None => self.fault(name, "a text", value),
        }
    }

    /// A text that goes into a command line or a path.
    fn name(&mut self, field: &str, check: fn(&str) -> Result<(), String>) -> Option<String> {
        let text = self.text(field)?;
        match (check(&text), self.value(field)) {
            (Err(why), Some((name, _))) => {
                self.faults.push(Fault::param(name, format!("`{name}`: {why}")));
                None
            }
            _ => Some(text),
        }
    }

    fn secret(&mut self, field: &str) -> Option<Secret> {
        self.text(field).map(Secret::new)
    }

    fn truth(&mut self, field: &str) -> Option<bool> {
        let (name, value) = self.value(field)?;
        match plain(value).map(|text| text.to_ascii_lowercase()).as_deref() {
            Some("true" | "yes" | "on" | "1" | "y" | "t") => Some(true),
            Some("false" | "no" | "off" | "0" | "n" | "f") => Some(false),
            _ => self.fault(name, "a truth value", value),
        }
    }

    fn port(&mut self) -> Option<u16> {
        let (name, value) = self.value("port")?;
        match plain(value).and_then(|text| text.trim().parse().ok()).filter(|port| *port > 0) {
            Some(port) => Some(port),
            None => self.fault(name, "a port from 1 to 65535", value),
        }
    }

    fn timeout(&mut self) -> Option<u64> {
        let (name, value) = self.value("timeout")?;
        match plain(value).and_then(|text| text.trim().parse().ok()).filter(|seconds| *seconds > 0) {
            Some(seconds) => Some(seconds),
            None => self.fault(name, "a number of seconds", value),
        }
    }

    fn kind(&mut self) -> ConnectionKind {
        let Some((name, value)) = self.value("connection") else { return ConnectionKind::default() };
        let text = plain(value).unwrap_or_default();
        match text.strip_prefix("ansible.builtin.").unwrap_or(&text) {
            "ssh" | "smart" | "paramiko" | "paramiko_ssh" => ConnectionKind::Ssh,
            "native" => ConnectionKind::Native,
            "openssh" => ConnectionKind::OpenSsh,
            "local" => ConnectionKind::Local,
            _ => {
                self.fault::<()>(name, "`ssh`, `native`, `openssh` or `local`", value);
                ConnectionKind::default()
            }
        }
    }

    fn method(&mut self) -> Option<String> {
        let (name, value) = self.value("become_method")?;
        let text = plain(value).unwrap_or_default();
        match text
            .strip_prefix("ansible.builtin.")
            .or(text.strip_prefix("community.general."))
            .unwrap_or(&text)
        {
            method @ ("sudo" | "su" | "doas") => Some(method.to_owned()),
            _ => self.fault(name, "`sudo`, `su` or `doas`", value),
        }
    }

    fn words(&mut self, field: &str) -> Vec<String> {
        let Some(text) = self.text(field) else { return Vec::new() };
        match super::literal::words(&text) {
            Ok((words, _)) => words.into_iter().map(|word| word.text).collect(),
            Err(_) => {
                if let Some((name, value)) = self.value(field) {
                    self.fault::<()>(name, "options with every quote closed", value);
                }
                Vec::new()
            }
        }
    }
}

/// A warning for every name that only a connection variable could have and that is none.
fn strangers(vars: &Map<String, Value>) -> Vec<Fault> {
    let known = || READ.iter().flat_map(|(_, names)| names.iter().copied()).chain(IGNORED.iter().copied());
    // Facts have such names too (`ansible_ssh_host_key_rsa_public`), but they do not stand in an inventory.
    let strange = vars.keys().filter(|name| {
        let ours = PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            && !name.starts_with("ansible_ssh_host_key_");
        let near = name.starts_with("ansible_") && nearest(name, known()).is_some();
        (ours || near) && !known().any(|known| known == *name)
    });
    strange
        .map(|name| {
            let fault =
                Fault::param(name.as_str(), format!("`{name}` is no connection variable and has no effect"));
            match nearest(name, known()) {
                Some(near) => fault.hint(format!("did you mean `{near}`?")),
                None => fault,
            }
        })
        .collect()
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(value: Value) -> Result<Connection, Vec<String>> {
        let vars = value.as_object().cloned().unwrap_or_default();
        read(&vars).map_err(|faults| faults.into_iter().map(|fault| fault.message).collect())
    }

    #[test]
    fn reads_all_names() {
        let wanted = Connection {
            kind: ConnectionKind::Ssh,
            address: Some("10.0.0.1".to_owned()),
            port: Some(2222),
            user: Some("admin".to_owned()),
            password: Some(Secret::new("p1")),
            private_key: Some("~/.ssh/key".to_owned()),
            ssh_args: ["-C", "-o", "ProxyCommand=ssh -W %h:%p jump", "-v"].map(str::to_owned).to_vec(),
            timeout: Some(5),
            host_key_checking: Some(false),
            become_root: Some(true),
            become_user: Some("root".to_owned()),
            become_method: Some("sudo".to_owned()),
            become_password: Some(Secret::new("p2")),
            become_exe: Some("/usr/bin/sudo".to_owned()),
            ..Connection::default()
        };
        let read = of(json!({
            "ansible_host": "10.0.0.1", "ansible_port": "2222", "ansible_user": "admin", "ansible_ssh_pass": "p1",
            "ansible_ssh_private_key_file": "~/.ssh/key", "ansible_ssh_args": "-C",
            "ansible_ssh_common_args": "-o 'ProxyCommand=ssh -W %h:%p jump'", "ansible_ssh_extra_args": "-v",
            "ansible_timeout": 5, "ansible_host_key_checking": "no", "ansible_become": true,
            "ansible_become_user": "root", "ansible_become_method": "ansible.builtin.sudo",
            "ansible_become_pass": "p2", "ansible_become_exe": "/usr/bin/sudo", "ansible_connection": "ssh",
            "ansible_python_interpreter": "/usr/bin/python3", "other": [1],
        }));
        assert_eq!(read, Ok(wanted));
        assert_eq!(
            of(json!({"ansible_ssh_host": "a", "ansible_host": "b"})).map(|c| c.address),
            Ok(Some("b".to_owned()))
        );
        assert_eq!(of(json!({})), Ok(Connection::default()));
    }

    #[test]
    fn faults_name_their_variable() {
        let faults = of(json!({
            "ansible_port": 70000, "ansible_become": "maybe", "ansible_connection": "winrm", "ansible_user": ["a"],
            "ansible_become_method": "runas", "ansible_password": {"a": 1}, "ansible_timeout": "soon",
            "ansible_ssh_common_args": "-o 'open",
        }));
        insta::assert_snapshot!(faults.err().unwrap_or_default().join("\n"), @r#"
        `ansible_connection` expects `ssh`, `native`, `openssh` or `local`, found `winrm`
        `ansible_port` expects a port from 1 to 65535, found `70000`
        `ansible_user` expects a text, found a list
        `ansible_password` expects a text, found a mapping
        `ansible_timeout` expects a number of seconds, found `soon`
        `ansible_become` expects a truth value, found `maybe`
        `ansible_become_method` expects `sudo`, `su` or `doas`, found `runas`
        `ansible_ssh_common_args` expects options with every quote closed, found `-o 'open`
        "#);
    }

    #[test]
    fn strangers_are_warned_of() {
        let read = of(
            json!({"ansible_ssh_prot": 1, "ansible_usr": "x", "ansible_become_colour": 1, "ansible_os_family": "Debian",
            "ansible_ssh_host_key_rsa_public": "x"}),
        );
        let warnings = read.map(|connection| connection.warnings).unwrap_or_default();
        let shown: Vec<String> = warnings
            .into_iter()
            .map(|fault| format!("{}: {}", fault.message, fault.hints.join(" ")))
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        `ansible_ssh_prot` is no connection variable and has no effect: did you mean `ansible_ssh_port`?
        `ansible_usr` is no connection variable and has no effect: did you mean `ansible_user`?
        `ansible_become_colour` is no connection variable and has no effect:
        "#);
    }
}
