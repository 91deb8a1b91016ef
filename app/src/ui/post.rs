//! How the messages of [`sluice_core::bridge`] leave and reach this page: canonical bytes in a `Uint8Array`, and
//! a port transferred beside it where one is handed over.

use js_sys::{Array, Uint8Array};
use sluice_core::bridge::{self, FromNode, FromWorker, ToNode, ToWorker};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{MessageEvent, MessagePort, ServiceWorker};

/// Posts to a service worker; `false` if the browser refused (it is being replaced).
pub(crate) fn to_worker(worker: &ServiceWorker, message: &ToWorker, port: Option<&MessagePort>) -> bool {
    let bytes = Uint8Array::from(bridge::encode(message).as_slice());
    worker.post_message_with_transferable(&bytes, &transferred(port)).is_ok()
}

/// Posts to the node; `false` if the port is gone.
pub(crate) fn to_node(node: &MessagePort, message: &ToNode, port: Option<&MessagePort>) -> bool {
    let bytes = Uint8Array::from(bridge::encode(message).as_slice());
    node.post_message_with_transferable(&bytes, &transferred(port)).is_ok()
}

/// Reads what the service worker said; `None` for another version's message.
pub(crate) fn from_worker(event: &MessageEvent) -> Option<FromWorker> {
    bridge::decode(&bytes(event)?)
}

/// Reads what the node said; `None` for another version's message.
pub(crate) fn from_node(event: &MessageEvent) -> Option<FromNode> {
    bridge::decode(&bytes(event)?)
}

fn transferred(port: Option<&MessagePort>) -> JsValue {
    port.map(Array::of1).unwrap_or_default().into()
}

fn bytes(event: &MessageEvent) -> Option<Vec<u8>> {
    let bytes = event.data().dyn_into::<Uint8Array>().ok()?;
    // Longer ones would be refused anyway; this saves the copy.
    (bytes.length() as usize <= bridge::MAX_MESSAGE_LEN).then(|| bytes.to_vec())
}
