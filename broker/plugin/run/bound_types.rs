//! Values of the SDK and of the types that wasmtime generates from the WIT files, converted into each other.

use rialto_plugin::{Encoding as GuestEncoding, Error, Payload as GuestPayload, Raw, Refusal, Session, Verdict};

use super::bindings::{v1_0, v1_1};

impl From<Session> for v1_0::rialto::plugin::types::Session {
    fn from(session: Session) -> Self {
        Self { id: session.id, user: session.user }
    }
}

impl From<Session> for v1_1::rialto::plugin::types::Session {
    fn from(session: Session) -> Self {
        let info = session.info.map(Into::into);
        Self { id: session.id, user: session.user, roles: session.roles, info }
    }
}

/// The types that are the same in each version.
macro_rules! same_types {
    ($version:ident) => {
        const _: () = {
            use super::bindings::$version::rialto::plugin::types;

            impl From<types::Payload> for GuestPayload {
                fn from(payload: types::Payload) -> Self {
                    let encoding = match payload.encoding {
                        types::Encoding::Json => GuestEncoding::Json,
                        types::Encoding::Msgpack => GuestEncoding::Msgpack,
                        types::Encoding::Bytes => GuestEncoding::Bytes,
                    };
                    Self { encoding, content: payload.content }
                }
            }

            impl From<GuestPayload> for types::Payload {
                fn from(payload: GuestPayload) -> Self {
                    let encoding = match payload.encoding {
                        GuestEncoding::Json => types::Encoding::Json,
                        GuestEncoding::Msgpack => types::Encoding::Msgpack,
                        GuestEncoding::Bytes => types::Encoding::Bytes,
                    };
                    Self { encoding, content: payload.content }
                }
            }

            impl From<types::Raw> for Raw {
                fn from(message: types::Raw) -> Self {
                    match message {
                        types::Raw::Text(text) => Self::Text(text),
                        types::Raw::Binary(bytes) => Self::Binary(bytes),
                    }
                }
            }

            impl From<Raw> for types::Raw {
                fn from(message: Raw) -> Self {
                    match message {
                        Raw::Text(text) => Self::Text(text),
                        Raw::Binary(bytes) => Self::Binary(bytes),
                    }
                }
            }

            impl From<Refusal> for types::Refusal {
                fn from(refusal: Refusal) -> Self {
                    match refusal {
                        Refusal::Forbidden(text) => Self::Forbidden(text),
                        Refusal::Invalid(text) => Self::Invalid(text),
                        Refusal::Limit(text) => Self::Limit(text),
                    }
                }
            }

            impl From<types::Error> for Error {
                fn from(error: types::Error) -> Self {
                    match error {
                        types::Error::Failed(text) => Self::Failed(text),
                        types::Error::Rejected(types::Rejection { reason, detail }) => {
                            Self::Rejected { reason, detail: detail.map(Into::into) }
                        }
                    }
                }
            }

            impl From<types::Verdict> for Verdict {
                fn from(verdict: types::Verdict) -> Self {
                    match verdict {
                        types::Verdict::Accept => Self::Accept,
                        types::Verdict::Replace(payload) => Self::Replace(payload.into()),
                        types::Verdict::Swallow => Self::Swallow,
                    }
                }
            }
        };
    };
}

same_types!(v1_0);
same_types!(v1_1);
