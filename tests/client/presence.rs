//! Presence as a client sees it, over a restart too.

use rialto::config::TopicRule;
use rialto_client::{Codec, ErrorCode, Item, Topic};

use super::{builder, connect, message, next};
use crate::support::{Running, within};

fn attended(listen: Option<std::net::SocketAddr>) -> Running {
    Running::with(|config| {
        config.topics = vec![TopicRule { presence: true, ..TopicRule::default() }];
        config.topics[0].pattern = rialto::topic::Pattern::parse("room.*").unwrap();
        config.topics.push(TopicRule::default());
        config.limits.presence_grace_ms = 0;
        config.limits.close_ms = 50;
        if let Some(listen) = listen {
            config.server.listen = vec![listen];
        }
    })
}

#[tokio::test]
async fn members_come_and_go() {
    for codec in Codec::ALL {
        let running = attended(None);
        let (one, other) = (connect(&running, codec).await, connect(&running, codec).await);
        let mut room = one.subscribe(Topic::new("room.a").presence()).await.unwrap();
        let Item::Presence { present, .. } = next(&mut room).await else { panic!("who is there comes first") };
        assert_eq!(present.count, 1);
        let own = present.members.unwrap().remove(0);
        let visit = other.subscribe("room.a").await.unwrap();
        let Item::Join { topic, member } = next(&mut room).await else { panic!("a member joined") };
        assert_eq!((&*topic, member.session == own.session), ("room.a", false));
        let present = other.presence("room.a").await.unwrap();
        assert_eq!((present.count, present.members.unwrap()), (2, vec![own, member.clone()]));
        drop(visit);
        let Item::Leave { member: gone, .. } = next(&mut room).await else { panic!("a member left") };
        assert_eq!(gone, member);
        let refused = other.presence("elsewhere").await.unwrap_err();
        assert_eq!(refused.code(), Some(ErrorCode::Unavailable));
    }
}

#[tokio::test]
async fn presence_can_be_asked_for_later_and_comes_again_after_a_restart() {
    let running = attended(None);
    let address = running.address;
    let client = builder(address, Codec::Json).connect().await.unwrap();
    let mut room = client.subscribe("room.a").await.unwrap();
    client.publish("room.a", &1).await.unwrap();
    message(&mut room).await;
    room.change("room.a", None, true).await.unwrap();
    let Item::Presence { present, .. } = next(&mut room).await else { panic!("who is there") };
    assert_eq!(present.count, 1);
    drop(running);
    let _running = attended(Some(address));
    let Item::Resumed(_) = within("the return", room.next()).await.unwrap() else { panic!("it goes on") };
    let Item::Presence { present: again, .. } = next(&mut room).await else { panic!("who is there now") };
    assert_ne!(present.members, again.members, "the session is another one");
}
