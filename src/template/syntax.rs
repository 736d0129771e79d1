//! The syntax tree of a template read for two purposes: the names it needs, and the places where a chain such as
//! `a.b.c` may end in nothing because `default` or `is defined` takes care of it.

use minijinja::machinery::ast::{BinOpKind, Call, CallArg, Expr, Filter, Macro, Stmt};
use std::collections::BTreeSet;
use std::ops::Range;

/// Hidden filter: an undefined value that may be asked for its attributes.
pub(super) const SOFT: &str = "__soft";
/// Hidden filter: the end of such a chain.
pub(super) const HARD: &str = "__hard";

/// Hidden filter: Python's `%`.
pub(super) const REMAINDER: &str = "__rem";

/// Names that need no definition: what loops and macros provide, and what every text has.
const PROVIDED: &[&str] = &["omit", "vars", "self", "super", "caller", "varargs", "kwargs", "loop"];

/// Filters that take an undefined value, in any argument.
pub(super) const TOLERANT_FILTERS: &[&str] =
    &["default", "d", "ternary", "mandatory", "type_debug", SOFT, HARD];

/// A variable that a template uses without setting it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Root {
    pub name: String,
    pub range: Range<usize>,
    /// Under `default` or `is defined`: it need not exist.
    pub guarded: bool,
    /// In a part that need not be evaluated.
    pub perhaps: bool,
}

/// What was read from one template.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub roots: Vec<Root>,
    /// Names tested by `is defined` somewhere in the template.
    pub tested: BTreeSet<String>,
    /// Chains (`a`, `a.b`, `a['b']`), the outer before the inner, for naming what is undefined.
    pub chains: Vec<Range<usize>>,
    /// Filters and tests in use, with their places.
    pub filters: Vec<(String, Range<usize>)>,
    pub tests: Vec<(String, Range<usize>)>,
    /// Names of templates that are included, imported or extended by a constant name.
    pub includes: Vec<(String, Range<usize>)>,
    /// How far it reaches beyond the variables that it names.
    pub reach: Reach,
    edits: Vec<Edit>,
    /// `%` operators: the end of the left side and the start of the right.
    remainders: Vec<Range<usize>>,
    scopes: Vec<BTreeSet<String>>,
    /// Text literals, and whether they stand inside `{{ }}`.
    literals: Vec<(Range<usize>, bool)>,
    printing: bool,
    /// How many parts around may be left out: branches, loops, the right side of `and` and `or`, macros.
    perhaps: usize,
}

/// What a template asks for in other ways than by a variable's name.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// Variables by a constant key or name: `vars['x']`, `lookup('vars', 'x')`.
    pub named: BTreeSet<String>,
    /// Variables of other hosts by a constant name: `hostvars[host].x`.
    pub of_hosts: BTreeSet<String>,
    /// Templates by a constant name: `lookup('template', 'x')`.
    pub templates: Vec<String>,
    /// Whether a name is computed.
    pub computed: bool,
    /// Where `vars` and `hostvars` stand of which all that is asked is known.
    pub settled: BTreeSet<usize>,
}

/// How backslashes in text literals are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backslashes {
    /// As themselves inside `{{ }}`: templates in YAML, where `'\\1'` is a backslash and a one.
    Literal,
    /// As Python escapes; an escape that Python does not know is itself: conditions and template files.
    Escapes,
}

/// Text to put in the place of `delete` bytes at `at`.
#[derive(Debug, Clone, Copy)]
struct Edit {
    at: usize,
    delete: usize,
    insert: &'static str,
}

/// The source with the tolerant chains rewritten, and the way back to its offsets.
#[derive(Debug, Clone, Default)]
pub(super) struct Rewritten {
    pub text: String,
    edits: Vec<Edit>,
}

impl Rewritten {
    /// The offset in the original of an offset in the rewritten text.
    pub fn original(&self, offset: usize) -> usize {
        // How far the texts are apart, in both directions.
        let (mut grown, mut shrunk) = (0, 0);
        for edit in &self.edits {
            let at = edit.at + grown - shrunk;
            if at >= offset {
                break;
            }
            if offset < at + edit.insert.len() {
                return edit.at;
            }
            grown += edit.insert.len();
            shrunk += edit.delete;
        }
        offset + shrunk - grown
    }
}

impl Reading {
    /// Reads an expression.
    pub fn of_expr(expr: &Expr<'_>) -> Self {
        let mut reading = Self { scopes: vec![BTreeSet::new()], printing: true, ..Self::default() };
        reading.expr(expr, false);
        reading
    }

    /// Reads a template.
    pub fn of_template(template: &Stmt<'_>) -> Self {
        let mut reading = Self { scopes: vec![BTreeSet::new()], ..Self::default() };
        reading.stmt(template);
        reading
    }

    /// The source with every tolerant chain able to end in nothing.
    pub fn rewrite(&self, source: &str, backslashes: Backslashes) -> Rewritten {
        let mut edits = self.edits.clone();
        for (range, printed) in &self.literals {
            let literal = *printed && backslashes == Backslashes::Literal;
            let text = source.get(range.clone()).unwrap_or_default();
            double_backslashes(text, range.start, literal, &mut edits);
        }
        for between in &self.remainders {
            // Between the two sides stand only blanks, parentheses and the operator.
            if let Some(at) = source.get(between.clone()).and_then(|text| text.find('%')) {
                edits.push(Edit { at: between.start + at, delete: 1, insert: "|__rem(" });
            }
        }
        // Openings and closings never share an offset, and openings are all alike: a stable sort keeps the nesting.
        edits.sort_by_key(|edit| edit.at);
        let mut text = String::with_capacity(source.len() + edits.len() * 8);
        let mut done = 0;
        for edit in &edits {
            text.push_str(source.get(done..edit.at).unwrap_or_default());
            text.push_str(edit.insert);
            done = edit.at + edit.delete;
        }
        text.push_str(source.get(done..).unwrap_or_default());
        Rewritten { text, edits }
    }

    fn bind(&mut self, name: &str) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.to_owned());
        }
    }

    fn bind_target(&mut self, target: &Expr<'_>) {
        match target {
            Expr::Var(var) => self.bind(var.id),
            Expr::List(list) => list.items.iter().for_each(|item| self.bind_target(item)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.bind_target(item)),
            other => self.expr(other, false),
        }
    }

    fn inner(&mut self, names: &[&str], read: impl FnOnce(&mut Self)) {
        self.scopes.push(names.iter().map(|name| (*name).to_owned()).collect());
        read(self);
        self.scopes.pop();
    }

    /// Reads a part that need not be evaluated.
    fn perhaps(&mut self, read: impl FnOnce(&mut Self)) {
        self.perhaps += 1;
        read(self);
        self.perhaps -= 1;
    }

    fn stmts(&mut self, stmts: &[Stmt<'_>]) {
        stmts.iter().for_each(|stmt| self.stmt(stmt));
    }

    fn stmt(&mut self, stmt: &Stmt<'_>) {
        match stmt {
            Stmt::Template(template) => self.stmts(&template.children),
            Stmt::EmitExpr(emit) => {
                self.printing = true;
                self.expr(&emit.expr, false);
                self.printing = false;
            }
            Stmt::EmitRaw(_) | Stmt::Continue(_) | Stmt::Break(_) => {}
            Stmt::ForLoop(each) => {
                self.expr(&each.iter, false);
                self.perhaps(|reading| {
                    reading.inner(&["loop"], |reading| {
                        reading.bind_target(&each.target);
                        if let Some(filter) = &each.filter_expr {
                            reading.expr(filter, false);
                        }
                        reading.stmts(&each.body);
                    });
                    reading.inner(&[], |reading| reading.stmts(&each.else_body));
                });
            }
            Stmt::IfCond(cond) => {
                self.expr(&cond.expr, false);
                self.perhaps(|reading| {
                    reading.stmts(&cond.true_body);
                    reading.stmts(&cond.false_body);
                });
            }
            Stmt::WithBlock(with) => self.inner(&[], |reading| {
                for (target, value) in &with.assignments {
                    reading.expr(value, true);
                    reading.bind_target(target);
                }
                reading.stmts(&with.body);
            }),
            Stmt::Set(set) => {
                self.expr(&set.expr, true);
                self.bind_target(&set.target);
            }
            Stmt::SetBlock(set) => {
                self.inner(&[], |reading| reading.stmts(&set.body));
                if let Some(filter) = &set.filter {
                    self.expr(filter, false);
                }
                self.bind_target(&set.target);
            }
            Stmt::AutoEscape(auto) => {
                self.expr(&auto.enabled, false);
                self.stmts(&auto.body);
            }
            Stmt::FilterBlock(block) => {
                self.expr(&block.filter, false);
                self.inner(&[], |reading| reading.stmts(&block.body));
            }
            Stmt::Block(block) => self.inner(&["super", "self"], |reading| reading.stmts(&block.body)),
            Stmt::Import(import) => {
                self.template_name(&import.expr);
                self.bind_target(&import.name);
            }
            Stmt::FromImport(import) => {
                self.template_name(&import.expr);
                for (name, alias) in &import.names {
                    self.bind_target(alias.as_ref().unwrap_or(name));
                }
            }
            Stmt::Extends(extends) => self.template_name(&extends.name),
            Stmt::Include(include) => self.template_name(&include.name),
            Stmt::Macro(definition) => {
                self.bind(definition.name);
                self.macro_body(definition);
            }
            Stmt::CallBlock(block) => {
                self.expr(&block.call.expr, false);
                self.args(&block.call.args, false);
                self.macro_body(&block.macro_decl);
            }
            Stmt::Do(call) => {
                self.expr(&call.call.expr, false);
                self.args(&call.call.args, false);
            }
        }
    }

    fn macro_body(&mut self, definition: &Macro<'_>) {
        self.perhaps(|reading| {
            reading.inner(&["caller", "varargs", "kwargs"], |reading| {
                for default in &definition.defaults {
                    reading.expr(default, false);
                }
                for arg in &definition.args {
                    reading.bind_target(arg);
                }
                reading.stmts(&definition.body);
            });
        });
    }

    fn template_name(&mut self, name: &Expr<'_>) {
        match constant(name) {
            Some(value) => self.includes.push((value, range(name))),
            None => self.reach.computed = true,
        }
        self.expr(name, false);
    }

    fn args(&mut self, args: &[CallArg<'_>], tolerant: bool) {
        for arg in args {
            match arg {
                CallArg::Pos(expr)
                | CallArg::Kwarg(_, expr)
                | CallArg::PosSplat(expr)
                | CallArg::KwargSplat(expr) => {
                    self.expr(expr, tolerant);
                }
            }
        }
    }

    /// `tolerant`: what stands around it copes with an undefined value.
    fn expr(&mut self, expr: &Expr<'_>, tolerant: bool) {
        match expr {
            Expr::Var(var) => {
                self.chains.push(range(expr));
                if var.id == "vars" && !self.reach.settled.contains(&range(expr).start) {
                    self.reach.computed = true;
                }
                if !self.scopes.iter().any(|scope| scope.contains(var.id)) && !PROVIDED.contains(&var.id) {
                    self.roots.push(Root {
                        name: var.id.to_owned(),
                        range: range(expr),
                        guarded: tolerant,
                        perhaps: self.perhaps > 0,
                    });
                }
            }
            Expr::GetAttr(_) | Expr::GetItem(_) => {
                self.chains.push(range(expr));
                self.reach.link(expr);
                self.chain(expr, tolerant, true);
            }
            Expr::Const(value) => {
                if value.value.as_str().is_some() {
                    self.literals.push((range(expr), self.printing));
                }
            }
            Expr::Slice(slice) => {
                self.expr(&slice.expr, false);
                for bound in [&slice.start, &slice.stop, &slice.step].into_iter().flatten() {
                    self.expr(bound, false);
                }
            }
            Expr::UnaryOp(op) => self.expr(&op.expr, false),
            Expr::BinOp(op) => {
                self.expr(&op.left, false);
                if matches!(op.op, BinOpKind::ScAnd | BinOpKind::ScOr) {
                    self.perhaps(|reading| reading.expr(&op.right, tolerant));
                } else {
                    self.expr(&op.right, false);
                }
                if matches!(op.op, BinOpKind::Rem) {
                    // Python's `%` also formats texts: it becomes a filter that does both.
                    let (left, right) = (range(&op.left), range(&op.right));
                    self.wrap(left.clone(), ")");
                    self.edits.push(Edit { at: right.end, delete: 0, insert: ")" });
                    self.remainders.push(left.end..right.start);
                }
            }
            Expr::Compare(compare) => {
                self.expr(&compare.expr, false);
                compare.ops.iter().for_each(|op| self.expr(&op.expr, false));
            }
            Expr::IfExpr(cond) => {
                self.expr(&cond.test_expr, false);
                self.perhaps(|reading| {
                    reading.expr(&cond.true_expr, tolerant);
                    if let Some(other) = &cond.false_expr {
                        reading.expr(other, tolerant);
                    }
                });
            }
            Expr::Filter(filter) => {
                self.reach.extract(filter);
                self.filters.push((filter.name.to_owned(), own(expr)));
                let copes = matches!(filter.name, "default" | "d");
                if let Some(input) = &filter.expr {
                    self.expr(input, copes);
                }
                self.args(&filter.args, copes || filter.name == "ternary");
            }
            Expr::Test(test) => {
                self.tests.push((test.name.to_owned(), own(expr)));
                let copes = matches!(test.name, "defined" | "undefined");
                if copes && let Some(name) = root_of(&test.expr) {
                    self.tested.insert(name.to_owned());
                }
                self.expr(&test.expr, copes);
                self.args(&test.args, false);
            }
            Expr::Call(call) => {
                self.reach.call(call);
                // A method belongs to the call, not to the chain before it.
                match &call.expr {
                    Expr::GetAttr(method) => self.expr(&method.expr, false),
                    // A function, unless the text has a macro of that name.
                    Expr::Var(function) if super::functions::names().any(|name| name == function.id) => {}
                    other => self.expr(other, false),
                }
                self.args(&call.args, false);
            }
            Expr::List(list) => list.items.iter().for_each(|item| self.expr(item, tolerant)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.expr(item, tolerant)),
            Expr::Map(map) => {
                map.keys.iter().for_each(|key| self.expr(key, false));
                map.values.iter().for_each(|value| self.expr(value, tolerant));
            }
        }
    }

    /// `a.b[c].d`: in a tolerant place every link but the last is made soft, and the end hard again.
    fn chain(&mut self, expr: &Expr<'_>, tolerant: bool, last: bool) {
        let inner = match expr {
            Expr::GetAttr(attr) => &attr.expr,
            Expr::GetItem(item) => {
                self.expr(&item.subscript_expr, false);
                &item.expr
            }
            other => {
                if tolerant {
                    self.wrap(range(other), SOFT_END);
                }
                return self.expr(other, tolerant);
            }
        };
        if tolerant {
            self.wrap(range(expr), if last { HARD_END } else { SOFT_END });
        }
        if !last {
            self.chains.push(range(expr));
            self.reach.link(expr);
        }
        self.chain(inner, tolerant, false);
    }

    fn wrap(&mut self, range: Range<usize>, end: &'static str) {
        self.edits.push(Edit { at: range.start, delete: 0, insert: "(" });
        self.edits.push(Edit { at: range.end, delete: 0, insert: end });
    }
}

impl Reach {
    /// `vars.x` and `hostvars[host].x`, where `x` is a constant.
    fn link(&mut self, expr: &Expr<'_>) {
        let Some((inner, key)) = keyed(expr) else { return };
        match inner {
            Expr::Var(var) if var.id == "vars" => {
                self.named.insert(key);
                self.settled.insert(range(inner).start);
            }
            Expr::GetAttr(_) | Expr::GetItem(_) => {
                let hosts = match inner {
                    Expr::GetAttr(attr) => &attr.expr,
                    Expr::GetItem(item) => &item.expr,
                    _ => return,
                };
                if matches!(hosts, Expr::Var(var) if var.id == "hostvars") {
                    self.of_hosts.insert(key);
                    self.settled.insert(range(hosts).start);
                }
            }
            _ => {}
        }
    }

    /// `host | extract(hostvars, 'x')` and `hosts | map('extract', hostvars, 'x')`.
    fn extract(&mut self, filter: &Filter<'_>) {
        let args = match filter.name {
            "extract" => filter.args.as_slice(),
            "map" => match filter.args.split_first() {
                Some((CallArg::Pos(name), rest)) if constant(name).as_deref() == Some("extract") => rest,
                _ => return,
            },
            _ => return,
        };
        let [CallArg::Pos(hosts), CallArg::Pos(key), ..] = args else { return };
        let first = match key {
            Expr::List(list) => list.items.first().and_then(constant),
            other => constant(other),
        };
        if let (Expr::Var(var), Some(first)) = (hosts, first)
            && var.id == "hostvars"
        {
            self.of_hosts.insert(first);
            self.settled.insert(range(hosts).start);
        }
    }

    /// `lookup('vars', 'x')` and the like.
    fn call(&mut self, call: &Call<'_>) {
        let Expr::Var(function) = &call.expr else { return };
        if !matches!(function.id, "lookup" | "query" | "q") {
            return;
        }
        let mut args = call.args.iter();
        let plugin = match args.next() {
            Some(CallArg::Pos(name)) => constant(name),
            _ => None,
        };
        let Some(plugin) = plugin else {
            self.computed = true;
            return;
        };
        let terms: Option<Vec<String>> = args
            .filter(|arg| !matches!(arg, CallArg::Kwarg(..)))
            .map(|arg| if let CallArg::Pos(term) = arg { constant(term) } else { None })
            .collect();
        match (plugin.rsplit('.').next().unwrap_or_default(), terms) {
            ("vars", Some(names)) => self.named.extend(names),
            ("template", Some(names)) => self.templates.extend(names),
            ("vars" | "template" | "varnames", _) => self.computed = true,
            _ => {}
        }
    }
}

/// A link by a constant key: what stands before it, and the key.
fn keyed<'a, 'b>(expr: &'b Expr<'a>) -> Option<(&'b Expr<'a>, String)> {
    match expr {
        Expr::GetAttr(attr) => Some((&attr.expr, attr.name.to_owned())),
        Expr::GetItem(item) => Some((&item.expr, constant(&item.subscript_expr)?)),
        _ => None,
    }
}

/// A constant text.
fn constant(expr: &Expr<'_>) -> Option<String> {
    expr.as_const().and_then(|value| value.as_str().map(str::to_owned))
}

const SOFT_END: &str = "|__soft)";
const HARD_END: &str = "|__hard)";

/// Doubles the backslashes that shall stand for themselves.
fn double_backslashes(text: &str, start: usize, all: bool, edits: &mut Vec<Edit>) {
    let quote = text.bytes().next();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        let next = bytes.get(at + 1).copied();
        let known = next.is_some_and(|next| b"\\'\"abfnrtv01234567xuN".contains(&next));
        let ends = next.is_some() && next == quote;
        if !ends && (all || !known) {
            edits.push(Edit { at: start + at, delete: 0, insert: "\\" });
        }
        if !ends && all && next == Some(b'\\') {
            edits.push(Edit { at: start + at + 1, delete: 0, insert: "\\" });
        }
        at += 2;
    }
}

/// The variable that a chain starts from.
fn root_of<'a>(expr: &Expr<'a>) -> Option<&'a str> {
    match expr {
        Expr::Var(var) => Some(var.id),
        Expr::GetAttr(attr) => root_of(&attr.expr),
        Expr::GetItem(item) => root_of(&item.expr),
        _ => None,
    }
}

fn range(expr: &Expr<'_>) -> Range<usize> {
    start(expr)..expr.span().end_offset as usize
}

/// The place of the last link alone.
fn own(expr: &Expr<'_>) -> Range<usize> {
    let span = expr.span();
    span.start_offset as usize..span.end_offset as usize
}

/// Where an expression starts: the parser's span of a chain, filter or test starts at its last link. An opening
/// parenthesis in front is left out; what is inserted there stays balanced all the same.
fn start(expr: &Expr<'_>) -> usize {
    match expr {
        Expr::GetAttr(attr) => start(&attr.expr),
        Expr::GetItem(item) => start(&item.expr),
        Expr::Slice(slice) => start(&slice.expr),
        Expr::Call(call) => start(&call.expr),
        Expr::Filter(filter) => filter.expr.as_ref().map_or(expr.span().start_offset as usize, start),
        Expr::Test(test) => start(&test.expr),
        Expr::BinOp(op) => start(&op.left),
        Expr::Compare(compare) => start(&compare.expr),
        Expr::IfExpr(cond) => start(&cond.true_expr),
        other => other.span().start_offset as usize,
    }
}
