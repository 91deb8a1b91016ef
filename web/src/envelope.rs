//! How bridge messages travel through `postMessage`: `[message bytes, payload | null]`.
//!
//! The payload (a chunk, a block) is a transferred `ArrayBuffer`, so it is not copied between
//! threads. What does not open as an envelope is somebody else's message and is ignored.

use js_sys::{Array, ArrayBuffer, Uint8Array};
use minicbor::{Decode, Encode};
use sluice_core::bridge;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{MessageEvent, MessagePort};

/// A message ready for any `postMessage`.
pub struct Sealed {
    /// The value to post.
    pub value: JsValue,
    /// What to transfer along.
    pub transfer: Array,
}

/// Wraps a message and its payload.
pub fn wrap<M: Encode<()>>(message: &M, payload: Option<&[u8]>) -> Sealed {
    let transfer = Array::new();
    let buffer = payload.map_or(JsValue::NULL, |bytes| {
        let buffer = Uint8Array::from(bytes).buffer();
        transfer.push(&buffer);
        buffer.into()
    });
    let message = Uint8Array::from(bridge::encode(message).as_slice());
    Sealed {
        value: Array::of2(&message, &buffer).into(),
        transfer,
    }
}

/// Posts a message on a port. A closed port swallows it, as the platform has it.
pub fn post<M: Encode<()>>(port: &MessagePort, message: &M, payload: Option<&[u8]>) {
    let sealed = wrap(message, payload);
    // Fails only for values that cannot be cloned or transferred twice; ours can be.
    let _ = port.post_message_with_transferable(&sealed.value, &sealed.transfer);
}

/// Reads a posted value; `None` when it is no message of this kind.
pub fn unwrap<M: for<'b> Decode<'b, ()>>(value: &JsValue) -> Option<(M, Option<Vec<u8>>)> {
    let parts = value.dyn_ref::<Array>()?;
    let message = parts.get(0).dyn_into::<Uint8Array>().ok()?;
    if usize::try_from(message.length()).ok()? > bridge::MAX_MESSAGE_LEN {
        return None;
    }
    let payload = parts.get(1).dyn_into::<ArrayBuffer>().ok();
    let payload = payload.map(|buffer| Uint8Array::new(&buffer).to_vec());
    Some((bridge::decode(&message.to_vec())?, payload))
}

/// The first port transferred with a message.
pub fn transferred_port(event: &MessageEvent) -> Option<MessagePort> {
    event.ports().get(0).dyn_into().ok()
}
