//! Who is present in one topic: a plain list of members in the order in which they came. It has no clock, no lock, and tells
//! nobody.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use rialto_protocol::Member;

/// The members of one topic. Those that left a moment ago stay until their time is over, so that whoever comes back within it
/// has not left.
#[derive(Debug, Default)]
pub(crate) struct Members {
    places: BTreeMap<u64, MemberSlot>,
    /// Where each session stands. Clients do not choose these names.
    sessions: HashMap<Arc<str>, u64>,
    /// Where the sessions of each user stand that are on their way out.
    away: HashMap<Arc<str>, Vec<u64>>,
    /// All that are or were on their way out, the first to leave first.
    leaving: VecDeque<(u64, u64)>,
    next: u64,
}

#[derive(Debug)]
struct MemberSlot {
    member: Member,
    /// When it has left, unless it is back by then.
    due_ms: Option<u64>,
}

impl Members {
    /// A member comes. Gives whether others notice: not when it is there already, nor when it takes the place of a session of
    /// the same user that left a moment ago.
    pub(crate) fn enter(&mut self, member: &Member) -> bool {
        let session = &member.session;
        if self.has(session) {
            return false;
        }
        if let Some(number) = self.come_back(member) {
            let place = self.places.get_mut(&number).expect("who is away has its place");
            let before = std::mem::replace(&mut place.member, member.clone());
            place.due_ms = None;
            self.sessions.remove(&before.session);
            self.sessions.insert(Arc::clone(session), number);
            return false;
        }
        self.places.insert(self.next, MemberSlot { member: member.clone(), due_ms: None });
        self.sessions.insert(Arc::clone(session), self.next);
        self.next += 1;
        true
    }

    /// A session goes: at once, or at a time until which its user may come back; such times never go back. Gives whether others
    /// notice it now.
    pub(crate) fn leave(&mut self, session: &str, due_ms: Option<u64>) -> bool {
        let Some(number) = self.sessions.get(session).copied() else { return false };
        let place = self.places.get_mut(&number).expect("a session has its place");
        if let (Some(due), Some(user)) = (due_ms, &place.member.user) {
            if place.due_ms.is_none() {
                place.due_ms = due_ms;
                self.away.entry(Arc::clone(user)).or_default().push(number);
                self.leaving.push_back((due, number));
            }
            return false;
        }
        self.take_out(number);
        true
    }

    /// Takes out those whose time is over by now.
    pub(crate) fn expire(&mut self, now_ms: u64) -> Vec<Member> {
        let mut gone = Vec::new();
        while let Some((due_ms, number)) = self.leaving.front().copied() {
            if due_ms > now_ms {
                break;
            }
            self.leaving.pop_front();
            // One that came back, and perhaps left again since, is not meant.
            if self.places.get(&number).is_some_and(|place| place.due_ms == Some(due_ms)) {
                gone.extend(self.take_out(number));
            }
        }
        gone
    }

    /// When [`Members::expire`] may have something to do next.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        self.leaving.front().map(|(due_ms, _)| *due_ms)
    }

    /// Whether a session is there and not on its way out.
    pub(crate) fn has(&self, session: &str) -> bool {
        let place = self.sessions.get(session).and_then(|number| self.places.get(number));
        place.is_some_and(|place| place.due_ms.is_none())
    }

    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }

    /// All members, in the order in which they came.
    pub(crate) fn members(&self) -> Vec<Member> {
        self.places.values().map(|place| place.member.clone()).collect()
    }

    /// The place that a user comes back to: that of the same session, or else of the one that left first.
    fn come_back(&mut self, member: &Member) -> Option<u64> {
        let user = member.user.as_ref()?;
        let away = self.away.get_mut(user)?;
        let own = self.sessions.get(&member.session);
        let place = away.iter().position(|number| Some(number) == own).unwrap_or(0);
        let number = away.remove(place);
        if away.is_empty() {
            self.away.remove(user);
        }
        Some(number)
    }

    fn take_out(&mut self, number: u64) -> Option<Member> {
        let MemberSlot { member, due_ms } = self.places.remove(&number)?;
        self.sessions.remove(&member.session);
        if let (Some(_), Some(user)) = (due_ms, &member.user)
            && let Some(away) = self.away.get_mut(user)
        {
            away.retain(|other| *other != number);
            if away.is_empty() {
                self.away.remove(user);
            }
        }
        Some(member)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::FileFailurePersistence;

    use super::*;

    fn member(session: u8, user: Option<u8>) -> Member {
        Member { session: format!("s{session}").into(), user: user.map(|user| format!("u{user}").into()) }
    }

    fn names(members: &Members) -> Vec<String> {
        members.members().iter().map(|member| member.session.to_string()).collect()
    }

    #[test]
    fn who_comes_back_in_time_has_not_left() {
        let mut members = Members::default();
        assert!(
            members.enter(&member(1, Some(7)))
                && members.enter(&member(2, None))
                && !members.enter(&member(1, Some(7)))
        );
        assert!(!members.leave("s1", Some(100)), "it may come back");
        assert!(!members.has("s1") && members.count() == 2);
        assert!(members.expire(99).is_empty());
        assert!(!members.enter(&member(3, Some(7))), "another session of the same user");
        assert_eq!((names(&members), members.away.len()), (vec!["s3".to_owned(), "s2".to_owned()], 0));
        assert!(members.expire(200).is_empty());
        assert!(!members.leave("s1", Some(300)), "it is gone already");
        assert!(members.leave("s2", Some(300)), "nobody comes back as a session without a user");
        members.leave("s3", Some(300));
        assert!(members.enter(&member(4, Some(8))), "another user");
        assert_eq!(members.expire(300), [member(3, Some(7))]);
        assert!(members.leave("s4", None));
        assert_eq!((members.count(), members.sessions.len(), members.away.len()), (0, 0, 0));
    }

    /// What others are told, played back, is who is there.
    #[derive(Clone, Debug)]
    enum Step {
        Enter(u8),
        Leave(u8, bool),
        Expire(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0_u8..6).prop_map(Step::Enter),
            (0_u8..6, any::<bool>()).prop_map(|(session, at_once)| Step::Leave(session, at_once)),
            (0_u64..20).prop_map(Step::Expire),
        ];
        prop::collection::vec(step, 0..60)
    }

    /// Cases that failed once are tried again first.
    fn config() -> ProptestConfig {
        let cases = FileFailurePersistence::Direct("tests/proptest-regressions/members.txt");
        ProptestConfig { failure_persistence: Some(Box::new(cases)), ..ProptestConfig::default() }
    }

    proptest! {
        #![proptest_config(config())]
        #[test]
        fn what_is_told_adds_up(steps in steps()) {
            let (mut members, mut told, mut now_ms) = (Members::default(), 0_usize, 0_u64);
            for step in steps {
                match step {
                    Step::Enter(session) => {
                        // Two sessions have no user, the others are of two users.
                        let user = (session > 1).then_some(session % 2);
                        told += usize::from(members.enter(&member(session, user)));
                    }
                    Step::Leave(session, at_once) => {
                        let due_ms = (!at_once).then_some(now_ms + 10);
                        told -= usize::from(members.leave(&format!("s{session}"), due_ms));
                    }
                    Step::Expire(later) => {
                        now_ms += later;
                        told -= members.expire(now_ms).len();
                        prop_assert!(members.next_due_ms().is_none_or(|due_ms| due_ms > now_ms));
                    }
                }
                prop_assert_eq!(members.count(), told);
                prop_assert_eq!(members.sessions.len(), told);
            }
        }
    }
}
