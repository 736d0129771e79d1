//! Files of `conf.d` that are read after ours: what they say of a setting has the last word.

use crate::modules::Instance;
use crate::shell::quote;

/// A setting that a file of a later name makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overriding {
    /// The file's name in `conf.d`.
    pub file: String,
    /// The setting, in lower case.
    pub name: String,
    /// Its value, without quotes.
    pub value: String,
}

/// The file that is ours.
pub const OURS: &str = "50-ishprov.conf";

/// Shell text that prints the lines of files behind ours, `over<TAB>FILE<TAB>LINE`.
pub fn script(instance: &Instance) -> String {
    format!(
        "( cd {}/conf.d 2>/dev/null && {{ ls -1; echo {OURS}; }} | grep '^[^.].*[.]conf$' | LC_ALL=C sort -u | awk 's; $0 == \"{OURS}\" {{ s = 1 }}' | \
         while IFS= read -r f; do grep -E '^[[:space:]]*[A-Za-z_]' \"$f\" | \
         while IFS= read -r l; do printf 'over\\t%s\\t%s\\n' \"$f\" \"$l\"; done; done )\n",
        quote(&instance.config_directory())
    )
}

/// What the files say in the end: of each setting the last line counts. `lines` are `FILE<TAB>LINE`.
pub fn read<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Overriding> {
    let mut found: Vec<Overriding> = Vec::new();
    for (file, line) in lines.filter_map(|line| line.split_once('\t')) {
        let Some((name, value)) = setting(line) else { continue };
        found.retain(|known| known.name != name);
        found.push(Overriding { file: file.to_owned(), name, value });
    }
    found
}

/// `name = 'value'  # comment`; the sign may be missing.
pub fn setting(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let end = line.find(|c: char| c.is_whitespace() || c == '=')?;
    let (name, rest) = line.split_at(end);
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "_.$".contains(c));
    let include = matches!(name, "include" | "include_dir" | "include_if_exists");
    if name.is_empty() || !plain || include {
        return None;
    }
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
    let Some(quoted) = rest.strip_prefix('\'') else {
        let value = rest.split('#').next().unwrap_or_default().trim();
        return Some((name.to_ascii_lowercase(), value.to_owned()));
    };
    let (mut value, mut chars) = (String::new(), quoted.chars().peekable());
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\'', Some('\'')) => {
                chars.next();
                value.push('\'');
            }
            ('\'', _) => break,
            ('\\', Some(_)) => value.extend(chars.next()),
            _ => value.push(c),
        }
    }
    Some((name.to_ascii_lowercase(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_the_server_reads_them() {
        for (line, told) in [
            ("work_mem = 64MB  # ours", Some(("work_mem", "64MB"))),
            ("Work_Mem '64MB'", Some(("work_mem", "64MB"))),
            ("log_line_prefix = 'it''s # %m'  # x", Some(("log_line_prefix", "it's # %m"))),
            ("include_dir = 'more'", None),
            ("# work_mem = 1MB", None),
        ] {
            let told = told.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(setting(line), told, "{line}");
        }
    }

    #[test]
    fn the_last_line_of_the_last_file_counts() {
        let lines = ["90-a.conf\tjit = on", "90-a.conf\twork_mem = 1MB", "99-b.conf\tjit = off"];
        let told: Vec<_> = read(lines.into_iter())
            .iter()
            .map(|one| format!("{} {} {}", one.file, one.name, one.value))
            .collect();
        assert_eq!(told, ["90-a.conf work_mem 1MB", "99-b.conf jit off"]);
    }
}
