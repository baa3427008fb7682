//! Components that do not fit, and plugins that do not start: the broker does not start either, and says why.

use serde_json::json;

use crate::plugins::hosted::start;
use crate::support::component::{component, empty, hostile, module, source, world};

/// What is reported to the operator about a component that is refused.
fn refused(wasm: &[u8]) -> String {
    match start(wasm, json!({})) {
        Ok(_) => panic!("a component that does not fit was taken"),
        Err(text) => {
            assert!(text.starts_with("plugin \"hostile\" (") && text.contains("plugin.wasm"), "{text}");
            assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
            text
        }
    }
}

fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}

#[test]
fn a_component_for_the_world_is_taken() {
    assert!(start(&empty(""), json!({})).is_ok());
    let broker = start(&hostile(), json!({"start": "-"})).unwrap();
    let status = &broker.plugins()[0];
    assert_eq!((status.name.as_str(), status.package.as_str(), status.hash.len()), ("hostile", "unnamed", 64));
}

#[test]
fn what_is_no_component_is_refused_with_what_it_is() {
    says(&refused(b""), &["not a WebAssembly component", "the file is empty"]);
    says(&refused(b"#!/bin/sh\necho hello\n"), &["not a WebAssembly component", "begin", "#!/bin/sh"]);
    says(&refused(&[0; 100]), &["not a WebAssembly component", "\\x00"]);
    says(&refused(b"\0asm"), &["not a WebAssembly component", "cut off", "4 bytes"]);
    says(&refused(b"(module)"), &["text format"]);
}

#[test]
fn a_core_module_with_the_names_of_the_world_is_taken() {
    assert!(start(&module(&source("hostile")), json!({"start": "-"})).is_ok());
    assert!(start(&module(&source("empty")), json!({})).is_ok());
}

#[test]
fn a_core_module_that_does_not_fit_is_refused_with_what_is_missing() {
    says(&refused(&module("(module)")), &["core module", "exports no hooks", "but nothing", "export!"]);
    says(&refused(&module(r#"(module (func (export "run")))"#)), &["exports no hooks", "\"run\""]);
    let without = source("empty").replace("hooks@1.0.0#on-call", "hooks@1.0.0#on-fall");
    says(&refused(&module(&without)), &["does not fit the world", "on-call"]);
    let newer = source("empty").replace("hooks@1.0.0", "hooks@2.0.0");
    says(&refused(&module(&newer)), &["version 2.0.0 of the protocol", "this broker has 1.0.0 and 1.1.0"]);
    let typed = source("empty").replace("#start\") (param i32", "#start\") (param i64");
    says(&refused(&module(&typed)), &["does not fit the world", "start"]);
}

#[test]
fn what_was_built_for_wasi_is_refused_with_how_to_build_it() {
    for import in ["wasi_snapshot_preview1", "wasi:filesystem/types@0.2.3"] {
        let import = format!("(module (import \"{import}\" \"x\" (func))");
        let text = refused(&module(&source("empty").replacen("(module", &import, 1)));
        says(&text, &["it imports \"wasi", "no WASI", "wasm32-unknown-unknown", "--stub-wasi", "disableFeatures"]);
    }
    let wit = world().replace("import system;", "import system;\n    import wasi:io/poll@0.2.3;");
    let wasi = "package wasi:io@0.2.3 { interface poll { wait: func(); } }";
    let import = r#"(module (import "wasi:io/poll@0.2.3" "wait" (func))"#;
    let text = refused(&component(&source("empty").replacen("(module", import, 1), &format!("{wit}\n{wasi}")));
    says(&text, &["it imports \"wasi:io/poll@0.2.3\"", "--stub-wasi"]);
    let import = r#"(module (import "__wbindgen_placeholder__" "x" (func))"#;
    says(&refused(&module(&source("empty").replacen("(module", import, 1))), &["wasm-bindgen"]);
}

#[test]
fn a_plugin_that_needs_what_is_not_granted_is_refused_with_the_line_that_grants_it() {
    let manifest =
        r#"(@custom "rialto:manifest" "{\"name\":\"n\",\"version\":\"1\",\"needs\":[\"state\",\"publish a.>\"]}")"#;
    let text = refused(&empty(manifest));
    says(&text, &["needs \"publish a.>\"", "not granted", "[plugin.hostile]", "\"sessions\", \"publish a.>\"]"]);
    assert!(start(&empty(&manifest.replace(",\\\"publish a.>\\\"", "")), json!({})).is_ok());
    says(&refused(&empty(&manifest.replace("publish a.>", "files"))), &["`files` is no capability"]);
}

#[test]
fn a_component_for_another_world_is_refused_with_what_is_missing() {
    let other = "package other:thing; world plugin { export run: func(); }";
    let text = refused(&component(r#"(module (func (export "run")))"#, other));
    says(&text, &["does not fit the world rialto:plugin/plugin@1.0.0", "hooks"]);

    let wit = world();
    let begin = wit.find("    on-call: func").unwrap();
    let end = begin + wit[begin..].find(";\n").unwrap() + 2;
    let text = refused(&component(&source("empty"), &format!("{}{}", &wit[..begin], &wit[end..])));
    says(&text, &["does not fit the world", "on-call"]);

    let wit = world().replace("start: func(config: string,", "start: func(config: u32,");
    let source = source("empty").replace("#start\") (param i32 i32 i32 i32 i32)", "#start\") (param i32 i32 i32 i32)");
    let text = refused(&component(&source, &wit));
    says(&text, &["does not fit the world", "start", "expected `string` found `u32`"]);
    assert!(!text.contains("trap"), "nothing of it was run: {text}");
}

#[test]
fn a_component_that_wants_more_than_there_is_is_refused_with_what_it_wants() {
    let wit = format!("{}\ninterface files {{ open: func(path: string) -> u32; }}", world());
    let wit = wit.replace("import system;", "import system;\n    import files;");
    let import = r#"(module (import "rialto:plugin/files@1.0.0" "open" (func (param i32 i32) (result i32)))"#;
    let text = refused(&component(&source("empty").replacen("(module", import, 1), &wit));
    says(&text, &["does not fit the world", "files"]);
}

#[test]
fn a_component_cut_off_anywhere_is_refused() {
    let whole = hostile();
    for part in 0..64 {
        refused(&whole[..whole.len() * part / 64]);
    }
    refused(&whole[..whole.len() - 1]);
}

#[test]
fn a_component_with_any_bit_flipped_is_refused_or_harmless() {
    let whole = empty("");
    for place in (0..whole.len()).step_by(7) {
        let mut flipped = whole.clone();
        flipped[place] ^= 1 << (place % 8);
        if let Err(text) = start(&flipped, json!({})) {
            assert!(text.starts_with("plugin \"hostile\""), "{text}");
        }
    }
}

#[test]
fn a_plugin_that_asks_for_too_much_from_the_beginning_is_refused() {
    let large = source("empty").replace("(export \"memory\") 2)", "(export \"memory\") 65536)");
    says(&refused(&component(&large, &world())), &["memory"]);
    says(&refused(&empty("(table 100000000 funcref)")), &["cannot start"]);
    says(&refused(&empty("(table 10000000 funcref)")), &["cannot start"]);
}

#[test]
fn a_plugin_that_fails_in_start_keeps_the_broker_from_starting_and_says_why() {
    let wasm = hostile();
    for (letter, words) in [
        ('t', "unreachable"),
        ('l', "50 ms"),
        ('m', "memory_bytes"),
        ('r', "stack"),
        ('f', "host_calls"),
        ('F', "output_bytes"),
        ('S', "good sentence"),
        ('y', "50 ms"),
        ('8', "50 ms"),
        ('9', "unreachable"),
    ] {
        let text = start(&wasm, json!({ "start": letter })).err().unwrap_or_else(|| panic!("{letter}: it started"));
        says(&text, &["plugin \"hostile\"", "cannot start", words]);
    }
}

#[test]
fn a_plugin_that_loops_or_traps_before_it_starts_is_stopped_too() {
    let text = refused(&empty("(func $begin (loop $again (br $again))) (start $begin)"));
    says(&text, &["cannot start", "50 ms"]);
    let text = refused(&empty("(func $begin unreachable) (start $begin)"));
    says(&text, &["cannot start", "unreachable"]);
}

#[test]
fn a_component_over_the_size_limit_or_absent_is_refused() {
    let padding = format!("(data (i32.const 0) \"{}\")", "x".repeat(70_000));
    let mut config = rialto::config::Config::default();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plugin.wasm");
    std::fs::write(&path, empty(&padding)).unwrap();
    let plugin = rialto::config::PluginConfig { path, required: true, component_bytes: 65_536, ..Default::default() };
    config.plugins.insert("hostile".to_owned(), plugin);
    let text = rialto::Broker::builder().config(config.clone()).start().unwrap_err().to_string();
    says(&text, &["plugin \"hostile\"", "65536"]);
    config.plugins.get_mut("hostile").unwrap().path = folder.path().join("nothing.wasm");
    let text = rialto::Broker::builder().config(config).start().unwrap_err().to_string();
    says(&text, &["nothing.wasm", "No such file"]);
}
