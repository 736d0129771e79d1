//! Vault texts go both ways between us and the real `ansible-vault`.
//!
//! The real one comes from PyPI (`ansible-core`) into `target/ansible-venv`, once; without it the tests fail, since a
//! format that nobody else was seen to read is not interoperable.

use ishprov::vault;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

const PASSWORD: &str = "correct horse ü battery";

/// Every kind of content that could be changed on the way.
fn contents() -> Vec<(&'static str, Vec<u8>)> {
    let megabyte: Vec<u8> = (0..1 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    vec![
        ("utf-8", "grüße: 値 🐘\n".as_bytes().to_vec()),
        ("empty", Vec::new()),
        ("one block", vec![b'x'; 16]),
        ("crlf", b"a: 1\r\nb: 2\r\n".to_vec()),
        ("no newline at the end", b"secret".to_vec()),
        ("padding look-alike", vec![1, 2, 2, 3, 3, 3]),
        ("1 MB of any bytes", megabyte),
    ]
}

#[test]
fn ansible_reads_what_we_write() {
    let dir = tempfile::tempdir().unwrap();
    for (i, (name, content)) in contents().into_iter().enumerate() {
        // One call of `ansible-vault` takes most of a second: the two header versions take turns.
        let label = if i % 2 == 0 { Some("prod") } else { None };
        let text = vault::encrypt(&content, PASSWORD.as_bytes(), [i as u8; 32], label).unwrap();
        let file = dir.path().join("ours.txt");
        let plain = dir.path().join("plain");
        fs::write(&file, text).unwrap();
        let id = label.unwrap_or("default");
        ansible_vault(&["decrypt", "--output", path(&plain), path(&file)], dir.path(), id);
        assert_eq!(fs::read(&plain).unwrap(), content, "{name}, label {label:?}");
    }
}

#[test]
fn we_read_what_ansible_writes() {
    let dir = tempfile::tempdir().unwrap();
    for (i, (name, content)) in contents().into_iter().enumerate() {
        let id = if i % 2 == 0 { "default" } else { "prod" };
        let plain = dir.path().join("plain");
        let file = dir.path().join("theirs.txt");
        fs::write(&plain, &content).unwrap();
        let args = ["encrypt", "--encrypt-vault-id", id, "--output", path(&file), path(&plain)];
        ansible_vault(&args, dir.path(), id);
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(vault::label(&text), (id != "default").then_some(id));
        assert!(vault::decrypt(&text, PASSWORD.as_bytes()).unwrap().as_slice() == content, "{name}, {id}");
        assert_eq!(vault::decrypt(&text, b"other"), Err(vault::VaultError::WrongPassword));
    }
}

#[test]
fn the_same_salt_gives_the_same_text_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    let file = dir.path().join("theirs.txt");
    fs::write(&plain, "same").unwrap();
    // Ansible takes a salt of the user's choice, which is the only way to compare whole texts.
    let salt = "0123456789abcdef0123456789abcdef";
    let args = ["encrypt", "--encrypt-vault-id", "prod", "--output", path(&file), path(&plain)];
    let output = command(&args, dir.path(), "prod").env("ANSIBLE_VAULT_ENCRYPT_SALT", salt).output();
    succeed(output.unwrap());
    let ours =
        vault::encrypt(b"same", PASSWORD.as_bytes(), salt.as_bytes().try_into().unwrap(), Some("prod"));
    assert_eq!(ours.unwrap(), fs::read_to_string(&file).unwrap());
}

#[test]
fn an_inline_block_of_encrypt_string_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["encrypt_string", "--encrypt-vault-id", "prod", "--name", "db_password", "s3crët"];
    let output = ansible_vault(&args, dir.path(), "prod");
    let yaml = String::from_utf8(output.stdout).unwrap();
    let block =
        yaml.strip_prefix("db_password: !vault |\n").unwrap_or_else(|| panic!("unexpected form: {yaml}"));
    assert_eq!(&**vault::decrypt(block, PASSWORD.as_bytes()).unwrap(), "s3crët".as_bytes());
    // Ours has the very same shape.
    assert_eq!(vault::to_yaml_block(block, 10), yaml.strip_prefix("db_password: ").unwrap());
}

fn ansible_vault(args: &[&str], dir: &Path, id: &str) -> Output {
    succeed(command(args, dir, id).output().expect("ansible-vault starts"))
}

fn command(args: &[&str], dir: &Path, id: &str) -> Command {
    let password = dir.join("password");
    fs::write(&password, format!("{PASSWORD}\n")).unwrap();
    let (action, rest) = args.split_first().unwrap();
    let mut command = Command::new(venv().join("bin/ansible-vault"));
    command.arg(action).arg("--vault-id").arg(format!("{id}@{}", path(&password))).args(rest);
    command.env("LC_ALL", "C.UTF-8").env("HOME", dir).current_dir(dir);
    command
}

/// The virtual environment with the real `ansible-vault`, made on first use and kept for later runs.
fn venv() -> &'static Path {
    static VENV: OnceLock<PathBuf> = OnceLock::new();
    VENV.get_or_init(|| {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
        let venv = target.join("ansible-venv");
        let ready = venv.join("ready");
        // Two test runs may start at once.
        let lock = File::create(target.join("ansible-venv.lock")).unwrap();
        lock.lock().unwrap();
        if !ready.exists() {
            let run = |program: &Path, args: &[&str]| {
                let output = Command::new(program).args(args).output();
                let output = output.unwrap_or_else(|e| panic!("{} does not start: {e}", program.display()));
                assert!(
                    output.status.success(),
                    "these tests need `ansible-core` from PyPI (python3 with venv, and a package index): {} {args:?}: {}",
                    program.display(),
                    String::from_utf8_lossy(&output.stderr)
                );
            };
            run(Path::new("python3"), &["-m", "venv", "--clear", path(&venv)]);
            run(&venv.join("bin/pip"), &["install", "--quiet", "--disable-pip-version-check", "ansible-core"]);
            File::create(&ready).unwrap();
        }
        venv
    })
}

fn succeed(output: Output) -> Output {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}
