//! Which of a relay's addresses a tab tries, in which order, and when it tries again.

use crate::bridge::Transport;

/// Longest wait between two rounds of dialling, in milliseconds.
pub const MAX_BACKOFF_MS: u64 = 30_000;

/// Wait after the first failed round, in milliseconds.
const FIRST_BACKOFF_MS: u64 = 1_000;

/// A connection that ends sooner counts as a failed round, in milliseconds.
const STABLE_MS: u64 = 10_000;

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

/// How the page that dials was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Over HTTPS: a plain WebSocket is then mixed content.
    pub https: bool,
    /// From the viewer's own machine.
    pub local: bool,
}

/// The addresses a browser can dial, best first: WebTransport, then WebSocket; each in the
/// relay's order. A page that came over HTTPS may not open a plain WebSocket, and only one that came
/// from the viewer's own machine may dial that machine: a relay's loopback is not the viewer's.
pub fn candidates(addresses: &[String], page: Page) -> Vec<Candidate> {
    let of = |wanted: Transport| {
        addresses.iter().filter_map(move |address| {
            let transport = transport_of(address)?;
            let allowed = if is_loopback(address) {
                page.local
            } else {
                !page.https || is_encrypted(address)
            };
            (transport == wanted && allowed).then(|| Candidate {
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

/// Whether a connection that lived this long counts as a success: a relay that accepts and closes
/// at once must not be dialled in a tight loop.
pub const fn was_worth_it(lived_ms: u64) -> bool {
    lived_ms >= STABLE_MS
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

    const PLAIN: Page = Page {
        https: false,
        local: false,
    };
    const HTTPS: Page = Page {
        https: true,
        local: false,
    };

    #[track_caller]
    fn check(addresses: &[&str], page: Page, want: &[&str]) {
        let addresses: Vec<_> = addresses.iter().map(|text| (*text).to_owned()).collect();
        let got = candidates(&addresses, page);
        let got: Vec<_> = got.iter().map(|c| c.address.as_str()).collect();
        assert_eq!(got, want);
    }

    const WT: &str = "/ip4/192.0.2.1/udp/4001/quic-v1/webtransport/certhash/uEiA/p2p/12D3";
    const WS: &str = "/ip4/192.0.2.1/tcp/4002/ws/p2p/12D3";
    const WSS: &str = "/dns4/relay.example/tcp/443/tls/ws/p2p/12D3";

    #[test]
    fn webtransport_comes_first() {
        check(&[WS, WT], PLAIN, &[WT, WS]);
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
            PLAIN,
            &["ws"],
        );
    }

    #[test]
    fn an_https_page_opens_no_plain_websocket() {
        check(&[WS, WSS], HTTPS, &[WSS]);
    }

    #[test]
    fn only_a_page_from_this_machine_dials_this_machine() {
        let local = "/ip4/127.0.0.1/tcp/4002/ws/p2p/12D3";
        check(&[WS, local], PLAIN, &[WS]);
        check(&[WS, local], HTTPS, &[]);
        check(
            &[local],
            Page {
                https: false,
                local: true,
            },
            &[local],
        );
    }

    #[test]
    fn a_connection_that_ends_at_once_is_a_failure() {
        assert!(!was_worth_it(0));
        assert!(!was_worth_it(STABLE_MS - 1));
        assert!(was_worth_it(STABLE_MS));
    }

    #[test]
    fn a_round_is_bounded() {
        check(&[WS; 20], PLAIN, &[WS; MAX_CANDIDATES]);
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
