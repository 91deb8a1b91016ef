//! Counters for the operator, as OpenMetrics text. No label comes from a stranger, so their number
//! is bounded by our own routes and status codes.

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::Registry,
};

use crate::{p2p::Transport, serve::Node};

/// Which route answered how.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    route: String,
    status: u32,
}

/// Which route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

/// The relay's counters.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Answer, Counter>,
    seconds: Family<Route, Histogram, fn() -> Histogram>,
    blocks: Counter,
    block_bytes: Counter,
    connections: Gauge,
    refused: Counter,
    works: Gauge,
    work_bytes: Gauge,
    damaged: Gauge<i64>,
}

/// 1 ms to 16 s.
fn buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 4.0, 8))
}

impl Metrics {
    /// Counters at zero, and those of `node`.
    pub fn new(node: Arc<Node>) -> Self {
        let mut registry = Registry::with_prefix("sluice");
        registry.register_collector(Box::new(NodeCollector(node)));
        let requests = Family::default();
        let seconds = Family::new_with_constructor(buckets as fn() -> Histogram);
        let (blocks, block_bytes, refused) =
            (Counter::default(), Counter::default(), Counter::default());
        let (connections, works, work_bytes, damaged) = (
            Gauge::default(),
            Gauge::default(),
            Gauge::default(),
            Gauge::default(),
        );
        registry.register(
            "build",
            "The running version",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register(
            "http_request_seconds",
            "Time until the answer began",
            seconds.clone(),
        );
        registry.register("gateway_blocks", "Blocks served over HTTP", blocks.clone());
        registry.register(
            "gateway_bytes",
            "Bytes of the blocks served over HTTP",
            block_bytes.clone(),
        );
        registry.register(
            "http_connections",
            "HTTP connections open now",
            connections.clone(),
        );
        registry.register(
            "http_connections_refused",
            "HTTP connections closed for a limit",
            refused.clone(),
        );
        registry.register("works", "Works in the data folder", works.clone());
        registry.register(
            "work_bytes",
            "Plaintext bytes of those works",
            work_bytes.clone(),
        );
        registry.register(
            "damaged_blocks",
            "Damaged blocks met since the start",
            damaged.clone(),
        );
        Self {
            registry,
            requests,
            seconds,
            blocks,
            block_bytes,
            connections,
            refused,
            works,
            work_bytes,
            damaged,
        }
    }

    /// Counts an answer. `route` is the route's pattern, never an address.
    pub fn request(&self, route: &str, status: u16, took: Duration) {
        let route = route.to_owned();
        self.requests
            .get_or_create(&Answer {
                route: route.clone(),
                status: status.into(),
            })
            .inc();
        self.seconds
            .get_or_create(&Route { route })
            .observe(took.as_secs_f64());
    }

    /// Counts a block served.
    pub fn block_served(&self, len: usize) {
        self.blocks.inc();
        self.block_bytes.inc_by(len as u64);
    }

    /// Counts a connection in.
    pub fn opened(&self) {
        self.connections.inc();
    }

    /// Counts a connection out.
    pub fn closed(&self) {
        self.connections.dec();
    }

    /// Counts a connection that was one too many.
    pub fn refused(&self) {
        self.refused.inc();
    }

    /// All counters as OpenMetrics text.
    pub fn text(&self, works: u64, work_bytes: u64, damaged: u64) -> String {
        let signed = |number| i64::try_from(number).unwrap_or(i64::MAX);
        self.works.set(signed(works));
        self.work_bytes.set(signed(work_bytes));
        self.damaged.set(signed(damaged));
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("writing to a String cannot fail");
        out
    }
}

/// What the libp2p node counts, read when asked for.
#[derive(Debug)]
struct NodeCollector(Arc<Node>);

impl Collector for NodeCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        // The relay is stopping: no figures rather than zeros.
        let Some(stats) = self.0.stats() else {
            return Ok(());
        };
        let mut open = encoder.encode_descriptor(
            "p2p_connections",
            "libp2p connections open now",
            None,
            MetricType::Gauge,
        )?;
        for (transport, count) in Transport::ALL.into_iter().zip(stats.connections) {
            let labels = [("transport", transport.name())];
            gauge(count).encode(open.encode_family(&labels)?)?;
        }
        let streams = encoder.encode_descriptor(
            "p2p_streams",
            "Chunk streams open now",
            None,
            MetricType::Gauge,
        )?;
        gauge(stats.streams).encode(streams)?;
        for (name, help, count) in [
            (
                "opened",
                "Connections that came about",
                stats.connections_opened,
            ),
            (
                "failed",
                "Connections that failed or were refused",
                stats.connections_failed,
            ),
            (
                "streams_refused",
                "Chunk streams that were too many",
                stats.streams_refused,
            ),
            (
                "chunk_requests",
                "Chunk requests received",
                stats.chunk_requests,
            ),
            ("chunks_sent", "Sealed chunks sent", stats.chunks_sent),
            (
                "blocks_sent",
                "Manifests, cards, pages and posters sent",
                stats.blocks_sent,
            ),
            ("bytes_sent", "Bytes of all frames sent", stats.bytes_sent),
            ("misses", "Requests for what is not here", stats.misses),
            ("busy", "Chunk requests answered busy", stats.busy),
            ("cancelled", "Chunk requests taken back", stats.cancelled),
            (
                "frames_refused",
                "Frames that broke the protocol",
                stats.frames_refused,
            ),
            (
                "slow_readers",
                "Streams closed because the peer did not read",
                stats.slow_readers,
            ),
        ] {
            let name = format!("p2p_{name}");
            let metric = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
            ConstCounter::new(count).encode(metric)?;
        }
        Ok(())
    }
}

fn gauge(count: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX))
}
