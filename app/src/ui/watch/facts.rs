//! The stats card and the chip: where the bytes came from, how fast, and how far ahead the player is.

use std::time::Duration;

use leptos::prelude::*;

use sluice_core::bridge::Transport;

use super::Screen;
use crate::{
    format,
    meter::Meter,
    traffic,
    ui::{dom, node::Node, worker::Worker},
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
#[component]
pub(super) fn Facts(screen: Screen) -> impl IntoView {
    let (worker, node) = (Worker::here(), Node::here());
    let traffic = Memo::new(move |_| worker.traffic.with(|(_, traffic)| *traffic));
    let transport = Memo::new(move |_| {
        node.status
            .with(|status| status.transport.map_or(traffic::HTTP, Transport::name))
    });
    let peers = Memo::new(move |_| node.status.with(|status| status.peers));
    let (down, up) = (
        StoredValue::new(Meter::default()),
        StoredValue::new(Meter::default()),
    );
    dom::every(Duration::from_secs(1), move || {
        let now = dom::now_ms();
        down.update_value(|meter| meter.record(now, traffic.get_untracked().downloaded()));
        up.update_value(|meter| {
            meter.record(now, node.status.with_untracked(|status| status.sent))
        });
        let mut sample = Sample {
            down: down.with_value(Meter::per_second),
            up: up.with_value(Meter::per_second),
            ..Sample::default()
        };
        if let Some(video) = screen.video.get_untracked() {
            sample.buffer_s = format::whole(ahead(&video));
            let quality = video.get_video_playback_quality();
            (sample.dropped, sample.frames) =
                (quality.dropped_video_frames(), quality.total_video_frames());
        }
        screen.sample.set(sample);
    });
    let sample = screen.sample;
    view! {
        <section class="facts" data-testid="stats"
            data-from-store=move || traffic.get().store.to_string()
            data-from-peers=move || traffic.get().peers.to_string()
            data-from-servers=move || traffic.get().servers().to_string()
            data-peers=move || peers.get().to_string()
            data-transport=transport>
            <h2>"Where it comes from"</h2>
            <Flow shares=Memo::new(move |_| traffic.get().shares())/>
            <dl>
                <dt><span class="dot store" aria-hidden="true"></span>"This device"</dt>
                <dd>{move || format::bytes(traffic.get().store)}</dd>
                <dt><span class="dot peers" aria-hidden="true"></span>"Other tabs"</dt>
                <dd>{move || format::bytes(traffic.get().peers)}</dd>
                <dt><span class="dot servers" aria-hidden="true"></span>"Relay, HTTP"</dt>
                <dd>{move || format::bytes(traffic.get().gateways)}</dd>
                <dt><span class="dot servers" aria-hidden="true"></span>"Relay, libp2p"</dt>
                <dd>{move || format::bytes(traffic.get().relays)}</dd>
                <dt>"Connected tabs"</dt>
                <dd>{peers}</dd>
                <dt>"Node"</dt>
                <dd>{move || node.status.with(|status| status.transport.map_or("not connected", |way| traffic::proper_name(way.name())))}</dd>
                <dt>"Buffer"</dt>
                <dd>{move || format!("{} s", sample.get().buffer_s)}</dd>
                <dt>"Dropped frames"</dt>
                <dd>{move || format!("{} of {}", sample.get().dropped, sample.get().frames)}</dd>
            </dl>
            <p class="note">"Sealed bytes, checked and opened in this browser."</p>
        </section>
    }
    .into_any()
}

/// The three shares as one bar. An SVG, because its widths are attributes and no styles.
#[component]
fn Flow(shares: Memo<[u64; 3]>) -> impl IntoView {
    let x = move |index: usize| shares.get().iter().take(index).sum::<u64>().to_string();
    let width = move |index: usize| shares.get()[index].to_string();
    view! {
        <svg class="flow" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
            <rect class="store" height="10" x=move || x(0) width=move || width(0)></rect>
            <rect class="peers" height="10" x=move || x(1) width=move || width(1)></rect>
            <rect class="servers" height="10" x=move || x(2) width=move || width(2)></rect>
        </svg>
    }
    .into_any()
}

/// ↓, ↑ and the tabs behind it; the way to the relay when there are none.
#[component]
pub(super) fn Chip(screen: Screen) -> impl IntoView {
    let (worker, node) = (Worker::here(), Node::here());
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
    let sample = screen.sample;
    view! {
        <p class="chip">
            <span><span aria-hidden="true">"↓ "</span><span class="visually-hidden">"down "</span>{move || format::rate(sample.get().down)}</span>
            <span><span aria-hidden="true">"↑ "</span><span class="visually-hidden">"up "</span>{move || format::rate(sample.get().up)}</span>
            <b>{source}</b>
        </p>
    }
    .into_any()
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
