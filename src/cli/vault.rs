//! `ishprov vault`, and how vault passwords are read. Interoperable with `ansible-vault` both ways.

use super::args::{ConnectArgs, VaultCommand, VaultFilesArgs, VaultPasswordArgs};
use super::exit;
use crate::console::Screen;
use crate::diag::{Diagnostic, SourceMap, printable};
use crate::shell::{Masker, Secret};
use crate::vault::{self as format, SALT_LEN};
use std::io::{IsTerminal as _, Read, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

type Done<T> = Result<T, Diagnostic>;

/// Columns that `ansible-vault encrypt_string` indents by.
const INDENT: usize = 10;

/// Carries a command out; the exit code.
pub fn vault(command: VaultCommand) -> i32 {
    let screen = Screen::new(false, 0, false);
    let done = match command {
        VaultCommand::Encrypt(args) => encrypt(&args, &screen),
        VaultCommand::Decrypt(args) => decrypt(&args, &screen),
        VaultCommand::View { password, files } => view(&password, &files),
        VaultCommand::Edit { password, file } => edit(&password, &file, &screen),
        VaultCommand::Rekey { password, new_vault_password_file, files } => {
            rekey(&password, new_vault_password_file.as_deref(), &files, &screen)
        }
        VaultCommand::EncryptString { password, name, source } => {
            encrypt_string(&password, name.as_deref(), source.as_deref(), &screen)
        }
    };
    match done {
        Ok(()) => exit::OK,
        Err(diagnostic) => {
            screen.diagnostics(&[diagnostic], &SourceMap::new(), &Masker::new());
            exit::ERROR
        }
    }
}

/// Code of a fault that leaves no vault password.
pub const NO_PASSWORD: &str = "vault-password";

/// The vault password in a file; a file that may be executed is a program that prints it.
pub fn read_password(path: &Path) -> Done<Secret> {
    let failed = |why: String| {
        let message = format!("no vault password from `{}`: {why}", path.display());
        Diagnostic::error(NO_PASSWORD, message)
            .hint("`--vault-password-file` takes a file that holds the password, or a program that prints it")
    };
    let mode = std::fs::metadata(path).map(|metadata| metadata.mode()).unwrap_or(0);
    let bytes = if mode & 0o111 != 0 && path.is_file() {
        let path = std::path::absolute(path).map_err(|error| failed(error.to_string()))?;
        let mut program = std::process::Command::new(path);
        program.stderr(std::process::Stdio::inherit());
        let output = program.output().map_err(|error| failed(format!("it is a program, and {error}")))?;
        if !output.status.success() {
            return Err(failed(format!("it is a program, and it failed ({})", output.status)));
        }
        Zeroizing::new(output.stdout)
    } else {
        Zeroizing::new(std::fs::read(path).map_err(|error| failed(error.to_string()))?)
    };
    let password = format::password_of_file(&bytes).map_err(|error| failed(error.to_string()))?;
    let text = std::str::from_utf8(&password).map_err(|_| failed("it is not UTF-8".to_owned()))?;
    Ok(Secret::new(text))
}

/// Asks for the password of sudo, where that is wanted and was not done yet.
///
/// # Errors
/// There is no terminal to ask at.
pub fn ask_become(connect: &mut ConnectArgs) -> std::io::Result<()> {
    if std::mem::take(&mut connect.ask_become_pass) {
        connect.become_password = Some(ask_password("BECOME password: ")?);
    }
    Ok(())
}

/// Asks for a password on the terminal, without showing it.
pub fn ask_password(prompt: &str) -> std::io::Result<Secret> {
    let terminal = std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    let before = rustix::termios::tcgetattr(&terminal)?;
    let mut silent = before.clone();
    // Keys come as they are, Ctrl-C too: a signal would end the program and leave the terminal without echo.
    use rustix::termios::LocalModes;
    silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    (&terminal).write_all(prompt.as_bytes())?;
    rustix::termios::tcsetattr(&terminal, rustix::termios::OptionalActions::Flush, &silent)?;
    let line = typed_line(&terminal);
    rustix::termios::tcsetattr(&terminal, rustix::termios::OptionalActions::Flush, &before)?;
    (&terminal).write_all(b"\n")?;
    let line = line?;
    let text = std::str::from_utf8(&line).map_err(|_| std::io::Error::other("that was not UTF-8"))?;
    Ok(Secret::new(text))
}

/// A line typed at a terminal that hands over every key.
fn typed_line(mut keys: impl Read) -> std::io::Result<Zeroizing<Vec<u8>>> {
    const CTRL_C: u8 = 0x03;
    const CTRL_D: u8 = 0x04;
    const BACKSPACE: u8 = 0x08;
    const CTRL_U: u8 = 0x15;
    const DELETE: u8 = 0x7f;
    let mut line = Zeroizing::new(Vec::new());
    let mut key = Zeroizing::new([0]);
    while keys.read(&mut key[..])? == 1 {
        match key[0] {
            b'\n' | b'\r' | CTRL_D => break,
            CTRL_C => return Err(std::io::Error::other("you pressed Ctrl-C")),
            CTRL_U => line.clear(),
            // One character, however many bytes it has.
            BACKSPACE | DELETE => while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            byte => line.push(byte),
        }
    }
    Ok(line)
}

/// The password that the arguments name, or that the person types; a new one is typed twice.
fn password(args: &VaultPasswordArgs, new: bool) -> Done<Secret> {
    match args.vault_password_file.as_ref().filter(|_| !args.ask_vault_pass) {
        Some(path) => read_password(path),
        None => typed(if new { "New vault password" } else { "Vault password" }, new),
    }
}

fn typed(what: &str, new: bool) -> Done<Secret> {
    let ask = |prompt: String| {
        ask_password(&prompt).map_err(|_| {
            Diagnostic::error("vault", "no vault password was given, and there is no terminal to ask for it")
                .hint("give a file that holds it with `--vault-password-file`, or set ANSIBLE_VAULT_PASSWORD_FILE")
        })
    };
    let password = ask(format!("{what}: "))?;
    if password.expose().is_empty() {
        return Err(Diagnostic::error("vault", "the vault password is empty"));
    }
    if new && ask("The same again: ".to_owned())?.expose() != password.expose() {
        return Err(Diagnostic::error("vault", "the two passwords are not the same"));
    }
    Ok(password)
}

fn encrypt(args: &VaultFilesArgs, screen: &Screen) -> Done<()> {
    let plain = args.files.iter().map(|file| {
        let content = read(file)?;
        match std::str::from_utf8(&content).is_ok_and(format::is_vault) {
            true => Err(Diagnostic::error("vault", format!("`{}` is encrypted already", file.display()))
                .hint("`ishprov vault rekey` gives it another password")),
            false => Ok((file, content)),
        }
    });
    let plain = plain.collect::<Done<Vec<_>>>()?;
    let password = password(&args.password, true)?;
    let sealed = plain.into_iter().map(|(file, content)| {
        let text = seal(&content, &password, args.password.vault_id.as_deref())?;
        Ok((file.clone(), Zeroizing::new(text.into_bytes())))
    });
    write_all(args, sealed.collect::<Done<_>>()?, "encrypted", screen)
}

fn decrypt(args: &VaultFilesArgs, screen: &Screen) -> Done<()> {
    let texts = vault_texts(&args.files)?;
    let password = password(&args.password, false)?;
    let plain =
        texts.into_iter().map(|(file, text)| open(&file, &text, &password).map(|plain| (file, plain)));
    write_all(args, plain.collect::<Done<_>>()?, "decrypted", screen)
}

fn view(args: &VaultPasswordArgs, files: &[PathBuf]) -> Done<()> {
    let texts = vault_texts(files)?;
    let password = password(args, false)?;
    for (file, text) in texts {
        to_stdout(&open(&file, &text, &password)?)?;
    }
    Ok(())
}

fn rekey(args: &VaultPasswordArgs, new: Option<&Path>, files: &[PathBuf], screen: &Screen) -> Done<()> {
    let texts = vault_texts(files)?;
    let old = password(args, false)?;
    // Every file is opened before the first is written: a wrong password changes nothing.
    let plain = texts.into_iter().map(|(file, text)| {
        let label = args.vault_id.clone().or_else(|| format::label(&text).map(str::to_owned));
        open(&file, &text, &old).map(|plain| (file, plain, label))
    });
    let plain = plain.collect::<Done<Vec<_>>>()?;
    let new = new.map_or_else(|| typed("New vault password", true), read_password)?;
    for (file, plain, label) in plain {
        replace(&file, seal(&plain, &new, label.as_deref())?.as_bytes())?;
        screen.aside(&format!("{}: encrypted with the new password", file.display()));
    }
    Ok(())
}

fn edit(args: &VaultPasswordArgs, file: &Path, screen: &Screen) -> Done<()> {
    let text = match file.exists() {
        true => vault_texts(&[file.to_path_buf()])?.into_iter().next().map(|(_, text)| text),
        false => None,
    };
    let password = password(args, text.is_none())?;
    let before = text.as_ref().map(|text| open(file, text, &password)).transpose()?.unwrap_or_default();
    let after = edited(file, &before)?;
    if *after == *before {
        screen.aside(&format!("{}: not changed", file.display()));
        return Ok(());
    }
    let label = args.vault_id.clone().or_else(|| text.as_deref().and_then(format::label).map(str::to_owned));
    replace(file, seal(&after, &password, label.as_deref())?.as_bytes())
}

/// What the person's editor makes of a text. It stands in a folder that only they can enter, which goes in any case.
fn edited(file: &Path, before: &[u8]) -> Done<Zeroizing<Vec<u8>>> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed =
        |what: &str, error: &std::io::Error| Diagnostic::error("vault", format!("cannot {what}: {error}"));
    let editor = ["VISUAL", "EDITOR"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
    let editor = editor.unwrap_or_else(|| "vi".to_owned());
    // Memory first: what never was on a disk needs no wiping.
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    let dir = tempfile::Builder::new()
        .prefix("ishprov-vault-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in(&parent)
        .map_err(|error| failed("make a folder", &error))?;
    // Ctrl-C belongs to the editor: ended here, it would leave the plain text behind.
    let held = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let path = dir.path().join(file.file_name().unwrap_or_default());
    crate::files::write_private(&path, before)
        .map_err(|error| failed("write the text for the editor", &error))?;
    let mut command = std::process::Command::new("sh");
    command.arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(&path);
    let status = command.status().map_err(|error| failed("start a shell for the editor", &error))?;
    if !status.success() {
        let message =
            format!("the editor `{editor}` ended with {status}: `{}` is left as it was", file.display());
        return Err(Diagnostic::error("vault", message).hint("set EDITOR to the editor that you use"));
    }
    let after = std::fs::read(&path).map_err(|error| failed("read what the editor wrote", &error));
    drop(held);
    after.map(Zeroizing::new)
}

fn encrypt_string(
    args: &VaultPasswordArgs,
    name: Option<&str>,
    source: Option<&str>,
    screen: &Screen,
) -> Done<()> {
    if source.is_some_and(|source| source != "-") {
        let message = "a value on the command line can be read by every user of this machine";
        return Err(Diagnostic::error("vault", message)
            .hint("leave it out, and it is asked for; or give `-` and pass it on standard input"));
    }
    let (value, password) = if source.is_some() {
        let mut value = Zeroizing::new(read(Path::new("-"))?.to_vec());
        if value.ends_with(b"\n") {
            value.pop();
        }
        (value, password(args, true)?)
    } else {
        let password = password(args, true)?;
        let value =
            ask_password(&format!("Value of {}: ", name.unwrap_or("the variable"))).map_err(|_| {
                Diagnostic::error("vault", "there is no terminal to ask for the value")
                    .hint("give `-` and pass it on standard input")
            })?;
        (Zeroizing::new(value.expose().as_bytes().to_vec()), password)
    };
    let text = seal(&value, &password, args.vault_id.as_deref())?;
    let block = format::to_yaml_block(&text, INDENT);
    screen.line(name.map_or(block.clone(), |name| format!("{name}: {block}")).trim_end());
    Ok(())
}

/// The texts of encrypted files; all of them must be that.
fn vault_texts(files: &[PathBuf]) -> Done<Vec<(PathBuf, String)>> {
    let texts = files.iter().map(|file| {
        let content = read(file)?;
        match std::str::from_utf8(&content) {
            Ok(text) if format::is_vault(text) => Ok((file.clone(), text.to_owned())),
            _ => Err(Diagnostic::error("vault", format!("`{}` is not encrypted", file.display()))
                .hint("an encrypted file begins with `$ANSIBLE_VAULT;`")),
        }
    });
    texts.collect()
}

fn open(file: &Path, text: &str, password: &Secret) -> Done<Zeroizing<Vec<u8>>> {
    format::decrypt(text, password.expose().as_bytes())
        .map_err(|error| Diagnostic::error("vault", format!("cannot decrypt `{}`: {error}", file.display())))
}

fn seal(content: &[u8], password: &Secret, label: Option<&str>) -> Done<String> {
    let failed = |why: String| Diagnostic::error("vault", format!("cannot encrypt: {why}"));
    let mut salt = [0; SALT_LEN];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| failed("this machine gives no random bytes".to_owned()))?;
    format::encrypt(content, password.expose().as_bytes(), salt, label)
        .map_err(|error| failed(error.to_string()))
}

fn read(file: &Path) -> Done<Zeroizing<Vec<u8>>> {
    let mut content = Zeroizing::new(Vec::new());
    let result = if file == Path::new("-") {
        if std::io::stdin().is_terminal() {
            let _ = writeln!(std::io::stderr(), "reading standard input, end it with Ctrl-D");
        }
        std::io::stdin().read_to_end(&mut content).map(|_| ())
    } else {
        std::fs::read(file).map(|bytes| content = Zeroizing::new(bytes))
    };
    match result {
        Ok(()) => Ok(content),
        Err(error) => Err(Diagnostic::error("vault", format!("cannot read `{}`: {error}", file.display()))),
    }
}

/// In place, or where `--output` says.
fn write_all(
    args: &VaultFilesArgs,
    contents: Vec<(PathBuf, Zeroizing<Vec<u8>>)>,
    what: &str,
    screen: &Screen,
) -> Done<()> {
    if args.output.is_some() && contents.len() > 1 {
        return Err(Diagnostic::error("vault", "`--output` takes one file, and several are to be written"));
    }
    for (file, content) in contents {
        let target = args.output.clone().unwrap_or(file);
        if target == Path::new("-") {
            to_stdout(&content)?;
        } else {
            replace(&target, &content)?;
            screen.aside(&format!("{}: {what}", target.display()));
        }
    }
    Ok(())
}

fn to_stdout(content: &[u8]) -> Done<()> {
    let mut out = std::io::stdout();
    // A program gets every byte; a terminal is not to obey what stands in the file.
    let shown = out.is_terminal().then(|| printable(&String::from_utf8_lossy(content)));
    out.write_all(shown.as_deref().map_or(content, str::as_bytes))
        .and_then(|()| out.flush())
        .map_err(|error| Diagnostic::error("vault", format!("cannot write to standard output: {error}")))
}

/// Puts a whole new file in the place of an old one, with its mode and owner; a new one is for its owner alone.
fn replace(file: &Path, content: &[u8]) -> Done<()> {
    let failed = |error: std::io::Error| {
        Diagnostic::error("vault", format!("cannot write `{}`: {error}", file.display()))
    };
    // A symbolic link stays one.
    let target = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_path_buf());
    let dir = target.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut staged = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    if let Ok(old) = std::fs::metadata(&target) {
        let own = staged.as_file().metadata().map_err(failed)?;
        if (old.uid(), old.gid()) != (own.uid(), own.gid()) {
            std::os::unix::fs::fchown(staged.as_file(), Some(old.uid()), Some(old.gid())).map_err(failed)?;
        }
        let mode = std::fs::Permissions::from_mode(old.mode() & 0o7777);
        staged.as_file().set_permissions(mode).map_err(failed)?;
    }
    staged.write_all(content).map_err(failed)?;
    staged.as_file().sync_all().map_err(failed)?;
    staged.persist(&target).map_err(|error| failed(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_a_line() {
        let typed =
            |keys: &str| typed_line(keys.as_bytes()).map(|line| String::from_utf8_lossy(&line).into_owned());
        assert_eq!(typed("abc\nd").unwrap(), "abc");
        assert_eq!(typed("abcä\u{7f}\u{8}d\r").unwrap(), "abd");
        assert_eq!(typed("\u{7f}wrong\u{15}right\u{4}").unwrap(), "right");
        assert_eq!(typed("").unwrap(), "");
        assert_eq!(typed("secret\u{3}\n").unwrap_err().to_string(), "you pressed Ctrl-C");
    }
}
