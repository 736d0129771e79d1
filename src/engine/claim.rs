//! Who acts on a host: one run at a time, and the next one is told whose it is and since when.
//!
//! The lock lies on the host and dies with the shell that holds it. A shell may outlive its run where a connection was
//! cut: then the machine that the run was started on knows that it is gone.

use crate::diag::Diagnostic;
use crate::shell::Hold;
use std::sync::LazyLock;

/// What tells this program's hosts from those of others: a command may make several runs, one after the other.
static RUN: LazyLock<Option<String>> = LazyLock::new(|| {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
});

/// What a run says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    run: String,
    machine: String,
    process: u32,
    started: String,
    words: String,
}

impl Claim {
    /// This run: `words` is what others are told, as "USER@MACHINE, `ishprov run site.yaml`, since ...".
    /// `None` where the system gives no random bytes.
    pub fn new(words: &str) -> Option<Self> {
        let run = RUN.as_ref()?.clone();
        let process = std::process::id();
        let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
        let machine = machine.trim();
        Some(Self {
            run,
            machine: if machine.is_empty() { "-".to_owned() } else { machine.to_owned() },
            process,
            started: started(process).unwrap_or_else(|| "-".to_owned()),
            words: words.split_whitespace().collect::<Vec<_>>().join(" "),
        })
    }

    /// What a host is told.
    pub fn hold(&self) -> Hold {
        let about = format!("{} {} {} {}", self.machine, self.process, self.started, self.words);
        Hold { run: self.run.clone(), about, gone: None }
    }

    /// Whether a holder's run is gone for certain: it was started on this machine, and no longer runs here.
    pub fn is_gone(&self, about: &str) -> bool {
        let mut words = about.split(' ');
        let (Some(machine), Some(process), Some(since)) = (words.next(), words.next(), words.next()) else {
            return false;
        };
        let Ok(process) = process.parse() else { return false };
        machine == self.machine
            && machine != "-"
            && since != "-"
            && started(process).as_deref() != Some(since)
    }
}

/// A host is held by another run.
pub(super) fn held(host: &str, [_, shell, about]: &[String; 3]) -> Diagnostic {
    let words = about.splitn(4, ' ').nth(3).unwrap_or("somebody");
    Diagnostic::error("held", format!("another run works on `{host}`: {words}"))
        .note("two runs at a time would undo each other's work")
        .hint("wait for it to end, and run again; `--check` may look meanwhile")
        .hint(format!("when that run is gone and only its connection hangs: `kill {shell}` on the host"))
}

/// When a process of this machine was started; `None` when it is gone.
fn started(process: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in front may hold blanks.
    stat.rsplit_once(") ")?.1.split(' ').nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_this_machine_is_known_to_be_gone_and_others_are_not() {
        let claim = Claim::new("root@here, `ishprov run site.yaml`").unwrap();
        let own = claim.hold().about;
        assert!(!claim.is_gone(&own), "it runs");
        let changed = |at: usize, word: &str| {
            let mut words: Vec<&str> = own.split(' ').collect();
            words[at] = word;
            words.join(" ")
        };
        assert!(claim.is_gone(&changed(2, "1")), "another process has its number now");
        assert!(claim.is_gone(&changed(1, "4194304000")) || !claim.is_gone(&changed(1, "x")));
        assert!(!claim.is_gone(&changed(0, "another")), "only its own machine knows");
        assert!(!claim.is_gone("") && !claim.is_gone("noise"));
        let told = held("pg1", &["aa".to_owned(), "77".to_owned(), own]);
        assert_eq!(told.message, "another run works on `pg1`: root@here, `ishprov run site.yaml`");
        assert!(told.hints[1].contains("kill 77"));
    }
}
