//! The client end of a session inside the broker: speaks the protocol over an in-memory stream for HTTP clients, so that
//! they are sessions like all others. It knows neither topics nor HTTP.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use rialto_protocol::Codec;
use tokio::io::{AsyncRead as _, AsyncWrite as _, DuplexStream, ReadBuf};

use crate::broker::Broker;
use crate::limits::seats::SessionPermit;
use crate::server::websocket;
use crate::wire::websocket as wire;

/// Size of the stream: further bytes wait in the outbox, where delivery policies apply.
const STREAM_BYTES: usize = 16 * 1024;
const READ_BYTES: usize = 8 * 1024;

const FIN: u8 = 0x80;
const TEXT: u8 = 0x1;
const PONG: u8 = 0xa;
const MASKED: u8 = 0x80;

/// The client's end of a session. Dropping it ends the session.
#[derive(Debug)]
pub(in crate::server) struct Bridge {
    stream: DuplexStream,
    /// Bytes of an incomplete frame.
    read: BytesMut,
    /// Bytes that are still to be written.
    written: BytesMut,
}

/// A frame that the broker sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) enum BridgeEvent {
    /// A frame of the protocol, in JSON.
    Frame(Bytes),
    /// A ping, which has been answered.
    Ping,
    /// The end of the session, with the code of the Close; nothing follows.
    Close(u16),
}

impl Bridge {
    /// Starts a session.
    pub(in crate::server) fn begin(broker: &Broker, permit: SessionPermit) -> Self {
        let (near, far) = tokio::io::duplex(STREAM_BYTES);
        websocket::start_other(broker, Box::new(near), Box::default(), Codec::Json, permit);
        Self::over(far)
    }

    fn over(stream: DuplexStream) -> Self {
        Self { stream, read: BytesMut::new(), written: BytesMut::new() }
    }

    /// Queues a request; it is written by the next poll.
    pub(in crate::server) fn request(&mut self, request: &[u8]) {
        self.send(TEXT, request);
    }

    /// Waits for the next frame of the broker; none at the end.
    pub(in crate::server) async fn next(&mut self) -> Option<BridgeEvent> {
        poll_fn(|context| self.poll_next(context)).await
    }

    pub(in crate::server) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<BridgeEvent>> {
        loop {
            if self.poll_send(context).is_err() {
                return Poll::Ready(None);
            }
            match self.take() {
                Some((wire::TEXT, payload)) => return Poll::Ready(Some(BridgeEvent::Frame(payload))),
                Some((wire::PING, payload)) => {
                    self.send(PONG, &payload);
                    // The pong is written before anything else is awaited.
                    let _ = self.poll_send(context);
                    return Poll::Ready(Some(BridgeEvent::Ping));
                }
                Some((wire::CLOSE, payload)) => {
                    return Poll::Ready(Some(BridgeEvent::Close(wire::close_code(&payload))));
                }
                Some(_) => {}
                None => {
                    if ready!(self.poll_fill(context)).is_err() {
                        return Poll::Ready(None);
                    }
                }
            }
        }
    }

    /// Queues one client frame. Its mask is 0: no proxy is between here and the session.
    fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.written.extend_from_slice(&[FIN | opcode]);
        match payload.len() {
            short @ 0..126 => self.written.extend_from_slice(&[MASKED | short as u8]),
            length => match u16::try_from(length) {
                Ok(length) => {
                    self.written.extend_from_slice(&[MASKED | 126]);
                    self.written.extend_from_slice(&length.to_be_bytes());
                }
                Err(_) => {
                    self.written.extend_from_slice(&[MASKED | 127]);
                    self.written.extend_from_slice(&(length as u64).to_be_bytes());
                }
            },
        }
        self.written.extend_from_slice(&[0; 4]);
        self.written.extend_from_slice(payload);
    }

    /// Writes as much as the stream takes.
    fn poll_send(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while !self.written.is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, &self.written) {
                Poll::Ready(Ok(count)) => self.written.advance(count),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut some = [0; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut some);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.read.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(()))
    }

    /// The next complete frame: its first byte and its payload.
    fn take(&mut self) -> Option<(u8, Bytes)> {
        let (first, payload, behind) = wire::first_frame(&self.read)?;
        let (length, whole) = (payload.len(), self.read.len() - behind.len());
        self.read.advance(whole - length);
        Some((first, self.read.split_to(length).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            0..126 => frame.push(payload.len() as u8),
            126..=0xffff => {
                frame.push(126);
                frame.extend((payload.len() as u16).to_be_bytes());
            }
            _ => {
                frame.push(127);
                frame.extend((payload.len() as u64).to_be_bytes());
            }
        }
        frame.extend(payload);
        frame
    }

    #[tokio::test]
    async fn frames_of_every_length_are_read_and_pings_answered() {
        let (mut near, far) = tokio::io::duplex(1_000);
        let mut bridge = Bridge::over(far);
        let texts: Vec<Vec<u8>> = [0, 1, 125, 126, 65_535, 65_536].iter().map(|length| vec![b'x'; *length]).collect();
        let mut all: Vec<u8> = texts.iter().flat_map(|text| frame(FIN | TEXT, text)).collect();
        all.extend(frame(wire::PING, b"hi"));
        all.extend(frame(wire::CLOSE, &4000_u16.to_be_bytes()));
        bridge.request(&[b'a'; 200]);
        let broker = async {
            let mut request = [0; 208];
            near.read_exact(&mut request).await.expect("the request");
            near.write_all(&all).await.expect("taken");
            let mut pong = [0; 8];
            near.read_exact(&mut pong).await.expect("the pong");
            (request, pong)
        };
        let client = async {
            for text in &texts {
                assert_eq!(bridge.next().await, Some(BridgeEvent::Frame(text.clone().into())));
            }
            assert_eq!(bridge.next().await, Some(BridgeEvent::Ping));
            assert_eq!(bridge.next().await, Some(BridgeEvent::Close(4000)));
        };
        let ((request, pong), ()) = tokio::join!(broker, client);
        assert_eq!((&request[..8], &request[8..]), (&[0x81, 0xfe, 0, 200, 0, 0, 0, 0][..], &[b'a'; 200][..]));
        assert_eq!(&pong, b"\x8a\x82\0\0\0\0hi");
        drop(near);
        assert_eq!(bridge.next().await, None);
    }
}
