//! Hash pages from strangers. The first two bytes are how many links the reader expects.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_core::page::{HashPage, MAX_PAGE_LEN};
use sluice_fuzz::canonical_elsewhere;

fuzz_target!(|data: &[u8]| {
    let Some((want, bytes)) = data.split_first_chunk() else {
        return;
    };
    let want = usize::from(u16::from_be_bytes(*want));
    if let Ok(page) = HashPage::decode(bytes, want) {
        assert!(bytes.len() <= MAX_PAGE_LEN);
        assert_eq!(page.digests().len(), want);
        assert_eq!(page.encode(), bytes);
        canonical_elsewhere(bytes);
        assert_eq!(page.get(want), None);
    }
});
