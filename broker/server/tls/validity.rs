//! The validity of a certificate, and its status at a given time. It has no clock.

use std::fmt;

use der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use der::{Decode, Reader, SliceReader, Tag, Tagged};
use rustls::pki_types::CertificateDer;

const DAY_S: i64 = 86_400;

/// From when until when a certificate is valid, in Unix seconds, both included (RFC 5280 section 4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from_s: i64,
    pub(super) until_s: i64,
}

/// The status of a certificate at a given time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CertificateStatus {
    /// Becomes valid in this many seconds.
    NotYetValid(i64),
    Valid,
    /// Valid, but expires soon: in this many seconds.
    ExpiresSoon(i64),
    /// Expired this many seconds ago.
    Expired(i64),
}

impl Validity {
    /// The validity of a certificate; none if it cannot be parsed.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        read(certificate).ok()
    }

    /// The status at a time; within `warn_days` before the end it expires soon.
    pub(super) fn status(&self, now_s: i64, warn_days: u32) -> CertificateStatus {
        let left = self.until_s - now_s;
        match self.from_s - now_s {
            _ if left < 0 => CertificateStatus::Expired(-left),
            wait if wait > 0 => CertificateStatus::NotYetValid(wait),
            _ if left < i64::from(warn_days) * DAY_S => CertificateStatus::ExpiresSoon(left),
            _ => CertificateStatus::Valid,
        }
    }
}

/// Reads the validity of a certificate in DER (RFC 5280 section 4.1); of the rest it only checks that it is there.
fn read(certificate: &[u8]) -> der::Result<Validity> {
    let mut reader = SliceReader::new(certificate)?;
    let validity = reader.sequence(|certificate| {
        let validity = certificate.sequence(|signed| {
            // The version is optional; then come the serial number, the algorithm and the issuer.
            if AnyRef::decode(signed)?.tag().is_context_specific() {
                AnyRef::decode(signed)?;
            }
            AnyRef::decode(signed)?;
            AnyRef::decode(signed)?;
            let validity = signed.sequence(|validity| {
                Ok::<_, der::Error>(Validity { from_s: read_time(validity)?, until_s: read_time(validity)? })
            })?;
            while !signed.is_finished() {
                AnyRef::decode(signed)?;
            }
            Ok::<_, der::Error>(validity)
        })?;
        // The algorithm and the signature.
        AnyRef::decode(certificate)?;
        AnyRef::decode(certificate)?;
        Ok::<_, der::Error>(validity)
    })?;
    reader.finish()?;
    Ok(validity)
}

/// A time in Unix seconds. Certificates have two-digit years until 2049, four digits later.
fn read_time<'a>(reader: &mut impl Reader<'a>) -> der::Result<i64> {
    let since_1970 = match Tag::peek(reader)? {
        Tag::UtcTime => UtcTime::decode(reader)?.to_unix_duration(),
        _ => GeneralizedTime::decode(reader)?.to_unix_duration(),
    };
    Ok(i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX))
}

impl CertificateStatus {
    /// Whether clients accept it.
    pub(super) fn is_valid(self) -> bool {
        matches!(self, Self::Valid | Self::ExpiresSoon(_))
    }

    /// Whether it expires soon or has expired.
    pub(super) fn is_ending(self) -> bool {
        matches!(self, Self::ExpiresSoon(_) | Self::Expired(_))
    }
}

impl fmt::Display for CertificateStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYetValid(seconds) => write!(f, "becomes valid in {}", Span(*seconds)),
            Self::Valid => f.write_str("is valid"),
            Self::ExpiresSoon(seconds) => write!(f, "expires in {}", Span(*seconds)),
            Self::Expired(seconds) => write!(f, "expired {} ago", Span(*seconds)),
        }
    }
}

/// A duration in words.
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
    fn each_time_has_its_status() {
        let validity = Validity { from_s: 1_000_000, until_s: 3_000_000 };
        for (now_s, days, status, text) in [
            (999_999, 14, CertificateStatus::NotYetValid(1), "becomes valid in 1 second"),
            (1_000_000, 14, CertificateStatus::Valid, "is valid"),
            (3_000_000 - 14 * DAY_S, 14, CertificateStatus::Valid, "is valid"),
            (3_000_000 - 14 * DAY_S + 1, 14, CertificateStatus::ExpiresSoon(14 * DAY_S - 1), "expires in 13 days"),
            (3_000_000 - 7_200, 14, CertificateStatus::ExpiresSoon(7_200), "expires in 2 hours"),
            (3_000_000 - 7_200, 0, CertificateStatus::Valid, "is valid"),
            (3_000_000, 1, CertificateStatus::ExpiresSoon(0), "expires in 0 seconds"),
            (3_000_001, 0, CertificateStatus::Expired(1), "expired 1 second ago"),
            (3_000_000 + 300, 14, CertificateStatus::Expired(300), "expired 5 minutes ago"),
        ] {
            let got = validity.status(now_s, days);
            assert_eq!((got, got.to_string().as_str()), (status, text), "at {now_s}");
        }
    }

    #[test]
    fn both_forms_of_a_time_are_read() {
        let key = rcgen::KeyPair::generate().expect("a key");
        for (year, until_s) in [(2049, 2_493_072_000), (2050, 2_524_608_000), (9999, 253_370_764_800)] {
            let mut asked = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
            (asked.not_before, asked.not_after) = (rcgen::date_time_ymd(1999, 1, 1), rcgen::date_time_ymd(year, 1, 1));
            let made = asked.self_signed(&key).expect("signed").der().clone();
            assert_eq!(Validity::of(&made), Some(Validity { from_s: 915_148_800, until_s }), "{year}");
        }
    }

    #[test]
    fn bytes_that_are_not_a_certificate_have_no_validity() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let whole = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let whole = whole.self_signed(&key).expect("signed").der().to_vec();
        assert!(Validity::of(&CertificateDer::from(whole.clone())).is_some());
        for bytes in [&whole[..whole.len() - 1], &[&whole[..], b"\0"].concat(), &key.serialize_der(), b""] {
            assert_eq!(Validity::of(&CertificateDer::from(bytes.to_vec())), None);
        }
    }
}
