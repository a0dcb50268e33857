//! The body of an answer: some bytes, or events as they come.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Bytes, Frame, SizeHint};

use crate::feed::Reader;

type Next = Pin<Box<dyn Future<Output = Option<(Bytes, Reader)>> + Send>>;

/// A body.
pub enum Body {
    /// All of it; `None` once it was given out.
    Whole(Option<Bytes>),
    /// Events. The next one is made when the connection has room for it.
    Events(Next),
    /// The events are over.
    Over,
}

impl Body {
    /// A body of bytes.
    pub fn whole(bytes: impl Into<Bytes>) -> Body {
        Body::Whole(Some(bytes.into()))
    }

    /// A body of what a reader is sent.
    pub fn events(reader: Reader) -> Body {
        Body::Events(Box::pin(next(reader)))
    }
}

async fn next(mut reader: Reader) -> Option<(Bytes, Reader)> {
    let event = reader.next().await?;
    Some((event, reader))
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let bytes = match this {
            Body::Whole(bytes) => bytes.take(),
            Body::Events(future) => match ready!(future.as_mut().poll(cx)) {
                Some((bytes, reader)) => {
                    *this = Body::events(reader);
                    Some(bytes)
                }
                None => {
                    *this = Body::Over;
                    None
                }
            },
            Body::Over => None,
        };
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Whole(None) | Body::Over)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Body::Events(_) => SizeHint::default(),
            Body::Over => SizeHint::with_exact(0),
        }
    }
}
