//! The body of an answer: all of it at once, or events as they happen. It knows no requests.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Frame, SizeHint};

use crate::server::streaming::events::Events;

/// What is sent behind the head of an answer.
#[derive(Debug)]
pub(in crate::server) enum Body {
    /// These bytes.
    Whole(Full<Bytes>),
    /// What a session is told, for as long as it lives. In a box, because it is far larger.
    Events(Box<Events>),
}

/// An answer.
pub(in crate::server) type Response = hyper::Response<Body>;

impl Body {
    pub(in crate::server) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Full::new(bytes.into()))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Pin::new(bytes).poll_frame(context),
            Self::Events(events) => events.poll_next(context).map(|some| some.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_end_stream(),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => bytes.size_hint(),
            Self::Events(_) => SizeHint::default(),
        }
    }
}
