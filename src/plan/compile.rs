//! Plays to programs: roles, imports and constant includes are taken in, keywords inherited, tags selected.

use super::bind::{arguments, search_path};
use super::inherit::inherit;
use super::library::Library;
use super::program::{Barrier, Layer, Layers, Op, Program, Role, Step, StepCall};
use super::reads::Crossing;
use super::role_args::Inputs;
use super::select::Tags;
use crate::diag::{Diagnostic, Frame, Span, Spanned, did_you_mean};
use crate::playbook::{
    Action, Block, EntryPoint, Include, IncludeKind, Item, Keywords, Meta, Play, RoleCall, RoleMeta, Task,
    decode_defaults, decode_meta, decode_role_tasks,
};
use crate::yaml::{Entry, Kind, Node};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How deep roles and includes may nest before it is taken for a cycle.
const DEEPEST: usize = 40;

/// How many times roles may be reached by way of dependencies; more are only reached where all need each other.
const MOST_EXPOSED: usize = 1000;

/// What a play was compiled to.
#[derive(Debug, Clone)]
pub struct PlayPlan {
    /// The play as decoded.
    pub play: Play,
    /// Its tasks.
    pub program: Arc<Program>,
    /// Its handlers, in order of definition.
    pub handlers: Vec<Arc<Handler>>,
    /// How many steps it has (ids count up to here; steps of run-time includes count on).
    pub steps: usize,
    /// Variables of the play and all its roles, for texts that belong to no task.
    pub layers: Arc<Layers>,
    /// Every tag that some task has, chosen or not.
    pub tags: BTreeSet<String>,
}

impl PlayPlan {
    /// Without the steps that check a role's arguments, but for those that only the run can make.
    pub fn without_settled(&self, open: &BTreeSet<usize>) -> Self {
        Self { program: Arc::new(self.program.without(&self.settled(open))), ..self.clone() }
    }

    /// Those steps.
    pub fn settled(&self, open: &BTreeSet<usize>) -> BTreeSet<usize> {
        let settled = self.program.ops.iter().filter_map(|op| match op {
            Op::Step(step) if step.inputs.is_some() && !open.contains(&step.id) => Some(step.id),
            _ => None,
        });
        settled.collect()
    }
}

/// A handler: a name to notify, topics it listens to, and what it does.
#[derive(Debug)]
pub struct Handler {
    /// Its name; may hold templates.
    pub name: String,
    /// Topics.
    pub listen: Vec<String>,
    /// The role it belongs to.
    pub role: Option<Arc<Role>>,
    /// What it does.
    pub program: Arc<Program>,
}

impl Handler {
    /// Whether a notification names this handler: by its name, or as `role : name`.
    pub fn is_named(&self, notified: &str) -> bool {
        let of_role = |role: &Arc<Role>| {
            notified.split_once(" : ").is_some_and(|(whose, name)| whose == role.name && name == self.name)
        };
        !self.name.is_empty() && (self.name == notified || self.role.as_ref().is_some_and(of_role))
    }

    /// Whether it is the same one, read once more.
    pub fn is_same(&self, other: &Self) -> bool {
        let path = |handler: &Self| handler.role.as_ref().map(|role| role.path.clone());
        !self.name.is_empty()
            && self.name == other.name
            && self.listen == other.listen
            && path(self) == path(other)
    }
}

/// What holds around an item.
#[derive(Clone)]
struct Around {
    keywords: Keywords,
    layers: Layers,
    role: Option<Arc<Role>>,
    /// Roles whose dependencies are being taken in, outermost first.
    dependents: Vec<Arc<Role>>,
    frames: Vec<Frame>,
    dir: String,
    /// Inside tasks that are taken in only where a condition holds.
    guarded: bool,
}

/// How often a role runs that is called more than once in a play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// Each time: `include_role`, `import_role`.
    Always,
    /// Once, unless it is called otherwise: `roles`, dependencies, `allow_duplicates: false`.
    Once,
}

/// A role that runs in a play already, and how it was called.
#[derive(Debug, PartialEq, Eq)]
struct DoneRole {
    path: String,
    /// Its parameters and the part of it.
    call: String,
    /// Conditions and tags around it.
    when: Vec<String>,
    tags: Vec<String>,
    guarded: bool,
}

/// Compiles plays, and at run time the includes that were not known before.
pub struct Compiler<'a> {
    library: &'a Library,
    /// Folder of the site file.
    site_dir: String,
    tags: &'a Tags,
    diags: RefCell<Vec<Diagnostic>>,
    next_id: Cell<usize>,
    handlers: RefCell<Vec<Arc<Handler>>>,
    done_roles: RefCell<Vec<DoneRole>>,
    seen_tags: RefCell<BTreeSet<String>>,
}

/// The files of one role, decoded.
struct RoleFiles {
    role: Arc<Role>,
    meta: RoleMeta,
    defaults: Arc<Layer>,
    vars: Arc<Layer>,
}

impl<'a> Compiler<'a> {
    /// A compiler for the site in `site_dir` that keeps the steps `tags` selects. Ids count from `first_id`.
    pub fn new(library: &'a Library, site_dir: &str, tags: &'a Tags, first_id: usize) -> Self {
        Self {
            library,
            site_dir: site_dir.to_owned(),
            tags,
            diags: RefCell::default(),
            next_id: Cell::new(first_id),
            handlers: RefCell::default(),
            done_roles: RefCell::default(),
            seen_tags: RefCell::default(),
        }
    }

    /// Everything found wrong so far.
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.diags.into_inner()
    }

    /// The id the next step would get.
    pub fn next_id(&self) -> usize {
        self.next_id.get()
    }

    /// Compiles one play.
    pub fn play(&self, play: &Play) -> PlayPlan {
        self.handlers.take();
        self.done_roles.take();
        self.seen_tags.take();
        let mut layers = Layers { play: self.play_layers(play), ..Layers::default() };
        let roles: Vec<&RoleCall> = play.roles.iter().collect();
        self.expose_roles(&roles, &mut layers, &mut Vec::new());
        let around = Around {
            keywords: play.keywords.clone(),
            layers,
            role: None,
            dependents: Vec::new(),
            frames: Vec::new(),
            dir: self.site_dir.clone(),
            guarded: false,
        };
        let mut around = around;
        around.keywords.vars = Vec::new();
        let mut program = Program::default();
        self.items(&play.pre_tasks, &around, &mut program);
        program.ops.push(Op::Flush);
        for call in &play.roles {
            self.role_call(call, &around, &mut program, 0);
        }
        self.items(&play.tasks, &around, &mut program);
        program.ops.push(Op::Flush);
        self.items(&play.post_tasks, &around, &mut program);
        program.ops.push(Op::Flush);
        self.add_handlers(&play.handlers, &around);
        PlayPlan {
            play: play.clone(),
            program: Arc::new(program),
            handlers: self.handlers.take(),
            steps: self.next_id.get(),
            layers: Arc::new(around.layers),
            tags: self.seen_tags.take(),
        }
    }

    /// Compiles an include that is known only at run time: `target` is the rendered name.
    pub fn include(&self, step: &Step, target: &str) -> Program {
        let mut program = Program::default();
        let around = Around {
            keywords: step.inner.as_deref().cloned().unwrap_or_default(),
            layers: (*step.layers).clone(),
            role: step.role.clone(),
            dependents: Vec::new(),
            frames: step.frames.clone(),
            dir: step.dir.clone(),
            guarded: false,
        };
        let name = Spanned::new(target.to_owned(), step.span);
        match step.call {
            StepCall::Include { kind: IncludeKind::Role } => {
                let tasks_from = step
                    .arg("tasks_from")
                    .and_then(|arg| Some(Spanned::new(arg.value.scalar_text()?, arg.value.span)));
                let depth = step.frames.len();
                self.role_tasks(&name, tasks_from.as_ref(), &around, &mut program, depth, Repeat::Always);
            }
            _ => self.task_file(&name, false, &around, &mut program),
        }
        program
    }

    /// Handlers that run-time includes of roles brought in.
    pub fn take_handlers(&self) -> Vec<Arc<Handler>> {
        self.handlers.take()
    }

    fn error(&self, diagnostic: Diagnostic, around: &Around) {
        self.diags.borrow_mut().extend(in_frames(vec![diagnostic], around));
    }

    fn errors(&self, found: Vec<Diagnostic>, around: &Around) {
        for diagnostic in found {
            self.error(diagnostic, around);
        }
    }

    fn play_layers(&self, play: &Play) -> Vec<Arc<Layer>> {
        let mut layers = Vec::new();
        for file in play.vars_files.iter().rev() {
            if file.node.contains("{{") {
                let message = "templates in `vars_files` are not supported yet";
                self.diags
                    .borrow_mut()
                    .push(Diagnostic::error("keyword-not-supported", message).at(file.span));
                continue;
            }
            let path = join(&self.site_dir, &file.node);
            if let Some(entries) = self.vars_file(&path, file.span, "vars file") {
                layers.push(Layer::of(&entries));
            }
        }
        layers.push(Layer::of(&play.keywords.vars));
        layers
    }

    /// A file of variables that must be there.
    fn vars_file(&self, path: &str, at: Span, what: &str) -> Option<Vec<Entry>> {
        match self.library.yaml(path) {
            None => {
                let mut diagnostic =
                    Diagnostic::error("missing-file", format!("there is no {what} `{path}`")).at(at);
                diagnostic.label = self.library.near(path);
                self.diags.borrow_mut().push(diagnostic);
                None
            }
            Some(Err(found)) => {
                self.diags.borrow_mut().extend(found);
                None
            }
            Some(Ok(node)) => Some(decode_defaults(&node, &mut self.diags.borrow_mut())),
        }
    }

    /// Defaults and vars of every role of the play are visible in all of it, as in Ansible.
    fn expose_roles(&self, calls: &[&RoleCall], layers: &mut Layers, dependents: &mut Vec<String>) {
        for call in calls {
            let Some(path) = self.role_path(&call.name.node) else { continue };
            // A circle is reported where the roles are called; here it must only come to an end.
            if dependents.contains(&path) || layers.defaults.len() > MOST_EXPOSED {
                continue;
            }
            let silent = self.diags.borrow().len();
            let files = self.role_files(&call.name.node, &path);
            self.diags.borrow_mut().truncate(silent);
            let dependencies: Vec<&RoleCall> = files.meta.dependencies.iter().collect();
            dependents.push(path);
            self.expose_roles(&dependencies, layers, dependents);
            dependents.pop();
            layers.defaults.insert(0, files.defaults);
            layers.role_vars.insert(0, files.vars);
        }
    }

    fn items(&self, items: &[Item], around: &Around, program: &mut Program) {
        for item in items {
            match item {
                Item::Task(task) => self.task(task, around, program),
                Item::Block(block) => self.block(block, around, program),
            }
        }
    }

    fn block(&self, block: &Block, around: &Around, program: &mut Program) {
        let mut inner = around.clone();
        inner.keywords = inherit(&around.keywords, &block.keywords);
        if !block.keywords.vars.is_empty() {
            inner.layers.tasks.insert(0, Layer::of(&block.keywords.vars));
        }
        if block.rescue.is_empty() && block.always.is_empty() {
            return self.items(&block.block, &inner, program);
        }
        let enter = program.ops.len();
        program.ops.push(Op::Flush); // replaced below, when the targets are known
        self.items(&block.block, &inner, program);
        let leave = program.ops.len();
        program.ops.push(Op::Flush);
        let rescue = (!block.rescue.is_empty()).then_some(program.ops.len());
        self.items(&block.rescue, &Around { guarded: true, ..inner.clone() }, program);
        let always = program.ops.len();
        self.items(&block.always, &inner, program);
        program.ops.push(Op::End);
        program.ops[enter] = Op::Enter { rescue, always };
        program.ops[leave] = Op::Leave { always };
    }

    fn task(&self, task: &Task, around: &Around, program: &mut Program) {
        let mut inner = around.clone();
        inner.keywords = inherit(&around.keywords, &task.keywords);
        if !task.keywords.vars.is_empty() {
            inner.layers.tasks.insert(0, Layer::of(&task.keywords.vars));
        }
        self.seen_tags.borrow_mut().extend(inner.keywords.tags.iter().map(|tag| tag.node.clone()));
        match &task.action {
            Action::Module { name, args } => {
                if let Some(step) = self.module_step(task, name, args, &inner) {
                    program.ops.push(Op::Step(step));
                }
            }
            Action::Meta(meta)
                if !self.tags.selects(&inner.keywords.tags) && meta.node != Meta::FlushHandlers => {}
            Action::Meta(meta) => {
                self.errors(task.faults.clone(), &inner);
                let step = Arc::new(self.step(task, StepCall::Meta, Vec::new(), &inner));
                program.ops.push(match meta.node {
                    Meta::FlushHandlers => Op::Flush,
                    other => Op::Meta { step, meta: other },
                });
            }
            Action::Include(include) => self.include_task(task, include, around, &inner, program),
        }
    }

    fn module_step(
        &self,
        task: &Task,
        name: &Spanned<String>,
        args: &Node,
        around: &Around,
    ) -> Option<Arc<Step>> {
        let found = match (crate::modules::find(&name.node), crate::cluster::find(&name.node)) {
            (Some(module), _) => Some((StepCall::Module(module), module.spec())),
            (None, Some(procedure)) => Some((StepCall::Procedure(procedure), procedure.spec())),
            (None, None) => None,
        };
        let (call, args, mut faults) = match found {
            None => (StepCall::Unknown, Vec::new(), vec![unknown_module(name)]),
            Some((call, spec)) => match arguments(spec, args) {
                Ok(args) => (call, args, Vec::new()),
                Err(faults) => (call, Vec::new(), faults),
            },
        };
        faults.extend(task.faults.iter().cloned());
        if !self.tags.selects(&around.keywords.tags) {
            // What is wrong without any condition is wrong whatever tags are wanted.
            if !around.guarded && around.keywords.when.is_empty() {
                self.errors(faults, around);
            }
            return None;
        }
        Some(Arc::new(Step { faults: in_frames(faults, around), ..self.step(task, call, args, around) }))
    }

    fn step(
        &self,
        task: &Task,
        call: StepCall,
        args: Vec<super::program::Argument>,
        around: &Around,
    ) -> Step {
        self.bare_step((task.span, task.name.clone()), call, args, around, None)
    }

    /// A step that stands at a place, under a name.
    fn bare_step(
        &self,
        (span, name): (Span, Option<Node>),
        call: StepCall,
        args: Vec<super::program::Argument>,
        around: &Around,
        inputs: Option<Arc<Inputs>>,
    ) -> Step {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        let mut step = Step {
            id,
            span,
            name,
            call,
            args,
            keywords: around.keywords.clone(),
            layers: Arc::new(around.layers.clone()),
            role: around.role.clone(),
            frames: around.frames.clone(),
            barrier: Barrier::None,
            crossing: Crossing::Nothing,
            dir: around.dir.clone(),
            inputs,
            faults: Vec::new(),
            inner: None,
        };
        step.barrier = super::barrier::of(&step);
        step
    }

    /// `outer` is what holds around the task, `around` the same with its own keywords.
    fn include_task(
        &self,
        task: &Task,
        include: &Include,
        outer: &Around,
        around: &Around,
        program: &mut Program,
    ) {
        let constant = include.name.as_str().filter(|name| !crate::template::is_template(name));
        let repeated = around.keywords.r#loop.is_some();
        self.errors(task.faults.clone(), around);
        if include.is_static && (constant.is_none() || repeated) {
            let what = if repeated { "a loop" } else { "a template in its name" };
            let message = format!("an import is read before the run and cannot have {what}");
            self.error(
                Diagnostic::error("dynamic-import", message)
                    .at(include.name.span)
                    .hint("use `include_...` instead"),
                around,
            );
            return;
        }
        let mut inner = around.clone();
        if !include.is_static {
            // An include is a task: its tags say whether it is run, its conditions are asked once, and its keywords are
            // its own. What it takes in inherits from around it, and `apply`.
            if !self.tags.selects(&around.keywords.tags) {
                return;
            }
            inner.keywords = outer.keywords.clone();
            if let Some(apply) = &include.apply {
                inner.keywords = inherit(&outer.keywords, apply);
                if !apply.vars.is_empty() {
                    inner.layers.tasks.insert(0, Layer::of(&apply.vars));
                }
            }
        }
        let (Some(name), false, true) = (constant, repeated, include.kind != IncludeKind::Vars) else {
            let mut step = self.include_step(task, include, &inner, around);
            if let (Some(name), false, IncludeKind::Vars) = (constant, repeated, include.kind) {
                step.faults = in_frames(self.look_for_vars(&step, name, include.name.span), around);
            }
            program.ops.push(Op::Include(Arc::new(step)));
            return;
        };
        let name = Spanned::new(name.to_owned(), include.name.span);
        if include.is_static || around.keywords.when.is_empty() {
            return self.take_in(&name, include, &inner, program);
        }
        // What is wrong in there is wrong only where it is taken in.
        let mut step = self.include_step(task, include, &inner, around);
        let at = program.ops.len();
        program.ops.push(Op::Flush);
        inner.guarded = true;
        let before = self.diags.take();
        self.take_in(&name, include, &inner, program);
        step.faults = self.diags.replace(before);
        program.ops[at] = Op::Guard { step: Arc::new(step), to: program.ops.len() };
    }

    fn include_step(&self, task: &Task, include: &Include, inner: &Around, around: &Around) -> Step {
        let argument = |name: &str, value: Node| super::program::Argument {
            name: Spanned::new(name.to_owned(), value.span),
            value,
        };
        let mut args = vec![argument("name", include.name.clone())];
        args.extend(
            include
                .tasks_from
                .iter()
                .map(|from| argument("tasks_from", Node::new(Kind::Str(from.node.clone()), from.span))),
        );
        let step = self.step(task, StepCall::Include { kind: include.kind }, args, around);
        Step { inner: Some(Box::new(inner.keywords.clone())), ..step }
    }

    fn take_in(&self, name: &Spanned<String>, include: &Include, inner: &Around, program: &mut Program) {
        let repeat = if include.repeats { Repeat::Always } else { Repeat::Once };
        let depth = inner.frames.len();
        match include.kind {
            IncludeKind::Role => {
                self.role_tasks(name, include.tasks_from.as_ref(), inner, program, depth, repeat)
            }
            _ => self.task_file(name, include.is_static, inner, program),
        }
    }

    /// A file of variables is read when its task is reached; that it is missing is seen before.
    fn look_for_vars(&self, step: &Step, name: &str, at: Span) -> Vec<Diagnostic> {
        let paths = search_path(step, "vars", name, &self.site_dir);
        if self.library.first(&paths).is_some() {
            return Vec::new();
        }
        let message = format!("there is no file of variables `{name}`");
        let mut diagnostic = Diagnostic::error("missing-file", message).at(at);
        diagnostic.label = paths.iter().find_map(|path| self.library.near(path));
        vec![diagnostic.hint(format!("looked for {}", paths.join(", ")))]
    }

    /// Takes in a file of tasks. Ansible looks for a file that is imported beside the file that asks for it before it
    /// looks in the role's `tasks/`, and for one that is included the other way round.
    fn task_file(&self, name: &Spanned<String>, is_static: bool, around: &Around, program: &mut Program) {
        let mut candidates = vec![join(&around.dir, &name.node)];
        if let Some(role) = &around.role {
            let own = join(&format!("{}/tasks", role.path), &name.node);
            candidates.insert(if is_static { 1 } else { 0 }, own);
            candidates.push(join(&role.path, &name.node));
        }
        // The file that asks may itself stand in a folder of tasks, which names from the one above it.
        let above = folder(&around.dir);
        if around.dir != self.site_dir && !above.is_empty() {
            candidates.push(join(&above, &name.node));
        }
        candidates.push(join(&self.site_dir, &name.node));
        candidates.push(join(&join(&self.site_dir, "tasks"), &name.node));
        let mut seen = BTreeSet::new();
        candidates.retain(|path| seen.insert(path.clone()));
        let Some(path) = self.library.first(&candidates) else {
            let mut diagnostic =
                Diagnostic::error("missing-file", format!("there is no file of tasks `{}`", name.node))
                    .at(name.span);
            diagnostic.label = candidates.iter().find_map(|path| self.library.near(path));
            return self.error(diagnostic.hint(format!("looked for {}", candidates.join(", "))), around);
        };
        let mut inner = around.clone();
        inner
            .frames
            .insert(0, Frame { span: name.span, text: format!("tasks of `{}`, included", name.node) });
        inner.dir = folder(path);
        if self.too_deep(&inner, name, path) {
            return;
        }
        if let Some(items) = self.read_items(path, &inner) {
            self.items(&items, &inner, program);
        }
    }

    fn too_deep(&self, around: &Around, name: &Spanned<String>, path: &str) -> bool {
        let repeats = around.frames.iter().filter(|frame| frame.span == name.span).count();
        if repeats < 2 && around.frames.len() <= DEEPEST {
            return false;
        }
        let diagnostic = Diagnostic::error(
            "include-cycle",
            format!("`{path}` takes itself in, directly or by way of others"),
        );
        let diagnostic = diagnostic.at(name.span).hint("break the circle: the lines above show the way");
        let mut shown = around.clone();
        shown.frames.dedup();
        shown.frames.truncate(4);
        self.error(diagnostic, &shown);
        true
    }

    fn read_items(&self, path: &str, around: &Around) -> Option<Vec<Item>> {
        match self.library.yaml(path)? {
            Ok(node) => {
                let mut found = Vec::new();
                let items = decode_role_tasks(&node, &mut found);
                self.errors(found, around);
                Some(items)
            }
            Err(found) => {
                self.errors(found, around);
                None
            }
        }
    }

    /// Where a role stands: a role of a collection in that collection and nowhere else, any other by its whole name.
    fn role_path(&self, name: &str) -> Option<String> {
        self.role_places(name).into_iter().find(|path| {
            ["tasks", "meta", "defaults", "handlers", "vars"]
                .iter()
                .any(|part| self.library.sources().is_dir(&format!("{path}/{part}")))
        })
    }

    fn role_places(&self, name: &str) -> Vec<String> {
        let mut places = Vec::new();
        if let [namespace, collection, role] = name.split('.').collect::<Vec<_>>()[..] {
            let collections = "collections/ansible_collections";
            places
                .push(join(&self.site_dir, &format!("{collections}/{namespace}/{collection}/roles/{role}")));
        }
        places.push(join(&self.site_dir, &format!("roles/{name}")));
        places.push(join(&self.site_dir, name));
        places
    }

    fn role_call(&self, call: &RoleCall, around: &Around, program: &mut Program, depth: usize) {
        let mut inner = around.clone();
        inner.keywords = inherit(&around.keywords, &call.keywords);
        let params: Vec<Entry> = call.params.iter().chain(&call.keywords.vars).cloned().collect();
        if !params.is_empty() {
            inner.layers.params.insert(0, Layer::of(&params));
        }
        self.role_tasks(&call.name, None, &inner, program, depth, Repeat::Once);
    }

    /// Whether a role leads back to one that it is a dependency of, which is reported.
    fn depends_on_itself(&self, call: &RoleCall, around: &Around) -> bool {
        let Some(path) = self.role_path(&call.name.node) else { return false };
        let Some(at) = around.dependents.iter().position(|role| role.path == path) else { return false };
        let way = around.dependents.iter().skip(at).map(|role| format!("`{}`", role.name));
        let way: Vec<String> = way.chain([format!("`{}`", call.name.node)]).collect();
        let diagnostic =
            Diagnostic::error("role-cycle", format!("role `{}` depends on itself", call.name.node))
                .at(call.name.span)
                .note(format!("the circle is {}", way.join(" -> ")))
                .hint("take one of these out of its role's `dependencies`");
        self.error(diagnostic, around);
        true
    }

    fn role_tasks(
        &self,
        name: &Spanned<String>,
        tasks_from: Option<&Spanned<String>>,
        around: &Around,
        program: &mut Program,
        depth: usize,
        repeat: Repeat,
    ) {
        let Some(path) = self.role_path(&name.node) else {
            return self.error(self.unknown_role(name), around);
        };
        let files = self.role_files(&name.node, &path);
        let mut inner = around.clone();
        inner.frames.insert(0, Frame { span: name.span, text: format!("role `{}`, called", name.node) });
        if depth > DEEPEST || self.too_deep(&inner, name, &path) {
            return;
        }
        inner.role = Some(Arc::clone(&files.role));
        inner.dir = format!("{path}/tasks");
        inner.layers.defaults.insert(0, Arc::clone(&files.defaults));
        inner.layers.role_vars.insert(0, Arc::clone(&files.vars));
        if repeat == Repeat::Once && !files.meta.allow_duplicates && self.is_done(&path, tasks_from, around) {
            return;
        }
        self.done_roles.borrow_mut().push(done_role(&path, tasks_from, around));
        let mut outer = Around { role: None, ..inner.clone() };
        outer.dependents.push(Arc::clone(&files.role));
        for dependency in &files.meta.dependencies {
            if !self.depends_on_itself(dependency, &outer) {
                self.role_call(dependency, &outer, program, depth + 1);
            }
        }
        inner.dependents.clear();
        // As Ansible: the entry point is the file of tasks, and its arguments are checked before the first of them.
        let point =
            tasks_from.map_or("main", |from| from.node.trim_end_matches(".yml").trim_end_matches(".yaml"));
        if let Some(entry) = files.meta.entry_points.iter().find(|entry| entry.name == point) {
            program.ops.extend(self.input_check(entry, name, &inner).map(Op::Step));
        }
        let part = tasks_from.map_or("main", |from| from.node.as_str());
        match self.role_file(&path, "tasks", part) {
            Some(file) => {
                if let Some(items) = self.read_items(&file, &inner) {
                    self.items(&items, &inner, program);
                }
            }
            None => {
                if let Some(from) = tasks_from {
                    let message = format!("role `{}` has no `tasks/{part}.yml`", name.node);
                    let mut diagnostic = Diagnostic::error("missing-file", message).at(from.span);
                    diagnostic.label = self.library.near(&format!("{path}/tasks/{part}.yml"));
                    self.error(diagnostic, around);
                }
            }
        }
        if let Some(items) =
            self.role_file(&path, "handlers", "main").and_then(|file| self.read_items(&file, &inner))
        {
            inner.dir = format!("{path}/handlers");
            self.add_handlers(&items, &inner);
        }
    }

    /// The step that checks a role's arguments.
    fn input_check(&self, entry: &EntryPoint, name: &Spanned<String>, around: &Around) -> Option<Arc<Step>> {
        let module = crate::modules::find("validate_argument_spec")?;
        let mut around = around.clone();
        around.keywords.tags.push(Spanned::new("always".to_owned(), name.span));
        if !self.tags.selects(&around.keywords.tags) {
            return None;
        }
        let role = around.role.as_ref().map(|role| role.name.clone()).unwrap_or_default();
        let inputs = Arc::new(Inputs { role, called: name.span, entry: entry.clone() });
        let title = Node::new(Kind::Unsafe("arguments".to_owned()), name.span);
        let step = self.bare_step(
            (name.span, Some(title)),
            StepCall::Module(module),
            inputs.arguments(),
            &around,
            Some(Arc::clone(&inputs)),
        );
        Some(Arc::new(step))
    }

    fn unknown_role(&self, name: &Spanned<String>) -> Diagnostic {
        let message = format!("there is no role `{}`", name.node);
        let mut diagnostic = Diagnostic::error("unknown-role", message).at(name.span);
        let folder = join(&self.site_dir, "roles");
        let mut parts = name.node.split('.');
        let (namespace, collection) = (parts.next().unwrap_or_default(), parts.next());
        let of_collection = parts.next().is_some() && parts.next().is_none();
        if let (Some(collection), true) = (collection, of_collection) {
            let place = join(&self.site_dir, "collections/ansible_collections");
            if !self.library.sources().is_dir(&format!("{place}/{namespace}/{collection}")) {
                return diagnostic
                    .note(format!("there is no collection `{namespace}.{collection}` in `{place}`"))
                    .hint(format!(
                        "put the role into `{folder}` and call it by its own name, or the collection into `{place}`"
                    ));
            }
            let places = self.role_places(&name.node);
            diagnostic.label = places.first().and_then(|path| self.library.near(path));
            return diagnostic.hint(format!("looked for {}", places.join(", ")));
        }
        diagnostic.label = self.library.near(&join(&folder, &name.node));
        diagnostic.hint(format!("roles are looked for in `{folder}`"))
    }

    /// Whether a role that is called again has run for certain: without a condition or under the same ones, and not
    /// only where something else is included.
    fn is_done(&self, path: &str, tasks_from: Option<&Spanned<String>>, around: &Around) -> bool {
        let call = done_role(path, tasks_from, around);
        self.done_roles.borrow().iter().any(|done| {
            (&done.path, &done.call, &done.tags) == (&call.path, &call.call, &call.tags)
                && !done.guarded
                && (done.when.is_empty() || done.when == call.when)
        })
    }

    fn role_file(&self, path: &str, part: &str, name: &str) -> Option<String> {
        let candidates: Vec<String> =
            ["", ".yml", ".yaml"].iter().map(|ending| format!("{path}/{part}/{name}{ending}")).collect();
        let candidates: Vec<String> =
            candidates.into_iter().filter(|path| path.ends_with(".yml") || path.ends_with(".yaml")).collect();
        self.library.first(&candidates).cloned()
    }

    fn role_files(&self, name: &str, path: &str) -> RoleFiles {
        let read = |part: &str, file: &str| -> Option<Arc<Node>> {
            match self.library.yaml(&self.role_file(path, part, file)?)? {
                Ok(node) => Some(node),
                Err(found) => {
                    self.diags.borrow_mut().extend(found);
                    None
                }
            }
        };
        let layer = |part: &str| {
            read(part, "main")
                .map(|node| Layer::of(&decode_defaults(&node, &mut self.diags.borrow_mut())))
                .unwrap_or_default()
        };
        let mut meta = read("meta", "main")
            .map(|node| decode_meta(&node, &mut self.diags.borrow_mut()))
            .unwrap_or_default();
        // As Ansible: a file of its own takes the place of what `meta/main.yml` says.
        if let Some(node) = read("meta", "argument_specs") {
            meta.entry_points = decode_meta(&node, &mut self.diags.borrow_mut()).entry_points;
        }
        let role = Arc::new(Role { name: name.to_owned(), path: path.to_owned() });
        RoleFiles { role, meta, defaults: layer("defaults"), vars: layer("vars") }
    }

    fn add_handlers(&self, items: &[Item], around: &Around) {
        let mut around = around.clone();
        // Handlers take neither tags nor conditions of the role call that brought them.
        around.keywords.tags.clear();
        around.keywords.notify.clear();
        for item in items {
            let Item::Task(task) = item else {
                if let Item::Block(block) = item {
                    let message = "a handler is a task, not a block";
                    self.error(Diagnostic::error("handler-block", message).at(block.span), &around);
                }
                continue;
            };
            let name = task.name.as_ref().and_then(Node::scalar_text).unwrap_or_default();
            let listen = task.keywords.listen.iter().map(|topic| topic.node.clone()).collect();
            let mut program = Program::default();
            let all = Tags::all();
            let tagged = Compiler { tags: &all, ..self.fork() };
            tagged.task(task, &around, &mut program);
            self.next_id.set(tagged.next_id.get());
            self.diags.borrow_mut().extend(tagged.diags.take());
            let role = around.role.clone();
            let handler = Arc::new(Handler { name, listen, role, program: Arc::new(program) });
            let mut handlers = self.handlers.borrow_mut();
            match handlers.iter().position(|known| known.is_same(&handler)) {
                Some(at) => handlers[at] = handler,
                None => handlers.push(handler),
            }
        }
    }

    /// The same compiler with empty books, for parts compiled under other tags.
    fn fork(&self) -> Compiler<'a> {
        Compiler {
            library: self.library,
            site_dir: self.site_dir.clone(),
            tags: self.tags,
            diags: RefCell::default(),
            next_id: self.next_id.clone(),
            handlers: RefCell::default(),
            done_roles: RefCell::default(),
            seen_tags: RefCell::default(),
        }
    }
}

/// Adds the way that led there.
fn in_frames(faults: Vec<Diagnostic>, around: &Around) -> Vec<Diagnostic> {
    let framed = |fault: Diagnostic| {
        around.frames.iter().fold(fault, |fault, frame| fault.frame(frame.span, frame.text.clone()))
    };
    faults.into_iter().map(framed).collect()
}

fn done_role(path: &str, tasks_from: Option<&Spanned<String>>, around: &Around) -> DoneRole {
    let values = |layer: &Arc<Layer>| -> Vec<(String, serde_json::Value)> {
        layer.vars.iter().map(|(name, node)| (name.clone(), node.to_value())).collect()
    };
    let params: Vec<_> = around.layers.params.iter().map(values).collect();
    let mut tags: Vec<String> = around.keywords.tags.iter().map(|tag| tag.node.clone()).collect();
    tags.sort();
    tags.dedup();
    DoneRole {
        path: path.to_owned(),
        call: format!("{:?} {params:?}", tasks_from.map(|from| &from.node)),
        when: around.keywords.when.iter().map(|node| node.to_value().to_string()).collect(),
        tags,
        guarded: around.guarded,
    }
}

fn unknown_module(name: &Spanned<String>) -> Diagnostic {
    let diagnostic =
        Diagnostic::error("unknown-module", format!("unknown module `{}`", name.node)).at(name.span);
    let short = name.node.rsplit('.').next().unwrap_or(&name.node);
    let known = crate::modules::names()
        .chain(crate::cluster::PROCEDURES.iter().map(|procedure| procedure.spec().name));
    match did_you_mean(short, known) {
        Some(near) => diagnostic.label(near),
        None => diagnostic.hint("`ishprov doc` lists the modules there are"),
    }
}

/// `name` seen from `dir`; absolute names stay.
pub(super) fn join(dir: &str, name: &str) -> String {
    if name.starts_with('/') || dir.is_empty() || dir == "." {
        name.to_owned()
    } else {
        format!("{dir}/{name}")
    }
}

/// The folder a file stands in.
pub(super) fn folder(path: &str) -> String {
    path.rsplit_once('/').map_or_else(String::new, |(dir, _)| dir.to_owned())
}
