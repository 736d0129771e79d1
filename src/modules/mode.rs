//! File modes as people write them: octal (`"0644"`) or symbolic (`u=rwX,g-w`).

use serde_json::Value;

/// A wanted mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// All permission bits, `0o7777` at most.
    Bits(u32),
    /// Changes to the bits found, left to right.
    Symbolic(Vec<Clause>),
}

/// One `who op perms` of a symbolic mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// Mask of the classes named: `0o700`, `0o070`, `0o007`.
    who: u32,
    op: char,
    perms: String,
}

impl Mode {
    /// Reads a mode; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        if !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit()) {
            return u32::from_str_radix(text, 8).ok().filter(|bits| *bits <= 0o7777).map(Self::Bits);
        }
        let mut clauses = Vec::new();
        for part in text.split(',') {
            clauses.extend(symbolic(part)?);
        }
        Some(Self::Symbolic(clauses))
    }

    /// A mode's text from a task's value. YAML reads `0644` as the number 420, but `644` as 644, which is `01204`:
    /// a number is taken only where its bits make a sane mode and its decimal digits do not.
    pub fn from_value(value: &Value) -> Option<String> {
        match value {
            Value::String(text) => Self::parse(text.trim()).map(|_| text.trim().to_owned()),
            Value::Number(number) => {
                let bits = u32::try_from(number.as_u64()?).ok().filter(|bits| *bits <= 0o7777)?;
                let digits = u32::from_str_radix(&bits.to_string(), 8).ok();
                (sane(bits) && !digits.is_some_and(sane)).then(|| format!("{bits:04o}"))
            }
            _ => None,
        }
    }

    /// The bits wanted, where `current` were found (for something new: what the usual umask 022 gives).
    pub fn apply(&self, current: u32, is_dir: bool) -> u32 {
        match self {
            Self::Bits(bits) => *bits,
            Self::Symbolic(clauses) => {
                clauses.iter().fold(current & 0o7777, |bits, clause| clause.apply(bits, is_dir))
            }
        }
    }
}

impl Clause {
    fn apply(&self, bits: u32, is_dir: bool) -> u32 {
        let any_execute = bits & 0o111 != 0;
        // rwx in every class of `who`, and the special bit that belongs to each class.
        let spread = |rwx: u32| (rwx | rwx << 3 | rwx << 6) & self.who;
        let mut set = 0;
        for perm in self.perms.chars() {
            set |= match perm {
                'r' => spread(4),
                'w' => spread(2),
                'x' => spread(1),
                'X' if is_dir || any_execute => spread(1),
                's' => {
                    (if self.who & 0o700 != 0 { 0o4000 } else { 0 })
                        | (if self.who & 0o070 != 0 { 0o2000 } else { 0 })
                }
                't' => 0o1000,
                'u' => spread(bits >> 6 & 7),
                'g' => spread(bits >> 3 & 7),
                'o' => spread(bits & 7),
                _ => 0,
            };
        }
        match self.op {
            '+' => bits | set,
            '-' => bits & !set,
            _ => {
                let special = (if self.who & 0o700 != 0 { 0o4000 } else { 0 })
                    | (if self.who & 0o070 != 0 { 0o2000 } else { 0 });
                // chmod keeps setuid and setgid of directories unless they are named.
                let cleared = if is_dir { self.who } else { self.who | special };
                bits & !cleared | set
            }
        }
    }
}

fn symbolic(part: &str) -> Option<Vec<Clause>> {
    let ops = part.find(['=', '+', '-'])?;
    let (who, mut rest) = part.split_at(ops);
    let mut mask = 0;
    for class in who.chars() {
        mask |= match class {
            'u' => 0o700,
            'g' => 0o070,
            'o' => 0o007,
            'a' => 0o777,
            _ => return None,
        };
    }
    let mask = if who.is_empty() { 0o777 } else { mask };
    let mut clauses = Vec::new();
    while let Some(op) = rest.chars().next() {
        let tail = &rest[op.len_utf8()..];
        let end = tail.find(['=', '+', '-']).unwrap_or(tail.len());
        let (perms, next) = tail.split_at(end);
        let copies = perms.len() == 1 && "ugo".contains(perms);
        if !copies && !perms.chars().all(|perm| "rwxXst".contains(perm)) {
            return None;
        }
        clauses.push(Clause { who: mask, op, perms: perms.to_owned() });
        rest = next;
    }
    Some(clauses)
}

/// The owner may read, the group no more than the owner, others no more than the group.
fn sane(bits: u32) -> bool {
    let (user, group, other) = (bits >> 6 & 7, bits >> 3 & 7, bits & 7);
    user & 4 != 0 && group & !user == 0 && other & !group == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn octal_and_symbolic() {
        let apply = |text: &str, current, is_dir| Mode::parse(text).expect("a mode").apply(current, is_dir);
        assert_eq!(apply("0644", 0, false), 0o644);
        assert_eq!(apply("2775", 0, true), 0o2775);
        assert_eq!(apply("u=rwX,g=rX,o=", 0o644, true), 0o750);
        assert_eq!(apply("u=rwX,g=rX,o=", 0o644, false), 0o640);
        assert_eq!(apply("u=rwX,go=rX", 0o700, false), 0o755);
        assert_eq!(apply("a+x", 0o644, false), 0o755);
        assert_eq!(apply("+x", 0o644, false), 0o755);
        assert_eq!(apply("g=u", 0o640, false), 0o660);
        assert_eq!(apply("g+w-x", 0o755, false), 0o765);
        assert_eq!(apply("g+s", 0o755, true), 0o2755);
        assert_eq!(apply("o+t", 0o777, true), 0o1777);
        for bad in ["", "0999", "17777", "u=rwz", "rw", "x+r"] {
            assert_eq!(Mode::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn agrees_with_chmod() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x");
        std::fs::write(&path, "").expect("a file");
        for start in ["0644", "0751", "4755", "0600"] {
            for text in ["u=rwX,g=rX,o=", "a+X", "go-rwx", "g=u", "u+s", "g=o", "u=rw", "a=r", "o=g-w", "+t"]
            {
                let chmod = |mode: &str| {
                    let done =
                        std::process::Command::new("chmod").arg(mode).arg(&path).status().expect("chmod");
                    assert!(done.success());
                };
                chmod(start);
                chmod(text);
                use std::os::unix::fs::PermissionsExt;
                let real = std::fs::metadata(&path).expect("stat").permissions().mode() & 0o7777;
                let start = u32::from_str_radix(start, 8).expect("octal");
                let ours = Mode::parse(text).expect("a mode").apply(start, false);
                assert_eq!(format!("{ours:04o}"), format!("{real:04o}"), "{start:o} {text}");
            }
        }
    }

    #[test]
    fn numbers_are_taken_only_when_they_cannot_be_misread() {
        let read = |value| Mode::from_value(&value);
        // `mode: 0644`, `0600`, `0755`, `02775` as YAML hands them over.
        assert_eq!(read(json!(0o644)).as_deref(), Some("0644"));
        assert_eq!(read(json!(0o600)).as_deref(), Some("0600"));
        assert_eq!(read(json!(0o755)).as_deref(), Some("0755"));
        assert_eq!(read(json!(0o2775)).as_deref(), Some("2775"));
        for misread in [644, 640, 600, 755, 750, 700, 775, 777, 400, 440, 511, 99999] {
            assert_eq!(read(json!(misread)), None, "{misread}");
        }
        assert_eq!(read(json!("644")).as_deref(), Some("644"));
    }
}
