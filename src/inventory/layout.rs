//! Which files of a folder are inventory sources, group_vars and host_vars.

use super::Owner;

/// Endings that are never read as inventory sources.
const IGNORED: &[&str] =
    &[".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry"];
/// Endings of vars files, in the order in which they are looked for.
const ENDINGS: &[&str] = &["", ".yml", ".yaml", ".json"];

/// Folders that hold no inventory: passwords that were made, and a certificate authority.
const PRIVATE: &[&str] = &["secrets", "pki"];
/// Folders that are read in another way.
const OTHERWISE: &[&str] = &["group_vars", "host_vars", "vars_plugins"];

/// What to read of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// Inventory sources, in the order to merge them.
    pub sources: Vec<String>,
    /// Vars files, in the order to merge them.
    pub vars: Vec<VarsPath>,
    /// Vars files that Ansible would not read either.
    pub shadowed: Vec<Shadowed>,
}

/// A vars file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VarsPath {
    /// Its path, relative to the folder.
    pub path: String,
    /// Whose variables it holds.
    pub owner: Owner,
}

/// A vars file that is not read because another of the same owner comes first: worth a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadowed {
    /// The file that is not read.
    pub path: String,
    /// The file or folder that is read in its place.
    pub by: String,
}

/// Sorts the files of a folder: `files` are the paths of all files below it, relative to it, with `/`.
///
/// For an inventory that is a single file, and for a playbook, pass the files of its folder and use
/// [`Layout::vars`] only.
pub fn layout(files: &[String]) -> Layout {
    let mut files: Vec<&str> = files.iter().map(String::as_str).filter(|path| !is_private(path)).collect();
    files.sort_by(|a, b| a.split('/').cmp(b.split('/')));
    let mut layout = Layout {
        sources: files.iter().filter(|path| is_source(path)).map(|path| (*path).to_owned()).collect(),
        ..Layout::default()
    };
    for (folder, owner) in [("group_vars/", Owner::Group as fn(String) -> Owner), ("host_vars/", Owner::Host)]
    {
        // Name of the owner, place of its ending, the file or folder directly below, and the file itself.
        let mut found: Vec<(&str, usize, &str, &str)> = Vec::new();
        for path in &files {
            let Some(rest) = path.strip_prefix(folder) else { continue };
            match rest.split_once('/') {
                Some((name, inner))
                    if is_vars_file(name) && inner.split('/').all(is_vars_file) && has_ending(inner) =>
                {
                    found.push((name, 0, name, path));
                }
                None if is_vars_file(rest) => {
                    let ending = (1..ENDINGS.len()).find(|at| rest.ends_with(ENDINGS[*at])).unwrap_or(0);
                    found.push((rest.strip_suffix(ENDINGS[ending]).unwrap_or(rest), ending, rest, path));
                }
                _ => {}
            }
        }
        for (name, ending, top, path) in &found {
            let first =
                found.iter().filter(|(other, ..)| other == name).min_by_key(|(_, ending, ..)| *ending);
            match first {
                Some((_, best, by, _)) if best < ending && by != top => {
                    layout.shadowed.push(Shadowed { path: (*path).to_owned(), by: format!("{folder}{by}") });
                }
                _ => {
                    layout.vars.push(VarsPath { path: (*path).to_owned(), owner: owner((*name).to_owned()) })
                }
            }
        }
    }
    layout
}

/// Whether it lies in a folder of secrets, at any depth: nothing of it may be read as anything else.
pub fn is_private(path: &str) -> bool {
    let mut parts = path.split('/');
    parts.next_back();
    parts.any(|part| PRIVATE.contains(&part))
}

/// Whether a file is a secret that lies among inventories, and not to be read as one: a private key, or what a kept
/// password looks like, which is a file without an ending and of one line that sets nothing. `alone` is whether its owner
/// alone may read it.
pub fn is_secret(path: &str, text: &str, alone: bool) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let text = text.trim();
    let sets = text.contains(char::is_whitespace) && text.contains('=');
    text.starts_with("-----BEGIN ")
        || alone && !name.contains('.') && !text.is_empty() && !text.contains('\n') && !sets
}

fn is_source(path: &str) -> bool {
    let mut parts = path.split('/');
    let Some(name) = parts.next_back() else { return false };
    let folder_is_read = |part: &str| !part.starts_with('.') && !OTHERWISE.contains(&part);
    parts.all(folder_is_read)
        && !name.starts_with('.')
        && !IGNORED.iter().any(|ending| name.ends_with(ending))
}

fn is_vars_file(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.ends_with('~')
}

/// Inside a folder of one owner only these endings, or none, are read.
fn has_ending(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    !name.contains('.') || ENDINGS[1..].iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_an_inventory_folder() {
        let files = [
            "hosts.ini",
            "00-base",
            "ansible.cfg",
            "x.retry",
            "hosts~",
            ".hidden",
            "README.md",
            "sub/more.yml",
            "secrets/app",
            "sub/secrets/x/web",
            "pki/ca.key",
            "group_vars/all/b.yml",
            "group_vars/all/a.yml",
            "group_vars/all/notes.txt",
            "group_vars/all/.swp",
            "group_vars/all.yml",
            "group_vars/db.yaml",
            "group_vars/web",
            "group_vars/web.yml",
            "group_vars/deep/x/y.yml",
            "host_vars/db1.example.com",
            "host_vars/db2.example.com.yml",
            "host_vars/db3.yml~",
        ];
        let layout = layout(&files.map(str::to_owned));
        assert_eq!(layout.sources.join(" "), "00-base hosts.ini sub/more.yml");
        let vars = layout.vars.iter().map(|file| match &file.owner {
            Owner::Group(name) => format!("group {name}: {}", file.path),
            Owner::Host(name) => format!("host {name}: {}", file.path),
        });
        insta::assert_snapshot!(vars.collect::<Vec<_>>().join("\n"), @r#"
        group all: group_vars/all/a.yml
        group all: group_vars/all/b.yml
        group db: group_vars/db.yaml
        group deep: group_vars/deep/x/y.yml
        group web: group_vars/web
        host db1.example.com: host_vars/db1.example.com
        host db2.example.com: host_vars/db2.example.com.yml
        "#);
        let shadowed =
            layout.shadowed.iter().map(|file| format!("{} by {}", file.path, file.by)).collect::<Vec<_>>();
        assert_eq!(
            shadowed,
            ["group_vars/all.yml by group_vars/all", "group_vars/web.yml by group_vars/web"]
        );
    }

    #[test]
    fn one_line_that_only_its_owner_reads_is_a_password() {
        assert!(is_secret("inventory/evil", "Xy7pQ\n", true));
        assert!(is_secret("inventory/evil", "correct horse battery\n", true));
        assert!(is_secret("inventory/evil", "a=b\n", true));
        assert!(is_secret("inventory/id", "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n", false));
        assert!(!is_secret("inventory/hosts", "web1\n", false));
        assert!(!is_secret("inventory/hosts", "web1 ansible_host=198.18.0.1\n", true));
        assert!(!is_secret("inventory/hosts", "web1\nweb2\n", true));
        assert!(!is_secret("inventory/hosts.ini", "web1\n", true));
    }
}
