//! What one stream's peer wants and has not got: bounded, by priority, and taken back at will.
//!
//! Pure: `stream.rs` puts a reader on one side of it and a writer on the other.

use std::collections::VecDeque;

use sluice_core::wire::{MAX_OUTSTANDING, Parting, Priority};
use sluice_core::{ChunkIndex, ContentId, Digest, FileIndex};

/// `Busy` answers that may wait to be written. A peer that has so many requests refused and reads none
/// of it is not read from any more until it does.
const MAX_BUSY: usize = MAX_OUTSTANDING;

/// Questions for heads and blocks that may wait beside the chunks, so that asking for a hash page never
/// costs a chunk its place. A peer that asks more is not read from until some are answered.
const MAX_ASKED: usize = MAX_OUTSTANDING;

/// A chunk within the stream's work.
pub(super) type Place = (FileIndex, ChunkIndex);

/// Something to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Which card and keybox are the newest.
    Heads(ContentId),
    /// A block.
    Block(Digest),
    /// A sealed chunk.
    Chunk(ContentId, Place),
    /// The refusal of a chunk that found no room.
    Busy(Place),
}

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// Whether what waits is answered first.
    pub(super) drain: bool,
    /// What the peer is told, if it still listens.
    pub(super) parting: Option<Parting>,
}

/// There was no room; nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

#[derive(Debug)]
struct Waiting {
    wanted: Wanted,
    priority: Priority,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// In order of arrival, at most [`MAX_OUTSTANDING`] chunks and [`MAX_ASKED`] others.
    waiting: Vec<Waiting>,
    /// Refusals, at most [`MAX_BUSY`].
    busy: VecDeque<Place>,
    /// Chunks taken out and not yet on the wire: as many as the writer reads ahead.
    taken: Vec<Place>,
    end: Option<End>,
}

impl Queue {
    /// Adds a request. One that waits already only gets the more urgent of the two priorities.
    pub(super) fn push(&mut self, wanted: Wanted, priority: Priority) -> Result<(), Full> {
        if let Some(same) = self.waiting.iter_mut().find(|known| known.wanted == wanted) {
            same.priority = same.priority.min(priority);
            return Ok(());
        }
        let is_chunk = |wanted| matches!(wanted, Wanted::Chunk(..));
        let alike = self
            .waiting
            .iter()
            .filter(|known| is_chunk(known.wanted) == is_chunk(wanted))
            .count();
        let limit = if is_chunk(wanted) {
            MAX_OUTSTANDING
        } else {
            MAX_ASKED
        };
        if alike >= limit {
            return Err(Full);
        }
        self.waiting.push(Waiting { wanted, priority });
        Ok(())
    }

    /// Adds the refusal of a request that found the queue full.
    pub(super) fn push_busy(&mut self, place: Place) -> Result<(), Full> {
        if self.busy.len() >= MAX_BUSY {
            return Err(Full);
        }
        self.busy.push_back(place);
        Ok(())
    }

    /// Takes a request back. True if it was waiting or its chunk was not yet on the wire.
    pub(super) fn cancel(&mut self, place: Place) -> bool {
        let before = self.waiting.len() + self.taken.len();
        self.waiting
            .retain(|known| !matches!(known.wanted, Wanted::Chunk(_, at) if at == place));
        self.taken.retain(|at| *at != place);
        before > self.waiting.len() + self.taken.len()
    }

    /// The next thing to answer: refusals, which are short, then by priority and arrival.
    pub(super) fn take(&mut self) -> Option<Wanted> {
        if self.end.is_some_and(|end| !end.drain) {
            return None;
        }
        if let Some(place) = self.busy.pop_front() {
            return Some(Wanted::Busy(place));
        }
        let (index, _) = self
            .waiting
            .iter()
            .enumerate()
            .min_by_key(|(_, known)| known.priority)?;
        let wanted = self.waiting.remove(index).wanted;
        if let Wanted::Chunk(_, place) = wanted {
            self.taken.push(place);
        }
        Some(wanted)
    }

    /// Whether a chunk that was taken is still wanted. Asked just before it is written; after that it
    /// cannot be taken back.
    pub(super) fn commit(&mut self, place: Place) -> bool {
        let index = self.taken.iter().position(|at| *at == place);
        index.map(|index| self.taken.remove(index)).is_some()
    }

    /// Ends the queue; the first end counts.
    pub(super) fn finish(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    /// How it ended, if it has.
    pub(super) fn end(&self) -> Option<End> {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: ContentId = ContentId(Digest::new([1; 32]));

    fn place(index: u64) -> Place {
        (FileIndex(0), ChunkIndex(index))
    }

    fn chunk(index: u64) -> Wanted {
        Wanted::Chunk(WORK, place(index))
    }

    fn full() -> Queue {
        let mut queue = Queue::default();
        for index in 0..MAX_OUTSTANDING as u64 {
            queue.push(chunk(index), Priority::SOON).unwrap();
        }
        queue
    }

    #[test]
    fn the_urgent_come_first_and_equals_in_order() {
        let mut queue = Queue::default();
        queue.push(chunk(1), Priority::LATER).unwrap();
        queue.push(chunk(2), Priority::SOON).unwrap();
        queue.push(chunk(3), Priority::SOON).unwrap();
        queue.push(Wanted::Heads(WORK), Priority::URGENT).unwrap();
        let order: Vec<_> = std::iter::from_fn(|| queue.take()).collect();
        assert_eq!(order, [Wanted::Heads(WORK), chunk(2), chunk(3), chunk(1)]);
    }

    #[test]
    fn at_the_limit_a_request_finds_no_room_until_one_is_taken() {
        let mut queue = full();
        assert_eq!(queue.push(chunk(99), Priority::URGENT), Err(Full));
        queue.take().unwrap();
        assert_eq!(queue.push(chunk(99), Priority::URGENT), Ok(()));
        assert_eq!(queue.take(), Some(chunk(99)));
    }

    #[test]
    fn heads_and_blocks_take_no_chunks_place_and_are_bounded_too() {
        let mut queue = full();
        for byte in 0..MAX_ASKED {
            let digest = Digest::of(&[byte.to_le_bytes()[0]]);
            queue.push(Wanted::Block(digest), Priority::URGENT).unwrap();
        }
        let heads = Wanted::Heads(WORK);
        assert_eq!(queue.push(heads, Priority::URGENT), Err(Full));
        queue.take().unwrap();
        assert_eq!(queue.push(heads, Priority::URGENT), Ok(()));
    }

    #[test]
    fn the_same_request_twice_waits_once_at_the_more_urgent_priority() {
        let mut queue = full();
        assert_eq!(queue.push(chunk(7), Priority::URGENT), Ok(()));
        assert_eq!(queue.take(), Some(chunk(7)));
        assert_eq!(
            std::iter::from_fn(|| queue.take()).count(),
            MAX_OUTSTANDING - 1
        );
    }

    #[test]
    fn refusals_come_first_and_are_bounded() {
        let mut queue = full();
        for index in 0..MAX_BUSY as u64 {
            assert_eq!(queue.push_busy(place(index)), Ok(()));
        }
        assert_eq!(queue.push_busy(place(99)), Err(Full));
        assert_eq!(queue.take(), Some(Wanted::Busy(place(0))));
    }

    #[test]
    fn a_request_is_taken_back_until_its_chunk_is_on_the_wire() {
        let mut queue = Queue::default();
        queue.push(chunk(1), Priority::SOON).unwrap();
        assert!(queue.cancel(place(1)));
        assert_eq!(queue.take(), None);

        queue.push(chunk(2), Priority::SOON).unwrap();
        queue.take().unwrap();
        assert!(queue.cancel(place(2)));
        assert!(!queue.commit(place(2)));

        queue.push(chunk(3), Priority::SOON).unwrap();
        queue.take().unwrap();
        assert!(queue.commit(place(3)));
        assert!(!queue.cancel(place(3)));
    }

    #[test]
    fn an_end_drains_or_drops_and_the_first_one_counts() {
        let leaving = End {
            drain: true,
            parting: Some(Parting::Leaving),
        };
        let breach = End {
            drain: false,
            parting: Some(Parting::Breach),
        };
        let mut queue = full();
        queue.finish(leaving);
        queue.finish(breach);
        assert_eq!(queue.end(), Some(leaving));
        assert!(queue.take().is_some());

        let mut queue = full();
        queue.finish(breach);
        assert_eq!(queue.take(), None);
    }
}
