//! The body of an HTTP response: complete, or a stream of events. It knows no requests.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Frame, SizeHint};

use crate::server::streaming::events::Events;

/// The body of a response.
#[derive(Debug)]
pub(in crate::server) enum Body {
    /// All bytes at once.
    Complete(Full<Bytes>),
    /// A Server-Sent Events stream, for as long as its session lives. In a box, because it is far larger.
    Events(Box<Events>),
}

/// A response of this server.
pub(in crate::server) type Response = hyper::Response<Body>;

impl Body {
    pub(in crate::server) fn complete(bytes: impl Into<Bytes>) -> Self {
        Self::Complete(Full::new(bytes.into()))
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
            Self::Complete(bytes) => Pin::new(bytes).poll_frame(context),
            Self::Events(events) => events.poll_next(context).map(|some| some.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Complete(bytes) => bytes.is_end_stream(),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Complete(bytes) => bytes.size_hint(),
            Self::Events(_) => SizeHint::default(),
        }
    }
}
