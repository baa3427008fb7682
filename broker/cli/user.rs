//! `rialto user`: makes the entry of a user with a password. The password itself is stored nowhere.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use argon2::Argon2;
use argon2::password_hash::PasswordHasher as _;

use super::{escaped, print};
use crate::auth::passwords::PASSWORD_BYTES_MAX;
use crate::config::{Config, quoted};

/// The shortest password (NIST SP 800-63B section 5.1.1.2), in bytes.
const PASSWORD_BYTES_MIN: usize = 8;

/// Bytes of a salt (RFC 9106 section 3.1).
const SALT_BYTES: usize = 16;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum UserCommand {
    /// Asks for a password and prints the entry of a user for the configuration, or appends it.
    ///
    /// Where standard input is no terminal, its first line is the password.
    Add(AddArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct AddArgs {
    /// The user's name
    name: String,
    /// A role of the user; may be repeated
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// Append the entry to this configuration, if it is fine with it, instead of printing it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(crate) fn run(command: &UserCommand) -> ExitCode {
    let UserCommand::Add(args) = command;
    print(add(args))
}

fn add(args: &AddArgs) -> Result<String> {
    let hash = hashed(&password()?)?;
    let entry = entry(&args.name, &hash, &args.roles);
    // What the broker would refuse is not worth having.
    parse(&format!("[auth]\n{entry}"), Path::new("the entry"))?;
    match &args.config {
        None => Ok(entry),
        Some(file) => {
            append(file, &entry)?;
            Ok(format!("appended to {}; `rialto reload` applies it\n", escaped::line(&file.display().to_string())))
        }
    }
}

fn entry(name: &str, hash: &str, roles: &[String]) -> String {
    let mut entry = format!("[[auth.user]]\nname = {}\npassword = {}\n", quoted(name), quoted(hash));
    if !roles.is_empty() {
        let roles: Vec<String> = roles.iter().map(|role| quoted(role)).collect();
        entry.push_str(&format!("roles = [{}]\n", roles.join(", ")));
    }
    entry
}

/// Appends an entry, if the file is fine with it.
fn append(file: &Path, entry: &str) -> Result<()> {
    let before = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let gap = if before.ends_with('\n') || before.is_empty() { "\n" } else { "\n\n" };
    parse(&format!("{before}{gap}{entry}"), file)?;
    let mut open = std::fs::OpenOptions::new().append(true).open(file)?;
    open.write_all(format!("{gap}{entry}").as_bytes()).with_context(|| format!("cannot write {}", file.display()))
}

fn parse(text: &str, file: &Path) -> Result<()> {
    match Config::parse(text, file) {
        Ok(_) => Ok(()),
        Err(problems) => bail!("nothing was written: {}", problems.render(false)),
    }
}

fn hashed(password: &str) -> Result<String> {
    let length = password.len();
    ensure!(
        (PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&length),
        "a password has {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX} bytes"
    );
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    // 19 MiB, two rounds, one lane: what OWASP recommends, and the default of the library.
    let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
    Ok(hash.map_err(|error| anyhow::anyhow!("the password cannot be hashed: {error}"))?.to_string())
}

/// Asks twice at a terminal; else reads a line.
fn password() -> Result<String> {
    if !std::io::stdin().is_terminal() {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).context("cannot read standard input")?;
        return Ok(line.trim_end_matches(['\n', '\r']).to_owned());
    }
    let ask = |prompt| rpassword::prompt_password(prompt).context("cannot ask for a password");
    let password = ask("Password: ")?;
    ensure!(password == ask("Again: ")?, "these are two different passwords");
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_what_a_configuration_takes() {
        let hash = hashed("correct horse").expect("a hash");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && hash != hashed("correct horse").expect("one"));
        let entry = entry("An \"n\"", &hash, &["desk".to_owned()]);
        let config = Config::parse(&format!("[auth]\n{entry}"), Path::new("x")).expect("fine");
        let users = config.auth.expect("it is there").user;
        assert_eq!((users[0].name.as_str(), users[0].roles[0].as_str()), ("An \"n\"", "desk"));
        assert!(hashed("short").is_err() && hashed(&"x".repeat(PASSWORD_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn an_entry_is_appended_only_where_the_file_is_fine_with_it() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "# Mine.\n[auth]\nanonymous = true").expect("written");
        let entry = entry("ann", &hashed("correct horse").expect("a hash"), &[]);
        append(file.path(), &entry).expect("fine");
        let text = std::fs::read_to_string(file.path()).expect("there");
        assert!(text.starts_with("# Mine.\n[auth]\nanonymous = true\n\n[[auth.user]]\nname = \"ann\"\n"), "{text}");
        assert!(append(file.path(), &entry).expect_err("two").to_string().contains("two users"));
        assert_eq!(std::fs::read_to_string(file.path()).expect("there"), text);
    }
}
