//! Manifests from strangers, and every manifest a creator could sign.
//!
//! A signature hides what stands behind it from random bytes, so the second half signs contents made
//! of the input, reads them back, and reads them changed without asking for the signature.

#![no_main]

use libfuzzer_sys::{
    arbitrary::{Result, Unstructured},
    fuzz_target,
};
use sluice_core::{
    Digest, UnixMillis,
    chunk::Layout,
    creator::CreatorKey,
    manifest::{Contents, FileEntry, MAX_MANIFEST_LEN, Manifest, Policy, Right},
    media::MediaType,
    path::FilePath,
    seal::ContentKey,
};
use sluice_fuzz::canonical_elsewhere;

fuzz_target!(|data: &[u8]| {
    accept(data);
    if let Ok(contents) = contents(&mut Unstructured::new(data))
        && let Ok(manifest) = Manifest::sign(contents, &CreatorKey::from_seed(&[3; 32]))
    {
        assert!(manifest.bytes().len() <= MAX_MANIFEST_LEN);
        walk(&manifest);
        let read = Manifest::decode(manifest.bytes()).expect("what was signed is read back");
        assert_eq!(read, manifest);
        let mut changed = manifest.bytes().to_vec();
        let at = data.len() % changed.len();
        changed[at] ^= 1;
        assert!(Manifest::decode(&changed).is_err());
        accept(&changed);
    }
});

fn accept(bytes: &[u8]) {
    let unattributed = Manifest::decode_unattributed(bytes);
    if let Ok(manifest) = &unattributed {
        assert_eq!(manifest.bytes(), bytes);
        canonical_elsewhere(bytes);
        walk(manifest);
    }
    if let Ok(signed) = Manifest::decode(bytes) {
        assert_eq!(
            signed,
            unattributed.expect("only the signature is left out")
        );
    }
}

/// Everything a reader does with a manifest; none of it may panic.
fn walk(manifest: &Manifest) {
    for (index, file) in manifest.indexed_files() {
        assert_eq!(file.pages.len() as u64, file.layout().pages());
        assert_eq!(manifest.find(file.path.as_str()), Some((index, file)));
        let _ = manifest.free_key(file);
    }
    let _ = (manifest.main_file(), manifest.total_len(), manifest.id());
}

fn contents(input: &mut Unstructured<'_>) -> Result<Contents> {
    let key = ContentKey::from_random(input.arbitrary()?);
    let mut files = Vec::new();
    while files.len() < 300 && input.arbitrary()? {
        files.push(file(input)?);
    }
    let is_paid = input.arbitrary()?;
    let policy = if is_paid {
        Policy::Right(Right {
            chain: input.arbitrary()?,
            resolver: input.arbitrary()?,
        })
    } else {
        Policy::Free(vec![key.clone(); input.int_in_range(1..=2)?])
    };
    Ok(Contents {
        created: UnixMillis(input.arbitrary()?),
        files,
        keys: vec![key.commitment()],
        policy,
        account: if is_paid {
            Some(input.arbitrary()?)
        } else {
            input.arbitrary()?
        },
    })
}

fn file(input: &mut Unstructured<'_>) -> Result<FileEntry> {
    let path: &str = input.arbitrary()?;
    let len: u64 = input.arbitrary()?;
    // Few pages, or the links would be all there is.
    let len = if input.arbitrary()? {
        len % (1 << 31)
    } else {
        len
    };
    let pages = Layout::new(len).map_or(0, |layout| layout.pages());
    Ok(FileEntry {
        path: FilePath::try_from(path).unwrap_or_else(|_| FilePath::suggest(path)),
        media: *input.choose(MediaType::ALL)?,
        len,
        key: u32::from(input.ratio(1, 50)?),
        pages: (0..pages)
            .map(|n| Digest::of(&n.to_be_bytes()).dag_cbor())
            .collect(),
    })
}
