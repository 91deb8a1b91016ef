//! Which of a relay's addresses a tab tries, in which order, and when it tries again.

use crate::bridge::Transport;

/// Longest wait between two rounds of dialling, in milliseconds.
pub const MAX_BACKOFF_MS: u64 = 30_000;

/// Wait after the first failed round, in milliseconds.
const FIRST_BACKOFF_MS: u64 = 1_000;

/// Most addresses tried in one round.
pub const MAX_CANDIDATES: usize = 8;

/// How long one address may take, in milliseconds, before the next is tried: a blocked UDP port
/// says nothing at all.
pub const DIAL_PATIENCE_MS: u64 = 4_000;

/// An address worth dialling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The multiaddr as the relay printed it.
    pub address: String,
    /// What it goes over.
    pub transport: Transport,
}

/// The addresses a browser can dial, best first: WebTransport, then WebSocket; each in the
/// relay's order. A page that came over HTTPS may not open a plain WebSocket, except to its own
/// machine.
pub fn candidates(addresses: &[String], page_is_https: bool) -> Vec<Candidate> {
    let of = |wanted: Transport| {
        addresses.iter().filter_map(move |address| {
            let transport = transport_of(address)?;
            let mixed = page_is_https && !is_encrypted(address) && !is_loopback(address);
            (transport == wanted && !mixed).then(|| Candidate {
                address: address.clone(),
                transport,
            })
        })
    };
    of(Transport::WebTransport)
        .chain(of(Transport::WebSocket))
        .take(MAX_CANDIDATES)
        .collect()
}

/// How long to wait after `failed` rounds in a row; `jitter` is uniform in 0..=255 and spreads
/// tabs that lost one relay at one instant over a quarter of the wait.
pub fn backoff_ms(failed: u32, jitter: u8) -> u64 {
    let doubled = FIRST_BACKOFF_MS.saturating_mul(1 << failed.saturating_sub(1).min(16));
    let wait = doubled.min(MAX_BACKOFF_MS);
    wait - wait / 4 * u64::from(jitter) / 255
}

fn transport_of(address: &str) -> Option<Transport> {
    let parts: Vec<_> = address.split('/').collect();
    let has = |name| parts.contains(&name);
    if has("p2p-circuit") {
        return None;
    }
    if has("webtransport") && has("certhash") {
        return Some(Transport::WebTransport);
    }
    (has("ws") || has("wss")).then_some(Transport::WebSocket)
}

fn is_encrypted(address: &str) -> bool {
    address
        .split('/')
        .any(|part| matches!(part, "webtransport" | "wss" | "tls"))
}

fn is_loopback(address: &str) -> bool {
    address.starts_with("/ip4/127.") || address.starts_with("/ip6/::1/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(addresses: &[&str], page_is_https: bool, want: &[&str]) {
        let addresses: Vec<_> = addresses.iter().map(|text| (*text).to_owned()).collect();
        let got = candidates(&addresses, page_is_https);
        let got: Vec<_> = got.iter().map(|c| c.address.as_str()).collect();
        assert_eq!(got, want);
    }

    const WT: &str = "/ip4/192.0.2.1/udp/4001/quic-v1/webtransport/certhash/uEiA/p2p/12D3";
    const WS: &str = "/ip4/192.0.2.1/tcp/4002/ws/p2p/12D3";
    const WSS: &str = "/dns4/relay.example/tcp/443/tls/ws/p2p/12D3";

    #[test]
    fn webtransport_comes_first() {
        check(&[WS, WT], false, &[WT, WS]);
    }

    #[test]
    fn what_a_browser_cannot_dial_is_left_out() {
        let plain = [
            "/ip4/192.0.2.1/tcp/4001/p2p/12D3",
            "/ip4/192.0.2.1/udp/4001/quic-v1",
        ];
        let hashless = "/ip4/192.0.2.1/udp/4001/quic-v1/webtransport/p2p/12D3";
        let circuit = format!("{WS}/p2p-circuit");
        check(
            &[plain[0], plain[1], hashless, &circuit, "", "ws"],
            false,
            &["ws"],
        );
    }

    #[test]
    fn an_https_page_opens_plain_websockets_only_to_its_own_machine() {
        let local = "/ip4/127.0.0.1/tcp/4002/ws/p2p/12D3";
        check(&[WS, WSS, local], true, &[WSS, local]);
    }

    #[test]
    fn a_round_is_bounded() {
        check(&[WS; 20], false, &[WS; MAX_CANDIDATES]);
    }

    #[test]
    fn waits_double_up_to_the_limit_and_spread_by_a_quarter() {
        assert_eq!(backoff_ms(1, 0), 1_000);
        assert_eq!(backoff_ms(1, 255), 750);
        assert_eq!(backoff_ms(3, 0), 4_000);
        assert_eq!(backoff_ms(40, 0), MAX_BACKOFF_MS);
        assert_eq!(
            backoff_ms(u32::MAX, 255),
            MAX_BACKOFF_MS - MAX_BACKOFF_MS / 4
        );
    }
}
