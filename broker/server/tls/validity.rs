//! From when until when a certificate is valid, and what there is to say about it at a given time. It has no clock.

use std::fmt;

use rustls::pki_types::CertificateDer;

const DAY_S: i64 = 86_400;

/// The time a certificate names, in Unix seconds, both ends included (RFC 5280 section 4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from_s: i64,
    pub(super) until_s: i64,
}

/// What a certificate is worth at a given time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// Not valid yet, for so many seconds.
    Early(i64),
    Good,
    /// Valid, but only for so many seconds more.
    Short(i64),
    /// Not valid any more, since so many seconds.
    Over(i64),
}

impl Validity {
    /// What stands in a certificate; none if it is not one.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (rest, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let validity = parsed.validity();
        let it = Self { from_s: validity.not_before.timestamp(), until_s: validity.not_after.timestamp() };
        rest.is_empty().then_some(it)
    }

    /// What it is worth now, if `warn_days` before the end count as short.
    pub(super) fn worth(&self, now_s: i64, warn_days: u32) -> Worth {
        let left = self.until_s - now_s;
        match self.from_s - now_s {
            _ if left < 0 => Worth::Over(-left),
            wait if wait > 0 => Worth::Early(wait),
            _ if left < i64::from(warn_days) * DAY_S => Worth::Short(left),
            _ => Worth::Good,
        }
    }
}

impl Worth {
    /// Whether clients that look at the time accept it.
    pub(super) fn is_valid(self) -> bool {
        matches!(self, Self::Good | Self::Short(_))
    }

    /// Whether its end is near or past.
    pub(super) fn is_ending(self) -> bool {
        matches!(self, Self::Short(_) | Self::Over(_))
    }
}

impl fmt::Display for Worth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Early(seconds) => write!(f, "becomes valid in {}", Span(*seconds)),
            Self::Good => f.write_str("is valid"),
            Self::Short(seconds) => write!(f, "expires in {}", Span(*seconds)),
            Self::Over(seconds) => write!(f, "expired {} ago", Span(*seconds)),
        }
    }
}

/// A time as people say it.
struct Span(i64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = match self.0 {
            seconds @ ..120 => (seconds, "second"),
            seconds @ 120..7_200 => (seconds / 60, "minute"),
            seconds @ 7_200..172_800 => (seconds / 3_600, "hour"),
            seconds => (seconds / DAY_S, "day"),
        };
        write!(f, "{count} {unit}{}", if count == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_has_its_worth() {
        let validity = Validity { from_s: 1_000_000, until_s: 3_000_000 };
        for (now_s, days, worth, text) in [
            (999_999, 14, Worth::Early(1), "becomes valid in 1 second"),
            (1_000_000, 14, Worth::Good, "is valid"),
            (3_000_000 - 14 * DAY_S, 14, Worth::Good, "is valid"),
            (3_000_000 - 14 * DAY_S + 1, 14, Worth::Short(14 * DAY_S - 1), "expires in 13 days"),
            (3_000_000 - 7_200, 14, Worth::Short(7_200), "expires in 2 hours"),
            (3_000_000 - 7_200, 0, Worth::Good, "is valid"),
            (3_000_000, 1, Worth::Short(0), "expires in 0 seconds"),
            (3_000_001, 0, Worth::Over(1), "expired 1 second ago"),
            (3_000_000 + 300, 14, Worth::Over(300), "expired 5 minutes ago"),
        ] {
            let got = validity.worth(now_s, days);
            assert_eq!((got, got.to_string().as_str()), (worth, text), "at {now_s}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_validity() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let whole = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let whole = whole.self_signed(&key).expect("signed").der().to_vec();
        assert!(Validity::of(&CertificateDer::from(whole.clone())).is_some());
        for bytes in [&whole[..whole.len() - 1], &[&whole[..], b"\0"].concat(), &key.serialize_der(), b""] {
            assert_eq!(Validity::of(&CertificateDer::from(bytes.to_vec())), None);
        }
    }
}
