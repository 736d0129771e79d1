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
    done_roles: RefCell<Vec<(String, String)>>,
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
            keywords: Keywords {
                when: Vec::new(),
                r#loop: None,
                register: None,
                vars: Vec::new(),
                ..step.keywords.clone()
            },
            layers: (*step.layers).clone(),
            role: step.role.clone(),
            dependents: Vec::new(),
            frames: step.frames.clone(),
            dir: step.dir.clone(),
        };
        let name = Spanned::new(target.to_owned(), step.span);
        match step.call {
            StepCall::Include { kind: IncludeKind::Role } => {
                let tasks_from = step
                    .arg("tasks_from")
                    .and_then(|arg| Some(Spanned::new(arg.value.scalar_text()?, arg.value.span)));
                self.role_tasks(&name, tasks_from.as_ref(), &around, &mut program, step.frames.len());
            }
            _ => self.task_file(&name, &around, &mut program),
        }
        program
    }

    /// Handlers that run-time includes of roles brought in.
    pub fn take_handlers(&self) -> Vec<Arc<Handler>> {
        self.handlers.take()
    }

    fn error(&self, diagnostic: Diagnostic, around: &Around) {
        let diagnostic = around
            .frames
            .iter()
            .fold(diagnostic, |diagnostic, frame| diagnostic.frame(frame.span, frame.text.clone()));
        self.diags.borrow_mut().push(diagnostic);
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
        self.items(&block.rescue, &inner, program);
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
                let step = self.step(task, StepCall::Meta, Vec::new(), &inner);
                program.ops.push(match meta.node {
                    Meta::FlushHandlers => Op::Flush,
                    other => Op::Meta { step, meta: other },
                });
            }
            Action::Include(include) => self.include_task(task, include, &inner, program),
        }
    }

    fn module_step(
        &self,
        task: &Task,
        name: &Spanned<String>,
        args: &Node,
        around: &Around,
    ) -> Option<Arc<Step>> {
        let call = match (crate::modules::find(&name.node), crate::cluster::find(&name.node)) {
            (Some(module), _) => StepCall::Module(module),
            (None, Some(procedure)) => StepCall::Procedure(procedure),
            (None, None) => {
                self.error(unknown_module(name), around);
                return None;
            }
        };
        let spec = match call {
            StepCall::Module(module) => module.spec(),
            StepCall::Procedure(procedure) => procedure.spec(),
            StepCall::Include { .. } | StepCall::Meta => return None,
        };
        let args = match arguments(spec, args) {
            Ok(args) => args,
            Err(found) => {
                self.errors(found, around);
                return None;
            }
        };
        if !self.tags.selects(&around.keywords.tags) {
            return None;
        }
        Some(self.step(task, call, args, around))
    }

    fn step(
        &self,
        task: &Task,
        call: StepCall,
        args: Vec<super::program::Argument>,
        around: &Around,
    ) -> Arc<Step> {
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
    ) -> Arc<Step> {
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
        };
        step.barrier = super::barrier::of(&step);
        Arc::new(step)
    }

    fn include_task(&self, task: &Task, include: &Include, around: &Around, program: &mut Program) {
        let constant = include.name.as_str().filter(|name| !name.contains("{{"));
        let repeated = around.keywords.r#loop.is_some();
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
        let args = vec![super::program::Argument {
            name: Spanned::new("name".to_owned(), include.name.span),
            value: include.name.clone(),
        }];
        let mut args = args;
        if let Some(from) = &include.tasks_from {
            let value = Node::new(Kind::Str(from.node.clone()), from.span);
            args.push(super::program::Argument {
                name: Spanned::new("tasks_from".to_owned(), from.span),
                value,
            });
        }
        let (Some(name), false, true) = (constant, repeated, include.kind != IncludeKind::Vars) else {
            let step = self.step(task, StepCall::Include { kind: include.kind }, args, around);
            if let (Some(name), IncludeKind::Vars) = (constant, include.kind) {
                self.look_for_vars(&step, name, include.name.span, around);
            }
            program.ops.push(Op::Include(step));
            return;
        };
        let name = Spanned::new(name.to_owned(), include.name.span);
        let mut inner = around.clone();
        // An import hands its conditions to every task; an include asks them once.
        let guard = (!include.is_static && !task.keywords.when.is_empty()).then(|| {
            inner.keywords.when.truncate(around.keywords.when.len() - task.keywords.when.len());
            let at = program.ops.len();
            program.ops.push(Op::Flush);
            (at, self.step(task, StepCall::Include { kind: include.kind }, args, around))
        });
        match include.kind {
            IncludeKind::Role => {
                self.role_tasks(&name, include.tasks_from.as_ref(), &inner, program, around.frames.len())
            }
            _ => self.task_file(&name, &inner, program),
        }
        if let Some((at, step)) = guard {
            program.ops[at] = Op::Guard { step, to: program.ops.len() };
        }
    }

    /// A file of variables is read when its task is reached; that it is missing is seen before.
    fn look_for_vars(&self, step: &Step, name: &str, at: Span, around: &Around) {
        let paths = search_path(step, "vars", name, &self.site_dir);
        if self.library.first(&paths).is_none() {
            let message = format!("there is no file of variables `{name}`");
            let mut diagnostic = Diagnostic::error("missing-file", message).at(at);
            diagnostic.label = paths.iter().find_map(|path| self.library.near(path));
            self.error(diagnostic.hint(format!("looked for {}", paths.join(", "))), around);
        }
    }

    fn task_file(&self, name: &Spanned<String>, around: &Around, program: &mut Program) {
        let mut candidates = vec![join(&around.dir, &name.node)];
        if let Some(role) = &around.role {
            candidates.push(join(&format!("{}/tasks", role.path), &name.node));
        }
        candidates.push(join(&self.site_dir, &name.node));
        candidates.push(join(&join(&self.site_dir, "tasks"), &name.node));
        candidates.dedup();
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

    fn role_path(&self, name: &str) -> Option<String> {
        let short = name.rsplit('.').next().unwrap_or(name);
        let candidates = [
            join(&self.site_dir, &format!("roles/{name}")),
            join(&self.site_dir, &format!("roles/{short}")),
            join(&self.site_dir, name),
        ];
        let known = |path: &&String| {
            ["tasks", "meta", "defaults", "handlers", "vars"]
                .iter()
                .any(|part| self.library.sources().is_dir(&format!("{path}/{part}")))
        };
        candidates.iter().find(known).cloned()
    }

    fn role_call(&self, call: &RoleCall, around: &Around, program: &mut Program, depth: usize) {
        let mut inner = around.clone();
        inner.keywords = inherit(&around.keywords, &call.keywords);
        let params: Vec<Entry> = call.params.iter().chain(&call.keywords.vars).cloned().collect();
        if !params.is_empty() {
            inner.layers.params.insert(0, Layer::of(&params));
        }
        self.role_tasks(&call.name, None, &inner, program, depth);
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
    ) {
        let Some(path) = self.role_path(&name.node) else {
            let folder = join(&self.site_dir, "roles");
            let mut diagnostic =
                Diagnostic::error("unknown-role", format!("there is no role `{}`", name.node)).at(name.span);
            diagnostic.label = self.library.near(&join(&folder, &name.node));
            return self.error(diagnostic.hint(format!("roles are looked for in `{folder}`")), around);
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
        if tasks_from.is_none() {
            let key = (files.role.path.clone(), format!("{:?}", around.layers.params));
            if self.done_roles.borrow().contains(&key) && !files.meta.allow_duplicates && depth > 0 {
                return;
            }
            self.done_roles.borrow_mut().push(key);
            let mut outer = Around { role: None, ..inner.clone() };
            outer.dependents.push(Arc::clone(&files.role));
            for dependency in &files.meta.dependencies {
                if !self.depends_on_itself(dependency, &outer) {
                    self.role_call(dependency, &outer, program, depth + 1);
                }
            }
            inner.dependents.clear();
        }
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
        Some(self.bare_step(
            (name.span, Some(title)),
            StepCall::Module(module),
            inputs.arguments(),
            &around,
            Some(Arc::clone(&inputs)),
        ))
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
