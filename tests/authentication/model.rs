//! Random rules, identities and requests against a naive reference: what it forbids is refused and never delivered, what it
//! allows works; also after rules and tokens have changed. Both codecs; WebSocket, streams, polls and raw endpoints; topics with and
//! without a plugin.
//!
//! `RIALTO_PERMISSIONS_FIRST` and `RIALTO_PERMISSIONS_SEEDS` choose other worlds, and more of them.

use rialto::config::{Auth, Config, Endpoint, History, Permission, TopicRule};
use rialto::topic::Pattern;
use rialto::{Codec, Payload, Tokens};
use rialto_plugin::{Call, Context, Plugin, Reply};
use serde_json::{Value, json};

use crate::support::dice::Dice;
use crate::support::token::{auth, now_s, token_of};
use crate::support::{Client, DEADLINE, Running, get, http, status, upgrade_request};

const TOPICS: [&str; 12] =
    ["a.x", "a.y", "a.ann", "b.ann", "b.bob", "b.d%2Et", "c.r1", "c.r2", "d.ann.r1", "d.bob.x", "ann.x", "e"];
const PATTERNS: [&str; 12] = [">", "*.*", "a.*", "b.*", "b.>", "c.*", "d.>", "*.ann", "*.x", "ann.*", "d.*.r1", "a.>"];
const RULES: [&str; 14] = [
    "a.*",
    "a.>",
    "b.{user}",
    "b.*",
    "c.{role}",
    "d.{user}.{role}",
    "d.{user}.*",
    "{user}.x",
    "{user}.{role}",
    "*.x",
    "*.*",
    "d.>",
    "a.{user}",
    ">",
];
const ENTRIES: [&str; 6] = ["anyone", "user", "token", "nobody", "role:r1", "role:r2"];
const GRANTS: [&str; 8] = ["a.*", "b.bob", "*.ann", ">", "c.>", "d.*.x", "e", "ann.*"];
const ACTIONS: [&str; 5] = ["subscribe", "publish", "history", "presence", "call"];
/// The rules whose topics a plugin owns.
const OWNED: [&str; 4] = ["b.*", "c.{role}", "d.>", "*.x"];

/// A plugin that refuses nothing, and tells who called.
#[derive(Default)]
struct Open;

impl Plugin for Open {
    fn on_call(&mut self, _: &mut Context, call: Call) -> rialto_plugin::Result<Reply> {
        let user = call.session.as_ref().and_then(|session| session.user.clone());
        Ok(call.reply(&user)?)
    }
}

/// A session's user.
#[derive(Clone, Debug)]
struct Who {
    user: Option<&'static str>,
    roles: Vec<&'static str>,
    /// By the index of the action.
    grants: [Vec<&'static str>; 5],
    /// How much later than now its token says that it was issued.
    issued_later_s: u64,
}

/// What is decided by, as the reference sees it.
#[derive(Clone, Debug)]
struct World {
    /// None: no authentication. Else whether sessions without a user are served.
    anonymous: Option<bool>,
    /// Pattern, and for each action who may, where something is said.
    rules: Vec<(&'static str, [Option<Vec<&'static str>>; 5])>,
}

fn tokens(text: &str) -> Vec<&str> {
    text.split('.').collect()
}

/// By the letter of the protocol's chapter on patterns; placeholders select like `*`.
fn selects(pattern: &str, topic: &str) -> bool {
    let (pattern, topic) = (tokens(pattern), tokens(topic));
    for (index, wanted) in pattern.iter().enumerate() {
        match (*wanted, topic.get(index)) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            ("*" | "{user}" | "{role}", Some(_)) => {}
            (wanted, Some(token)) if wanted == *token => {}
            _ => return false,
        }
    }
    pattern.len() == topic.len()
}

impl World {
    fn random(dice: &mut Dice) -> Self {
        let mut rules: Vec<(&'static str, _)> = Vec::new();
        for _ in 0..dice.within(1, 8) {
            let said = std::array::from_fn(|_| {
                dice.percent(70).then(|| (0..dice.within(1, 2)).map(|_| *dice.pick(&ENTRIES)).collect())
            });
            // A rule that no topic can reach is none.
            let pattern = *dice.pick(&RULES);
            let plain = |text: &str| Pattern::parse(&text.replace("{user}", "*").replace("{role}", "*")).unwrap();
            if !rules.iter().any(|(earlier, _)| plain(earlier).covers(&plain(pattern))) {
                rules.push((pattern, said));
            }
        }
        Self { rules, anonymous: *dice.pick(&[None, Some(true), Some(true), Some(false)]) }
    }

    /// The same authentication with other rules.
    fn changed(&self, dice: &mut Dice) -> Self {
        Self { anonymous: self.anonymous, ..Self::random(dice) }
    }

    fn apply(&self, config: &mut Config) {
        let permission =
            |said: &Option<Vec<&str>>| said.as_ref().map(|said| Permission::parse(said.iter().copied()).unwrap());
        config.auth = self.anonymous.map(|anonymous| Auth { leeway_ms: 0, ..auth(anonymous) });
        config.endpoints = vec![Endpoint { path: "/raw".to_owned(), plugin: "open".to_owned() }];
        config.topics = Vec::new();
        for (pattern, said) in &self.rules {
            config.topics.push(TopicRule {
                pattern: Pattern::parse(pattern).unwrap(),
                subscribe: permission(&said[0]),
                publish: permission(&said[1]),
                history_for: permission(&said[2]),
                presence_for: permission(&said[3]),
                call: permission(&said[4]),
                plugin: OWNED.contains(pattern).then(|| "open".to_owned()),
                patterns: Some(true),
                history: Some(History::default()),
                presence: true,
                ..TopicRule::default()
            });
        }
    }

    /// Whether somebody may do something; none where no rule is for the topic.
    fn permits(&self, who: &Who, action: usize, topic: &str) -> Option<bool> {
        let (pattern, said) = self.rules.iter().find(|(pattern, _)| selects(pattern, topic))?;
        let default = match (self.anonymous, action) {
            (None, _) | (Some(true), 0) => vec!["anyone"],
            _ => vec!["user"],
        };
        let said = said[action].clone().unwrap_or(default);
        let is_named = said.iter().any(|entry| match *entry {
            "anyone" => true,
            "user" => who.user.is_some(),
            "role:r1" => who.roles.contains(&"r1"),
            "role:r2" => who.roles.contains(&"r2"),
            _ => false,
        });
        let is_own = tokens(pattern).iter().zip(tokens(topic)).all(|(wanted, token)| match *wanted {
            "{user}" => who.user.is_some_and(|user| user.replace('.', "%2E") == token),
            "{role}" => who.roles.contains(&token),
            _ => true,
        });
        let is_listed = said.contains(&"token") && who.grants[action].iter().any(|pattern| selects(pattern, topic));
        Some((is_named && is_own) || is_listed)
    }

    /// Whether a plugin owns a topic.
    fn is_owned(&self, topic: &str) -> bool {
        let rule = self.rules.iter().find(|(pattern, _)| selects(pattern, topic));
        rule.is_some_and(|(pattern, _)| OWNED.contains(pattern))
    }

    /// The refusal of a request; `is_in` says whether who asks is subscribed to the topic by its name.
    fn expected(&self, who: &Who, action: usize, topic: &str, is_in: bool) -> Option<&'static str> {
        let is_owned = self.is_owned(topic);
        match (self.permits(who, action, topic), ACTIONS[action]) {
            (None, _) => Some("not_found"),
            (Some(false), _) => Some("forbidden"),
            // What a plugin owns it shows to those that it has let in.
            (Some(true), "history" | "presence") if is_owned && !is_in => Some("forbidden"),
            (Some(true), "call") if !is_owned => Some("not_found"),
            (Some(true), _) => None,
        }
    }
}

impl Who {
    fn all(dice: &mut Dice, world: &World) -> Vec<Self> {
        let mut all = vec![Self { user: None, roles: Vec::new(), grants: Default::default(), issued_later_s: 0 }];
        if world.anonymous.is_some() {
            all.extend(["ann", "bob", "d.t", "ann"].map(|user| Self::random(dice, user)));
        }
        if world.anonymous == Some(false) {
            all.remove(0);
        }
        all
    }

    fn random(dice: &mut Dice, user: &'static str) -> Self {
        let roles = ["r1", "r2"].into_iter().filter(|_| dice.percent(40)).collect();
        let grants = std::array::from_fn(|_| match dice.percent(40) {
            true => (0..dice.within(1, 3)).map(|_| *dice.pick(&GRANTS)).collect(),
            false => Vec::new(),
        });
        Self { user: Some(user), roles, grants, issued_later_s: 0 }
    }

    fn token(&self) -> Option<String> {
        let mut topics = json!({});
        for (action, grants) in ACTIONS.iter().zip(&self.grants) {
            topics[action] = json!(grants);
        }
        Some(token_of(self.user?, json!({"roles": self.roles, "topics": topics, "iat": now_s() + self.issued_later_s})))
    }
}

/// A session and what it should be subscribed to.
struct Guest {
    who: Who,
    client: Client,
    topics: Vec<&'static str>,
    patterns: Vec<&'static str>,
}

impl Guest {
    async fn enter(running: &Running, codec: Codec, who: Who) -> Self {
        let token = who.token().map(|token| format!("Bearer {token}"));
        let headers: Vec<(&'static str, &str)> = token.iter().map(|token| ("authorization", token.as_str())).collect();
        let client = Client::with_headers(running.address, codec, &headers).await;
        Self { who, client, topics: Vec::new(), patterns: Vec::new() }
    }

    fn is_due(&self, world: &World, topic: &str) -> bool {
        let by_name = self.topics.contains(&topic);
        let by_pattern = self.patterns.iter().any(|pattern| selects(pattern, topic));
        (by_name || by_pattern) && world.permits(&self.who, 0, topic) == Some(true)
    }
}

async fn live(seed: u64) -> u64 {
    let mut dice = Dice::new(seed, 17);
    let mut world = World::random(&mut dice);
    let running = Running::built(
        |config| {
            world.apply(config);
            config.limits.bad_requests_per_s = 10_000;
        },
        |builder| builder.plugin("open", Open::default),
    );
    let mut config = Config::default();
    config.server.hosts = ["a", "b", "x"].map(str::to_owned).to_vec();
    config.limits.bad_requests_per_s = 10_000;
    let mut guests = Vec::new();
    for (index, who) in Who::all(&mut dice, &world).into_iter().enumerate() {
        guests.push(Guest::enter(&running, Codec::ALL[index % 2], who).await);
    }
    let mut cases = 0;
    for round in 0..3 {
        let said = || format!("seed {seed} round {round}: {world:#?}");
        for guest in &mut guests {
            cases += requests(&world, guest, &mut dice, &said).await;
            cases += doors(&running, &world, &guest.who, &mut dice, &said).await;
        }
        cases += deliveries(&running, &world, &mut guests, &said).await;
        // Other rules, or other claims.
        if dice.percent(50) {
            world = world.changed(&mut dice);
            let mut wanted = config.clone();
            world.apply(&mut wanted);
            running.broker.reload(wanted).await.unwrap();
        } else {
            for guest in &mut guests {
                let Some(user) = guest.who.user else { continue };
                guest.who = Who { issued_later_s: guest.who.issued_later_s, ..Who::random(&mut dice, user) };
                let connect = json!({"type": "connect", "token": guest.who.token()});
                guest.client.ok(connect).await;
            }
        }
        if dice.percent(30) {
            revoke(&running, &mut guests, &mut dice).await;
        }
        let said = || format!("seed {seed} after round {round}: {world:#?}");
        for guest in &mut guests {
            settle(&world, guest, &said).await;
        }
        cases += deliveries(&running, &world, &mut guests, &said).await;
    }
    cases
}

/// Ends what the tokens of a user allow, once in a world. Whoever has one is closed, and comes back with one that is issued
/// later.
async fn revoke(running: &Running, guests: &mut [Guest], dice: &mut Dice) {
    let user = *dice.pick(&["ann", "bob"]);
    let is_meant = |guest: &Guest| guest.who.user == Some(user) && guest.who.issued_later_s == 0;
    let tokens: Vec<_> = guests.iter().map(|guest| guest.who.token()).collect();
    if !guests.iter().any(is_meant) {
        return;
    }
    running.broker.revoke(&Tokens::OfUser(user.into()), None).unwrap();
    for (index, guest) in guests.iter_mut().enumerate() {
        if !is_meant(guest) {
            continue;
        }
        assert_eq!(guest.client.closed().await, Some(4001));
        let codec = Codec::ALL[index % 2];
        let mut nobody = Client::with_headers(running.address, codec, &[]).await;
        nobody.refused(json!({"type": "connect", "token": tokens[index]}), "unauthorized").await;
        *guest = Guest::enter(running, codec, Who { issued_later_s: 60, ..guest.who.clone() }).await;
    }
}

/// Each request has the outcome that the reference says.
async fn requests(world: &World, guest: &mut Guest, dice: &mut Dice, said: &impl Fn() -> String) -> u64 {
    let mut cases = 0;
    for topic in TOPICS {
        for (action, name) in ACTIONS.iter().enumerate() {
            if dice.percent(50) {
                continue;
            }
            let mut request = json!({"type": name, "topic": topic});
            match *name {
                "publish" => (request["data"], request["echo"]) = (json!(0), json!(false)),
                "call" => (request["data"], request["method"]) = (json!(0), json!("who")),
                _ => {}
            }
            let reply = guest.client.request(request).await;
            let is_in = guest.topics.contains(&topic);
            let expected = world.expected(&guest.who, action, topic, is_in);
            assert_eq!(reply["code"].as_str(), expected, "{name} {topic} by {:?}: {reply}\n{}", guest.who, said());
            if *name == "call" && expected.is_none() {
                assert_eq!(reply["data"].as_str(), guest.who.user, "{reply}");
            }
            if *name == "subscribe" && expected.is_none() && !guest.topics.contains(&topic) {
                guest.topics.push(topic);
            }
            cases += 1;
        }
    }
    for pattern in PATTERNS {
        if dice.percent(60) || guest.patterns.contains(&pattern) {
            continue;
        }
        let reply = guest.client.request(json!({"type": "subscribe", "topic": pattern})).await;
        let is_any =
            TOPICS.iter().any(|topic| selects(pattern, topic) && world.permits(&guest.who, 0, topic) == Some(true));
        // There may be topics that are not in the list: then it is taken although none of these is delivered.
        assert!(reply["type"] == "ok" || !is_any, "{pattern} by {:?}: {reply}\n{}", guest.who, said());
        if reply["type"] == "ok" {
            guest.patterns.push(pattern);
        } else {
            assert_eq!(reply["code"], "forbidden");
        }
        cases += 1;
    }
    cases
}

/// Streams and polls decide the same.
async fn doors(running: &Running, world: &World, who: &Who, dice: &mut Dice, said: &impl Fn() -> String) -> u64 {
    let topic = *dice.pick(&TOPICS);
    let token = who.token().map_or(String::new(), |token| format!("&token={token}"));
    let expected = match world.expected(who, 0, topic, false) {
        None => 200,
        Some("not_found") => 404,
        Some(_) => 403,
    };
    let name = topic.replace('%', "%25");
    let polled = get(running.address, &format!("/poll?topic={name}&wait_ms=0{token}")).await;
    assert_eq!(polled.status, expected, "poll {topic} by {who:?}: {polled:?}\n{}", said());
    let streamed = status(running.address, &format!("/sse?topic={name}{token}")).await;
    assert_eq!(streamed, expected, "stream {topic} by {who:?}\n{}", said());
    let raw = async |token: &str| {
        let upgrade = upgrade_request(running.address, &[]).replace("GET /ws ", &format!("GET /raw?x-a=1{token} "));
        http(running.address, &upgrade).await.status
    };
    assert_eq!(raw(&token).await, 101, "raw endpoint by {who:?}\n{}", said());
    let stranger = if world.anonymous == Some(false) { 401 } else { 101 };
    assert_eq!(raw("").await, stranger, "raw endpoint by nobody\n{}", said());
    4
}

/// Whatever is published arrives where the reference says, and nowhere else.
async fn deliveries(running: &Running, world: &World, guests: &mut [Guest], said: &impl Fn() -> String) -> u64 {
    for guest in &mut *guests {
        guest.client.ping().await;
        guest.client.take_all();
    }
    for topic in TOPICS {
        let published = running.broker.publish(topic, Payload::json(&topic).unwrap()).await;
        let has_rule = world.rules.iter().any(|(pattern, _)| selects(pattern, topic));
        assert_eq!(published.is_ok(), has_rule, "{topic}: {published:?}\n{}", said());
    }
    let mut cases = 0;
    for guest in guests {
        guest.client.ping().await;
        guest.client.ping().await;
        let mut got: Vec<String> = Vec::new();
        for push in guest.client.take_all() {
            if push["type"] == "message" {
                got.push(push["data"].as_str().unwrap_or_default().to_owned());
            }
        }
        let due: Vec<&str> = TOPICS.into_iter().filter(|topic| guest.is_due(world, topic)).collect();
        got.sort_by_key(|topic| TOPICS.iter().position(|one| one == topic));
        assert_eq!(got, due, "delivered to {:?} with {:?} {:?}\n{}", guest.who, guest.topics, guest.patterns, said());
        cases += TOPICS.len() as u64;
    }
    cases
}

/// Waits until what is not permitted any more has ended. Nothing else may end, but for patterns that select nothing that is.
async fn settle(world: &World, guest: &mut Guest, said: &impl Fn() -> String) {
    let mut lost: Vec<&str> =
        guest.topics.iter().copied().filter(|topic| world.permits(&guest.who, 0, topic) != Some(true)).collect();
    let deadline = std::time::Instant::now() + DEADLINE;
    loop {
        guest.client.ping().await;
        for push in guest.client.take_all() {
            let push: Value = push;
            if push["type"] != "unsubscribed" {
                continue;
            }
            let topic = push["topic"].as_str().unwrap().to_owned();
            if let Some(place) = lost.iter().position(|one| *one == topic) {
                lost.remove(place);
            } else {
                let is_pattern = guest.patterns.iter().any(|pattern| *pattern == topic);
                assert!(is_pattern || push["code"] == "unavailable", "{push} for {:?}\n{}", guest.who, said());
                let delivers = |one: &&str| selects(&topic, one) && world.permits(&guest.who, 0, one) == Some(true);
                assert!(!is_pattern || !TOPICS.iter().any(delivers), "{push} for {:?}\n{}", guest.who, said());
                guest.patterns.retain(|pattern| *pattern != topic);
            }
            guest.topics.retain(|one| *one != topic);
        }
        if lost.is_empty() {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{lost:?} never ended for {:?}\n{}", guest.who, said());
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_is_permitted_works_and_nothing_else() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (first, seeds) = (number("RIALTO_PERMISSIONS_FIRST", 0), number("RIALTO_PERMISSIONS_SEEDS", 12));
    let mut cases = 0;
    for seed in first..first + seeds {
        cases += live(seed).await;
    }
    // Shown where it fails, and by `--no-capture`.
    let _ = std::io::Write::write_all(
        &mut std::io::stdout(),
        format!("{cases} cases of {seeds} worlds from seed {first}\n").as_bytes(),
    );
}
