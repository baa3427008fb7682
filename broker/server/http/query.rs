//! The query string of a request: `name=value` pairs as forms encode them (WHATWG URL section 5.1). It knows no names.

use std::borrow::Cow;

/// The pairs of a query, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::server) struct Query<'q>(Vec<(Cow<'q, str>, Cow<'q, str>)>);

/// The query is malformed: a broken escape, or not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct BadQuery;

impl<'q> Query<'q> {
    pub(in crate::server) fn parse(query: &'q str) -> Result<Self, BadQuery> {
        let mut pairs = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(name)?, decode(value)?));
        }
        Ok(Self(pairs))
    }

    /// The first name that is none of these. Names that only defeat caches, `_` and `t`, and those that begin with `x-` are
    /// passed over.
    pub(in crate::server) fn unknown(&self, known: &[&str]) -> Option<&str> {
        let is_passed_over = |name: &str| name == "_" || name == "t" || name.starts_with("x-");
        let mut names = self.0.iter().map(|(name, _)| &**name);
        names.find(|name| !known.contains(name) && !is_passed_over(name))
    }

    /// The values of a name, in their order.
    pub(in crate::server) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// The value of a name that may occur once.
    ///
    /// # Errors
    /// [`BadQuery`] if it occurs more than once.
    pub(in crate::server) fn one(&self, name: &str) -> Result<Option<&str>, BadQuery> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() { Err(BadQuery) } else { Ok(first) }
    }
}

fn decode(text: &str) -> Result<Cow<'_, str>, BadQuery> {
    if !text.contains(['%', '+']) {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit().ok_or(BadQuery)?, digit().ok_or(BadQuery)?);
                u8::try_from(16 * high + low).expect("two hexadecimal digits are one byte")
            }
            other => other,
        });
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| BadQuery)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded_as_browsers_encode_them() {
        let query = Query::parse("topic=a.b&topic=%C3%A9+%2b&last=5&&flag").expect("a query");
        assert_eq!(query.all("topic").collect::<Vec<_>>(), ["a.b", "é +"]);
        assert_eq!((query.one("last"), query.one("flag"), query.one("none")), (Ok(Some("5")), Ok(Some("")), Ok(None)));
        assert_eq!(query.one("topic"), Err(BadQuery));
        assert_eq!(query.unknown(&["topic", "last"]), Some("flag"));
        let query = Query::parse("topic=a&_=1&t=2&x-trace=3").expect("a query");
        assert_eq!(query.unknown(&["topic"]), None);
        for bad in ["a=%", "a=%2", "a=%zz", "a=%+1", "%ff=1", "a=%c3"] {
            assert_eq!(Query::parse(bad), Err(BadQuery), "{bad}");
        }
    }
}
