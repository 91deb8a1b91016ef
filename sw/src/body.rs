//! The body of one response: opened chunks in order, a few of them fetched ahead.
//!
//! The player pulls; nothing is fetched for a body nobody reads beyond its window, and a cancelled
//! body cancels its fetches. The window starts small, so that the first chunk has the line for
//! itself, and grows with each delivery.

use std::{collections::VecDeque, rc::Rc};

use futures::{FutureExt, StreamExt, future::RemoteHandle, stream};
use js_sys::Uint8Array;
use sluice_core::{
    FileIndex,
    bridge::{Attempt, Missing, Origin, Served, Trouble},
    chunk::{Layout, Piece},
    fetch::Urgency,
    media::MediaType,
    range::ByteSpan,
    seal::Place,
};
use wasm_bindgen::{JsCast, JsValue};
use wasm_streams::ReadableStream;

use crate::{
    blocks::{Blocks, Kind, Want},
    report,
    work::Work,
    worker::StreamError,
};

/// Chunks fetched beside each other at the start of a body.
const FIRST_WINDOW: usize = 2;

/// Most chunks fetched ahead: 2 MiB per body.
const MAX_WINDOW: usize = 8;

/// A file of a work, ready to be read for one page.
pub(crate) struct Reader {
    work: Rc<Work>,
    blocks: Rc<Blocks>,
    file: FileIndex,
    layout: Layout,
    media: MediaType,
    client: String,
}

/// A body whose first bytes are there.
pub(crate) struct Body {
    first: Uint8Array,
    rest: Ahead,
}

/// The chunks under way, in the order the player wants them.
struct Ahead {
    reader: Rc<Reader>,
    pieces: Box<dyn Iterator<Item = Piece>>,
    flights: VecDeque<(Piece, RemoteHandle<Result<Uint8Array, StreamError>>)>,
    window: usize,
}

impl Reader {
    /// Finds `path` in the work.
    pub(crate) fn new(
        work: Rc<Work>,
        blocks: Rc<Blocks>,
        path: &str,
        client: String,
    ) -> Result<Self, StreamError> {
        let (file, layout, media) = match work.manifest().find(path) {
            Some((index, entry)) => (index, entry.layout(), entry.media),
            None => return Err(StreamError::NoFile(path.chars().take(80).collect())),
        };
        Ok(Self {
            work,
            blocks,
            file,
            layout,
            media,
            client,
        })
    }

    pub(crate) fn media(&self) -> MediaType {
        self.media
    }

    pub(crate) fn len(&self) -> u64 {
        self.layout.len()
    }

    /// Starts reading `span`; returns once its first bytes are there, so that a failure is still
    /// a status and not a broken body.
    pub(crate) async fn start(self, span: ByteSpan) -> Result<Body, StreamError> {
        let pieces = Box::new(self.layout.pieces(span));
        let mut rest = Ahead {
            reader: Rc::new(self),
            pieces,
            flights: VecDeque::new(),
            window: FIRST_WINDOW,
        };
        // A span is never empty, so there is a first piece.
        let first = rest
            .next()
            .await
            .unwrap_or_else(|| Ok(Uint8Array::new_with_length(0)))?;
        Ok(Body { first, rest })
    }

    /// The player waits for this piece now.
    fn hurry(&self, piece: Piece) {
        if let Some(digest) = self.work.known_digest(self.file, piece.chunk) {
            let _ = self.blocks.hurry(&digest, Urgency::Now);
        }
    }

    async fn read(&self, piece: Piece, ahead: usize) -> Result<Uint8Array, StreamError> {
        let result = self.open(piece, ahead).await;
        if let Err(StreamError::Missing(failure)) = &result {
            report::failed(&self.client, failure.clone());
        }
        result
    }

    async fn open(&self, piece: Piece, ahead: usize) -> Result<Uint8Array, StreamError> {
        let (work, chunk) = (&self.work, piece.chunk);
        let urgency = work.urgency(ahead);
        let digest = work
            .digest_of(&self.blocks, self.file, chunk, urgency)
            .await?;
        let want = Want {
            content: work.id(),
            digest,
            kind: Kind::Chunk {
                file: self.file,
                index: chunk,
            },
        };
        let found = self.blocks.obtain(want, urgency).await;
        let missing = |tried| work.missing(Missing::Chunk(self.file, chunk), tried);
        let (sealed, origin) = found.map_err(missing)?;
        let bytes = sealed.len() as u64;
        let place = Place {
            file: self.file,
            chunk,
            last: self.layout.is_last(chunk),
        };
        // Hash right, but it does not open or has another length: the creator's fault, and no
        // other source has anything else.
        let broken = || {
            let trouble = Trouble::Wrong;
            work.missing(Missing::Key, vec![Attempt { origin, trouble }])
        };
        let plain = work
            .opener()
            .open(place, (*sealed).clone())
            .await
            .map_err(|_| broken())?;
        if u64::from(plain.length()) != self.layout.plain_len(chunk) {
            return Err(broken());
        }
        work.note_delivery();
        self.report(origin, bytes);
        let edge = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Ok(plain.subarray(edge(piece.start), edge(piece.end)))
    }

    fn report(&self, origin: Origin, bytes: u64) {
        let content = self.work.id();
        report::served(
            &self.client,
            Served {
                content,
                origin,
                bytes,
            },
        );
    }
}

impl Ahead {
    /// The next bytes, in order; `None` at the end.
    async fn next(&mut self) -> Option<Result<Uint8Array, StreamError>> {
        self.fill();
        let (piece, flight) = self.flights.pop_front()?;
        self.reader.hurry(piece);
        let result = flight.await;
        if result.is_ok() {
            self.window = (self.window + 1).min(MAX_WINDOW);
            self.fill();
        } else {
            self.flights.clear();
            self.pieces = Box::new(std::iter::empty());
        }
        Some(result)
    }

    fn fill(&mut self) {
        while self.flights.len() < self.window {
            let Some(piece) = self.pieces.next() else {
                return;
            };
            let (reader, ahead) = (Rc::clone(&self.reader), self.flights.len());
            let (task, handle) = async move { reader.read(piece, ahead).await }.remote_handle();
            wasm_bindgen_futures::spawn_local(task);
            self.flights.push_back((piece, handle));
        }
    }
}

/// The body as the platform's stream, pulled by the player.
pub(crate) fn into_stream(body: Body) -> JsValue {
    let Body { first, rest } = body;
    let rest = stream::unfold(rest, |mut rest| async move {
        let next = rest.next().await?;
        Some((next, rest))
    });
    let all = stream::once(async { Ok(first) })
        .chain(rest)
        .map(|part| match part {
            Ok(bytes) => Ok(JsValue::from(bytes)),
            Err(error) => Err(js_sys::Error::new(&error.to_string()).into()),
        });
    ReadableStream::from_stream(all).into_raw().unchecked_into()
}
