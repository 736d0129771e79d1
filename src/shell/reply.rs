//! The answers read from the records that a host sent back.

use super::ask::CROWDED;
use super::compile::{Frame, Item, batches, distinct, files, plain_name};
use super::limits::{self, ANSWER, BINARY, CONTENT, LINES, OUTPUT, SCRIPT};
use super::record::{Decoder, Record};
use super::{
    Account, Action, Answer, Answers, Ask, Content, FileAsk, FileKind, FileState, GroupEntry, Output,
    PackageState, SMALL_BYTES, UnitState, sha256,
};
use std::collections::HashMap;

/// What became of one item of a frame.
#[derive(Debug, Clone)]
pub enum ItemReply {
    /// Of a window of questions.
    Answers(Answers),
    /// Of a step's actions.
    Acted {
        /// One output per action that ran, in order; the last is the failed one when `failed`.
        outputs: Vec<Output>,
        /// Whether the last action failed.
        failed: bool,
    },
    /// An earlier item failed: nothing of this one was run.
    NotRun,
}

/// The replies to a frame's items from the records that came back for it. What is missing is said in the answer
/// concerned, never guessed.
pub fn parse(frame: &Frame, records: Vec<Record>) -> Vec<ItemReply> {
    let mut of_items: Vec<Vec<Record>> = frame.items.iter().map(|_| Vec::new()).collect();
    for record in records {
        if let Some(mine) = record.number(0).and_then(|index| of_items.get_mut(index)) {
            mine.push(record);
        }
    }
    let items = frame.items.iter().zip(of_items);
    items
        .map(|(item, mut mine)| {
            if mine.iter().any(|record| record.name == "not") {
                return ItemReply::NotRun;
            }
            match item {
                Item::Probe(asks) => ItemReply::Answers(answers(asks, &mut mine)),
                Item::Act { actions, .. } => acted(actions, &mut mine),
            }
        })
        .collect()
}

fn acted(actions: &[Action], records: &mut [Record]) -> ItemReply {
    let mut outputs = Vec::new();
    for (number, action) in actions.iter().enumerate() {
        let output = match action {
            Action::Local(_) | Action::Reconnect { .. } => Output::default(),
            Action::Run(_) | Action::Put(_) => {
                let record = records
                    .iter_mut()
                    .find(|record| record.name == "act" && record.number(1) == Some(number));
                let Some(output) = record.and_then(|record| captured(record, 2)) else {
                    let why = "the host did not say how this action ended";
                    outputs.push(Output::failed(255, why));
                    return ItemReply::Acted { outputs, failed: true };
                };
                output
            }
        };
        let failed = match action {
            Action::Run(run) if run.accept.is_empty() => !output.success(),
            Action::Run(run) => output.timed_out || !run.accept.contains(&output.status),
            _ => !output.success(),
        };
        outputs.push(output);
        if failed {
            return ItemReply::Acted { outputs, failed: true };
        }
    }
    ItemReply::Acted { outputs, failed: false }
}

/// A captured command: status, timed out, both lengths, both marks of a cut; then both streams.
fn captured(record: &mut Record, at: usize) -> Option<Output> {
    let length = |field: usize| record.number(field).filter(|length| *length <= OUTPUT);
    let (out, err) = (length(at + 2)?, length(at + 3)?);
    let status = record.fields.get(at)?.parse().ok()?;
    let timed_out = record.number(at + 1)? != 0;
    let mut cut = [record.number(at + 4)? != 0, record.number(at + 5)? != 0];
    let mut stderr = record.body.get(out..out.checked_add(err)?)?.to_vec();
    let mut stdout = std::mem::take(&mut record.body);
    stdout.truncate(out);
    cut[0] |= fit(&mut stdout);
    cut[1] |= fit(&mut stderr);
    for (_, stream) in cut.iter().zip(["standard output", "standard error"]).filter(|(cut, _)| **cut) {
        stderr.extend_from_slice(format!("\n({stream} was too long and is cut here)\n").as_bytes());
    }
    Some(Output { status, timed_out, stdout, stderr })
}

/// Cuts a stream that would cost much more than its length; whether it did.
fn fit(stream: &mut Vec<u8>) -> bool {
    let whole = stream.len();
    if std::str::from_utf8(stream).is_err_and(|error| error.error_len().is_some()) {
        stream.truncate(BINARY);
    }
    let ends = stream.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    if let Some(place) = ends.map(|(place, _)| place).nth(LINES) {
        stream.truncate(place);
    }
    stream.shrink_to_fit();
    stream.len() < whole
}

/// Contents and outputs have limits of their own; nothing else is long.
fn hold(records: &mut [Record]) {
    for record in records {
        if !matches!(record.name.as_str(), "text" | "asks") && record.body.len() > ANSWER {
            let kind = std::mem::replace(&mut record.name, "lack".to_owned());
            record.fields.truncate(1);
            record.fields.push(if matches!(kind.as_str(), "stat" | "link" | "bad") {
                "file".to_owned()
            } else {
                kind
            });
            record.body =
                format!("the host's answer is longer than {}", limits::bytes(ANSWER as u64)).into_bytes();
        }
    }
}

fn answers(asks: &[Ask], records: &mut [Record]) -> Answers {
    let asks = distinct(asks);
    hold(records);
    let mut outputs = script_outputs(&asks, records);
    let looks = looks(&asks, records, &mut outputs);
    let records = &*records;
    let named = |name: &str| records.iter().find(|record| record.name == name);
    let lack = |kind: &str| {
        let record = records
            .iter()
            .find(|r| r.name == "lack" && r.fields.get(1).is_some_and(|field| field == kind))?;
        Some(Answer::Failed(String::from_utf8_lossy(&record.body).into_owned()))
    };
    let lost = || Answer::Failed("the host did not answer this question".to_owned());
    let packages: Vec<&str> =
        wanted(&asks, |ask| if let Ask::Package(name) = ask { Some(name) } else { None });
    let units: Vec<&str> = wanted(&asks, |ask| if let Ask::Unit(name) = ask { Some(name) } else { None });
    let package_states = named("pkg").map(|record| package_states(&packages, &record.body));
    let unit_states = named("unit").map(|record| unit_states(&units, &record.body));

    let mut answers = Answers::new();
    for (number, ask) in asks.iter().enumerate() {
        let answer = match ask {
            Ask::File(file) => {
                looks.iter().find(|look| look.user == file.user.as_deref()).and_then(|look| look.answer(file))
            }
            Ask::Accounts => named("accounts")
                .map(|record| Answer::Accounts(accounts(&record.body)))
                .or_else(|| lack("accounts")),
            Ask::Groups => {
                named("groups").map(|record| Answer::Groups(groups(&record.body))).or_else(|| lack("groups"))
            }
            Ask::Package(name) | Ask::Unit(name) if !plain_name(name) => {
                Some(Answer::Failed(format!("`{}` is not a name", name.escape_default())))
            }
            Ask::Package(name) => {
                lack("pkg").or_else(|| package_states.as_ref()?.get(name.as_str()).cloned())
            }
            Ask::Unit(name) => lack("unit").or_else(|| unit_states.as_ref()?.get(name.as_str()).cloned()),
            Ask::Sh { .. } => outputs.remove(&number),
            Ask::Local(_) => None,
        };
        answers.insert((*ask).clone(), answer.unwrap_or_else(lost));
    }
    answers
}

fn wanted<'a>(asks: &[&'a Ask], name: impl Fn(&'a Ask) -> Option<&'a String>) -> Vec<&'a str> {
    asks.iter().filter_map(|ask| name(ask)).map(String::as_str).filter(|name| plain_name(name)).collect()
}

/// What one account saw of the paths it was asked about.
struct Look<'a> {
    user: Option<&'a str>,
    paths: Vec<FileAsk>,
    states: Result<Vec<Known>, String>,
}

fn looks<'a>(
    asks: &[&'a Ask],
    records: &mut [Record],
    outputs: &mut HashMap<usize, Answer>,
) -> Vec<Look<'a>> {
    let of_root = files(asks, None);
    let mut looks = vec![Look { user: None, states: file_states(&of_root, records), paths: of_root }];
    for batch in batches(asks) {
        let Some(number) = batch.files else { continue };
        let paths = files(asks, batch.user);
        let states = match outputs.remove(&number) {
            Some(Answer::Output(output)) => {
                // The account's shell wrote records too, with a mark of no meaning.
                let mut decoder = Decoder::new("-");
                let pushed = decoder.push(&output.stdout);
                let records = pushed.and_then(|()| {
                    std::iter::from_fn(|| decoder.next_record().transpose()).collect::<Result<Vec<_>, _>>()
                });
                let said = output.error_text();
                let mut records = match records {
                    Ok(records) => records,
                    Err(excess) => {
                        let states = Err(format!("the host's answer cannot be used: {excess}"));
                        looks.push(Look { user: batch.user, paths, states });
                        continue;
                    }
                };
                hold(&mut records);
                match file_states(&paths, &mut records) {
                    Ok(states) if !output.success() && states.iter().any(|known| !known.seen) => {
                        Err(format!("the host did not answer this question: {}", said.trim()))
                    }
                    states => states,
                }
            }
            Some(Answer::Failed(why)) => Err(why),
            _ => Err("the host did not answer this question".to_owned()),
        };
        looks.push(Look { user: batch.user, paths, states });
    }
    looks
}

impl Look<'_> {
    fn answer(&self, ask: &FileAsk) -> Option<Answer> {
        match &self.states {
            Ok(states) => file_answer(ask, &self.paths, states),
            Err(why) => Some(Answer::Failed(why.clone())),
        }
    }
}

/// What is known of a numbered path.
#[derive(Default)]
struct Known {
    state: FileState,
    /// Whether the host looked at it at all.
    seen: bool,
    failed: Option<String>,
}

/// `Err` when the host lacks what it takes to look.
fn file_states(paths: &[FileAsk], records: &mut [Record]) -> Result<Vec<Known>, String> {
    let lack =
        records.iter().find(|r| r.name == "lack" && r.fields.get(1).is_some_and(|kind| kind == "file"));
    if let Some(record) = lack {
        return Err(String::from_utf8_lossy(&record.body).into_owned());
    }
    let mut known: Vec<Known> = paths.iter().map(|_| Known::default()).collect();
    // Each way of looking has a record of its own; a path that is in neither does not exist.
    let looks = records.iter().filter(|record| record.name == "stat").count();
    let ways = usize::from(paths.iter().any(|path| path.follow))
        + usize::from(paths.iter().any(|path| !path.follow));
    for state in &mut known {
        state.seen = looks == ways;
    }
    for record in records {
        if record.name == "text" {
            if let Some(file) = record.number(1).and_then(|number| known.get_mut(number)) {
                match record.body.len() <= CONTENT {
                    true => file.state.content = Some(std::mem::take(&mut record.body)),
                    false => file.failed = Some("it sent more of it than was asked for".to_owned()),
                }
            }
            continue;
        }
        let text = String::from_utf8_lossy(&record.body);
        match record.name.as_str() {
            "stat" => {
                let mut all = text.split_ascii_whitespace();
                loop {
                    let words: Vec<&str> = all.by_ref().take(6).collect();
                    if words.len() < 6 {
                        break;
                    }
                    let Some(file) = words[0].parse::<usize>().ok().and_then(|number| known.get_mut(number))
                    else {
                        continue;
                    };
                    if let Some(state) = stat_fields(&words[1..]) {
                        file.state = state;
                    }
                }
            }
            "sum" => {
                let (numbers, sums) = text.split_once('\n').unwrap_or((&text, ""));
                for (number, sum) in numbers.split_ascii_whitespace().zip(sums.lines()) {
                    let Some(file) = number.parse::<usize>().ok().and_then(|number| known.get_mut(number))
                    else {
                        continue;
                    };
                    let sum: String =
                        sum.trim_start_matches('\\').chars().take_while(char::is_ascii_hexdigit).collect();
                    match sum.len() {
                        64 => file.state.sha256 = Some(sum.to_ascii_lowercase()),
                        _ => file.failed = Some("cannot read".to_owned()),
                    }
                }
            }
            "link" | "bad" => {
                let Some(file) = record.number(1).and_then(|number| known.get_mut(number)) else { continue };
                match record.name.as_str() {
                    "link" => file.state.target = Some(text.into_owned()),
                    _ => file.failed = Some(text.trim().to_owned()),
                }
            }
            "lack" if record.fields.get(1).is_some_and(|kind| kind == "sum") => {
                for (file, path) in known.iter_mut().zip(paths) {
                    if path.digest {
                        file.failed = Some(text.clone().into_owned());
                    }
                }
            }
            _ => {}
        }
    }
    Ok(known)
}

fn stat_fields(words: &[&str]) -> Option<FileState> {
    let raw = u32::from_str_radix(words.first()?, 16).ok()?;
    let kind = match raw & 0o170_000 {
        0 => FileKind::Absent,
        0o100_000 => FileKind::File,
        0o040_000 => FileKind::Directory,
        0o120_000 => FileKind::Link,
        _ => FileKind::Other,
    };
    Some(FileState {
        kind,
        mode: raw & 0o7777,
        uid: words.get(1)?.parse().ok()?,
        gid: words.get(2)?.parse().ok()?,
        size: words.get(3)?.parse().ok()?,
        mtime: words.get(4)?.parse().ok()?,
        ..FileState::default()
    })
}

fn file_answer(ask: &FileAsk, paths: &[FileAsk], known: &[Known]) -> Option<Answer> {
    let index = paths.iter().position(|path| path.path == ask.path && path.follow == ask.follow)?;
    let known = known.get(index).filter(|known| known.seen)?;
    let mut state = known.state.clone();
    let regular = state.kind == FileKind::File;
    // On a host without a tool for digests a content that came along tells as much.
    if let (true, None, Some(content)) = (ask.digest, &state.sha256, &state.content) {
        state.sha256 = Some(sha256(content));
    }
    let unread =
        ask.digest && state.sha256.is_none() || ask.content == Content::Whole && state.content.is_none();
    let hidden = !state.exists() && known.failed.is_some();
    if regular && unread || hidden {
        let why = known.failed.as_deref().unwrap_or("it went away or cannot be read");
        return Some(Answer::Failed(format!("cannot read `{}` on the host: {why}", ask.path)));
    }
    if !(ask.digest && regular) {
        state.sha256 = None;
    }
    state.content = state.content.filter(|content| {
        regular
            && match ask.content {
                Content::No => false,
                Content::Small => content.len() as u64 <= SMALL_BYTES,
                Content::Whole => true,
            }
    });
    if let Some(content) = &state.content {
        state.size = content.len() as u64;
    }
    Some(Answer::File(state))
}

fn accounts(table: &[u8]) -> Vec<Account> {
    let text = String::from_utf8_lossy(table);
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, gecos, home, shell] = fields.as_slice() else { return None };
        Some(Account {
            name: (*name).to_owned(),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            gecos: (*gecos).to_owned(),
            home: (*home).to_owned(),
            shell: (*shell).to_owned(),
        })
    };
    text.lines().filter_map(line).collect()
}

fn groups(table: &[u8]) -> Vec<GroupEntry> {
    let text = String::from_utf8_lossy(table);
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, gid, members] = fields.as_slice() else { return None };
        let members = members.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Some(GroupEntry { name: (*name).to_owned(), gid: gid.parse().ok()?, members })
    };
    text.lines().filter_map(line).collect()
}

fn package_states<'a>(names: &[&'a str], body: &[u8]) -> HashMap<&'a str, Answer> {
    let text = String::from_utf8_lossy(body);
    let mut states: HashMap<&str, PackageState> =
        names.iter().map(|name| (*name, PackageState::default())).collect();
    for line in text.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [package, arch, status, version @ ..] = words.as_slice() else { continue };
        let mut status = status.chars();
        let (want, is) = (status.next(), status.next());
        for (name, state) in &mut states {
            if *name == *package || name.split_once(':') == Some((package, arch)) {
                state.held |= want == Some('h');
                // Unpacked or half configured is not installed.
                if is == Some('i') && state.version.is_none() {
                    state.version = version.first().map(|version| (*version).to_owned());
                }
            }
        }
    }
    states.into_iter().map(|(name, state)| (name, Answer::Package(state))).collect()
}

fn unit_states<'a>(names: &[&'a str], body: &[u8]) -> HashMap<&'a str, Answer> {
    let text = String::from_utf8_lossy(body);
    let one_by_one = text.contains("\nLoadState?\n");
    let blocks: Vec<&str> = if one_by_one {
        text.split("\nLoadState?\n").skip(1).collect()
    } else {
        text.split("\n\n").filter(|block| !block.trim().is_empty()).collect()
    };
    let block = |block: &&str| {
        let value = |key: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.map(str::to_owned)
        };
        match value("LoadState") {
            Some(load) => Answer::Unit(UnitState {
                load,
                active: value("ActiveState").unwrap_or_default(),
                sub: value("SubState").unwrap_or_default(),
                enabled: value("UnitFileState").unwrap_or_default(),
            }),
            None => Answer::Failed(format!("`systemctl show` failed: {}", block.trim())),
        }
    };
    names.iter().copied().zip(blocks.iter().map(block)).collect()
}

/// The outputs of a window's scripts.
fn script_outputs(asks: &[&Ask], records: &[Record]) -> HashMap<usize, Answer> {
    let mut answers = HashMap::new();
    for (batch, of) in batches(asks).into_iter().enumerate() {
        let record = records.iter().find(|record| record.name == "asks" && record.number(1) == Some(batch));
        let Some((record, said)) = record.and_then(|record| Some((record, record.number(4)?))) else {
            continue;
        };
        let (status, timed_out) = (record.number(2).unwrap_or(255) as i32, record.number(3) == Some(1));
        let mut body = record.body.get(said..).unwrap_or_default();
        let mut take = |length: &str| {
            let (taken, rest) = body.split_at_checked(length.parse().ok()?)?;
            body = rest;
            Some(taken.to_vec())
        };
        for fields in record.fields.get(5..).unwrap_or_default().chunks_exact(4) {
            let (Ok(number), Some(stdout), Some(stderr)) =
                (fields[0].parse(), take(&fields[2]), take(&fields[3]))
            else {
                break;
            };
            // Named by the host's shell instead of a status: what it said is not here.
            let excess = match fields[1].split_once(':') {
                Some(("long", size)) => {
                    let size = size.parse::<u64>().unwrap_or(u64::MAX);
                    Some(format!("its answer has {size} bytes, and more than {SCRIPT} are not read"))
                }
                None if fields[1] == "full" => Some(CROWDED.to_owned()),
                _ => None,
            };
            if let Some(why) = excess {
                answers.insert(number, Answer::Failed(why));
                continue;
            }
            // Without a status of its own, it is the one in whose middle all of them were ended.
            let own = fields[1].parse().ok();
            let output = Output {
                status: own.unwrap_or(status),
                stdout,
                stderr,
                timed_out: own.is_none() && timed_out,
            };
            answers.insert(number, Answer::Output(output));
        }
        let said = String::from_utf8_lossy(record.body.get(..said).unwrap_or_default()).trim().to_owned();
        for number in of.scripts.iter().map(|(number, _)| *number).chain(of.files) {
            answers.entry(number).or_insert_with(|| {
                Answer::Failed(match said.is_empty() {
                    true => "the host did not come to this question".to_owned(),
                    false => format!("the host did not come to this question: {said}"),
                })
            });
        }
    }
    answers
}
