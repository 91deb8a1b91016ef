//! What the targets share: a second opinion on DAG-CBOR.

use ipld_core::ipld::Ipld;

/// Holds a block that `sluice-core` took to another implementation of canonical DAG-CBOR.
///
/// # Panics
///
/// If that one refuses the block or would write it in another way.
pub fn canonical_elsewhere(block: &[u8]) {
    let value: Ipld = serde_ipld_dagcbor::from_slice(block).expect("what we take is DAG-CBOR");
    let again = serde_ipld_dagcbor::to_vec(&value).expect("what was read can be written");
    assert_eq!(again, block, "what we take is canonical");
}
