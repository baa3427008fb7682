//! `rialto explain` and `rialto token`, with the files of `config/` and some more.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{RIALTO, root};

const SECRET: &str = "a secret of more than thirty-two bytes";

fn rialto(arguments: &[&str]) -> Output {
    let mut command = Command::new(RIALTO);
    command.current_dir(root()).env("RIALTO_JWT_SECRET", SECRET).env("NO_COLOR", "1").stdin(Stdio::null());
    command.args(arguments).output().expect("it runs")
}

fn text(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = rialto(arguments);
    (status.code(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
}

/// The line of a file in which this text begins a rule.
fn line(file: &str, pattern: &str) -> usize {
    let text = fs::read_to_string(root().join(file)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|line| *line == format!("pattern = \"{pattern}\"")).unwrap();
    1 + lines[..at].iter().rposition(|line| *line == "[[topic]]").unwrap()
}

/// `config/tokens.toml` with a certificate that exists.
fn tokens(folder: &Path) -> String {
    for file in ["certificate.pem", "key.pem"] {
        fs::write(folder.join(file), "").unwrap();
    }
    let file = folder.join("tokens.toml");
    fs::copy(root().join("config/tokens.toml"), &file).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn each_example_says_who_may_do_what() {
    let folder = tempfile::tempdir().unwrap();
    let file = tokens(folder.path());
    let at = |pattern: &str| format!("rule       {pattern}, {file}:{}\n", line("config/tokens.toml", pattern));
    let explain = |arguments: &[&str]| text(&[&["explain", "--config", &file], arguments].concat());
    assert_eq!(
        explain(&["account.ann", "--user", "ann"]),
        (
            Some(0),
            format!(
                "topic      account.ann\nfor        user \"ann\"\n{}subscribe  allowed: every user may\npublish    refused: nobody may\ncall       allowed: \
                 every user may; no plugin owns the topic\nhistory    allowed: every user may\n\
                 presence   allowed: every user may; the rule keeps no presence\n",
                at("account.{user}")
            )
        )
    );
    for (arguments, code, expected) in [
        (
            &["account.bob", "--user", "ann", "--action", "subscribe"][..],
            1,
            "subscribe  refused: the topic is another user's, or another role's",
        ),
        (&["account.bob", "--action", "subscribe"], 1, "subscribe  refused: only for user"),
        (&["price.eur", "--action", "subscribe"], 0, "subscribe  allowed: everyone may"),
        (
            &["orders", "--user", "bob", "--role", "trader", "--action", "publish"],
            0,
            "publish    allowed: users with the role \"trader\" may",
        ),
        (&["orders", "--user", "bob", "--action", "publish"], 1, "publish    refused: only for role:trader, role:desk"),
        (&["other", "--action", "publish"], 1, "refused: no topic rule is for it, so it does not exist (`not_found`)"),
        (&["room.1", "--user", "bob"], 0, "subscribe  refused: only for token"),
    ] {
        let (found, text) = explain(arguments);
        assert_eq!((found, text.contains(expected)), (Some(code), true), "{arguments:?}: {text}");
    }
    for (file, topic, pattern) in [
        ("config/minimal.toml", "a", ">"),
        ("config/public.toml", "room.a", "room.*"),
        ("config/rialto.toml", "a.b", ">"),
    ] {
        let (code, text) = text(&["explain", "--config", file, topic]);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains(&format!("rule       {pattern}")), "{text}");
        assert!(text.contains("publish    allowed: everyone may"), "{text}");
    }
    assert_eq!(explain(&["a..b"]).0, Some(2));
}

#[test]
fn the_example_with_a_backend_says_who_may_do_what() {
    let file = "config/callout.toml";
    for (arguments, code, expected) in [
        (&["news", "--user", "ann"][..], 0, "publish    refused: only for role:staff"),
        (
            &["news", "--user", "ann", "--role", "staff", "--action", "publish"],
            0,
            "publish    allowed: users with the role",
        ),
        (&["inbox.ann", "--user", "ann", "--action", "subscribe"], 0, "subscribe  allowed: every user may"),
        (
            &["inbox.bob", "--user", "ann", "--action", "subscribe"],
            1,
            "subscribe  refused: the topic is another user's",
        ),
        (&["room.1", "--user", "ann", "--action", "publish"], 1, "publish    refused: only for token"),
    ] {
        let (found, text) = text(&[&["explain", "--config", file], arguments].concat());
        assert_eq!((found, text.contains(expected)), (Some(code), true), "{arguments:?}: {text}");
        let rule = arguments[0].replace(".ann", ".{user}").replace(".bob", ".{user}").replace(".1", ".*");
        let place = format!("rule       {rule}, {file}:{}\n", line(file, &rule));
        assert!(text.contains(&place), "{place} is not in {text}");
    }
}

#[test]
fn a_user_is_made_whose_password_the_broker_takes() {
    let add = |arguments: &[&str], password: &str| {
        let mut command = Command::new(RIALTO);
        command.args(["user", "add"]).args(arguments).current_dir(root());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), password.as_bytes()).unwrap();
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
    };
    let (code, entry) = add(&["ann", "--role", "desk"], "correct horse\n");
    let expected = "[[auth.user]]\nname = \"ann\"\npassword = \"$argon2id$v=19$m=19456,t=2,p=1$";
    assert!(code == Some(0) && entry.starts_with(expected) && entry.ends_with("roles = [\"desk\"]\n"), "{entry}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rialto.toml");
    fs::write(&file, "[auth]\n[[topic]]\npattern = \"a\"\n").unwrap();
    let name = file.to_str().unwrap();
    let (code, said) = add(&["ann", "--config", name], "correct horse\n");
    assert!(code == Some(0) && said.starts_with("appended to "), "{said}");
    assert_eq!(text(&["check", name]).0, Some(0));
    let before = fs::read_to_string(&file).unwrap();
    for (arguments, password) in [
        (&["ann", "--config", name][..], "correct horse"),
        (&["bob"], "short"),
        (&["bob"], ""),
        (&[""], "correct horse"),
    ] {
        let (code, said) = add(arguments, password);
        assert!(code == Some(1) && said.starts_with("error: "), "{arguments:?}: {said}");
        assert!(!said.contains("horse") && !said.contains("argon2id$"), "{said}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
}

#[test]
fn tokens_are_made_checked_and_inspected() {
    let folder = tempfile::tempdir().unwrap();
    let file = tokens(folder.path());
    let make = [
        "token",
        "make",
        "--config",
        &file,
        "--user",
        "ann@example.com",
        "--role",
        "trader",
        "--topic",
        "subscribe=room.42",
        "--id",
        "t1",
    ];
    let (code, token) = text(&make);
    let token = token.trim().to_owned();
    assert_eq!((code, token.matches('.').count()), (Some(0), 2), "{token}");
    let (code, checked) = text(&["token", "check", "--config", &file, &token]);
    assert_eq!(code, Some(0), "{checked}");
    let expected =
        "valid\n  user     ann@example.com\n  role     trader\n  topics   subscribe room.42\n  expires  in 35";
    assert!(checked.starts_with(expected), "{checked}");
    let (_, inspected) = text(&["token", "inspect", &token]);
    assert!(inspected.starts_with("not verified\n") && inspected.contains("\"kid\": \"main\""), "{inspected}");
    let explained = text(&["explain", "--config", &file, "room.42", "--token", &token, "--action", "subscribe"]);
    assert!(
        explained.0 == Some(0) && explained.1.contains("subscribe  allowed: the token lists the topic"),
        "{explained:?}"
    );
    let mut wrong = token.clone();
    wrong.insert(wrong.len() - 5, 'x');
    let (code, refused) = text(&["token", "check", "--config", &file, &wrong]);
    assert_eq!(code, Some(1));
    assert!(refused.starts_with("error: ") && !refused.contains(&wrong) && !refused.contains(SECRET), "{refused}");
    for arguments in [
        &["token", "make", "--config", &file, "--user", ""][..],
        &["token", "make", "--config", &file, "--user", "a", "--key", "other"],
        &["token", "make", "--config", &file, "--user", "a", "--topic", "subscribe"],
        &["token", "make", "--config", &file, "--user", "a", "--topic", "admin=a"],
        &["token", "make", "--config", "config/minimal.toml", "--user", "a"],
        &["token", "inspect", "a.b"],
        &["token", "inspect", "a.b.c"],
    ] {
        let (code, text) = text(arguments);
        assert!(code == Some(1) && text.starts_with("error: "), "{arguments:?}: {text}");
    }
    let secrets = [text(&["token", "secret"]).1, text(&["token", "secret"]).1];
    assert!(secrets[0] != secrets[1] && secrets[0].trim().len() == 64, "{secrets:?}");
}

#[test]
fn a_token_may_say_what_others_see_of_its_bearer() {
    let folder = tempfile::tempdir().unwrap();
    let file = tokens(folder.path());
    let make = |info: &str| text(&["token", "make", "--config", &file, "--user", "ann", "--info", info]);
    let (code, token) = make("{ \"name\": \"Ann\" }");
    assert_eq!(code, Some(0), "{token}");
    let token = token.trim();
    let (_, checked) = text(&["token", "check", "--config", &file, token]);
    assert!(checked.starts_with("valid\n  user     ann\n  info     {\"name\":\"Ann\"}\n  expires  in 3"), "{checked}");
    let (_, inspected) = text(&["token", "inspect", token]);
    assert!(inspected.contains("\"info\": {\n    \"name\": \"Ann\"\n  }"), "{inspected}");
    let long = format!("\"{}\"", "x".repeat(1_023));
    for (info, expected) in [("{", "error: `--info` is no JSON"), (long.as_str(), "error: the broker would refuse")] {
        let (code, text) = make(info);
        assert!(code == Some(1) && text.starts_with(expected), "{text}");
    }
}

#[test]
fn a_check_warns_of_what_everyone_may_write_to_from_other_machines() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("open.toml");
    let warning = "everyone who reaches this address may publish to these topics";
    for (text_of_file, is_warned) in [
        ("[server]\nlisten = \"0.0.0.0:8080\"\n[[topic]]\npattern = \"a\"\n[[topic]]\npattern = \"b\"\n", true),
        ("[server]\nlisten = \"127.0.0.1:8080\"\n[[topic]]\npattern = \"a\"\n", false),
        ("[server]\nlisten = \"0.0.0.0:8080\"\n[[topic]]\npattern = \"a\"\npublish = \"anyone\"\n", false),
        ("[server]\nlisten = \"0.0.0.0:8080\"\n[auth]\nanonymous = true\n[[topic]]\npattern = \"a\"\n", false),
    ] {
        fs::write(&file, text_of_file).unwrap();
        let (code, text) = text(&["check", file.to_str().unwrap()]);
        assert_eq!((code, text.contains(warning)), (Some(0), is_warned), "{text}");
    }
}
