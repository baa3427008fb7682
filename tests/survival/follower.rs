//! The subscriptions of a client over all its sessions, and everything about them that goes into the log.

use rialto_checker::Fact;
use serde_json::{Value, json};

use super::book::Book;
use super::views::{View, Views, payload, position, reason};

/// What one client follows.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    pub(crate) session: u64,
    pub(crate) views: Views,
}

impl Follower {
    pub(crate) fn begin(&mut self, client: u64, welcome: &Value, book: &Book) {
        self.session = book.number();
        let node = welcome["node"].as_str().expect("a node").to_owned();
        book.write(Fact::Connected { session: self.session, client, node });
    }

    pub(crate) fn end(&mut self, book: &Book) {
        book.write(Fact::Disconnected { session: self.session });
        self.views.retain(|_, view| !view.is_leaving);
        self.views.values_mut().for_each(View::lose);
    }

    /// The subscription to these topics, each from where it was; the type and the id are still to be added.
    pub(crate) fn asks(&mut self, topics: &[String], book: &Book) -> Value {
        let mut requests = Vec::new();
        for topic in topics {
            let view = self.views.get_mut(topic).expect("it is followed");
            view.is_pending = true;
            requests.push(view.request(topic));
            let (topic, since, last) = (topic.clone(), view.seen.clone(), Some(view.last));
            book.write(Fact::Subscribing { session: self.session, topic, since, last });
        }
        if requests.len() == 1 { requests.remove(0) } else { json!({"topics": requests}) }
    }

    /// The answer to it.
    pub(crate) fn answered(&mut self, topics: Vec<String>, reply: &Value, book: &Book) {
        for (index, topic) in topics.into_iter().enumerate() {
            let item = reply.get("topics").map_or(reply, |items| &items[index]);
            assert_eq!(item["topic"], json!(topic), "{reply}");
            let (position, recovered) = (position(&item["position"]), item["recovered"].as_bool());
            let view = self.views.get_mut(&topic).expect("it is followed");
            view.begin(&position, recovered);
            let early = std::mem::take(&mut view.early);
            book.write(Fact::Subscribed { session: self.session, topic, position, recovered });
            early.into_iter().for_each(|frame| self.push(frame, book));
        }
    }

    /// A message or a gap.
    pub(crate) fn push(&mut self, frame: Value, book: &Book) {
        let session = self.session;
        let topic = frame["topic"].as_str().expect("a topic").to_owned();
        let number = |name: &str| frame[name].as_u64().unwrap_or_else(|| panic!("no {name} in {frame}"));
        let mut nobodys = View { epoch: Some("none".to_owned()), ..View::default() };
        // That it is nobody's is for the checker to say.
        let view = self.views.get_mut(&topic).unwrap_or(&mut nobodys);
        if view.epoch.is_none() {
            view.early.push(frame);
            return;
        }
        if frame["type"] == "gap" {
            let (from, to, reason) = (number("from"), number("to"), reason(&frame["reason"]));
            view.reach(to);
            book.write(Fact::Gap { session, topic, from, to, reason });
        } else {
            let (position, payload) = (view.reach(number("offset")), payload(&frame));
            book.write(Fact::Delivered { session, topic, position, payload });
        }
    }
}
