//! Help, reference texts, completions.

use crate::folder::Folder;
use clap::CommandFactory as _;
use std::process::Command;

fn run(words: &str) -> String {
    Folder::new("").run(words)
}

#[test]
fn version_and_help() {
    insta::assert_snapshot!(run("--version"), @"
    exit 0
    -- stdout
    ishprov 0.1.0
    ");
    insta::assert_snapshot!(run("--help"), @"
    exit 0
    -- stdout
    Agentless provisioner and PostgreSQL config tuner.

    From this machine, over SSH, bare Debian and Ubuntu hosts become a tuned, TLS-only, firewalled,
    replicated PostgreSQL cluster. Nothing is installed on the hosts for it: sshd and a POSIX shell are
    enough.

    Usage: ishprov <COMMAND>

    Commands:
      run          Run a site: make the hosts what it says they are
      lint         Check a site and its inventory without contacting a host
      inventory    Show hosts, groups and variables
      facts        Show what hosts say of themselves
      lab          Rehearse: make an inventory's hosts exist on this machine, and run sites on them
      tune         PostgreSQL settings that fit a machine, with the memory budget that proves it
      certs        Certificates: the CA on this machine, and what it issued
      vault        Encrypt, read and change secrets as `ansible-vault` keeps them
      doc          Show the reference text of a module, or list all modules
      completions  Print completions for a shell
      help         Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version
    ");
    let bare = run("");
    assert!(bare.starts_with("exit 1\n-- stderr\nAgentless") && bare.contains("\nCommands:\n"), "{bare}");
}

/// Every command, those there will be too, says what it is for and what each of its arguments is.
#[test]
fn help_of_each_command() {
    let mut open = vec![("ishprov".to_owned(), ishprov::cli::Cli::command())];
    while let Some((path, command)) = open.pop() {
        assert!(command.get_about().is_some(), "what is `{path}` for?");
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "what is `{}` of `{path}`?", argument.get_id());
        }
        let words = path.strip_prefix("ishprov").unwrap_or_default();
        let shown = run(&format!("{words} --help"));
        let whole = shown.starts_with("exit 0\n-- stdout\n") && !shown.contains("-- stderr");
        assert!(whole && shown.contains(&format!("Usage: {path}")), "{shown}");
        open.extend(
            command.get_subcommands().map(|inner| (format!("{path} {}", inner.get_name()), inner.clone())),
        );
    }
    insta::assert_snapshot!(run("lint --help"), @"
    exit 0
    -- stdout
    Check a site and its inventory without contacting a host

    Usage: ishprov lint [OPTIONS] <SITE>

    Arguments:
      <SITE>
              The site file

    Options:
      -i, --inventory <INVENTORY>
              Inventory: a file, a folder, or a list of hosts with a comma (repeatable)

      -e, --extra-vars <VARS>
              Variables: `name=value`, JSON, or `@file` (repeatable)

          --vault-password-file <FILE>
              File that holds the vault password, or a program that prints it
              
              [env: ANSIBLE_VAULT_PASSWORD_FILE=]

          --ask-vault-pass
              Ask for the vault password, whatever file is named

          --strict
              What is wrong only where a fact or a result leads to it is an error, not a warning

          --output <OUTPUT>
              What to print

              Possible values:
              - text: For people
              - json: One JSON object per event
              
              [default: text]

      -h, --help
              Print help (see a summary with '-h')
    ");
}

#[test]
fn words_that_are_no_command() {
    insta::assert_snapshot!(run("rnu site.yaml"), @"
    exit 1
    -- stderr
    error: unrecognized subcommand 'rnu'

    Usage: ishprov <COMMAND>

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(run("run"), @"
    exit 1
    -- stderr
    error: the following required arguments were not provided:
      <SITE>

    Usage: ishprov run <SITE>

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(run("run site.yaml --limt h1"), @"
    exit 1
    -- stderr
    error: unexpected argument '--limt' found

      tip: a similar argument exists: '--limit'

    Usage: ishprov run --limit <PATTERN> <SITE>

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(run("run site.yaml --forks many"), @"
    exit 1
    -- stderr
    error: invalid value 'many' for '--forks <FORKS>': invalid digit found in string

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(run("lab fault brake h1"), @"
    exit 1
    -- stderr
    error: invalid value 'brake' for '<FAULT>'
      [possible values: kill, stop, boot, freeze, thaw, cut, join, fill-disk, free-disk]

    For more information, try '--help'.
    ");
}

/// The list has every module and what is a task without being one, and each of them has its reference text.
#[test]
fn every_module() {
    let list = run("doc");
    let listed: Vec<&str> =
        list.lines().skip(2).filter_map(|line| line.split_once("  ")).map(|(name, _)| name).collect();
    let mut names: Vec<&str> = ishprov::modules::MODULES.iter().map(|module| module.spec().name).collect();
    names.extend(ishprov::cluster::PROCEDURES.iter().map(|procedure| procedure.spec().name));
    names.sort_unstable();
    assert_eq!(listed, names);
    for name in names {
        let text = run(&format!("doc {name}"));
        assert!(text.starts_with(&format!("exit 0\n-- stdout\n{name} - ")), "{text}");
        assert!(text.contains("\nEXAMPLES\n"), "{text}");
    }
}

#[test]
fn one_module() {
    insta::assert_snapshot!(run("doc hostname"), @r#"
    exit 0
    -- stdout
    hostname - The host's own name

    The host's own name, now and after a boot.

    Only the name itself is set: `/etc/hosts` is the business of a `template` or `lineinfile` task.

    EXAMPLES
    - name: The name from the inventory
      hostname: {name: "{{ inventory_hostname }}"}

    PARAMETERS
      name (required): a text
          The name
    "#);
    insta::assert_snapshot!(run("doc ansible.builtin.hostname").split_once('\n').map(|(code, _)| code).unwrap_or_default(), @"exit 0");
    insta::assert_snapshot!(run("doc hostnam"), @"
    exit 1
    -- stderr
    error: there is no module `hostnam`  did you mean `hostname`?
    `ishprov doc` lists the modules there are
    ");
}

#[test]
fn completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&format!("completions {shell}"));
        let script = script.strip_prefix("exit 0\n-- stdout\n").expect("a script");
        assert!(script.contains("accept-new-host-keys"), "{script}");
    }
    let folder = Folder::new("");
    let script = folder.run("completions bash");
    folder.write("bash", script.strip_prefix("exit 0\n-- stdout\n").expect("a script"));
    let checked = Command::new("bash").arg("-n").arg(folder.path("bash")).output().expect("bash runs");
    assert!(
        checked.status.success() && checked.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&checked.stderr)
    );
    insta::assert_snapshot!(run("completions tcsh"), @"
    exit 1
    -- stderr
    error: invalid value 'tcsh' for '<SHELL>'
      [possible values: bash, elvish, fish, powershell, zsh]

      tip: a similar value exists: 'zsh'

    For more information, try '--help'.
    ");
}
