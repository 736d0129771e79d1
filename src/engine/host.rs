//! One host on its way through a play.
//!
//! Questions of all steps up to the next barrier travel together; when a step acts, what was read ahead behind it
//! is thrown away, and its actions, the check on them and the next few questions share one trip. What a step was made
//! ready of (every variable it asked for, and files of this machine) is looked at again when its turn comes; where
//! something changed since, it is made ready again. So what comes out is always what one step at a time would give,
//! whatever was guessed about what steps read.

mod control;
mod seat;
mod step;

pub(super) use self::seat::Learned;
use self::step::answers_of;
pub(super) use self::step::pick;
use super::event::{Done, Event, Stats, Status};
use super::fatal::Fell;
pub(super) use super::outcome::Outcome;
use super::shared::Shared;
use super::unit::{Item, Unit};
use crate::diag::Diagnostic;
use crate::modules::Change;
use crate::plan::{Brought, Cursor, HostScope, Program, Step};
use crate::playbook::Meta;
use crate::shell::{Answers, Ask, Frame, Item as FrameItem, ItemReply};
use crate::transport::{Endpoint, Session, Transport as _};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A host and everything known of it.
pub struct Host {
    /// Its name in the inventory.
    pub name: String,
    /// The connection.
    pub session: Option<Session>,
    /// How it was made.
    pub endpoint: Option<Endpoint>,
    /// Its variables.
    pub scope: HostScope,
    /// Where it stands.
    pub cursor: Cursor,
    /// How it is doing.
    pub state: State,
    /// The recap columns.
    pub stats: Stats,
    /// Another run works on it.
    pub held: bool,
    /// Failures, in full.
    pub diagnostics: Vec<Diagnostic>,
    /// Names and topics notified since the last flush.
    pub notified: Vec<String>,
    /// Handlers to run, by their number.
    pub(super) called: BTreeSet<usize>,
    /// Tasks run as root unless they say otherwise.
    pub wants_root: bool,
    /// Account of `become`, when not root.
    pub become_user: Option<String>,
    /// Account logged in with.
    pub login_user: String,
    /// Seconds that its clock is ahead of this machine's, as far as that is certain; 0 once it was told.
    pub(super) skew: i64,
    /// In check mode: something would have been changed, so that what follows may look different afterwards.
    pub announced: bool,
    /// Modules that announced a change in check mode.
    pub pending: BTreeSet<&'static str>,
    /// Place that this host has leave to pass: a barrier, or a step that others had to come to as well.
    pub passed: Option<Vec<usize>>,
    /// Its shell has the rights of root.
    pub privileged: bool,
    /// It took in tasks that need the rights of root.
    pub wants_rise: bool,
    /// Place of the last step that it is through with.
    pub(super) last: Option<Cursor>,
    /// Its last failure, until the others have heard of it.
    pub(super) fell: Option<Fell>,
    /// What the steps since the last look brought.
    pub(super) learned: Learned,
    /// What was read ahead when it had to wait for the others.
    kept: Option<Window>,
    /// Results of the loop under way.
    results: Vec<Value>,
}

/// How a host is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// On its way.
    Active,
    /// Done with this play.
    Ended,
    /// Failed.
    Failed,
    /// Lost, or never reached.
    Unreachable,
}

/// What stops a host.
pub enum Halt {
    /// A step that hosts must come to together, and its place.
    Barrier(Arc<Step>, Vec<usize>),
    /// A step that may be done once all others have come as far.
    Pace(Vec<usize>),
    /// Something that steers all hosts at once.
    Meta(Arc<Step>, Meta, Vec<usize>),
    /// Tasks to take in, for the coordinator to compile.
    Include(Arc<Step>),
    /// Nothing more to do, or no way to go on.
    Over,
}

impl Halt {
    /// Where it is that others are waited for.
    pub fn place(&self) -> Option<&Vec<usize>> {
        match self {
            Self::Barrier(_, place) | Self::Pace(place) | Self::Meta(_, _, place) => Some(place),
            Self::Include(_) | Self::Over => None,
        }
    }
}

/// The next questions after an act: few at first, more while nothing acts.
const FIRST_WINDOW: usize = 1;

/// What was made ready ahead, and what is known for it.
pub(super) struct Window {
    /// In order.
    units: VecDeque<Unit>,
    /// Answers since the last act, under the questions as they were sent.
    known: Answers,
    /// How many units with questions are asked for together next.
    width: usize,
    /// The most there may be.
    most: usize,
}

impl Window {
    fn new(most: usize) -> Self {
        Self { units: VecDeque::new(), known: Answers::new(), width: most, most }
    }

    /// Whether a unit's questions are answered.
    fn knows(&self, unit: &Unit) -> bool {
        unit.host_asks().iter().all(|(_, sent)| self.known.has(sent))
    }

    /// The questions of the next units, as they are sent.
    fn asks(&self) -> Vec<Ask> {
        let asks = self.units.iter().map(Unit::host_asks).filter(|asks| !asks.is_empty());
        asks.take(self.width).flatten().map(|(_, sent)| sent).collect()
    }

    /// Something acts: what was known may be different.
    fn forget(&mut self) {
        self.known = Answers::new();
        self.width = FIRST_WINDOW.min(self.most);
    }

    fn widen(&mut self, by: usize) {
        self.width = self.width.saturating_add(by).min(self.most);
    }
}

impl Host {
    /// A host that nothing is known of yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            session: None,
            endpoint: None,
            scope: HostScope::default(),
            cursor: Cursor::new(Arc::new(Program::default())),
            state: State::Active,
            stats: Stats::default(),
            held: false,
            diagnostics: Vec::new(),
            notified: Vec::new(),
            called: BTreeSet::new(),
            wants_root: false,
            become_user: None,
            login_user: String::new(),
            announced: false,
            pending: BTreeSet::new(),
            passed: None,
            privileged: false,
            wants_rise: false,
            last: None,
            fell: None,
            learned: Learned::default(),
            kept: None,
            skew: 0,
            results: Vec::new(),
        }
    }

    /// Stands at the beginning of a play.
    pub(super) fn begin(&mut self, cursor: Cursor) {
        self.cursor = cursor;
        self.passed = None;
        self.last = None;
        self.fell = None;
        self.wants_rise = false;
        self.notified.clear();
        self.called.clear();
        self.forget_ahead();
    }

    /// What was read ahead may not hold any more.
    pub(super) fn forget_ahead(&mut self) {
        self.kept = None;
    }

    /// Whether it goes on.
    pub fn is_active(&self) -> bool {
        self.state == State::Active
    }

    /// Goes on until something stops it.
    pub async fn advance(&mut self, shared: &Shared) -> Halt {
        let mut window = self.kept.take().unwrap_or_else(|| Window::new(shared.options.window.max(1)));
        // What was just made ready needs no second look.
        let mut fresh = false;
        // Whether what is known was asked for one unit by itself.
        let mut alone = false;
        loop {
            if !self.is_active() {
                return Halt::Over;
            }
            if shared.stop.interrupted() {
                self.state = State::Ended;
                return Halt::Over;
            }
            let Some(front) = window.units.front() else {
                window.known = Answers::new();
                let mut ahead = self.cursor.clone();
                let (units, why) = self.prepare(shared, &mut ahead, window.most);
                if units.is_empty() {
                    // What was read past (flushes without a notification, decided guards) lies behind the host:
                    // a barrier or an include is met where it stands.
                    self.cursor = ahead;
                    if let Some(halt) = self.control(shared, why).await {
                        return halt;
                    }
                }
                window.units.extend(units);
                fresh = true;
                continue;
            };
            if !std::mem::take(&mut fresh) && !self.holds(shared, front) {
                self.renew(shared, &mut window);
                fresh = true;
                continue;
            }
            if !window.knows(front) {
                let Some(answers) = self.ask(shared, window.asks()).await else { continue };
                window.known = answers;
                alone = window.width == 1;
                window.widen(window.width);
            }
            let waits = window.units.front().and_then(|unit| self.waits_for_others(shared, unit));
            if let Some(place) = waits {
                self.kept = Some(window);
                return Halt::Pace(place);
            }
            let Some(unit) = window.units.pop_front() else { continue };
            let answers = pick(&unit.host_asks(), &window.known);
            if answers.crowded() && !std::mem::take(&mut alone) {
                // Asked with others it was too much: now it is asked alone.
                window.units.push_front(unit);
                window.forget();
                continue;
            }
            self.cursor = unit.at.clone();
            if self.take(shared, unit, answers, &mut window).await == Flow::Elsewhere {
                window.units.clear();
            }
        }
    }

    /// The next unit was made of what is no longer so: it is made ready again, and so is what follows when the way
    /// leads elsewhere now. Answers stay good: nothing acted.
    fn renew(&mut self, shared: &Shared, window: &mut Window) {
        let Some(old) = window.units.pop_front() else { return };
        if old.item.as_ref().is_some_and(|item| !item.first) {
            return window.units.push_front(self.again(shared, &old));
        }
        let position = old.at.position();
        let same = |unit: &Unit| Arc::ptr_eq(&unit.step, &old.step) && unit.at.position() == position;
        while window.units.front().is_some_and(same) {
            window.units.pop_front();
        }
        let mut ahead = self.cursor.clone();
        let (units, _) = self.prepare(shared, &mut ahead, 1);
        if !units.first().is_some_and(same) {
            window.units.clear();
        }
        for unit in units.into_iter().rev() {
            window.units.push_front(unit);
        }
    }

    /// Asks some questions in one frame. `None` when the host was lost.
    async fn ask(&mut self, shared: &Shared, sent: Vec<Ask>) -> Option<Answers> {
        if sent.is_empty() {
            return Some(Answers::new());
        }
        let replies = self.send(shared, Frame::probe(sent)).await?;
        Some(answers_of(replies.into_iter().next()))
    }

    /// Sends a frame; `None`, and the host is unreachable, when the connection broke.
    pub(super) async fn send(&mut self, shared: &Shared, frame: Frame) -> Option<Vec<ItemReply>> {
        let Some(session) = &mut self.session else {
            self.lose(shared, Diagnostic::error("unreachable", "there is no connection to this host"));
            return None;
        };
        let replies = tokio::select! {
            replies = session.frame(&frame) => replies,
            () = shared.stop.cut() => {
                // Without its stream the host's shell ends what it runs.
                self.session = None;
                self.state = State::Ended;
                return None;
            }
        };
        if frame.items.iter().any(|item| matches!(item, FrameItem::Act { .. })) {
            shared.note_act();
        }
        match replies {
            Ok(replies) => Some(replies),
            Err(error) => {
                self.session = None;
                self.lose(shared, super::connect::explain(&self.name, &error));
                None
            }
        }
    }

    /// Runs one step by itself, whatever barrier it is.
    pub(super) async fn single(&mut self, shared: &Shared, step: &Arc<Step>) {
        let mut cursor = self.cursor.clone();
        let units = self.units_of(shared, step, &mut cursor, &Brought::default()).unwrap_or_default();
        for unit in units {
            let unit = if self.holds(shared, &unit) { unit } else { self.again(shared, &unit) };
            let own = unit.host_asks();
            let sent = own.iter().map(|(_, sent)| sent.clone()).collect();
            let Some(known) = self.ask(shared, sent).await else { return };
            let answers = pick(&own, &known);
            if self.take(shared, unit, answers, &mut Window::new(1)).await == Flow::Elsewhere {
                return;
            }
        }
    }

    /// Where hosts go step by step: the place of a step that this host has no leave for yet.
    fn waits_for_others(&self, shared: &Shared, unit: &Unit) -> Option<Vec<usize>> {
        let place = unit.at.position();
        let waits = shared.in_step.load(Ordering::SeqCst) && self.passed.as_ref() != Some(&place);
        waits.then_some(place)
    }

    /// It cannot be reached any more.
    pub(super) fn lose(&mut self, shared: &Shared, diagnostic: Diagnostic) {
        self.state = State::Unreachable;
        self.stats.unreachable = 1;
        self.fell = Some(Fell { at: self.cursor.position(), fatal: false });
        self.diagnostics.push(diagnostic.clone());
        shared.tell(Event::Unreachable { host: self.name.clone(), diagnostic });
    }
}

/// Whether the queue may go on after a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// As planned.
    On,
    /// The host stands elsewhere now: what was made ready no longer follows.
    Elsewhere,
}

/// A change in one line.
pub(super) fn one_line(change: &Change) -> String {
    match change {
        Change::Field { name, before, after } if before.is_empty() => format!("{name}: {after}"),
        Change::Field { name, before, after } => format!("{name}: {before} -> {after}"),
        Change::Text { name, .. } => format!("{name}: content"),
    }
}

/// A step's name with its templates filled in.
pub(super) fn title(shared: &Shared, unit: &Unit) -> String {
    title_of(shared, &unit.step, &unit.scope)
}

/// The same for a step that was not made ready.
pub(super) fn title_of(shared: &Shared, step: &Step, scope: &HostScope) -> String {
    let rendered =
        step.name.as_ref().and_then(|name| shared.templates.render_value(name, &scope.shared()).ok());
    let Some(Value::String(name)) = rendered else { return step.title() };
    match &step.role {
        Some(role) => format!("{} : {name}", role.name),
        None => name,
    }
}

/// Keeps the item of a loop beside a result.
pub(super) fn with_item(step: &Step, item: &Item, mut result: Map<String, Value>) -> Value {
    let var = step.keywords.r#loop.as_ref().map_or("item", |repeat| repeat.var.as_str());
    result.insert(var.to_owned(), item.value.clone());
    result.insert("ansible_loop_var".to_owned(), Value::from(var));
    Value::Object(result)
}

impl Host {
    /// Results of the loop under way.
    pub(super) fn loop_results(&mut self) -> &mut Vec<Value> {
        &mut self.results
    }

    /// Tells how a unit went.
    pub(super) fn tell_done(
        &self,
        shared: &Shared,
        unit: &Unit,
        outcome: &Outcome,
        status: Status,
        result: Value,
        took: Duration,
    ) {
        let done = Done {
            host: self.name.clone(),
            at: unit.at.position(),
            title: title(shared, unit),
            place: shared.library.map().locate(unit.step.span).to_string(),
            module: unit.step.call.name(),
            item: unit.item.as_ref().map(|item| item.label.clone()),
            more: unit.item.as_ref().is_some_and(|item| item.more),
            status,
            because: outcome.because.clone(),
            changes: outcome.changes.clone(),
            result,
            no_log: unit.no_log,
            diagnostic: outcome.diagnostic.clone(),
            took,
        };
        shared.tell(Event::Done(Box::new(done)));
    }
}
