//! The members of one topic, in the order in which they joined, with their grace periods. It has no clock and no lock, and
//! sends nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use rialto_protocol::Member;

/// The members of one topic. A member whose session has ended stays for its grace period, so that a user who reconnects
/// within it has not left.
#[derive(Debug, Default)]
pub(crate) struct Members {
    slots: BTreeMap<u64, MemberSlot>,
    /// The slot of each session.
    sessions: HashMap<Arc<str>, u64>,
    /// The slots of each user's members within their grace period.
    away: HashMap<Arc<str>, Vec<u64>>,
    /// The ends of grace periods and their slots, earliest first; some members have rejoined since.
    leaving: VecDeque<(u64, u64)>,
    next: u64,
}

#[derive(Debug)]
struct MemberSlot {
    member: Member,
    /// The end of its grace period.
    due_ms: Option<u64>,
}

impl Members {
    /// Adds a member. Returns whether that is a join: not when it is present already, nor when it rejoins within the
    /// grace period of a session of the same user.
    pub(crate) fn enter(&mut self, member: &Member) -> bool {
        let session = &member.session;
        if self.has(session) {
            return false;
        }
        if let Some(number) = self.rejoin(member) {
            let slot = self.slots.get_mut(&number).expect("a member within its grace period has a slot");
            let before = std::mem::replace(&mut slot.member, member.clone());
            slot.due_ms = None;
            self.sessions.remove(&before.session);
            self.sessions.insert(Arc::clone(session), number);
            return false;
        }
        self.slots.insert(self.next, MemberSlot { member: member.clone(), due_ms: None });
        self.sessions.insert(Arc::clone(session), self.next);
        self.next += 1;
        true
    }

    /// Removes a session: at once, or at the end of its grace period, which is never earlier than that of an earlier
    /// call. Returns the member if it has left now, as it joined.
    pub(crate) fn leave(&mut self, session: &str, due_ms: Option<u64>) -> Option<Member> {
        let number = self.sessions.get(session).copied()?;
        let slot = self.slots.get_mut(&number).expect("a session has a slot");
        if let (Some(due), Some(user)) = (due_ms, &slot.member.user) {
            if slot.due_ms.is_none() {
                slot.due_ms = due_ms;
                self.away.entry(Arc::clone(user)).or_default().push(number);
                self.leaving.push_back((due, number));
            }
            return None;
        }
        self.remove_slot(number)
    }

    /// Removes the members whose grace period has ended, and returns them.
    pub(crate) fn expire(&mut self, now_ms: u64) -> Vec<Member> {
        let mut expired = Vec::new();
        while let Some((due_ms, number)) = self.leaving.front().copied() {
            if due_ms > now_ms {
                break;
            }
            self.leaving.pop_front();
            // One that has rejoined, and perhaps left again since, has another end.
            if self.slots.get(&number).is_some_and(|slot| slot.due_ms == Some(due_ms)) {
                expired.extend(self.remove_slot(number));
            }
        }
        expired
    }

    /// When [`Members::expire`] may have something to do.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        self.leaving.front().map(|(due_ms, _)| *due_ms)
    }

    /// Whether a session is present and not within its grace period.
    pub(crate) fn has(&self, session: &str) -> bool {
        let slot = self.sessions.get(session).and_then(|number| self.slots.get(number));
        slot.is_some_and(|slot| slot.due_ms.is_none())
    }

    pub(crate) fn count(&self) -> usize {
        self.slots.len()
    }

    /// All members, in the order in which they joined.
    pub(crate) fn members(&self) -> Vec<Member> {
        self.slots.values().map(|slot| slot.member.clone()).collect()
    }

    /// The slot that a user takes over: that of the same session, or else of the one whose grace period ends first.
    fn rejoin(&mut self, member: &Member) -> Option<u64> {
        let user = member.user.as_ref()?;
        let away = self.away.get_mut(user)?;
        let own = self.sessions.get(&member.session);
        let slot = away.iter().position(|number| Some(number) == own).unwrap_or(0);
        let number = away.remove(slot);
        if away.is_empty() {
            self.away.remove(user);
        }
        Some(number)
    }

    fn remove_slot(&mut self, number: u64) -> Option<Member> {
        let MemberSlot { member, due_ms } = self.slots.remove(&number)?;
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
    use rialto_protocol::Payload;

    use super::*;

    fn member(session: u8, user: Option<u8>) -> Member {
        let user = user.map(|user| format!("u{user}").into());
        Member { user, ..Member::anonymous(format!("s{session}")) }
    }

    fn names(members: &Members) -> Vec<String> {
        members.members().iter().map(|member| member.session.to_string()).collect()
    }

    #[test]
    fn a_user_who_rejoins_within_the_grace_period_has_not_left() {
        let mut members = Members::default();
        assert!(
            members.enter(&member(1, Some(7)))
                && members.enter(&member(2, None))
                && !members.enter(&member(1, Some(7)))
        );
        assert!(members.leave("s1", Some(100)).is_none(), "within its grace period");
        assert!(!members.has("s1") && members.count() == 2);
        assert!(members.expire(99).is_empty());
        assert!(!members.enter(&member(3, Some(7))), "another session of the same user");
        assert_eq!((names(&members), members.away.len()), (vec!["s3".to_owned(), "s2".to_owned()], 0));
        assert!(members.expire(200).is_empty());
        assert!(members.leave("s1", Some(300)).is_none(), "it was replaced");
        assert!(members.leave("s2", Some(300)).is_some(), "a session without a user has no grace period");
        members.leave("s3", Some(300));
        assert!(members.enter(&member(4, Some(8))), "another user");
        assert_eq!(members.expire(300), [member(3, Some(7))]);
        assert_eq!(members.leave("s4", None), Some(member(4, Some(8))));
        assert_eq!((members.count(), members.sessions.len(), members.away.len()), (0, 0, 0));
    }

    #[test]
    fn a_member_shows_the_info_of_the_session_that_joined_last() {
        let with = |session, text: &str| {
            let info = Some(Arc::new(Payload::json(text).expect("a text")));
            Member { info, ..member(session, Some(7)) }
        };
        let mut members = Members::default();
        assert!(members.enter(&with(1, "first")) && members.enter(&with(2, "second")));
        assert!(!members.enter(&with(1, "later")), "it is present already");
        assert_eq!(members.members(), [with(1, "first"), with(2, "second")]);
        members.leave("s1", Some(100));
        assert!(!members.enter(&with(3, "third")), "another session of the user");
        assert_eq!(members.members(), [with(3, "third"), with(2, "second")]);
    }

    /// The joins and leaves that are reported add up to the members.
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

    /// Cases that have failed once are run first.
    fn config() -> ProptestConfig {
        let cases = FileFailurePersistence::Direct("tests/proptest-regressions/members.txt");
        ProptestConfig { failure_persistence: Some(Box::new(cases)), ..ProptestConfig::default() }
    }

    proptest! {
        #![proptest_config(config())]
        #[test]
        fn reported_joins_and_leaves_add_up(steps in steps()) {
            let (mut members, mut reported, mut now_ms) = (Members::default(), 0_usize, 0_u64);
            for step in steps {
                match step {
                    Step::Enter(session) => {
                        // Two sessions have no user, the others belong to two users.
                        let user = (session > 1).then_some(session % 2);
                        reported += usize::from(members.enter(&member(session, user)));
                    }
                    Step::Leave(session, at_once) => {
                        let due_ms = (!at_once).then_some(now_ms + 10);
                        reported -= usize::from(members.leave(&format!("s{session}"), due_ms).is_some());
                    }
                    Step::Expire(later) => {
                        now_ms += later;
                        reported -= members.expire(now_ms).len();
                        prop_assert!(members.next_due_ms().is_none_or(|due_ms| due_ms > now_ms));
                    }
                }
                prop_assert_eq!(members.count(), reported);
                prop_assert_eq!(members.sessions.len(), reported);
            }
        }
    }
}
