//! Payloads of the SDK and of the client protocol, converted into each other. What a plugin made is checked here.

use rialto_protocol::value::ValueError;
use rialto_protocol::{Encoding as CheckedEncoding, Payload as Checked};

use crate::payload::{Encoding, Payload};

impl TryFrom<Payload> for Checked {
    type Error = ValueError;

    /// Checks that the content is one value that the protocol carries.
    fn try_from(payload: Payload) -> Result<Self, ValueError> {
        let encoding = match payload.encoding {
            Encoding::Json => CheckedEncoding::Json,
            Encoding::Msgpack => CheckedEncoding::MessagePack,
            Encoding::Bytes => CheckedEncoding::Bytes,
        };
        Self::new(encoding, payload.content)
    }
}

impl From<&Checked> for Payload {
    fn from(payload: &Checked) -> Self {
        let encoding = match payload.encoding() {
            CheckedEncoding::Json => Encoding::Json,
            CheckedEncoding::MessagePack => Encoding::Msgpack,
            CheckedEncoding::Bytes => Encoding::Bytes,
        };
        Self { encoding, content: payload.content().to_vec() }
    }
}
