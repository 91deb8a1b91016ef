//! Sealing all chunks with several threads, and gathering them into pages and batches.
//!
//! Each thread takes the next chunk, reads it at its offset, seals it and writes it under a temporary
//! name; the calling thread gathers. Memory is one chunk per thread and two batches of digests.

use std::{
    collections::BTreeMap,
    io,
    os::unix::fs::FileExt,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use sluice_core::{
    ChunkIndex, Digest, FileIndex, Link,
    card::Card,
    chunk::{CHUNK_LEN, Layout, PAGE_LINKS},
    page::HashPage,
    seal::{Cipher, Place},
};

use super::{
    PublishError,
    source::{Source, unreadable},
};
use crate::store::{
    StoreError,
    draft::{BATCH, Draft, Kind, Slot, Writer, Written},
};

/// Threads that read, seal and write. More than this and the disk is the limit.
const MAX_THREADS: usize = 8;

/// Chunks written but not yet gathered: one batch fills while another is being synced.
const QUEUE: usize = BATCH;

/// A sealed chunk, written.
struct Sealed {
    file: FileIndex,
    chunk: ChunkIndex,
    plain_len: u64,
    block: Written,
}

/// Seals every chunk of every source into `batch` and returns each source's page links.
pub(super) fn seal_all(
    sources: &[Source],
    cipher: &Cipher,
    batch: &mut Batch,
    stop: &AtomicBool,
    progress: &dyn Fn(u64),
) -> Result<Vec<Vec<Link>>, PublishError> {
    let queue = Queue::new(sources);
    let threads = thread::available_parallelism()
        .map_or(2, usize::from)
        .clamp(2, MAX_THREADS);
    let (sender, receiver) = mpsc::sync_channel(QUEUE);
    thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, writer, queue) = (sender.clone(), batch.writer.clone(), &queue);
            scope.spawn(move || {
                let mut buffer = Vec::new();
                while let Some((file, chunk)) = queue.next() {
                    let sealed = if stop.load(Ordering::Relaxed) {
                        Err(PublishError::Stopped)
                    } else {
                        seal(
                            &sources[file],
                            index_of(file),
                            chunk,
                            cipher,
                            &writer,
                            &mut buffer,
                        )
                    };
                    // The gatherer gone, or an error told: nothing more to do.
                    let failed = sealed.is_err();
                    if sender.send(sealed).is_err() || failed {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut pages = Pages::new(sources);
        for sealed in receiver {
            let Sealed {
                file,
                chunk,
                plain_len,
                block,
            } = sealed?;
            let page = pages.add(file, chunk, block.digest);
            batch.add(
                Slot {
                    kind: Kind::Chunk,
                    file: file.0,
                    index: chunk.0,
                },
                block,
            )?;
            if let Some((index, page)) = page {
                let slot = Slot {
                    kind: Kind::Page,
                    file: file.0,
                    index,
                };
                let digest = batch.put(slot, &page.encode())?;
                pages.link(file, index, digest);
            }
            progress(plain_len);
        }
        Ok(pages.into_links())
    })
}

fn index_of(file: usize) -> FileIndex {
    FileIndex(u32::try_from(file).expect("a work has at most 256 files"))
}

fn seal(
    source: &Source,
    file: FileIndex,
    chunk: ChunkIndex,
    cipher: &Cipher,
    writer: &Writer,
    buffer: &mut Vec<u8>,
) -> Result<Sealed, PublishError> {
    let layout = source.layout;
    let plain_len = layout.plain_len(chunk);
    buffer.resize(
        usize::try_from(plain_len).expect("a chunk has at most 256 KiB"),
        0,
    );
    let offset = chunk.0 * CHUNK_LEN;
    source
        .file
        .read_exact_at(buffer, offset)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => PublishError::Changed(source.path.clone()),
            _ => unreadable(&source.path, error),
        })?;
    let last = layout.is_last(chunk);
    cipher.seal(Place { file, chunk, last }, buffer);
    let block = writer.write(buffer)?;
    Ok(Sealed {
        file,
        chunk,
        plain_len,
        block,
    })
}

/// All chunks of all sources, each handed out once.
struct Queue {
    /// For each source the number of chunks before its first, then the total.
    starts: Vec<u64>,
    next: AtomicU64,
}

impl Queue {
    fn new(sources: &[Source]) -> Self {
        let mut starts = vec![0];
        for source in sources {
            starts.push(starts.last().copied().unwrap_or(0) + source.layout.chunks());
        }
        Self {
            starts,
            next: AtomicU64::new(0),
        }
    }

    fn next(&self) -> Option<(usize, ChunkIndex)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let file = self
            .starts
            .partition_point(|start| *start <= number)
            .checked_sub(1)?;
        // Past the last start there is no file.
        (file + 1 < self.starts.len()).then(|| (file, ChunkIndex(number - self.starts[file])))
    }
}

/// Hash pages being filled. Chunks come nearly in order, so few are open at a time.
struct Pages {
    layouts: Vec<Layout>,
    open: BTreeMap<(FileIndex, u64), Vec<Option<Digest>>>,
    links: Vec<Vec<Option<Link>>>,
}

impl Pages {
    fn new(sources: &[Source]) -> Self {
        let layouts: Vec<Layout> = sources.iter().map(|source| source.layout).collect();
        let links = layouts
            .iter()
            .map(|layout| vec![None; usize::try_from(layout.pages()).unwrap_or(usize::MAX)])
            .collect();
        Self {
            layouts,
            open: BTreeMap::new(),
            links,
        }
    }

    /// Takes a chunk's digest in; returns its page if that is now full.
    fn add(
        &mut self,
        file: FileIndex,
        chunk: ChunkIndex,
        digest: Digest,
    ) -> Option<(u64, HashPage)> {
        let index = chunk.0 / PAGE_LINKS;
        let want = self.layouts.get(file.0 as usize)?.links_on(index);
        let slots = self.open.entry((file, index)).or_default();
        slots.resize(usize::try_from(want).ok()?, None);
        *slots.get_mut(usize::try_from(chunk.0 % PAGE_LINKS).ok()?)? = Some(digest);
        let full: Vec<Digest> = slots.iter().copied().collect::<Option<_>>()?;
        self.open.remove(&(file, index));
        Some((index, HashPage::new(full)))
    }

    fn link(&mut self, file: FileIndex, index: u64, digest: Digest) {
        let page = usize::try_from(index).ok();
        let links = self.links.get_mut(file.0 as usize);
        if let Some(link) = links
            .zip(page)
            .and_then(|(links, page)| links.get_mut(page))
        {
            *link = Some(digest.dag_cbor());
        }
    }

    fn into_links(self) -> Vec<Vec<Link>> {
        // Every chunk was taken in, so every page was filled; the manifest's own check holds us
        // to that.
        self.links
            .into_iter()
            .map(|links| links.into_iter().flatten().collect())
            .collect()
    }
}

/// Blocks on their way into a draft, staged [`BATCH`] at a time.
pub(super) struct Batch {
    draft: Draft,
    writer: Writer,
    waiting: Vec<(Slot, Written)>,
}

impl Batch {
    pub(super) fn new(draft: Draft) -> Self {
        Self {
            writer: draft.writer(),
            draft,
            waiting: Vec::with_capacity(BATCH),
        }
    }

    pub(super) fn put(&mut self, slot: Slot, bytes: &[u8]) -> Result<Digest, StoreError> {
        let block = self.writer.write(bytes)?;
        let digest = block.digest;
        self.add(slot, block)?;
        Ok(digest)
    }

    pub(super) fn put_card(
        &mut self,
        card: &Card,
        poster: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let index = card.seq();
        self.put(
            Slot {
                kind: Kind::Card,
                file: 0,
                index,
            },
            card.bytes(),
        )?;
        if let Some(poster) = poster {
            self.put(
                Slot {
                    kind: Kind::Poster,
                    file: 0,
                    index,
                },
                poster,
            )?;
        }
        Ok(())
    }

    fn add(&mut self, slot: Slot, block: Written) -> Result<(), StoreError> {
        self.waiting.push((slot, block));
        if self.waiting.len() == BATCH {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.draft.stage(&self.waiting)?;
        self.waiting.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Draft, StoreError> {
        self.flush()?;
        Ok(self.draft)
    }
}
