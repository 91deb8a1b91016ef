//! Golden vectors: what the formats are, in files that Rust, TypeScript and Solidity tests read.
//!
//! Each test builds a file's contents with this crate and compares them with the file. After an
//! intended change of a format, `SLUICE_WRITE_VECTORS=1 cargo test -p sluice-core --test vectors`
//! writes them anew; the other languages' tests then say whether they still agree.

use serde_json::{Value, json};
use sluice_core::{
    ChunkIndex, ContentId, Digest, FileIndex, UnixMillis,
    card::{Card, Text},
    chunk::{CHUNK_LEN, Layout},
    creator::CreatorKey,
    manifest::{Contents, FileEntry, Manifest, Policy, Right},
    media::MediaType,
    page::HashPage,
    path::FilePath,
    range::{self, Reply},
    seal::{ContentKey, Place},
    wire::{Frame, Parting, Priority},
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes any language can make: byte `n` is `n * 7 + 3`, modulo 256.
fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|n| u8::try_from((n * 7 + 3) % 256).expect("a remainder"))
        .collect()
}

#[track_caller]
fn check(name: &str, vectors: &Value) {
    let path = format!("{}/tests/data/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = serde_json::to_string_pretty(vectors).expect("plain values") + "\n";
    if std::env::var_os("SLUICE_WRITE_VECTORS").is_some() {
        std::fs::write(&path, &text).expect("the data folder is writable");
    }
    let golden = std::fs::read_to_string(&path).expect("the vectors are committed");
    assert!(
        golden == text,
        "{name}.json no longer says what the code does"
    );
}

fn key() -> ContentKey {
    ContentKey::from_random(*b"an example content key, 32 bytes")
}

fn creator() -> CreatorKey {
    CreatorKey::from_seed(b"an example creator's seed, 32 by")
}

#[test]
fn sealed_chunks_are_as_published() {
    let last_len = usize::try_from(CHUNK_LEN).expect("small");
    let cases = [
        (0, 0, true, 3),
        (0, 0, false, last_len),
        (0, 1, true, 1),
        (255, 4_194_303, true, 100),
    ];
    let cases = cases.map(|(file, chunk, last, len)| {
        let place = Place {
            file: FileIndex(file),
            chunk: ChunkIndex(chunk),
            last,
        };
        let mut bytes = pattern(len);
        key().cipher().seal(place, &mut bytes);
        json!({
            "file": file, "chunk": chunk, "last": last, "plain_len": len,
            "nonce": hex(&place.nonce()),
            "tag": hex(&bytes[len..]),
            "sealed_blake3": Digest::of(&bytes).to_string(),
            "cid": Digest::of(&bytes).raw().to_string(),
        })
    });
    check(
        "seal",
        &json!({
            "about": "ChaCha20-Poly1305, no associated data. Plain byte n is (n * 7 + 3) mod 256. \
                      Nonce: file (u32 be), chunk (7 bytes be), last flag. \
                      Sealed = ciphertext, then tag; its CID is raw with BLAKE3-256.",
            "key": hex(key().expose()),
            "commitment_context": "sluice 2026 key commitment v1",
            "commitment": hex(key().commitment().as_bytes()),
            "cases": cases,
        }),
    );
}

#[test]
fn hash_pages_are_as_published() {
    let cases = [1u64, 2, 1024].map(|count| {
        let digests: Vec<_> = (0..count).map(|n| Digest::of(&n.to_be_bytes())).collect();
        let bytes = HashPage::new(digests).encode();
        json!({
            "links": count,
            "bytes_len": bytes.len(),
            "bytes": if count < 10 { json!(hex(&bytes)) } else { Value::Null },
            "cid": Digest::of(&bytes).dag_cbor().to_string(),
        })
    });
    check(
        "page",
        &json!({
            "about": "DAG-CBOR array of CIDs (raw, BLAKE3-256). Link n has the digest of n as u64 be.",
            "cases": cases,
        }),
    );
}

fn file(path: &str, media: MediaType, len: u64) -> FileEntry {
    let pages = Layout::new(len).expect("allowed").pages();
    FileEntry {
        path: FilePath::try_from(path).expect("allowed"),
        media,
        len,
        key: 0,
        pages: (0..pages)
            .map(|n| Digest::of(&n.to_be_bytes()).dag_cbor())
            .collect(),
    }
}

fn manifest(policy: Policy, account: Option<[u8; 20]>) -> Manifest {
    let contents = Contents {
        created: UnixMillis(1_790_000_000_000),
        files: vec![
            file("film.mp4", MediaType::Mp4, 300_000_000),
            file("subtitles/de.vtt", MediaType::Vtt, 3),
        ],
        keys: vec![key().commitment()],
        policy,
        account,
    };
    Manifest::sign(contents, &creator()).expect("within limits")
}

#[test]
fn manifests_are_as_published() {
    let right = Right {
        chain: 31_337,
        resolver: [0x11; 20],
    };
    let cases = [
        ("free", manifest(Policy::Free(vec![key()]), None)),
        ("right", manifest(Policy::Right(right), Some([0x22; 20]))),
    ];
    let cases = cases.map(|(policy, manifest)| {
        json!({
            "policy": policy,
            "creator": manifest.creator().to_string(),
            "bytes": hex(manifest.bytes()),
            "id": manifest.id().to_string(),
        })
    });
    check(
        "manifest",
        &json!({
            "about": "Canonical DAG-CBOR. sig = Ed25519 over the domain, then the encoding without sig.",
            "domain": "sluice manifest v1\u{0}",
            "creator_seed": "an example creator's seed, 32 by",
            "key": hex(key().expose()),
            "cases": cases,
        }),
    );
}

#[test]
fn cards_are_as_published() {
    let work = manifest(Policy::Free(vec![key()]), None).id();
    let full = Text {
        title: "Nächtliche Flüsse 🌊".into(),
        description: "Two lines.\nThe second.".into(),
        language: "pt-BR".into(),
        tags: vec!["water".into(), "night".into()],
        licence: "CC-BY-4.0".into(),
        poster: Some(Digest::of(b"poster")),
        unlisted: true,
    };
    let least = Text {
        title: "T".into(),
        ..Text::default()
    };
    let cases = [(0u64, least), (7, full)].map(|(seq, text)| {
        let card = Card::sign(work, seq, text, &creator()).expect("within limits");
        json!({
            "seq": seq,
            "title": card.text().title,
            "poster": card.text().poster.map(|digest| digest.raw().to_string()),
            "bytes": hex(card.bytes()),
            "cid": card.digest().dag_cbor().to_string(),
        })
    });
    check(
        "card",
        &json!({
            "about": "Canonical DAG-CBOR. sig = Ed25519 over the domain, then the encoding without sig.",
            "domain": "sluice card v1\u{0}",
            "creator": creator().id().to_string(),
            "work": work.to_string(),
            "cases": cases,
        }),
    );
}

#[test]
fn frames_are_as_published() {
    let (file, index) = (FileIndex(1), ChunkIndex(2));
    let digest = Digest::of(b"block");
    let frames = [
        ("head", Frame::Head(ContentId(digest))),
        (
            "heads",
            Frame::Heads {
                card: Some(digest),
                keybox: None,
            },
        ),
        ("get", Frame::Get(digest)),
        ("block", Frame::Block(digest, b"block".to_vec())),
        ("no_block", Frame::NoBlock(digest)),
        (
            "have",
            Frame::Have {
                file,
                first: index,
                bitmap: vec![0b1010_0000],
            },
        ),
        (
            "request",
            Frame::Request {
                file,
                index,
                priority: Priority::SOON,
            },
        ),
        ("cancel", Frame::Cancel { file, index }),
        (
            "chunk",
            Frame::Chunk {
                file,
                index,
                sealed: b"sealed".to_vec(),
            },
        ),
        ("no_chunk", Frame::NoChunk { file, index }),
        (
            "busy",
            Frame::Busy {
                file,
                index,
                retry_ms: 250,
            },
        ),
        ("bye", Frame::Bye(Parting::Leaving)),
    ];
    let cases: Vec<_> = frames
        .iter()
        .map(|(name, frame)| json!({ "name": name, "bytes": hex(&frame.encode()) }))
        .collect();
    check(
        "wire",
        &json!({
            "about": "length (u32 be, of what follows), type (u8), body. File 1 (u32 be), chunk 2 (u64 be), \
                      digest = BLAKE3 of \"block\", priority 64, retry 250 ms.",
            "protocol": sluice_core::wire::CHUNK_PROTOCOL,
            "cases": cases,
        }),
    );
}

#[test]
fn ranges_are_as_published() {
    let headers = [
        "bytes=0-",
        "bytes=0-0",
        "bytes=0-1",
        "bytes=99-",
        "bytes=90-500",
        "bytes=-1",
        "bytes=-100",
        "bytes=-500",
        "bytes=-0",
        "bytes=100-",
        "bytes=5-4",
        "bytes=0-1,5-6",
        "bytes=a-b",
        "items=0-1",
        "Bytes=10-19",
        "bytes=0-99999999999999999999999999",
    ];
    let cases = headers.map(|header| match range::resolve(Some(header), 100) {
        Reply::Whole => json!({ "range": header, "status": 200 }),
        Reply::Partial { span, .. } => {
            json!({ "range": header, "status": 206, "first": span.first, "last": span.last })
        }
        Reply::Unsatisfiable => json!({ "range": header, "status": 416 }),
    });
    check(
        "range",
        &json!({
            "about": "Range headers on a media of 100 bytes; first and last are inclusive.",
            "len": 100,
            "cases": cases,
        }),
    );
}
