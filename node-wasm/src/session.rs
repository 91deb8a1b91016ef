//! The client side of the chunk protocol: one stream per work, many requests on it.
//!
//! # Invariants
//!
//! - At most [`MAX_OUTSTANDING`] requests are on the wire per stream; the rest wait here, the most
//!   urgent first, and a queue that is full answers [`Trouble::Busy`].
//! - The loop that reads frames hands them on and reads again; hashing and storing happen in the
//!   tasks of those who asked.
//! - A request whose asker is gone is taken back.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use futures::{
    AsyncReadExt, AsyncWriteExt, FutureExt, SinkExt, StreamExt,
    channel::{mpsc, oneshot},
    future::{self, Either},
    io::BufReader,
    stream,
};
use gloo::timers::future::sleep;
use libp2p::{PeerId, Stream, StreamProtocol};
use libp2p_stream::Control;
use sluice_core::{
    ChunkIndex, ContentId, Digest, FileIndex,
    bridge::Trouble,
    wire::{self, CHUNK_PROTOCOL, Frame, LENGTH_LEN, MAX_OUTSTANDING, Parting, Priority},
};

use crate::status::StatusBoard;

/// Most requests waiting per work, on the wire or not.
const MAX_WAITING: usize = 128;

/// Most works with a stream at once; the longest unused is closed.
const MAX_SESSIONS: usize = 8;

/// Bytes read from the transport at once.
const READ_BUFFER_LEN: usize = 64 * 1024;

/// A stream without requests is closed after this time.
const IDLE: std::time::Duration = std::time::Duration::from_secs(60);

/// What can be asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Item {
    /// A manifest, card, page or poster.
    Block(Digest),
    /// A sealed chunk.
    Chunk(FileIndex, ChunkIndex, Priority),
}

/// The same without its hurry: what an answer is matched by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Name {
    Block(Digest),
    Chunk(FileIndex, ChunkIndex),
}

impl Item {
    const fn name(&self) -> Name {
        match self {
            Self::Block(digest) => Name::Block(*digest),
            Self::Chunk(file, index, _) => Name::Chunk(*file, *index),
        }
    }

    const fn priority(&self) -> Priority {
        match self {
            // Without manifest and pages nothing else can be asked for.
            Self::Block(_) => Priority::URGENT,
            Self::Chunk(_, _, priority) => *priority,
        }
    }

    const fn frame(&self) -> Frame {
        match self {
            Self::Block(digest) => Frame::Get(*digest),
            Self::Chunk(file, index, priority) => Frame::Request {
                file: *file,
                index: *index,
                priority: *priority,
            },
        }
    }
}

type Answer = Result<Vec<u8>, Trouble>;

enum Order {
    Fetch(Item, oneshot::Sender<Answer>),
    /// Somebody stopped waiting for this.
    Abandon(Name),
}

/// A work and where its session takes orders.
type OpenSession = (ContentId, mpsc::Sender<Order>);

/// The streams to one peer, by work.
#[derive(Clone)]
pub(crate) struct Sessions {
    peer: PeerId,
    control: Control,
    status: Rc<StatusBoard>,
    /// Most recently used last.
    open: Rc<RefCell<Vec<OpenSession>>>,
}

impl Sessions {
    pub(crate) fn new(peer: PeerId, control: Control, status: Rc<StatusBoard>) -> Self {
        Self {
            peer,
            control,
            status,
            open: Rc::default(),
        }
    }

    /// Asks the peer for one block. Dropping the future takes the request back.
    pub(crate) async fn request(&self, content: ContentId, item: Item) -> Answer {
        let mut orders = self.orders(content);
        let (sender, receiver) = oneshot::channel();
        let mut abandon = Abandon {
            orders: orders.clone(),
            name: Some(item.name()),
        };
        if orders.send(Order::Fetch(item, sender)).await.is_err() {
            abandon.name = None;
            return Err(Trouble::Unreachable);
        }
        let answer = receiver.await.unwrap_or(Err(Trouble::Unreachable));
        abandon.name = None;
        answer
    }

    fn orders(&self, content: ContentId) -> mpsc::Sender<Order> {
        let mut open = self.open.borrow_mut();
        open.retain(|(_, orders)| !orders.is_closed());
        let known = open.iter().position(|(id, _)| *id == content);
        let entry = match known {
            Some(at) => open.remove(at),
            None => {
                let (sender, receiver) = mpsc::channel(MAX_WAITING);
                let session = Session {
                    content,
                    peer: self.peer,
                    control: self.control.clone(),
                    status: Rc::clone(&self.status),
                    waiting: BTreeMap::new(),
                    asked: HashMap::new(),
                    count: 0,
                };
                wasm_bindgen_futures::spawn_local(session.run(receiver));
                (content, sender)
            }
        };
        let orders = entry.1.clone();
        open.push(entry);
        if open.len() > MAX_SESSIONS {
            open.remove(0);
        }
        orders
    }
}

/// Takes a request back when its asker goes.
struct Abandon {
    orders: mpsc::Sender<Order>,
    name: Option<Name>,
}

impl Drop for Abandon {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            // A full queue means the order itself may still stand in it; it is answered to nobody.
            let _ = self.orders.try_send(Order::Abandon(name));
        }
    }
}

struct Session {
    content: ContentId,
    peer: PeerId,
    control: Control,
    status: Rc<StatusBoard>,
    /// Not asked yet: by urgency, then in order of arrival.
    waiting: BTreeMap<(Priority, u64), (Item, oneshot::Sender<Answer>)>,
    /// On the wire.
    asked: HashMap<Name, Vec<oneshot::Sender<Answer>>>,
    count: u64,
}

/// The session's stream ended or broke; whoever waits is told so.
struct Over;

impl Session {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let protocol = StreamProtocol::new(CHUNK_PROTOCOL);
        let opened = self.control.open_stream(self.peer, protocol).await;
        if let Ok(stream) = opened {
            // However it ends, those who still wait are told by their dropped senders.
            let _ = self.converse(stream, &mut orders).await;
        }
        orders.close();
    }

    async fn converse(
        &mut self,
        stream: Stream,
        orders: &mut mpsc::Receiver<Order>,
    ) -> Result<(), Over> {
        let (reader, mut writer) = stream.split();
        // The transport hands over small pieces; a frame's length should not cost a call each.
        let reader = BufReader::with_capacity(READ_BUFFER_LEN, reader);
        let frames = stream::unfold(reader, |mut reader| async move {
            let frame = read_frame(&mut reader).await;
            Some((frame, reader))
        });
        let mut frames = std::pin::pin!(frames);
        self.send(&mut writer, &Frame::Head(self.content)).await?;
        loop {
            self.ask_more(&mut writer).await?;
            let idle = self.asked.is_empty() && self.waiting.is_empty();
            let timer = async {
                if idle {
                    sleep(IDLE).await
                } else {
                    future::pending().await
                }
            };
            let events = future::select(frames.next(), orders.next());
            match future::select(events, Box::pin(timer.fuse())).await {
                Either::Right(_) => {
                    self.send(&mut writer, &Frame::Bye(Parting::Done)).await?;
                    let _ = writer.close().await;
                    return Ok(());
                }
                Either::Left((Either::Left((frame, _)), _)) => {
                    self.hear(frame.unwrap_or(Err(Over))?)?;
                }
                Either::Left((Either::Right((order, _)), _)) => match order {
                    Some(order) => self.take(order, &mut writer).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    /// Puts waiting requests on the wire, as many as may be outstanding.
    async fn ask_more(&mut self, writer: &mut (impl AsyncWriteExt + Unpin)) -> Result<(), Over> {
        while self.asked.len() < MAX_OUTSTANDING {
            let Some((_, (item, sender))) = self.waiting.pop_first() else {
                break;
            };
            if sender.is_canceled() {
                continue;
            }
            let senders = self.asked.entry(item.name()).or_default();
            senders.push(sender);
            if senders.len() == 1 {
                self.send(writer, &item.frame()).await?;
            }
        }
        Ok(())
    }

    async fn take(
        &mut self,
        order: Order,
        writer: &mut (impl AsyncWriteExt + Unpin),
    ) -> Result<(), Over> {
        match order {
            Order::Fetch(_, sender) if self.waiting.len() >= MAX_WAITING => {
                let _ = sender.send(Err(Trouble::Busy));
            }
            Order::Fetch(item, sender) => {
                self.count += 1;
                let place = (item.priority(), self.count);
                self.waiting.insert(place, (item, sender));
            }
            Order::Abandon(name) => {
                self.waiting.retain(|_, (_, sender)| !sender.is_canceled());
                if let Some(senders) = self.asked.get_mut(&name) {
                    senders.retain(|sender| !sender.is_canceled());
                    if senders.is_empty() {
                        self.asked.remove(&name);
                        if let Name::Chunk(file, index) = name {
                            self.send(writer, &Frame::Cancel { file, index }).await?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn hear(&mut self, frame: Option<Frame>) -> Result<(), Over> {
        match frame {
            Some(Frame::Block(digest, bytes)) => self.settle(Name::Block(digest), Ok(bytes)),
            Some(Frame::NoBlock(digest)) => {
                self.settle(Name::Block(digest), Err(Trouble::Absent));
            }
            Some(Frame::Chunk {
                file,
                index,
                sealed,
            }) => self.settle(Name::Chunk(file, index), Ok(sealed)),
            Some(Frame::NoChunk { file, index }) => {
                self.settle(Name::Chunk(file, index), Err(Trouble::Absent));
            }
            Some(Frame::Busy { file, index, .. }) => {
                self.settle(Name::Chunk(file, index), Err(Trouble::Busy));
            }
            Some(Frame::Bye(_)) => return Err(Over),
            // Heads and Have matter once tabs serve tabs; requests are not for a viewer. Later
            // versions' frames are skipped.
            Some(
                Frame::Heads { .. }
                | Frame::Have { .. }
                | Frame::Head(_)
                | Frame::Get(_)
                | Frame::Request { .. }
                | Frame::Cancel { .. },
            )
            | None => {}
        }
        Ok(())
    }

    fn settle(&mut self, name: Name, answer: Answer) {
        if let Ok(bytes) = &answer {
            self.status.count(bytes.len() as u64, 0);
        }
        let mut senders = self.asked.remove(&name).unwrap_or_default();
        // One asker is the rule; copies are made only beyond it.
        let last = senders.pop();
        for sender in senders {
            let _ = sender.send(answer.clone());
        }
        if let Some(sender) = last {
            let _ = sender.send(answer);
        }
    }

    async fn send(
        &self,
        writer: &mut (impl AsyncWriteExt + Unpin),
        frame: &Frame,
    ) -> Result<(), Over> {
        let bytes = frame.encode();
        writer.write_all(&bytes).await.map_err(|_| Over)?;
        writer.flush().await.map_err(|_| Over)?;
        self.status.count(0, bytes.len() as u64);
        Ok(())
    }
}

/// One frame; `Ok(None)` for a type this version does not know.
async fn read_frame(reader: &mut (impl AsyncReadExt + Unpin)) -> Result<Option<Frame>, Over> {
    let mut length = [0; LENGTH_LEN];
    reader.read_exact(&mut length).await.map_err(|_| Over)?;
    let len = wire::frame_len(length).map_err(|_| Over)?;
    let mut frame = vec![0; len];
    reader.read_exact(&mut frame).await.map_err(|_| Over)?;
    Frame::decode(frame).map_err(|_| Over)
}
