//! Invalid configurations, by the library and by `rialto check`: all problems at once, with line and caret.

use std::{
    path::Path,
    process::{Command, Output},
};

use proptest::prelude::*;
use rialto::config::Config;

use crate::support::{RIALTO, root};

/// Paths in these tests begin at the root of the repository.
fn at_the_root() {
    std::env::set_current_dir(root()).expect("it is there");
}

/// What is shown for a file in `tests/config`, which are all wrong.
fn shown(name: &str) -> String {
    at_the_root();
    let file = format!("tests/config/{name}.toml");
    Config::load(Path::new(&file)).expect_err("every file in tests/config is wrong").render(false)
}

/// One snapshot test for each file.
macro_rules! shows {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                insta::assert_snapshot!(stringify!($name), shown(stringify!($name)));
            }
        )*
        const FILES: &[&str] = &[$(stringify!($name)),*];
    };
}

shows! {
    api api_without_keys conflict control delivery duplicates four large_plugin latin1 listen long plugin_without_name plugins ranges sections syntax
    tls tls_without_files topics types unclosed unclosed_text unencrypted_nowhere
}

#[test]
fn every_file_has_a_snapshot() {
    at_the_root();
    let mut files: Vec<String> = std::fs::read_dir("tests/config")
        .expect("the folder is there")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"))
        .filter_map(|name| name.strip_suffix(".toml").map(str::to_owned))
        .collect();
    files.sort();
    assert_eq!(files, FILES);
}

#[test]
fn examples_are_fine() {
    at_the_root();
    for file in ["config/minimal.toml", "config/public.toml"] {
        Config::load(Path::new(file)).unwrap_or_else(|problems| panic!("{problems}"));
    }
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(Config::parse("", Path::new("empty.toml")).expect("nothing is wrong"), Config::default());
}

#[test]
fn files_that_cannot_be_read() {
    at_the_root();
    let large = std::env::temp_dir().join(format!("rialto-large-{}.toml", std::process::id()));
    std::fs::write(&large, "#".repeat(10 << 20)).expect("a place for a large file");
    let cases = [
        (Path::new("tests/config/none.toml"), "there is no such file"),
        (Path::new("tests/config"), "this is a folder"),
        (&large, "the file is larger than 1 MiB"),
    ];
    for (file, title) in cases {
        let problems = Config::load(file).expect_err(title);
        let found: Vec<_> = problems.iter().map(|problem| (problem.title(), problem.line())).collect();
        assert_eq!(found, [(title, None)]);
        assert!(problems.render(false).contains(&format!("--> {}", file.display())));
    }
    std::fs::remove_file(&large).expect("it was ours");
}

#[test]
fn a_flood_of_problems_is_counted() {
    let text = "x = 1\n".repeat(100_000);
    let problems = Config::parse(&text, Path::new("flood.toml")).expect_err("all but the first are duplicates");
    assert_eq!(problems.len(), 100_000);
    let shown = problems.render(false);
    assert_eq!(shown.matches("error: ").count(), 50);
    assert!(shown.ends_with("... and 99950 more\n\n100000 problems in flood.toml"));
}

#[test]
fn a_line_of_a_megabyte_is_cut() {
    let text = format!("[server]\n{}\"x\" = 1\n", "a.".repeat(10) + &"k".repeat(1_000_000) + ".");
    let shown = Config::parse(&text, Path::new("line.toml")).expect_err("an unknown key").render(false);
    assert!(shown.len() < 2_000, "{} bytes", shown.len());
}

#[test]
fn color_changes_nothing_else() {
    at_the_root();
    let problems = Config::load(Path::new("tests/config/four.toml")).expect_err("wrong");
    let colored = problems.render(true);
    let mut plain = String::new();
    for (index, part) in colored.split('\u{1b}').enumerate() {
        plain.push_str(if index == 0 { part } else { part.split_once('m').expect("a colour code").1 });
    }
    assert_ne!(colored, plain);
    assert_eq!(plain, problems.render(false));
}

/// Runs `rialto check` as an operator would.
fn check(args: &[&str]) -> (Output, String, String) {
    let output = Command::new(RIALTO).arg("check").args(args).current_dir(root()).output().expect("the program runs");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    (output, stdout, stderr)
}

#[test]
fn check_shows_problems_and_exits_with_2() {
    for name in ["four", "syntax", "latin1"] {
        let (output, stdout, stderr) = check(&[&format!("tests/config/{name}.toml")]);
        assert_eq!((output.status.code(), stdout.as_str()), (Some(2), ""), "{name}");
        assert_eq!(stderr, shown(name) + "\n", "{name}");
    }
    let (output, stdout, stderr) = check(&["tests/config/none.toml"]);
    assert_eq!((output.status.code(), stdout.as_str()), (Some(2), ""));
    assert!(stderr.starts_with("error: there is no such file\n"), "{stderr}");
}

#[test]
fn check_sums_up_what_is_fine_and_exits_with_0() {
    for name in ["minimal", "public"] {
        let (output, stdout, stderr) = check(&[&format!("config/{name}.toml")]);
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{name}");
        insta::assert_snapshot!(format!("check_{name}"), stdout);
    }
}

#[test]
fn check_takes_the_file_that_cargo_run_uses() {
    let (output, stdout, stderr) = check(&[]);
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
    insta::assert_snapshot!("check_rialto", stdout);
}

/// A secret as somebody may have it in a file, in its place in a line; `[` begins the section above the line.
const PLACES: &[(&str, &str)] = &[
    ("", "password = \"SECRET\""),
    ("", "SECRET = 1"),
    ("[secrets]", "token = \"SECRET\""),
    ("[server]", "colour = \"SECRET\""),
    ("[server]", "allowed_origins = [\"https://me:SECRET@host/\"]"),
    ("[limits]", "sessions_token = [\"SECRET\"]"),
    ("[sandbox]", "seed = { value = \"SECRET\" }"),
    ("[tls]", "key = \"SECRET\""),
    ("[tls]", "key = \"\"\"-----BEGIN PRIVATE KEY----- SECRET\"\"\""),
    ("[tls]", "passphrase = \"SECRET\""),
    ("[api]", "keys = \"SECRET\""),
    ("[api]", "keys = [\"SECRET\"]"),
    ("[api]", "keys = { SECRET = \"backend\" }"),
    ("[api]", "keys = [{ name = \"a\", key = \"SECRET\" }]"),
    ("[api]", "keys = [{ name = \"a\", secret_of_it = \"SECRET\" }]"),
    ("[api]", "keys = [{ name = \"SECRET\" }]"),
    ("[api]", "keys = [{ name = \"a\", sha256 = \"SECRET\" }]"),
    ("[api]", "keys = [{ name = \"a\", allow = [\"SECRET\"] }]"),
    ("[api]", "SECRET = [\"publish\"]"),
    ("[[api.keys]]", "sha256 = \"SECRET\""),
    ("[[api.keys]]", "key = \"SECRET\""),
    ("[[topic]]", "api_key = \"SECRET\""),
    ("[[topic]]", "history = { token = \"SECRET\" }"),
    ("[[endpoint]]", "header = \"Bearer SECRET\""),
    ("[plugin.a]", "grants = [\"SECRET\"]"),
    ("[plugin.a]", "grants = \"token SECRET\""),
    ("[plugin.a]", "path = \"https://me:SECRET@host/a.wasm\""),
    ("[plugin.a]", "config = { bot = \"SECRET\", ratio = nan }"),
    ("[plugin.a]", "config = { bots = [{ name = \"SECRET\" }], ratio = nan }"),
    ("[plugin.a]", "config = \"SECRET\""),
    ("[plugin.a]", "config = [\"SECRET\", 1]"),
    ("[plugin.a]", "config.bot = { name = \"SECRET\", ratio = inf }"),
    ("[plugin.a]", "bot = \"SECRET\""),
    ("[plugin.a.config]", "bot = [\"SECRET\", nan]"),
    ("[plugin.a.config]", "bot = { SECRET = nan }"),
    ("[plugin.a.config.deep]", "bot = [[\"SECRET\"], 1e999]"),
];

/// What may be wrong with a file beside that: the section and the line become a file.
type Mistake = fn(&str, &str) -> String;

const MISTAKES: &[Mistake] = &[
    |section, line| format!("{section}\n{line}\n"),
    |section, line| format!("{section}\n{line}\n{line}\n"),
    |section, line| format!("{section}\n{line}\n{section}\n{line}\n"),
    |section, line| format!("{section}\n{}\n", line.replace("\"SECRET\"", "SECRET")),
    |section, line| format!("{section}\n{}\n", line.replace("SECRET\"", "SECRET")),
    |section, line| format!("{section}\n{}\n", line.replace("SECRET", "\\q SECRET")),
    |section, line| format!("{section}\n{line} \"SECRET\"\n"),
    |section, line| format!("{section}\n{line} SECRET\n"),
    |section, line| format!("{section}\nx = 1 # {line}\nx = 2 # {line}\n"),
    |section, line| format!("{section}\n{}\n", line.replacen(" = ", " ", 1)),
    |section, line| format!("{section}\n{}\n", line.replacen(" = ", ": ", 1)),
    |section, line| format!("{section}\n{}\n", line.replacen(" = ", " == ", 1)),
    |section, line| format!("{}\n{line}\n", section.trim_end_matches(']')),
    |section, line| format!("{section}\nshards = \"\"\"\n{line}\n"),
    |section, line| format!("{section}\nlisten = [\n{line}\n"),
    |section, line| format!("{section}\n{line}\nSECRET\n\"SECRET\"\n[SECRET]\n"),
    |section, line| format!("{section}\n{}\n", line.replace([']', '}'], "")),
    |section, line| format!("{section}\n{}\n", line.replace("SECRET", "SECRET\n")),
    |section, line| format!("{section}\n{}\n", line.replace('"', "'")),
    |section, line| format!("[server\n{section}\n{line}\n"),
];

#[test]
fn no_mistake_shows_a_secret() {
    const SECRET: &str = "hunter2-7d1f9c3e-Zx";
    let mut wrong = 0;
    for (section, line) in PLACES {
        for mistake in MISTAKES {
            let text = mistake(section, line).replace("SECRET", SECRET);
            let Err(problems) = Config::parse(&text, Path::new("wrong.toml")) else { continue };
            wrong += 1;
            let hints = problems.iter().map(|problem| format!("{} {:?}", problem.title(), problem.hint()));
            for shown in hints.chain([problems.render(false), problems.render(true), format!("{problems:?}")]) {
                assert!(!shown.contains(SECRET), "{text}\n{shown}");
            }
        }
    }
    assert!(wrong >= PLACES.len() * (MISTAKES.len() - 1), "{wrong} files are wrong");
}

#[test]
fn check_shows_no_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    for (section, line) in PLACES {
        let file = folder.path().join("rialto.toml");
        std::fs::write(&file, format!("{section}\n{line}\n").replace("SECRET", "hunter2-7d1f9c3e-Zx")).expect("a file");
        let (output, stdout, stderr) = check(&[&file.display().to_string()]);
        assert_eq!((output.status.code(), stdout.as_str()), (Some(2), ""), "{line}");
        assert!(!stderr.contains("hunter2"), "{stderr}");
    }
}

proptest! {
    /// Whatever happens to a file: no panic, nothing shown that acts on a terminal, no secret.
    #[test]
    fn a_damaged_file_does_no_harm(
        at in any::<prop::sample::Index>(),
        length in 0..40usize,
        instead in "[\\[\\]{}=\"'#.a\n\u{1b}\u{9b}\u{202e}0 ]{0,4}",
    ) {
        let text = include_str!("../config/rialto.toml").replace("text_max = 2000", "api_key = \"hunter2\"");
        let at = at.index(text.len());
        let damaged = format!("{}{instead}{}", &text[..at], text.get(at + length..).unwrap_or_default());
        // Damage to the secret itself may leave something that is none any more.
        prop_assume!(damaged.contains("\napi_key = \"hunter2\""));
        let shown = harmless(&damaged)?;
        prop_assert!(!shown.contains("hunter2"), "{shown}");
    }

    /// Nor does a file that never was one.
    #[test]
    fn a_senseless_file_does_no_harm(parts in prop::collection::vec(prop::sample::select(PARTS), 0..40)) {
        harmless(&parts.concat())?;
    }
}

/// What senseless files are made of.
const PARTS: &[&str] = &[
    "[server]",
    "[limits]\n",
    "[[topic]]\n",
    "[plugin.a]",
    "[plugin.a.config]",
    "listen",
    "path",
    "pattern",
    "config",
    "=",
    " = ",
    "\"",
    "'''",
    "\"\"\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".",
    "1",
    "-",
    "é",
    "\r\n",
    "\n",
    "\n",
    "\n",
    "#",
    "\">\"",
    "\\",
    "\t",
    "\u{1b}",
    "\u{202e}",
    "nan",
    "true",
    "[[",
    "]]",
    "1979-05-27",
];

/// What is shown for a text, if it is wrong.
fn harmless(text: &str) -> Result<String, TestCaseError> {
    let shown = Config::parse(text, Path::new("harmless.toml")).err().map(|problems| problems.render(false));
    let shown = shown.unwrap_or_default();
    prop_assert!(!shown.contains(|c: char| c != '\n' && c.is_control() || c == '\u{202e}'), "{}", shown);
    Ok(shown)
}
