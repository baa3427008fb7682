//! Whatever meets: what a session was told, played back, is who is there in the end.

use std::collections::BTreeSet;

use rialto::Codec;
use serde_json::{Value, json};

use super::{attended, follow};
use crate::support::{Client, Running};

const COMERS: usize = 8;
const ROUNDS: usize = 30;

/// Comes and goes, sometimes by name, sometimes by hanging up, and stays in the end.
async fn come_and_go(running: &Running, comer: usize) -> Client {
    let mut client = running.client(Codec::ALL[comer % 2]).await;
    for round in 0..ROUNDS {
        client.subscribe("t").await;
        match (comer + round) % 3 {
            0 => drop(client.ok(json!({"type": "unsubscribe", "topic": "t"})).await),
            1 => {
                drop(client);
                client = running.client(Codec::ALL[round % 2]).await;
            }
            _ => {}
        }
    }
    client.subscribe("t").await;
    client
}

fn sessions(members: &Value) -> BTreeSet<String> {
    members.as_array().unwrap().iter().map(|member| member["session"].as_str().unwrap().to_owned()).collect()
}

/// Follows again and again, in the middle of all that, and keeps its list by what it is told.
async fn witness(running: &Running, turns: usize) -> (Client, BTreeSet<String>) {
    let mut client = running.client(Codec::Json).await;
    let mut known = BTreeSet::new();
    for _ in 0..turns {
        let reply = follow(&mut client, "t").await;
        // What was pushed before the answer belongs to the list before.
        client.take_all();
        known = sessions(&reply["members"]);
        for _ in 0..3 {
            client.ping().await;
            play(&mut client, &mut known);
        }
    }
    (client, known)
}

fn play(client: &mut Client, known: &mut BTreeSet<String>) {
    for push in client.take_all() {
        let session = push["member"]["session"].as_str().unwrap_or_else(|| panic!("{push}")).to_owned();
        if push["type"] == "join" {
            assert!(known.insert(session), "{push} though it was there");
        } else {
            assert!(known.remove(&session), "{push} though it was not there");
        }
    }
}

#[tokio::test]
async fn what_is_told_adds_up() {
    for turns in [1, 20] {
        let running = attended(|_| {});
        let comers = futures_util::future::join_all((0..COMERS).map(|comer| come_and_go(&running, comer)));
        let witnesses = futures_util::future::join_all((0..3).map(|_| witness(&running, turns)));
        let (comers, mut witnesses) = futures_util::future::join(comers, witnesses).await;
        crate::support::eventually("those that disconnected have left", || {
            running.broker.presence("t").unwrap().count == (COMERS + 3) as u64
        })
        .await;
        let there = running.broker.presence("t").unwrap().members.unwrap();
        let there: BTreeSet<String> = there.iter().map(|member| member.session.to_string()).collect();
        for (client, known) in &mut witnesses {
            client.ping().await;
            play(client, known);
            assert_eq!(*known, there);
        }
        drop((comers, witnesses));
        running.becomes_empty().await;
    }
}
