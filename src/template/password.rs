//! What `lookup('password', ...)` asks for, read as Ansible reads it: a path, behind it options as `name=value`, or as
//! arguments of the lookup. A path may hold blanks as long as no option follows a word that is none.

use super::filters::{Args, Refusal, int_of};
use super::python;
use super::scope::PasswordRequest;
use serde_json::Value as Json;

/// The device that Ansible takes for "new every time, and kept nowhere".
pub const NOWHERE: &str = "/dev/null";

/// Characters of a new password, where nothing else is asked for.
const USUAL: [&str; 3] = ["ascii_letters", "digits", ".,:-_"];

/// Options that Ansible knows and that are not here, with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("encrypt", "keep the hash itself in a vault value: a salt drawn anew would change every run"),
    ("ident", "it belongs to `encrypt`"),
    ("seed", "a password that can be computed again is none: leave it out, and it is made once and kept"),
];

/// One request for each term; named arguments hold for all of them.
pub(super) fn requests(args: &mut Args) -> Result<Vec<PasswordRequest>, Refusal> {
    let terms = args.rest()?;
    if terms.is_empty() {
        return Err("it needs a path".into());
    }
    let mut common = Options::default();
    for (name, value) in args.rest_named() {
        common.set(&name, value.ok_or(Refusal::Undefined)?)?;
    }
    terms.iter().map(|term| request(&python::str(term), &common)).collect()
}

#[derive(Default, Clone)]
struct Options {
    length: Option<usize>,
    chars: Option<Vec<String>>,
}

impl Options {
    fn set(&mut self, name: &str, value: Json) -> Result<(), Refusal> {
        match name {
            "length" => {
                let length = int_of(&value).and_then(|length| usize::try_from(length).ok());
                let fits = length.filter(|length| (1..=4096).contains(length));
                self.length = Some(fits.ok_or("`length` is a number between 1 and 4096")?);
            }
            "chars" => {
                let chars = match value {
                    Json::Array(items) => items.iter().map(python::str).collect(),
                    other => classes(&python::str(&other)),
                };
                self.chars = Some(chars);
            }
            other => {
                let refusal = Refusal::new(format!("`{other}` is not supported"));
                return Err(match REFUSED.iter().find(|(name, _)| *name == other) {
                    Some((_, why)) => refusal.hint(*why),
                    None => refusal.hint("it takes length= and chars="),
                });
            }
        }
        Ok(())
    }
}

fn request(term: &str, common: &Options) -> Result<PasswordRequest, Refusal> {
    let (path, words) = split(term)?;
    let mut options = common.clone();
    for (name, value) in words {
        options.set(&name, Json::String(value))?;
    }
    let chars = options.chars.unwrap_or_else(|| USUAL.map(str::to_owned).to_vec());
    if alphabet(&chars).is_empty() {
        return Err("`chars` names no character".into());
    }
    Ok(PasswordRequest { path: inside(path)?, length: options.length.unwrap_or(20), chars })
}

/// The path, and the options behind it.
fn split(term: &str) -> Result<(String, Vec<(String, String)>), Refusal> {
    let Some((first, rest)) = term.split_once(' ') else { return Ok((term.to_owned(), Vec::new())) };
    let mut path = first.to_owned();
    let mut options = Vec::new();
    for word in words(rest) {
        match word.split_once('=') {
            Some((name, value))
                if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.is_empty() =>
            {
                options.push((name.to_owned(), unquoted(value).to_owned()));
            }
            _ if word.is_empty() => path.push(' '),
            _ if options.is_empty() => path = format!("{path} {word}"),
            _ => {
                return Err(Refusal::new(format!("`{word}` stands behind an option and is none"))
                    .hint("the path comes first, then options as name=value"));
            }
        }
    }
    Ok((path.trim_end().to_owned(), options))
}

/// Words between single blanks; quotes keep them together.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in text.chars() {
        match (c, quote) {
            (' ', None) => {
                words.push(std::mem::take(&mut word));
                continue;
            }
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            _ => {}
        }
        word.push(c);
    }
    words.push(word);
    words
}

fn unquoted(text: &str) -> &str {
    let inner = ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
    inner.unwrap_or(text)
}

/// A path that leads out of its folder only where it is absolute. Names come from inventories and hosts: `../` in one
/// would write anywhere.
fn inside(path: String) -> Result<String, Refusal> {
    if path.is_empty() || path.ends_with('/') || path.contains(char::is_control) {
        return Err(Refusal::new(format!("`{}` is no name of a file", path.escape_debug())));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(Refusal::new(format!("`{path}` leads out of the folder that passwords are kept in"))
            .hint("give a name inside of it, or an absolute path"));
    }
    Ok(path)
}

/// `a,b` as Ansible splits it: two commas stand for the character.
fn classes(text: &str) -> Vec<String> {
    let mut classes: Vec<String> = Vec::new();
    if text.contains(",,") {
        classes.push(",".to_owned());
    }
    classes.extend(text.replace(",,", ",").split(',').filter(|class| !class.is_empty()).map(str::to_owned));
    classes
}

/// The characters that these classes stand for: Python's names, or characters. As in Ansible quotes are none of them.
pub fn alphabet(classes: &[String]) -> Vec<char> {
    let mut chars: Vec<char> = Vec::new();
    for class in classes {
        match class.as_str() {
            "ascii_letters" => chars.extend(('a'..='z').chain('A'..='Z')),
            "ascii_lowercase" => chars.extend('a'..='z'),
            "ascii_uppercase" => chars.extend('A'..='Z'),
            "digits" => chars.extend('0'..='9'),
            "hexdigits" => chars.extend(('0'..='9').chain('a'..='f').chain('A'..='F')),
            "octdigits" => chars.extend('0'..='7'),
            "punctuation" => chars.extend(('!'..='~').filter(char::is_ascii_punctuation)),
            other => chars.extend(other.chars()),
        }
    }
    chars.retain(|c| !matches!(c, '"' | '\''));
    chars.sort_unstable();
    chars.dedup();
    chars
}

/// The password in a kept file; `None` when there is none. Behind ` salt=` stands what Ansible's `encrypt` added.
pub fn kept(text: &str) -> Option<&str> {
    let text = text.trim_end();
    let password = text.rfind(" salt=").map_or(text, |at| &text[..at]);
    (!password.is_empty()).then_some(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(term: &str) -> String {
        match request(term, &Options::default()) {
            Ok(PasswordRequest { path, length, chars }) => format!("{path}|{length}|{}", chars.join(" ")),
            Err(Refusal::Because { message, .. }) => format!("refused: {message}"),
            Err(_) => "undefined".to_owned(),
        }
    }

    #[test]
    fn terms_are_read_as_ansible_reads_them() {
        let usual = "ascii_letters digits .,:-_";
        let table = [
            ("secrets/app", format!("secrets/app|20|{usual}")),
            ("secrets/Shop Owner", format!("secrets/Shop Owner|20|{usual}")),
            ("secrets/Shop Owner length=8", format!("secrets/Shop Owner|8|{usual}")),
            ("secrets/a  b", format!("secrets/a  b|20|{usual}")),
            ("a length=8 chars=ascii_letters,digits", "a|8|ascii_letters digits".to_owned()),
            ("a chars='x y,z'", "a|20|x y z".to_owned()),
            ("a chars=digits,,", "a|20|, digits".to_owned()),
            ("/dev/null length=12", format!("/dev/null|12|{usual}")),
            ("müller", format!("müller|20|{usual}")),
            ("100%/a=b", format!("100%/a=b|20|{usual}")),
            ("a length=8 b", "refused: `b` stands behind an option and is none".to_owned()),
            ("a lenght=8", "refused: `lenght` is not supported".to_owned()),
            ("a seed=x", "refused: `seed` is not supported".to_owned()),
            ("a length=0", "refused: `length` is a number between 1 and 4096".to_owned()),
            ("a length=many", "refused: `length` is a number between 1 and 4096".to_owned()),
            ("a chars=", "refused: `chars` names no character".to_owned()),
            (
                "secrets/../evil",
                "refused: `secrets/../evil` leads out of the folder that passwords are kept in".to_owned(),
            ),
            (
                "secrets/..",
                "refused: `secrets/..` leads out of the folder that passwords are kept in".to_owned(),
            ),
            (
                "/var/../etc/x",
                "refused: `/var/../etc/x` leads out of the folder that passwords are kept in".to_owned(),
            ),
            ("secrets/", "refused: `secrets/` is no name of a file".to_owned()),
            ("", "refused: `` is no name of a file".to_owned()),
            ("a\nb", "refused: `a\\nb` is no name of a file".to_owned()),
        ];
        for (term, wanted) in table {
            assert_eq!(asked(term), wanted, "{term}");
        }
    }

    #[test]
    fn a_kept_password_is_what_stands_before_its_salt() {
        assert_eq!(kept("secret\n"), Some("secret"));
        assert_eq!(kept("a b salt=xyz ident=2b\n"), Some("a b"));
        assert_eq!(kept(" \n"), None);
        assert_eq!(kept(""), None);
    }

    #[test]
    fn classes_are_pythons_without_quotes() {
        let of = |class: &str| alphabet(&[class.to_owned()]).iter().collect::<String>();
        assert_eq!(of("hexdigits"), "0123456789ABCDEFabcdef");
        assert_eq!(of("punctuation"), "!#$%&()*+,-./:;<=>?@[\\]^_`{|}~");
        assert_eq!(of("x'y\""), "xy");
    }
}
