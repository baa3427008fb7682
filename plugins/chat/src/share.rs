//! How much of a limit that all clients share one of them may have.

/// From three quarters of the limit on, a client may have this part of what is free.
const PART_OF_FREE: u32 = 1000;

/// The most that one client may have while so many of `limit` are taken. Up to three quarters everything is free for all.
/// Then a client gets one more only while it has less than a part of what is free, and at least one: whoever has much gets
/// no more, and the share shrinks with the rest, so that very many clients are needed to leave nothing for the next one.
pub(crate) fn share(limit: u32, taken: u32) -> u32 {
    let free = limit.saturating_sub(taken);
    match u64::from(taken) * 4 < u64::from(limit) * 3 {
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
            (50_000, 0, 50_000),
            (50_000, 37_499, 50_000),
            (50_000, 37_500, 12),
            (50_000, 38_001, 11),
            (50_000, 49_999, 1),
            (50_000, 50_000, 1),
            (2, 1, 2),
            (1, 0, 1),
            (u32::MAX, u32::MAX, 1),
        ];
        for (limit, taken, expected) in table {
            assert_eq!(share(limit, taken), expected, "{taken} of {limit}");
        }
    }

    /// Each takes all that it may of 1,000 rooms, one after the other.
    #[test]
    fn it_takes_thousands_of_clients_to_leave_nothing() {
        let (mut taken, mut clients) = (0, 0);
        while taken < 50_000 {
            let mut has = 0;
            while taken < 50_000 && has < share(50_000, taken).min(1000) {
                (has, taken) = (has + 1, taken + 1);
            }
            clients += 1;
        }
        assert_eq!(clients, 4100);
    }
}
