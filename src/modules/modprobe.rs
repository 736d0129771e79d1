//! Kernel modules: loaded or not, now and at boot.
//!
//! `persistent: present` keeps a file in `/etc/modules-load.d` (and one in `/etc/modprobe.d` where there are
//! `params`), `absent` removes them. In containers the kernel belongs to the machine around them: a module that is
//! not loaded there is refused with that reason.
//!
//! EXAMPLES
//! - name: Connection tracking before the firewall
//!   modprobe: {name: nf_conntrack, persistent: present}

use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Put, join, quote};

/// The module `modprobe`.
pub struct Modprobe;

/// A kernel module.
#[derive(Debug)]
pub struct Params {
    name: String,
    /// As sysfs writes it.
    sysfs: String,
    params: String,
    present: bool,
    /// `Some(true)`: loaded at boot; `Some(false)`: not by us; `None`: left alone.
    persistent: Option<bool>,
}

/// What the host has.
pub struct Found {
    loaded: bool,
    container: bool,
    load_file: Option<String>,
    options_file: Option<String>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub struct Diff {
    load: bool,
    load_file: bool,
    options_file: bool,
}

impl Module for Modprobe {
    type Params = Params;
    type State = Found;
    type Diff = Diff;

    const SPEC: Spec = Spec {
        name: "modprobe",
        aliases: &[],
        summary: "Kernel modules",
        source: include_str!("modprobe.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("name", Kind::Str, "The kernel module").required(),
            Param::new("state", Kind::Choice(&["present", "absent"]), "Loaded or not").default("present"),
            Param::new("params", Kind::Str, "Its parameters, when it is loaded").default("none"),
            Param::new("persistent", Kind::Choice(&["disabled", "present", "absent"]), "Loaded at boot")
                .default("disabled"),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let name = args.required("name");
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) {
            return Err(Fault::param("name", format!("`{name}` is no name of a kernel module")));
        }
        let persistent = match args.str("persistent").as_deref() {
            Some("present") => Some(true),
            Some("absent") => Some(false),
            _ => None,
        };
        let params = args.str("params").unwrap_or_default().trim().to_owned();
        if params.contains('\n') {
            return Err(Fault::param("params", "`params` takes one line"));
        }
        let present = args.str("state").as_deref() != Some("absent");
        Ok(Params { sysfs: name.replace('-', "_"), name, params, present, persistent })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        let mut asks = vec![loaded(params)];
        if params.persistent.is_some() {
            asks.extend([Ask::content(params.load_path()), Ask::content(params.options_path())]);
        }
        asks
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        let text = answers.output(&loaded(params))?.text();
        let file = |path: String| match params.persistent {
            Some(_) => answers.text(&Ask::content(path)),
            None => Ok(None),
        };
        Ok(Found {
            loaded: text.lines().any(|line| line == "loaded"),
            container: text.lines().any(|line| line == "container"),
            load_file: file(params.load_path())?,
            options_file: file(params.options_path())?,
        })
    }

    fn diff(params: &Params, found: &Found) -> Result<Verdict<Diff>, Fault> {
        let diff = Diff {
            load: found.loaded != params.present,
            load_file: params.persistent.is_some() && found.load_file != params.load_file(),
            options_file: params.persistent.is_some() && found.options_file != params.options_file(),
        };
        if diff.load && found.container {
            let word = if params.present { "not loaded" } else { "loaded" };
            return Err(Fault::param(
                "name",
                format!("`{}` is {word}, and a container cannot change its machine's kernel", params.name),
            )
            .certain());
        }
        if diff.load || diff.load_file || diff.options_file {
            return Ok(Verdict::Act(diff));
        }
        Ok(Verdict::InState(if found.loaded { "loaded" } else { "not loaded" }.to_owned()))
    }

    fn show(params: &Params, found: &Found, diff: &Diff) -> Vec<Change> {
        let word = |loaded: bool| if loaded { "loaded" } else { "not loaded" };
        let mut changes = Vec::new();
        if diff.load {
            changes.push(Change::field(&*params.name, word(found.loaded), word(params.present)));
        }
        let mut file = |path: String, before: &Option<String>, after: Option<String>| {
            changes.push(Change::text(path, before.clone().unwrap_or_default(), after.unwrap_or_default()));
        };
        if diff.load_file {
            file(params.load_path(), &found.load_file, params.load_file());
        }
        if diff.options_file {
            file(params.options_path(), &found.options_file, params.options_file());
        }
        changes
    }

    fn actions(params: &Params, _found: &Found, diff: &Diff) -> Vec<Action> {
        let file = |path: String, content: Option<String>| match content {
            None => Action::argv(["rm", "-f", "--", &path]),
            Some(content) => {
                let mut put = Put::new(path, content);
                put.mode = Some(0o644);
                Action::Put(put)
            }
        };
        let mut actions = Vec::new();
        if diff.options_file {
            actions.push(file(params.options_path(), params.options_file()));
        }
        if diff.load_file {
            actions.push(file(params.load_path(), params.load_file()));
        }
        if diff.load {
            let words = ["modprobe", if params.present { "--" } else { "-r" }, &params.name];
            let given = params.params.split_whitespace().filter(|_| params.present);
            actions.push(Action::sh(join(words.into_iter().chain(given))));
        }
        actions
    }
}

impl Params {
    fn load_path(&self) -> String {
        format!("/etc/modules-load.d/{}.conf", self.name)
    }

    fn options_path(&self) -> String {
        format!("/etc/modprobe.d/{}.conf", self.name)
    }

    fn load_file(&self) -> Option<String> {
        (self.persistent == Some(true)).then(|| format!("{}\n", self.name))
    }

    fn options_file(&self) -> Option<String> {
        let wanted = self.persistent == Some(true) && !self.params.is_empty();
        wanted.then(|| format!("options {} {}\n", self.name, self.params))
    }
}

/// Modules built into the kernel are loaded too.
fn loaded(params: &Params) -> Ask {
    Ask::sh(format!(
        "[ -d /sys/module/{name} ] || grep -qE {built} \"/lib/modules/$(uname -r)/modules.builtin\" 2>/dev/null && echo loaded\n\
         [ ! -e /run/systemd/container ] && [ ! -e /.dockerenv ] || echo container\n:",
        name = quote(&params.sysfs),
        built = quote(&format!("/{}\\.ko", params.sysfs.replace('_', "[-_]"))),
    ))
}
