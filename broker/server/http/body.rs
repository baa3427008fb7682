//! The body of an HTTP response: complete, or a stream. It knows no requests and not what is streamed.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, SizeHint};

/// The body of a response.
#[derive(Debug)]
pub(in crate::server) enum Body {
    /// All bytes at once.
    Complete(Full<Bytes>),
    /// Chunks as they come, until the stream ends: Server-Sent Events.
    Stream(UnsyncBoxBody<Bytes, Infallible>),
}

/// A response of this server.
pub(in crate::server) type Response = hyper::Response<Body>;

impl Body {
    pub(in crate::server) fn complete(bytes: impl Into<Bytes>) -> Self {
        Self::Complete(Full::new(bytes.into()))
    }

    pub(in crate::server) fn stream(
        chunks: impl hyper::body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
    ) -> Self {
        Self::Stream(chunks.boxed_unsync())
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
            Self::Stream(chunks) => Pin::new(chunks).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Complete(bytes) => bytes.is_end_stream(),
            Self::Stream(chunks) => chunks.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Complete(bytes) => bytes.size_hint(),
            Self::Stream(chunks) => chunks.size_hint(),
        }
    }
}
