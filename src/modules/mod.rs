//! The modules a task can call: typed parameters and state in, diff and actions out, all of it pure.
//!
//! A module is one file: doc comment (its reference text), `Params`, `State`, `Diff`, then decode, probe, state,
//! diff, actions; tests last. It names a fault by parameter, never by span or host, and never sees the inventory,
//! the plan or a transport.

mod apt;
mod args;
mod assert;
mod attrs;
mod authorized_key;
mod blockinfile;
mod command;
mod content;
mod copy;
mod cron;
mod deb822_repository;
mod debian;
mod debug;
mod dpkg_selections;
mod fail;
mod file;
mod getent;
mod group;
mod hba_name;
mod hba_rule;
mod hostname;
mod ini_file;
pub mod instance;
mod lineinfile;
mod mode;
mod modprobe;
mod package_facts;
mod pattern;
mod postgresql_cluster;
mod postgresql_db;
mod postgresql_ext;
mod postgresql_hba;
mod postgresql_huge_pages;
mod postgresql_membership;
mod postgresql_ping;
mod postgresql_privs;
mod postgresql_query;
mod postgresql_schema;
mod postgresql_set;
mod postgresql_slot;
mod postgresql_standby;
mod postgresql_user;
mod privs_catalog;
mod psql;
mod replace;
mod scram;
mod script;
mod service;
mod service_facts;
mod set_fact;
mod setup;
mod shell;
mod slurp;
mod spec;
mod sql;
mod standby_conf;
mod standby_refuse;
mod standby_scripts;
mod stat;
mod sysctl;
mod sysfs;
mod template;
mod timezone;
mod tls;
mod tls_ca;
mod tls_cert;
mod tls_key;
mod tls_record;
mod tree;
mod ufw;
mod ufw_guard;
mod ufw_rule;
mod user;
mod validate_argument_spec;
mod wait_for;
mod words;

pub use args::Args;
pub use attrs::{Attrs, Ids};
pub use content::{Edit, Seen, Target};
pub use instance::{Instance, Lines};
pub use mode::Mode;
pub use postgresql_set::setting_text;
pub use spec::{Kind, Param, Spec};

use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output};
use serde_json::{Map, Value};

/// What a module found out about the state of a host.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict<D> {
    /// Nothing to do, because ...
    InState(String),
    /// Something to do.
    Act(D),
}

/// One visible difference, for `--diff` and the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A field goes from one value to another: `mode`, `0644`, `0640`. An empty `before` means it is new.
    Field {
        /// What changes.
        name: String,
        /// Value found.
        before: String,
        /// Value wanted.
        after: String,
    },
    /// A text goes from one content to another (shown as a unified diff).
    Text {
        /// Path or other name of the text.
        name: String,
        /// Content found.
        before: String,
        /// Content wanted.
        after: String,
    },
}

impl Change {
    /// A field's change.
    pub fn field(name: impl Into<String>, before: impl Into<String>, after: impl Into<String>) -> Self {
        Self::Field { name: name.into(), before: before.into(), after: after.into() }
    }

    /// A text's change.
    pub fn text(name: impl Into<String>, before: impl Into<String>, after: impl Into<String>) -> Self {
        Self::Text { name: name.into(), before: before.into(), after: after.into() }
    }
}

/// How a module stands to reading ahead and to check mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// Wanted state: the probe tells whether there is something to do, and is asked again afterwards.
    State,
    /// A command: what it changes is not known beforehand, and it is not asked again afterwards. It never runs
    /// ahead of an undecided step and is skipped in check mode.
    Command,
    /// Needs no host: works on values alone (`debug`, `assert`, `set_fact`).
    Controller,
}

/// What a module adds to the variables of a host when its task is done, besides what the task registers. Steps that
/// read it are not made ready before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brings {
    /// Nothing.
    Nothing,
    /// These facts, as they stand in its result's `ansible_facts`; a star stands for any ending.
    Facts(&'static [&'static str]),
    /// Variables, by the names of its arguments (`set_fact`).
    Variables,
}

/// A kind of task.
pub trait Module: Send + Sync + 'static {
    /// Typed parameters.
    type Params: Send + Sync + 'static;
    /// What the probe read, parsed.
    type State;
    /// What is to be done.
    type Diff;

    /// Name, parameters and reference text.
    const SPEC: Spec;

    /// What it adds to the variables of a host.
    const BRINGS: Brings = Brings::Nothing;

    /// Parameters from validated arguments: only what [`Spec`] cannot say is checked here.
    fn decode(args: &Args) -> Result<Self::Params, Fault>;

    /// What must be known of the host.
    fn probe(params: &Self::Params) -> Vec<Ask>;

    /// The answers, parsed. A failed or unparsable answer is a fault, never a default.
    fn state(params: &Self::Params, answers: &Answers) -> Result<Self::State, Fault>;

    /// What is to be done; `Err` refuses.
    fn diff(params: &Self::Params, state: &Self::State) -> Result<Verdict<Self::Diff>, Fault>;

    /// The difference for people.
    fn show(params: &Self::Params, state: &Self::State, diff: &Self::Diff) -> Vec<Change>;

    /// How to do it.
    fn actions(params: &Self::Params, state: &Self::State, diff: &Self::Diff) -> Vec<Action>;

    /// Whether the probe is asked again after acting and must then find nothing to do. `false` for wishes that
    /// are no state: `restarted`.
    fn verifies(_params: &Self::Params) -> bool {
        true
    }

    /// Whether [`forbids`](Self::forbids) is asked on all hosts before anything is done on any of them.
    const LOOKS_AHEAD: bool = false;

    /// Refuses what must not be found out half way: one `Err` stops the run while every host is as it was.
    fn forbids(_params: &Self::Params, _state: &Self::State) -> Result<(), Fault> {
        Ok(())
    }

    /// What `register` keeps besides `changed`, `failed` and `msg`, and facts to set (key `ansible_facts`).
    /// `ran` holds the outputs of the actions, in order; empty when nothing was done (or in check mode).
    fn result(_params: &Self::Params, _state: &Self::State, _ran: &[Output]) -> Map<String, Value> {
        Map::new()
    }
}

/// A module behind one face, for the table.
pub trait AnyModule: Send + Sync {
    /// Name, parameters and reference text.
    fn spec(&self) -> &'static Spec;

    /// What it adds to the variables of a host.
    fn brings(&self) -> Brings;

    /// Whether it may refuse before anything is done on any host.
    fn looks_ahead(&self) -> bool;

    /// Types the arguments of one task.
    fn call(&self, args: &Args) -> Result<Box<dyn Call>, Fault>;
}

/// One task's call of a module, with typed parameters.
pub trait Call: Send + Sync {
    /// The module's specification.
    fn spec(&self) -> &'static Spec;

    /// What must be known of the host.
    fn probe(&self) -> Vec<Ask>;

    /// Decides on the answers.
    fn decide(&self, answers: &Answers) -> Result<Decision, Fault>;

    /// What must not be found out half way; `None` where these answers cannot tell yet.
    fn forbids(&self, answers: &Answers) -> Option<Result<(), Fault>>;

    /// Whether the probe is asked again after acting.
    fn verifies(&self) -> bool;

    /// What `register` keeps, given the answers and what ran.
    fn result(&self, answers: &Answers, ran: &[Output]) -> Result<Map<String, Value>, Fault>;
}

/// What one call comes to on one host.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Nothing to do, because ...
    InState(String),
    /// To do, and what it looks like.
    Act {
        /// For people.
        changes: Vec<Change>,
        /// For the host.
        actions: Vec<Action>,
    },
}

struct Entry<M: Module>(std::marker::PhantomData<fn() -> M>);

struct Bound<M: Module>(M::Params);

impl<M: Module> Entry<M> {
    const fn new() -> Self {
        Self(std::marker::PhantomData)
    }

    const SPEC: &'static Spec = &M::SPEC;
}

impl<M: Module> AnyModule for Entry<M> {
    fn spec(&self) -> &'static Spec {
        Self::SPEC
    }

    fn brings(&self) -> Brings {
        M::BRINGS
    }

    fn looks_ahead(&self) -> bool {
        M::LOOKS_AHEAD
    }

    fn call(&self, args: &Args) -> Result<Box<dyn Call>, Fault> {
        Ok(Box::new(Bound::<M>(M::decode(args)?)))
    }
}

impl<M: Module> Call for Bound<M> {
    fn spec(&self) -> &'static Spec {
        Entry::<M>::SPEC
    }

    fn probe(&self) -> Vec<Ask> {
        M::probe(&self.0)
    }

    fn decide(&self, answers: &Answers) -> Result<Decision, Fault> {
        let state = M::state(&self.0, answers)?;
        Ok(match M::diff(&self.0, &state)? {
            Verdict::InState(because) => Decision::InState(because),
            Verdict::Act(diff) => Decision::Act {
                changes: M::show(&self.0, &state, &diff),
                actions: M::actions(&self.0, &state, &diff),
            },
        })
    }

    fn forbids(&self, answers: &Answers) -> Option<Result<(), Fault>> {
        let state = M::state(&self.0, answers).ok()?;
        Some(M::forbids(&self.0, &state))
    }

    fn verifies(&self) -> bool {
        M::SPEC.nature == Nature::State && M::verifies(&self.0)
    }

    fn result(&self, answers: &Answers, ran: &[Output]) -> Result<Map<String, Value>, Fault> {
        let state = M::state(&self.0, answers)?;
        let mut result = M::result(&self.0, &state, ran);
        // What a module does not say that it brings, it does not bring: steps that read it would not wait.
        if M::BRINGS == Brings::Nothing {
            result.shift_remove("ansible_facts");
        }
        Ok(result)
    }
}

macro_rules! table {
    ($($module:ty),* $(,)?) => { &[$(&Entry::<$module>::new() as &dyn AnyModule),*] };
}

/// Every module, by name.
pub static MODULES: &[&dyn AnyModule] = table![
    apt::Apt,
    assert::Assert,
    authorized_key::AuthorizedKey,
    blockinfile::BlockInFile,
    command::Command,
    copy::Copy,
    cron::Cron,
    deb822_repository::Deb822Repository,
    debug::Debug,
    dpkg_selections::DpkgSelections,
    fail::Fail,
    file::File,
    getent::Getent,
    group::Group,
    hostname::Hostname,
    ini_file::IniFile,
    lineinfile::LineInFile,
    modprobe::Modprobe,
    package_facts::PackageFacts,
    postgresql_cluster::PostgresqlCluster,
    postgresql_db::PostgresqlDb,
    postgresql_ext::PostgresqlExt,
    postgresql_hba::PostgresqlHba,
    postgresql_huge_pages::PostgresqlHugePages,
    postgresql_membership::PostgresqlMembership,
    postgresql_ping::PostgresqlPing,
    postgresql_privs::PostgresqlPrivs,
    postgresql_query::PostgresqlQuery,
    postgresql_schema::PostgresqlSchema,
    postgresql_set::PostgresqlSet,
    postgresql_slot::PostgresqlSlot,
    postgresql_standby::PostgresqlStandby,
    postgresql_user::PostgresqlUser,
    replace::Replace,
    script::Script,
    service::Service,
    service_facts::ServiceFacts,
    set_fact::SetFact,
    setup::Setup,
    shell::Shell,
    slurp::Slurp,
    stat::Stat,
    sysctl::Sysctl,
    sysfs::Sysfs,
    template::Template,
    timezone::Timezone,
    tls_ca::TlsCa,
    tls_cert::TlsCert,
    tls_key::TlsKey,
    ufw::Ufw,
    user::User,
    validate_argument_spec::ValidateArgumentSpec,
    wait_for::WaitFor,
];

/// The module of this name; Ansible's collection prefixes and other names of the same module are accepted.
pub fn find(name: &str) -> Option<&'static dyn AnyModule> {
    let short = [
        "ansible.builtin.",
        "ansible.legacy.",
        "ansible.posix.",
        "community.general.",
        "community.postgresql.",
    ]
    .iter()
    .find_map(|prefix| name.strip_prefix(prefix))
    .unwrap_or(name);
    MODULES
        .iter()
        .copied()
        .find(|module| module.spec().name == short || module.spec().aliases.contains(&short))
}

/// Every name a task may use.
pub fn names() -> impl Iterator<Item = &'static str> {
    MODULES
        .iter()
        .flat_map(|module| std::iter::once(module.spec().name).chain(module.spec().aliases.iter().copied()))
}
