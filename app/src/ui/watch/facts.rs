//! The stats card and the chip: where the bytes came from, how fast, and how far ahead the player is.

use std::time::Duration;

use leptos::prelude::*;
use sluice_core::bridge::Transport;

use super::Screen;
use crate::{
    format,
    meter::Meter,
    traffic::{self, Traffic},
    ui::{
        dom,
        view::{El, el, every, svg, text},
    },
};

/// What is read from the player and the counters once a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sample {
    /// Whole seconds of video ahead of the playing position.
    buffer_s: u64,
    /// Frames the browser decoded too late to show.
    dropped: u32,
    /// Frames in all.
    frames: u32,
    /// Bytes per second from the network.
    down: u64,
    /// Bytes per second to others.
    up: u64,
}

/// The card. Its attributes are for programs, its rows for people.
pub(super) fn card(screen: Screen) -> El {
    let (worker, node, sample) = (screen.app.worker, screen.app.node, screen.sample);
    let traffic = move || worker.traffic.with(|(_, traffic)| *traffic);
    let (mut down, mut up) = (Meter::default(), Meter::default());
    every(Duration::from_secs(1), move || {
        let now = dom::now_ms();
        down.record(
            now,
            worker
                .traffic
                .with_untracked(|(_, traffic)| traffic.downloaded()),
        );
        up.record(now, node.status.with_untracked(|status| status.sent));
        let video = screen.video();
        let quality = video.get_video_playback_quality();
        sample.set(Sample {
            buffer_s: format::whole(ahead(&video)),
            dropped: quality.dropped_video_frames(),
            frames: quality.total_video_frames(),
            down: down.per_second(),
            up: up.per_second(),
        });
    });
    let peers = move || node.status.with(|status| status.peers.to_string());
    let transport = move || {
        node.status.with(|status| {
            status
                .transport
                .map_or(traffic::HTTP, Transport::name)
                .to_owned()
        })
    };
    let connected = move || {
        node.status.with(|status| {
            status
                .transport
                .map_or("not connected", |way| traffic::proper_name(way.name()))
                .to_owned()
        })
    };
    let source = move |name: &str, dot: &str, read: fn(Traffic) -> u64| {
        let dot = el("span").class(dot).attr("aria-hidden", "true");
        [
            el("dt").child(dot).text(name),
            el("dd").live_text(move || format::bytes(read(traffic()))),
        ]
    };
    let sources = [
        source("This device", "dot store", |traffic| traffic.store),
        source("Other tabs", "dot peers", |traffic| traffic.peers),
        source("Relay, HTTP", "dot servers", |traffic| traffic.gateways),
        source("Relay, libp2p", "dot servers", |traffic| traffic.relays),
    ];
    let dropped = move || format!("{} of {}", sample.get().dropped, sample.get().frames);
    el("section")
        .class("facts")
        .attr("data-testid", "stats")
        .live_attr("data-from-store", move || traffic().store.to_string())
        .live_attr("data-from-peers", move || traffic().peers.to_string())
        .live_attr("data-from-servers", move || traffic().servers().to_string())
        .live_attr("data-peers", peers)
        .live_attr("data-transport", transport)
        .child(text("h2", "", "Where it comes from"))
        .child(flow(screen))
        .child(
            el("dl")
                .children(sources.into_iter().flatten())
                .child(text("dt", "", "Connected tabs"))
                .child(el("dd").live_text(peers))
                .child(text("dt", "", "Node"))
                .child(el("dd").live_text(connected))
                .child(text("dt", "", "Buffer"))
                .child(el("dd").live_text(move || format!("{} s", sample.get().buffer_s)))
                .child(text("dt", "", "Dropped frames"))
                .child(el("dd").live_text(dropped)),
        )
        .child(text(
            "p",
            "note",
            "Sealed bytes, checked and opened in this browser.",
        ))
}

/// The three shares as one bar. An SVG, because its widths are attributes and no styles.
fn flow(screen: Screen) -> El {
    let shares = move || {
        screen
            .app
            .worker
            .traffic
            .with(|(_, traffic)| traffic.shares())
    };
    let bar = |(index, class): (usize, &str)| {
        svg("rect")
            .class(class)
            .attr("height", "10")
            .live_attr("x", move || {
                shares().iter().take(index).sum::<u64>().to_string()
            })
            .live_attr("width", move || shares()[index].to_string())
    };
    svg("svg")
        .class("flow")
        .attr("viewBox", "0 0 100 10")
        .attr("preserveAspectRatio", "none")
        .attr("aria-hidden", "true")
        .children([(0, "store"), (1, "peers"), (2, "servers")].map(bar))
}

/// ↓, ↑ and the tabs behind it; the way to the relay when there are none.
pub(super) fn chip(screen: Screen) -> El {
    let (worker, node, sample) = (screen.app.worker, screen.app.node, screen.sample);
    let source = move || {
        let (peers, transport) = node.status.with(|status| (status.peers, status.transport));
        if peers > 0 {
            format::counted(peers.into(), "peer", "peers")
        } else {
            let used = worker
                .traffic
                .with(|(_, traffic)| traffic.carrier(transport));
            traffic::proper_name(used).to_owned()
        }
    };
    let rate = |arrow: &str, name: &str, read: fn(Sample) -> u64| {
        el("span")
            .child(text("span", "", arrow).attr("aria-hidden", "true"))
            .child(text("span", "visually-hidden", name))
            .live_text(move || format::rate(read(sample.get())))
    };
    el("p")
        .class("chip")
        .child(rate("↓ ", "down ", |sample| sample.down))
        .child(rate("↑ ", "up ", |sample| sample.up))
        .child(el("b").live_text(source))
}

/// Seconds of media buffered without a gap after the playing position.
fn ahead(video: &web_sys::HtmlVideoElement) -> f64 {
    let (now, ranges) = (video.current_time(), video.buffered());
    (0..ranges.length())
        .filter_map(|index| Some((ranges.start(index).ok()?, ranges.end(index).ok()?)))
        // A range may begin a frame after the position that was sought.
        .find(|&(start, end)| start <= now + 0.1 && now <= end)
        .map_or(0.0, |(_, end)| end - now)
}
