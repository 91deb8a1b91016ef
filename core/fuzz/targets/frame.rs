//! A chunk protocol stream from a stranger: frames one after another, read as the relay reads them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_core::wire::{self, Frame, LENGTH_LEN, MAX_FRAME_LEN};

fuzz_target!(|data: &[u8]| {
    let mut left = data;
    while let Some((length, rest)) = left.split_first_chunk::<LENGTH_LEN>() {
        let Ok(len) = wire::frame_len(*length) else {
            return;
        };
        assert!(len > 0 && len as u64 <= MAX_FRAME_LEN);
        let Some((body, rest)) = rest.split_at_checked(len) else {
            return;
        };
        match Frame::decode(body.to_vec()) {
            // One frame, one encoding.
            Ok(Some(frame)) => assert_eq!(frame.encode(), left[..LENGTH_LEN + len]),
            Ok(None) => {}
            Err(_) => return,
        }
        left = rest;
    }
});
