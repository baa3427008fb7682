//! The rules for host calls as one table, which the test double and the broker both run: a call, and the refusal that it
//! gets.

use rialto_plugin::prelude::*;

/// What the plugin of the table needs: not `timers`.
pub(crate) const NEEDS: [&str; 4] = ["state", "sessions", "publish outside.*", "subscribe outside.*"];

/// A plugin whose method `try` makes one host call and replies with the refusal, or with an empty text.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tester;

impl Plugin for Tester {
    fn on_call(&mut self, ctx: &mut Context, call: Call) -> Result<Reply> {
        let words: Vec<String> = call.data()?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let session = Session::new(words.get(1).copied().unwrap_or_default());
        let done = match *words {
            ["publish", topic] => ctx.publish(topic, &1),
            ["remove", topic] => ctx.remove(topic, 1),
            ["send", _, kind] => ctx.send(&session, &json!({ "type": kind })),
            ["send-raw", _] => ctx.send_raw(&session, Raw::Text("hello".to_owned())),
            ["subscribe", _, topic] => ctx.subscribe(&session, topic),
            ["list", topic] => ctx.sessions(topic).page(None, 10).map(drop),
            ["timer", name] => ctx.set_timer(name, 10),
            ["put", table] => ctx.state::<u64>(table).put("", &1),
            _ => return Err(reject("no such call")),
        };
        Ok(call.reply(&done.err().map(|refusal| refusal.to_string()).unwrap_or_default())?)
    }
}

/// Each call, and the text of its refusal; empty where it is allowed.
pub(crate) fn cases() -> Vec<(Vec<String>, String)> {
    let long = "k".repeat(1024);
    let many = ["a"; 17].join(".");
    let table: &[(&[&str], &str)] = &[
        (&["publish", "rules.b"], ""),
        (&["publish", "outside.a"], ""),
        (&["publish", "outside.a.b"], "forbidden: topic \"outside.a.b\" does not belong to this plugin"),
        (&["publish", ""], "invalid: topic is empty"),
        (&["publish", "a*b"], "invalid: topic \"a*b\": `*` at 1 is only for patterns"),
        (&["publish", "a>b"], "invalid: topic \"a>b\": `>` at 1 is only for patterns"),
        (&["publish", "rules.*"], "invalid: topic \"rules.*\": `*` at 6 is only for patterns"),
        (&["publish", "a.\u{200b}b"], "invalid: topic \"a.\\u{200b}b\": invisible character U+200B at 2"),
        (&["publish", "a..b"], "invalid: topic \"a..b\": empty token at 2"),
        (&["publish", "$x.y"], "invalid: topic \"$x.y\": names starting with `$` belong to the broker"),
        (&["publish", &many], "invalid: topic \"a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a\": 17 tokens, at most 16"),
        (&["remove", "rules.b"], ""),
        (&["remove", "outside.a"], "forbidden: topic \"outside.a\" does not belong to this plugin"),
        (&["remove", "a..b"], "invalid: topic \"a..b\": empty token at 2"),
        (&["send", "nobody", "x-a"], "forbidden: no session \"nobody\" is on a topic or an endpoint of this plugin"),
        (&["send-raw", "no\nbody"], "forbidden: no session \"nobody\" is on a topic or an endpoint of this plugin"),
        (
            &["subscribe", "nobody", "rules.b"],
            "forbidden: no session \"nobody\" is on a topic or an endpoint of this plugin",
        ),
        (&["list", "rules.a"], ""),
        (&["list", "outside.a"], "forbidden: topic \"outside.a\" does not belong to this plugin"),
        (&["timer", "t"], "forbidden: the plugin has not the capability `timers`"),
        (&["put", "table"], ""),
        (&["put", &long], "invalid: a key has 1 to 1024 bytes, this one has 1025"),
    ];
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    table.iter().map(|(words, refusal)| (owned(words), (*refusal).to_owned())).collect()
}
