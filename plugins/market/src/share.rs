//! How much of a limit that all clients share one of them may have.

/// From three quarters of the limit on, a client may have this part of what is free.
const PART_OF_FREE: u64 = 16;

/// The most that one client may have while so many of `limit` are taken. Up to three quarters everything is free for all.
/// Then a client gets one more only while it has less than a part of what is free, and at least one: whoever has much gets
/// no more, and the share shrinks with the rest, so that many clients are needed to leave nothing for the next one.
pub(crate) fn share(limit: u64, taken: u64) -> u64 {
    let free = limit.saturating_sub(taken);
    match taken * 4 < limit * 3 {
        true => limit,
        false => (free / PART_OF_FREE).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_quarters_are_free_for_all() {
        let table = [
            (300, 0, 300),
            (300, 224, 300),
            (300, 225, 4),
            (300, 252, 3),
            (300, 299, 1),
            (300, 300, 1),
            (2, 1, 2),
            (1, 0, 1),
        ];
        for (limit, taken, expected) in table {
            assert_eq!(share(limit, taken), expected, "{taken} of {limit}");
        }
    }

    /// Each takes all that it may, one after the other.
    #[test]
    fn it_takes_many_clients_to_leave_nothing() {
        let (mut taken, mut clients) = (0, 0);
        while taken < 300 {
            let mut has = 0;
            while taken < 300 && has < share(300, taken) {
                (has, taken) = (has + 1, taken + 1);
            }
            clients += 1;
        }
        assert_eq!(clients, 49);
    }
}
