//! A `call` request of a client, and its answer.

use crate::error::Result;
use crate::payload::{DecodeError, EncodeError, Encoding, Payload};
use crate::session::Session;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A `call` request: a method with data, to a topic of this plugin or to the plugin itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// Who calls; `None` when the program that embeds the broker does.
    pub session: Option<Session>,
    /// The topic it goes to; `None` when it goes to the plugin itself.
    pub topic: Option<String>,
    /// What is to be done, as the plugin names it.
    pub method: String,
    /// Its data as it came, if it has any.
    pub payload: Option<Payload>,
}

/// What a call is answered with; see [`Call::reply`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The data of the answer, if it has any.
    pub payload: Option<Payload>,
}

impl Call {
    /// A call as a host hands it to [`Plugin::on_call`](crate::Plugin::on_call): without data, to the plugin itself.
    pub fn new(session: Option<Session>, method: impl Into<String>) -> Self {
        Self { session, topic: None, method: method.into(), payload: None }
    }

    /// The same call, to `topic`.
    #[must_use]
    pub fn with_topic(self, topic: impl Into<String>) -> Self {
        Self { topic: Some(topic.into()), ..self }
    }

    /// The same call, with data.
    #[must_use]
    pub fn with_payload(self, payload: Payload) -> Self {
        Self { payload: Some(payload), ..self }
    }

    /// Reads the data, whichever codec it came in.
    ///
    /// # Errors
    /// When there is no data or it is not a `T`. With `?` the client gets a rejection that says so.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        match &self.payload {
            Some(payload) => payload.decode(),
            None => Err(DecodeError(format!("the call {:?} needs data", self.method))),
        }
    }

    /// The answer `value`, in the codec the call came in (JSON when it had no data).
    ///
    /// # Errors
    /// When `value` cannot be encoded.
    pub fn reply(&self, value: &(impl Serialize + ?Sized)) -> Result<Reply, EncodeError> {
        let encoding = self.payload.as_ref().map_or(Encoding::Json, |payload| payload.encoding);
        Ok(Reply { payload: Some(Payload::encode(encoding, value)?) })
    }
}

impl Reply {
    /// The answer "done", without data.
    pub fn empty() -> Self {
        Self { payload: None }
    }

    /// An answer whose payload is made already, such as bytes.
    pub fn payload(payload: Payload) -> Self {
        Self { payload: Some(payload) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_in_the_codec_of_the_call() {
        let table = [
            (None, Encoding::Json),
            (Some(Payload::json(&1)), Encoding::Json),
            (Some(Payload::msgpack(&1)), Encoding::Msgpack),
        ];
        for (payload, expected) in table {
            let payload = payload.map(|payload| payload.expect("a number can be encoded"));
            let call = Call { payload, ..Call::new(None, "sum") };
            let answer = call.reply(&3).expect("a number can be encoded").payload.expect("the answer has data");
            assert_eq!(answer.encoding, expected);
            assert_eq!(answer.decode::<u8>(), Ok(3));
        }
    }

    #[test]
    fn a_call_without_data_says_that_it_needs_some() {
        let error = Call::new(None, "sum").data::<u8>().expect_err("there is no data");
        assert_eq!(error.to_string(), "the call \"sum\" needs data");
    }
}
