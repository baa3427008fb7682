//! Components for different versions of the plugin protocol side by side: which one is taken, and what each shows of sessions.

use std::path::Path;

use rialto::Codec;
use rialto::config::{Auth, Endpoint};
use rialto_plugin::recording::{Event, HostReply, Recording};
use rialto_plugin::{Payload, Session};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::authentication::passwords::user as password_of;
use crate::plugin_hooks::endpoints::{Socket, connect, next, say};
use crate::plugins::hosted::{Hosted, call, start};
use crate::support::component::{component, empty, hostile, module, roles, source, world_1_1};
use crate::support::token::{auth, shows_secret, token_of};
use crate::support::{Client, Running};

/// A session of a user with these claims.
async fn user(running: &Running, codec: Codec, claims: Value) -> Client {
    let mut client = running.client(codec).await;
    client.ok(json!({"type": "connect", "token": token_of("ann", claims)})).await;
    client
}

/// What a call is answered with, if there is any data.
async fn answer(client: &mut Client, method: char) -> Option<Value> {
    client.ok(call(method)).await.get("data").cloned()
}

fn with_users(wasm: &[u8]) -> Hosted {
    Hosted::of(wasm, |config, _| config.auth = Some(auth(true)))
}

#[tokio::test]
async fn a_component_for_1_1_is_told_roles_and_info() {
    let hosted = with_users(&roles());
    let info = json!({"name": "Ann", "tags": [1, null, "\u{e9}"]});
    for codec in Codec::ALL {
        let mut ann = user(&hosted, codec, json!({"roles": ["staff", "admin", "staff"], "info": info})).await;
        assert_eq!(answer(&mut ann, '0').await, Some(json!("admin")));
        assert_eq!(answer(&mut ann, '1').await, Some(json!("staff")));
        assert_eq!(answer(&mut ann, '2').await, None);
        assert_eq!(answer(&mut ann, 'i').await, Some(info.clone()));
        let mut plain = user(&hosted, codec, json!({})).await;
        let mut anonymous = hosted.client(codec).await;
        for client in [&mut plain, &mut anonymous] {
            assert_eq!((answer(client, '0').await, answer(client, 'i').await), (None, None));
        }
    }
}

#[tokio::test]
async fn a_component_for_1_1_is_told_the_roles_of_those_on_a_topic() {
    let hosted = with_users(&roles());
    let mut ann = user(&hosted, Codec::Json, json!({"roles": ["staff", "admin"]})).await;
    assert_eq!(answer(&mut ann, 'm').await, None, "nobody is there");
    ann.subscribe("hostile.a").await;
    let mut other = hosted.client(Codec::Json).await;
    assert_eq!(answer(&mut other, 'm').await, Some(json!("admin")));
}

#[tokio::test]
async fn a_component_for_1_0_works_as_before_beside_users_with_roles() {
    let hosted = with_users(&hostile());
    let mut ann = user(&hosted, Codec::Json, json!({"roles": ["staff"], "info": "Ann"})).await;
    ann.subscribe("hostile.a").await;
    ann.publish("hostile.a", json!("e")).await;
    for _ in 0..3 {
        ann.message().await;
    }
    assert_eq!(answer(&mut ann, '1').await, Some(json!(1)), "its state was written");
}

/// What a broker has recorded of a plugin that was made to trap by a user with a role, subscribed to its topic.
async fn recorded(folder: &Path, wasm: &[u8], calls: &[char]) -> Recording {
    let recordings = folder.join("recordings");
    let hosted = Hosted::of(wasm, |config, plugin| {
        config.auth = Some(auth(true));
        config.sandbox.recordings = recordings.clone();
        plugin.record = 100;
    });
    let mut ann = user(&hosted, Codec::Json, json!({"roles": ["admin"], "info": "Ann"})).await;
    ann.subscribe("hostile.a").await;
    for method in calls {
        ann.ok(call(*method)).await;
    }
    ann.refused(call('t'), "plugin_failed").await;
    let file = std::fs::read_dir(&recordings).unwrap().next().unwrap().unwrap().path();
    Recording::read(file).unwrap()
}

/// The session that the first event with one is about.
fn first_session(recording: &Recording) -> Session {
    let of = |event: &Event| match event {
        Event::OnSubscribe { session, .. } => Some(session.clone()),
        _ => None,
    };
    recording.steps.iter().find_map(|step| of(&step.event)).unwrap()
}

#[tokio::test]
async fn a_recording_has_what_the_version_shows() {
    let folder = tempfile::tempdir().unwrap();
    let old = first_session(&recorded(folder.path(), &hostile(), &[]).await);
    assert_eq!((old.user.as_deref(), old.roles, old.info), (Some("ann"), Vec::new(), None));

    let folder = tempfile::tempdir().unwrap();
    let recording = recorded(folder.path(), &roles(), &['0', 'i', 'm']).await;
    let new = first_session(&recording);
    let info = Payload::json("Ann").unwrap();
    assert_eq!((new.user.as_deref(), new.has_role("admin"), &new.info), (Some("ann"), true, &Some(info)));
    let listed = recording.steps.iter().flat_map(|step| &step.calls).find_map(|call| match &call.reply {
        HostReply::Sessions(sessions) => sessions.first().cloned(),
        _ => None,
    });
    assert_eq!(listed, Some(new));
    assert_eq!(Recording::parse(&recording.to_text()).unwrap(), recording);

    let (file, wasm) = (folder.path().join("one.jsonl"), folder.path().join("plugin.wasm"));
    std::fs::write(&file, recording.to_text()).unwrap();
    std::fs::write(&wasm, roles()).unwrap();
    let (same, text) = super::recording::replay(&file, &wasm);
    assert!(same && text.contains("no difference"), "{text}");
    // Another role than was recorded is another answer.
    std::fs::write(&file, recording.to_text().replace(r#""roles":["admin"]"#, r#""roles":["other"]"#)).unwrap();
    let (same, text) = super::recording::replay(&file, &wasm);
    assert!(!same && text.contains("first difference at event 2, on-call (0)"), "{text}");
}

/// Sends a secret on the raw endpoint, and what comes back.
async fn log_in(socket: &mut Socket, secret: &str) -> String {
    say(socket, Message::text(secret)).await;
    next(socket).await.to_text().unwrap().to_owned()
}

#[tokio::test]
async fn a_component_for_1_1_authenticates_a_session_and_its_recording_has_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let recordings = folder.path().join("recordings");
    let hosted = Hosted::of(&roles(), |config, plugin| {
        config.auth = Some(Auth { user: vec![password_of("ann", "correct horse", &["desk"])], ..auth(true) });
        config.endpoints.push(Endpoint { path: "/raw".to_owned(), plugin: "hostile".to_owned() });
        config.sandbox.recordings = recordings.clone();
        plugin.record = 100;
    });
    let mut socket = connect(&hosted, "/raw").await;
    assert_eq!(log_in(&mut socket, "battery staple").await, "the user or the secret is wrong");
    assert_eq!(log_in(&mut socket, &token_of("bob", json!({}))).await, "the user or the secret is wrong");
    assert_eq!(log_in(&mut socket, "correct horse").await, "ann");
    assert_eq!(log_in(&mut socket, &token_of("ann", json!({"roles": ["admin"]}))).await, "ann");
    hosted.client(Codec::Json).await.refused(call('t'), "plugin_failed").await;

    let file = std::fs::read_dir(&recordings).unwrap().next().unwrap().unwrap().path();
    let recording = Recording::read(&file).unwrap();
    let mut outcomes = Vec::new();
    for step in &recording.steps {
        if let Event::OnAuthenticated { session, refused } = &step.event {
            outcomes.push((session.user.as_deref(), session.roles.len(), refused.is_some()));
        }
        let calls = serde_json::to_string(&step.calls).unwrap();
        assert!(!calls.contains("horse") && !shows_secret(calls.as_bytes()), "{calls}");
    }
    assert_eq!(outcomes, [(None, 0, true), (None, 0, true), (Some("ann"), 1, false), (Some("ann"), 1, false)]);
    let wasm = folder.path().join("plugin.wasm");
    std::fs::write(&wasm, roles()).unwrap();
    let (same, text) = super::recording::replay(&file, &wasm);
    assert!(same && text.contains("no difference"), "{text}");
    let changed = std::fs::read_to_string(&file).unwrap().replace(r#""user":"ann"}"#, r#""user":"eve"}"#);
    std::fs::write(&file, changed).unwrap();
    let (same, text) = super::recording::replay(&file, &wasm);
    assert!(!same && text.contains("on-message"), "{text}");
}

/// What is reported to the operator about a component that is refused.
fn refused(wasm: &[u8]) -> String {
    start(wasm, json!({})).expect_err("it does not fit")
}

#[test]
fn core_modules_and_components_of_each_version_are_taken() {
    for wasm in [roles(), module(&source("roles")), empty(""), module(&source("empty"))] {
        assert!(start(&wasm, json!({})).is_ok());
    }
}

#[test]
fn what_is_missing_in_a_component_for_1_1_is_named_with_its_version() {
    for hook in ["on-timer", "on-authenticated"] {
        let without = source("roles").replace(&format!("hooks@1.1.0#{hook}"), "hooks@1.1.0#on-tides");
        let text = refused(&module(&without));
        assert!(text.contains("rialto:plugin/plugin@1.1.0") && text.contains(hook), "{text}");
    }
    let roles = "roles: list<string>,";
    assert!(world_1_1().contains(roles));
    let wit = world_1_1().replace(roles, "roles: list<u8>,");
    let text = refused(&component(&source("roles"), &wit));
    assert!(text.contains("does not fit the world rialto:plugin/plugin@1.1.0"), "{text}");
}

#[test]
fn a_manifest_for_another_version_than_the_hooks_is_refused() {
    let manifest = |protocol: &str| {
        let text = format!(r#"{{\"name\":\"n\",\"version\":\"1\",\"protocol\":\"{protocol}\"}}"#);
        format!(r#"(@custom "rialto:manifest" "{text}")"#)
    };
    assert!(start(&empty(&manifest("1.0.0")), json!({})).is_ok());
    for protocol in ["9.9.9", "1.1.0", "1.0"] {
        let text = refused(&empty(&manifest(protocol)));
        let expected = format!("its manifest is for version \"{protocol}\" of the protocol, its hooks for 1.0.0");
        assert!(text.contains(&expected), "{text}");
    }
}
