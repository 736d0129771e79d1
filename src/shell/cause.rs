//! Why something failed on a host, from what its tools said: the true cause often stands above the last line.

/// A cause, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// In a few words, to stand in a headline.
    pub what: String,
    /// What to do.
    pub hint: &'static str,
}

/// What the host's shell adds to a failed action's standard error for every file system that is full.
pub const FULL: &str = "no space left on ";
/// The same where the space is there, and no number for another file.
pub const NO_INODES: &str = "no inodes left on ";

const SPACE: &str =
    "free some room on the host and run again: `df -h` and `du -xhd1 DIR` show what is full of what";

/// The cause behind what was said, when it is one of those that everything else follows from. The first row of the
/// table that fits wins: a full disk makes apt say that a package is unknown.
pub fn cause_of(said: &str) -> Option<Cause> {
    let cause = |what: String, hint: &'static str| Some(Cause { what, hint });
    let line = |words: &[&str]| said.lines().find(|line| words.iter().any(|word| line.contains(word)));
    let fixed = |words: &[&str], what: &str, hint: &'static str| {
        line(words).and_then(|_| cause(what.to_owned(), hint))
    };
    // The host's own word names the file system.
    for (mark, hint) in [
        (FULL, SPACE),
        (
            NO_INODES,
            "remove small files on the host and run again: `df -i` and `du --inodes -xd1 DIR` show where they are",
        ),
    ] {
        let places: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix(mark)).collect();
        if !places.is_empty() {
            return cause(format!("{mark}{}", places.join(", ")), hint);
        }
    }
    if let Some(line) = line(&["have enough free space in "]) {
        let place = line.split("have enough free space in ").nth(1).unwrap_or_default();
        return cause(format!("not enough space in {}", place.trim_end_matches('.')), SPACE);
    }
    if let Some(line) = line(&["No space left on device", "no space left on device"]) {
        return cause(format!("no space left on the disk{}", of_path(line)), SPACE);
    }
    if let Some(line) = line(&["Read-only file system"]) {
        return cause(
            format!("the file system{} is read-only", of_path(line)),
            "a disk with errors is mounted read-only: look at `dmesg`; or it is mounted so by /etc/fstab",
        );
    }
    let rest = [
        fixed(
            &["Disk quota exceeded"],
            "the disk quota of the account is used up",
            "raise the quota, or free some room (`quota -u NAME`)",
        ),
        fixed(
            &["Input/output error"],
            "a disk of the host gives an input/output error",
            "look at `dmesg` on the host: the disk may be failing",
        ),
        fixed(
            &["Cannot allocate memory", "out of memory", "Out of memory"],
            "the host has no memory left",
            "stop something on the host, or give it more memory (`free -m`, `dmesg`)",
        ),
        fixed(
            &["you must have a tty to run sudo"],
            "sudo wants a terminal (`requiretty`)",
            "put `Defaults !requiretty` into sudoers on the host",
        ),
        fixed(
            &[
                "Sorry, try again",
                "incorrect password attempt",
                "Authentication failure",
                "Authentication failed",
            ],
            "the password was refused",
            "look at `ansible_become_password`, or what `-K` was answered",
        ),
        fixed(
            &["a password is required", "no password was provided", "a terminal is required"],
            "a password is wanted, and none was given",
            "set `ansible_become_password` (in a vault), give `-K`, or allow the user in sudoers without one",
        ),
        fixed(
            &["is not in the sudoers file", "is not allowed to execute", "may not run sudo"],
            "sudoers does not allow it",
            "allow the user in sudoers on the host",
        ),
        held_lock(said),
        unresolved(said),
        unconnected(said),
        fixed(
            &["is not valid yet"],
            "the host's clock is behind: it takes the repository's lists for ones of the future",
            "set the host's clock (`timedatectl`), and let it be kept by systemd-timesyncd or chrony",
        ),
        fixed(
            &["NO_PUBKEY", "EXPKEYSIG", "is not signed", "couldn't be verified"],
            "a repository is not signed by a key that the host knows",
            "give the repository its key: `signed_by` of `deb822_repository`",
        ),
    ];
    rest.into_iter().flatten().next()
}

/// ` of PATH`, for the first absolute path of a message.
fn of_path(line: &str) -> String {
    let edges = [' ', '\'', '"', '`', '\u{2018}', '\u{2019}', ':', ',', '(', ')'];
    let path = line.split(edges).find(|word| word.len() > 1 && word.starts_with('/'));
    path.map_or(String::new(), |path| format!(" of {path}"))
}

fn held_lock(said: &str) -> Option<Cause> {
    let line = said.lines().find(|line| {
        line.contains("Could not get lock")
            || line.contains("Unable to acquire the dpkg frontend lock")
            || line.contains("Unable to lock")
            || line.contains("is locked by another process")
    })?;
    let holder = line.split("held by process ").nth(1).map(|rest| rest.trim_end_matches('.'));
    Some(Cause {
        what: match holder {
            Some(holder) => format!("another program holds apt's lock: process {holder}"),
            None => "another program holds apt's lock".to_owned(),
        },
        hint: "wait until it is done, or give `lock_timeout` more seconds",
    })
}

fn unresolved(said: &str) -> Option<Cause> {
    let marks = [
        "Temporary failure resolving ",
        "Could not resolve host: ",
        "Could not resolve ",
        "unable to resolve host address ",
        "could not translate host name ",
    ];
    let named = said.lines().find_map(|line| {
        let rest = marks.iter().find_map(|mark| line.split_once(mark))?.1;
        let name: String = rest
            .trim_start_matches(['\'', '"', '`', '\u{2018}'])
            .chars()
            .take_while(|c| c.is_alphanumeric() || ".-_".contains(*c))
            .collect();
        Some(name.trim_end_matches('.').to_owned()).filter(|name| !name.is_empty())
    });
    let plain = ["Temporary failure in name resolution", "Name or service not known"];
    let what = match named {
        Some(name) => format!("the host cannot resolve the name `{name}`"),
        None if plain.iter().any(|mark| said.contains(mark)) => "the host cannot resolve names".to_owned(),
        None => return None,
    };
    Some(Cause { what, hint: "look at /etc/resolv.conf on the host, and whether it reaches its name server" })
}

fn unconnected(said: &str) -> Option<Cause> {
    let line = said.lines().find(|line| {
        ["Could not connect to ", "Unable to connect to ", "Cannot initiate the connection to "]
            .iter()
            .any(|mark| line.contains(mark))
    })?;
    let whom =
        line.split("onnect to ").nth(1).or_else(|| line.split("onnection to ").nth(1)).unwrap_or_default();
    let whom = whom.split([' ', ',']).next().unwrap_or_default().trim_end_matches([':', '.']);
    Some(Cause {
        what: format!("the host does not reach `{whom}`"),
        hint: "look at the host's network, and at the proxy in /etc/environment or `environment:`",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_true_cause_is_named_whatever_stands_below_it() {
        let rows = [
            (
                "W: Download is performed unsandboxed\nE: Write error - write (28: No space left on device)\n\
                 the package lists of this host have no package `vim`: check the name, or add its repository first\n\
                 no space left on /var",
                "no space left on /var",
            ),
            ("x\nno space left on /var\nno space left on /boot\n", "no space left on /var, /boot"),
            ("cp: No space left on device\nno inodes left on /srv\n", "no inodes left on /srv"),
            (
                "E: You don't have enough free space in /var/cache/apt/archives/.",
                "not enough space in /var/cache/apt/archives/",
            ),
            ("cp: error writing '/srv/x': No space left on device", "no space left on the disk of /srv/x"),
            ("sh: 1: write error: No space left on device", "no space left on the disk"),
            (
                "ERROR:  could not extend file \"base/1\": No space left on device",
                "no space left on the disk",
            ),
            (
                "mkdir: cannot create directory \u{2018}/mnt/a\u{2019}: Read-only file system",
                "the file system of /mnt/a is read-only",
            ),
            ("touch: cannot touch 'a': Disk quota exceeded", "the disk quota of the account is used up"),
            ("cat: /srv/x: Input/output error", "a disk of the host gives an input/output error"),
            ("sh: 0: Cannot fork: Cannot allocate memory", "the host has no memory left"),
            ("sudo: sorry, you must have a tty to run sudo", "sudo wants a terminal (`requiretty`)"),
            (
                "Sorry, try again.\nsudo: no password was provided\nsudo: 1 incorrect password attempt",
                "the password was refused",
            ),
            ("su: Authentication failure", "the password was refused"),
            ("sudo: a password is required", "a password is wanted, and none was given"),
            ("eve is not in the sudoers file.", "sudoers does not allow it"),
            (
                "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 4711 (unattended-upgr)\n\
                 E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?",
                "another program holds apt's lock: process 4711 (unattended-upgr)",
            ),
            (
                "dpkg: error: dpkg frontend lock is locked by another process",
                "another program holds apt's lock",
            ),
            (
                "Err:1 http://deb.debian.org/debian bookworm InRelease\n  Temporary failure resolving 'deb.debian.org'\n\
                 E: Unable to locate package vim",
                "the host cannot resolve the name `deb.debian.org`",
            ),
            (
                "curl: (6) Could not resolve host: repo.example.com",
                "the host cannot resolve the name `repo.example.com`",
            ),
            ("ping: x: Name or service not known", "the host cannot resolve names"),
            (
                "E: Failed to fetch http://d/x  Could not connect to 10.0.0.9:80 (10.0.0.9), connection timed out",
                "the host does not reach `10.0.0.9:80`",
            ),
            ("Unable to connect to deb.debian.org:http:", "the host does not reach `deb.debian.org:http`"),
            (
                "E: Release file for http://x/InRelease is not valid yet (invalid for another 3h 2min 1s).",
                "the host's clock is behind: it takes the repository's lists for ones of the future",
            ),
            (
                "W: GPG error: http://x InRelease: NO_PUBKEY 1234\nE: The repository 'http://x InRelease' is not signed.",
                "a repository is not signed by a key that the host knows",
            ),
        ];
        for (said, wanted) in rows {
            assert_eq!(cause_of(said).map(|cause| cause.what).as_deref(), Some(wanted), "{said}");
        }
        for said in ["", "E: Unable to locate package vim", "permission denied", "exit 1"] {
            assert_eq!(cause_of(said), None, "{said}");
        }
    }
}
