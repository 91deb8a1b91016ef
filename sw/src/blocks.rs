//! Obtains verified blocks: from the store, else from the node and the gateway as
//! `core::fetch` decides. One fetch per block, however many wait for it.
//!
//! # Invariants
//!
//! - Nothing is returned or stored whose hash is not the one asked for.
//! - A fetch that nobody waits for any more is cancelled.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    rc::Rc,
};

use futures::{
    StreamExt,
    channel::mpsc,
    future::{self, Either, FutureExt, LocalBoxFuture, RemoteHandle, Shared, WeakShared},
    stream::{self, FuturesUnordered},
};
use sluice_core::{
    ChunkIndex, ContentId, Digest, FileIndex, Link,
    bridge::{Attempt, Origin, Trouble},
    chunk::{CHUNK_LEN, SEAL_OVERHEAD},
    fetch::{self, Fetcher, Input, OFFER_EVERY_MS, Output, Source, Urgency},
};
use sluice_web::{
    clock, gateway,
    keep::{self, Shelf},
    store::ChunkKey,
};

use crate::{node::NodeLink, worker::SharedStore};

/// A block somebody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Want {
    pub(crate) content: ContentId,
    pub(crate) digest: Digest,
    pub(crate) kind: Kind,
}

/// How a block is named and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A manifest, card, page or poster.
    Block { link: Link, max_len: u64 },
    /// A sealed chunk.
    Chunk { file: FileIndex, index: ChunkIndex },
}

impl Want {
    fn link(&self) -> (Link, u64) {
        match self.kind {
            Kind::Block { link, max_len } => (link, max_len),
            Kind::Chunk { .. } => (self.digest.raw(), CHUNK_LEN + SEAL_OVERHEAD),
        }
    }

    fn shelf(&self) -> Shelf {
        match self.kind {
            Kind::Block { .. } => Shelf::Block(self.content, self.digest),
            Kind::Chunk { file, index } => Shelf::Chunk(ChunkKey {
                content: self.content,
                file,
                index,
            }),
        }
    }
}

/// Most blocks held in memory after their delivery: 4 MiB of chunks.
///
/// Players ask for the same chunk several times in a row (a probe, the index, the first frame),
/// faster than it is written to the store.
const MAX_RECENT: usize = 16;

/// A block held in memory.
struct Recent {
    digest: Digest,
    bytes: Rc<Vec<u8>>,
    /// What the next reader is told: where it came from if nobody was told yet, else the store.
    origin: Origin,
}

/// Verified bytes and where they came from, or what each source said.
pub(crate) type Found = Result<(Rc<Vec<u8>>, Origin), Vec<Attempt>>;

/// What one source said.
pub(crate) type Answer = Result<(Vec<u8>, Origin), Trouble>;

type Flight = RemoteHandle<Found>;

/// A fetch under way.
struct Known {
    number: u64,
    flight: WeakShared<Flight>,
    /// Takes a new hurry; one that finds it full is not the first and changes nothing.
    hurry: mpsc::Sender<Urgency>,
}

/// All the ways to a block.
pub(crate) struct Blocks {
    store: SharedStore,
    node: Rc<NodeLink>,
    /// Fetches under way. An entry goes when its fetch ends, so this is bounded by the readers'
    /// windows.
    flights: RefCell<HashMap<Digest, Known>>,
    /// What was delivered last, the newest at the back.
    recent: RefCell<VecDeque<Recent>>,
    /// Tells a flight from a cancelled one for the same block.
    flown: Cell<u64>,
}

impl Blocks {
    pub(crate) fn new(store: SharedStore, node: Rc<NodeLink>) -> Self {
        Self {
            store,
            node,
            flights: RefCell::default(),
            recent: RefCell::default(),
            flown: Cell::new(0),
        }
    }

    /// One block. Dropping the future of the last who waits cancels the fetch.
    pub(crate) async fn obtain(self: &Rc<Self>, want: Want, urgency: Urgency) -> Found {
        if let Some(found) = self.recall(&want.digest) {
            return Ok(found);
        }
        let flight = self.join(want, urgency);
        let found = flight.await;
        if let Ok((bytes, _)) = &found {
            self.remember(want.digest, Rc::clone(bytes), Origin::Store);
        }
        found
    }

    /// Fetches a block that somebody will soon want.
    pub(crate) async fn prepare(self: &Rc<Self>, want: Want) {
        if self.recall(&want.digest).is_some() {
            return;
        }
        if let Ok((bytes, origin)) = self.join(want, Urgency::First).await {
            self.remember(want.digest, bytes, origin);
        }
    }

    /// Drops whatever is held; the store was cleared.
    pub(crate) fn forget_recent(&self) {
        self.recent.borrow_mut().clear();
    }

    fn recall(&self, digest: &Digest) -> Option<(Rc<Vec<u8>>, Origin)> {
        let mut recent = self.recent.borrow_mut();
        let known = recent.iter_mut().find(|known| known.digest == *digest)?;
        let origin = std::mem::replace(&mut known.origin, Origin::Store);
        Some((Rc::clone(&known.bytes), origin))
    }

    fn remember(&self, digest: Digest, bytes: Rc<Vec<u8>>, origin: Origin) {
        let mut recent = self.recent.borrow_mut();
        // Somebody joined the flight meanwhile and was told the origin already.
        let told = recent.iter().any(|known| known.digest == digest);
        recent.retain(|known| known.digest != digest);
        if recent.len() == MAX_RECENT {
            recent.pop_front();
        }
        recent.push_back(Recent {
            digest,
            bytes,
            origin: if told { Origin::Store } else { origin },
        });
    }

    fn join(self: &Rc<Self>, want: Want, urgency: Urgency) -> Shared<Flight> {
        if let Some(flight) = self.hurry(&want.digest, urgency) {
            return flight;
        }
        let number = self.flown.get();
        self.flown.set(number + 1);
        let this = Rc::clone(self);
        let (hurry, hurries) = mpsc::channel(1);
        // A task of its own: it goes on between the player's reads.
        let (task, handle) = async move {
            let _entry = Entry(Rc::clone(&this), want.digest, number);
            this.find(want, urgency, hurries).await
        }
        .remote_handle();
        wasm_bindgen_futures::spawn_local(task);
        let shared = handle.shared();
        if let Some(flight) = shared.downgrade() {
            let known = Known {
                number,
                flight,
                hurry,
            };
            self.flights.borrow_mut().insert(want.digest, known);
        }
        shared
    }

    /// Tells the fetch of a block, if there is one, how urgent it has become.
    pub(crate) fn hurry(&self, digest: &Digest, urgency: Urgency) -> Option<Shared<Flight>> {
        let mut flights = self.flights.borrow_mut();
        let known = flights.get_mut(digest)?;
        let flight = known.flight.upgrade()?;
        let _ = known.hurry.try_send(urgency);
        Some(flight)
    }

    async fn find(&self, want: Want, urgency: Urgency, hurries: mpsc::Receiver<Urgency>) -> Found {
        let store = self.store.clone().await;
        if let Some(store) = &store {
            match keep::read(store, want.shelf()).await {
                Some(bytes) if want.digest.matches(&bytes) => {
                    return Ok((Rc::new(bytes), Origin::Store));
                }
                // A rotten disk or a foreign hand: fetch it anew.
                Some(_) => keep::drop_rotten(store, want.shelf()).await,
                None => {}
            }
            // A store slower than the network must slow the network, not fill the memory.
            store.room().await;
        }
        let (bytes, origin) = self.fetch(want, urgency, hurries).await?;
        let bytes = Rc::new(bytes);
        // The node keeps what it fetched itself.
        if let Some(store) = store
            && origin == Origin::Gateway
        {
            wasm_bindgen_futures::spawn_local(keep::keep(store, want.shelf(), Rc::clone(&bytes)));
        }
        Ok((bytes, origin))
    }

    async fn fetch(
        &self,
        want: Want,
        urgency: Urgency,
        hurries: mpsc::Receiver<Urgency>,
    ) -> Result<(Vec<u8>, Origin), Vec<Attempt>> {
        let sources = fetch::plan(urgency, self.node.is_online());
        let mut fetcher = Fetcher::new(sources, urgency, clock::now());
        let mut asked = FuturesUnordered::new();
        // A fetch outlives whoever could hurry it.
        let mut hurries = hurries.chain(stream::pending());
        loop {
            while let Some(output) = fetcher.poll() {
                match output {
                    Output::Ask(source) => asked.push(self.ask(source, want, urgency)),
                    // Only a delivery cancels, and returning drops the futures that lost.
                    Output::Cancel(_) => {}
                    Output::Exhausted(tried) => return Err(tried),
                }
            }
            let mut deadline = fetcher.deadline().unwrap_or_else(clock::now);
            if !sources.contains(&Source::Node) {
                deadline = deadline.min(clock::now().plus(OFFER_EVERY_MS));
            }
            let timer = Box::pin(clock::until(deadline));
            let quiet = future::select(timer, hurries.next());
            match future::select(asked.select_next_some(), quiet).await {
                Either::Left(((_, Ok((bytes, origin))), _)) if want.digest.matches(&bytes) => {
                    return Ok((bytes, origin));
                }
                Either::Left(((source, answer), _)) => {
                    let trouble = answer.err().unwrap_or(Trouble::Wrong);
                    fetcher.handle(Input::Failed(source, trouble), clock::now());
                }
                Either::Right((Either::Right((Some(urgency), _)), _)) => {
                    fetcher.handle(Input::Hurry(urgency), clock::now());
                }
                Either::Right(_) if self.node.is_online() => {
                    fetcher.handle(Input::Offer(Source::Node), clock::now());
                }
                Either::Right(_) => fetcher.handle(Input::Tick, clock::now()),
            }
        }
    }

    fn ask(
        &self,
        source: Source,
        want: Want,
        urgency: Urgency,
    ) -> LocalBoxFuture<'static, (Source, Answer)> {
        match source {
            Source::Node => {
                let answer = Rc::clone(&self.node).ask(want, urgency);
                async move { (source, answer.await) }.boxed_local()
            }
            Source::Gateway => async move {
                let (link, max_len) = want.link();
                let answer = gateway::get(link, max_len).await;
                (source, answer.map(|bytes| (bytes, Origin::Gateway)))
            }
            .boxed_local(),
        }
    }
}

/// Takes a flight off the list however it ends.
struct Entry(Rc<Blocks>, Digest, u64);

impl Drop for Entry {
    fn drop(&mut self) {
        let mut flights = self.0.flights.borrow_mut();
        // A newer flight for the same block may have taken the place of a cancelled one.
        if flights
            .get(&self.1)
            .is_some_and(|known| known.number == self.2)
        {
            flights.remove(&self.1);
        }
    }
}
