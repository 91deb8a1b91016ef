//! The connection to the relay: dials, watches it, dials again.
//!
//! One loop owns the swarm. What to dial and when is decided in `core::dial`.

use std::{rc::Rc, time::Duration};

use futures::{
    StreamExt,
    future::{self, Either},
};
use gloo::timers::future::sleep;
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder, Transport as _,
    core::upgrade::Version,
    identify, noise, ping,
    swarm::{ConnectionId, NetworkBehaviour, SwarmEvent, dial_opts::DialOpts},
    yamux,
};
use sluice_core::{
    bridge::{NodeState, Transport},
    dial::{self, Candidate, DIAL_PATIENCE_MS, Page},
    wire::IDENTIFY_PROTOCOL,
};
use sluice_web::{clock, gateway};

use crate::{desk::Desk, session::Sessions, status::StatusBoard};

/// The relay connection carries no stream while nothing plays, and is kept all the same.
const IDLE: Duration = Duration::from_secs(10 * 60);

/// How often a silent connection is probed; hidden tabs wake once a second, which is enough.
const PING_EVERY: Duration = Duration::from_secs(15);

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    streams: libp2p_stream::Behaviour,
}

/// Why there is no node.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// A transport could not be set up.
    #[error("no transport: {0}")]
    Transport(String),
}

/// A standing connection.
struct Connected {
    id: ConnectionId,
    peer: PeerId,
    candidate: Candidate,
}

/// The swarm and where its answers go.
pub(crate) struct Link {
    swarm: Swarm<Behaviour>,
    desk: Rc<Desk>,
    status: Rc<StatusBoard>,
}

impl Link {
    pub(crate) fn new(desk: Rc<Desk>, status: Rc<StatusBoard>) -> Result<Self, LinkError> {
        let failed = |error: &dyn std::fmt::Display| LinkError::Transport(error.to_string());
        // Fresh for every session: a peer id must not follow a person around.
        let swarm = SwarmBuilder::with_new_identity()
            .with_wasm_bindgen()
            .with_other_transport(|key| {
                let config = libp2p_webtransport_websys::Config::new(key);
                libp2p_webtransport_websys::Transport::new(config).boxed()
            })
            .map_err(|error| failed(&error))?
            .with_other_transport(|key| {
                let noise = noise::Config::new(key)?;
                Ok(libp2p_websocket_websys::Transport::default()
                    .upgrade(Version::V1Lazy)
                    .authenticate(noise)
                    .multiplex(yamux::Config::default())
                    .boxed())
            })
            .map_err(|error| failed(&error))?
            .with_behaviour(|key| Behaviour {
                identify: identify::Behaviour::new(
                    identify::Config::new(IDENTIFY_PROTOCOL.into(), key.public())
                        .with_agent_version(
                            concat!("sluice-tab/", env!("CARGO_PKG_VERSION")).into(),
                        ),
                ),
                ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_EVERY)),
                streams: libp2p_stream::Behaviour::new(),
            })
            .map_err(|error| failed(&error))?
            .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE))
            .build();
        let peer_id = swarm.local_peer_id().to_string();
        status.change(|status| status.peer_id = peer_id);
        Ok(Self {
            swarm,
            desk,
            status,
        })
    }

    /// Keeps a connection to the relay for as long as the page lives.
    pub(crate) async fn run(self) {
        let status = Rc::clone(&self.status);
        future::join(self.keep_connected(), status.keep_telling()).await;
    }

    async fn keep_connected(mut self) {
        let mut failed = 0;
        loop {
            self.status
                .change(|status| status.state = NodeState::Connecting);
            match self.dial_round().await {
                Ok(connected) => {
                    let since = clock::now();
                    self.serve(connected).await;
                    if dial::was_worth_it(clock::now().0.saturating_sub(since.0)) {
                        failed = 0;
                        continue;
                    }
                    self.wait_out(&mut failed, "the relay closed the connection".into())
                        .await;
                }
                Err(trouble) => self.wait_out(&mut failed, trouble).await,
            }
        }
    }

    /// Says why there is no connection and waits before the next round.
    async fn wait_out(&mut self, failed: &mut u32, trouble: String) {
        *failed += 1;
        self.status.change(|status| {
            status.state = NodeState::Waiting;
            status.trouble = Some(trouble);
        });
        let wait = dial::backoff_ms(*failed, jitter());
        self.turn_for(Duration::from_millis(wait)).await;
    }

    /// Tries every address the relay names, best first.
    async fn dial_round(&mut self) -> Result<Connected, String> {
        let addresses = self.ask_addresses().await?;
        let candidates = dial::candidates(&addresses, page());
        if candidates.is_empty() {
            return Err("the relay names no address a browser can dial".into());
        }
        for candidate in candidates {
            if let Some(connected) = self.dial(&candidate).await {
                return Ok(connected);
            }
        }
        Err("the relay answers over HTTP, but none of its libp2p addresses does".into())
    }

    /// Certificates rotate, so the addresses are asked for anew each round.
    async fn ask_addresses(&mut self) -> Result<Vec<String>, String> {
        let silent = || "the relay does not answer".to_owned();
        let patience = Box::pin(sleep(Duration::from_millis(DIAL_PATIENCE_MS)));
        let mut asking = future::select(Box::pin(gateway::relay_addresses()), patience);
        loop {
            match future::select(&mut asking, self.swarm.select_next_some()).await {
                Either::Left((Either::Left((addresses, _)), _)) => {
                    return addresses.map_err(|_| silent());
                }
                Either::Left((Either::Right(_), _)) => return Err(silent()),
                Either::Right(_) => {}
            }
        }
    }

    async fn dial(&mut self, candidate: &Candidate) -> Option<Connected> {
        let address: Multiaddr = candidate.address.parse().ok()?;
        let options = DialOpts::from(address);
        let id = options.connection_id();
        self.swarm.dial(options).ok()?;
        let mut patience = Box::pin(sleep(Duration::from_millis(DIAL_PATIENCE_MS)));
        loop {
            match future::select(&mut patience, self.swarm.select_next_some()).await {
                // It may still come up; `serve` closes what it does not know.
                Either::Left(_) => return None,
                Either::Right((
                    SwarmEvent::ConnectionEstablished {
                        connection_id,
                        peer_id,
                        ..
                    },
                    _,
                )) if connection_id == id => {
                    return Some(Connected {
                        id,
                        peer: peer_id,
                        candidate: candidate.clone(),
                    });
                }
                Either::Right((SwarmEvent::OutgoingConnectionError { connection_id, .. }, _))
                    if connection_id == id =>
                {
                    return None;
                }
                Either::Right((SwarmEvent::ConnectionEstablished { connection_id, .. }, _)) => {
                    // A slow dial that was given up came through after all.
                    self.swarm.close_connection(connection_id);
                }
                Either::Right(_) => {}
            }
        }
    }

    /// Answers questions over the connection until it closes.
    async fn serve(&mut self, connected: Connected) {
        let Connected {
            id,
            peer,
            candidate,
        } = connected;
        let control = self.swarm.behaviour().streams.new_control();
        self.desk
            .route(Some(Sessions::new(peer, control, Rc::clone(&self.status))));
        self.show(Some(&candidate));
        loop {
            match self.swarm.select_next_some().await {
                SwarmEvent::ConnectionClosed { connection_id, .. } if connection_id == id => break,
                SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event {
                    connection,
                    result: Err(_),
                    ..
                })) if connection == id => {
                    // A dead line that never said so: the loop ends when it is closed.
                    self.swarm.close_connection(id);
                }
                SwarmEvent::ConnectionEstablished { connection_id, .. } if connection_id != id => {
                    // A slow dial that was given up came through after all.
                    self.swarm.close_connection(connection_id);
                }
                _ => {}
            }
        }
        self.desk.route(None);
        self.show(None);
    }

    fn show(&self, candidate: Option<&Candidate>) {
        self.status.change(|status| {
            status.state = match candidate {
                Some(_) => NodeState::Online,
                None => NodeState::Connecting,
            };
            status.relay = candidate.map(|candidate| candidate.address.clone());
            status.transport = candidate.map(|candidate| -> Transport { candidate.transport });
            status.trouble = None;
        });
    }

    /// Lets the swarm work while waiting.
    async fn turn_for(&mut self, wait: Duration) {
        let mut timer = Box::pin(sleep(wait));
        while let Either::Right(_) = future::select(&mut timer, self.swarm.select_next_some()).await
        {
        }
    }
}

fn page() -> Page {
    let location = web_sys::window().map(|window| window.location());
    let is = |read: Result<String, wasm_bindgen::JsValue>, wanted: &[&str]| {
        read.is_ok_and(|text| wanted.contains(&text.as_str()))
    };
    location.map_or(
        Page {
            https: true,
            local: false,
        },
        |location| Page {
            https: is(location.protocol(), &["https:"]),
            local: is(location.hostname(), &["localhost", "127.0.0.1", "[::1]"]),
        },
    )
}

fn jitter() -> u8 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 255 by construction"
    )]
    let jitter = (js_sys::Math::random() * 256.0) as u8;
    jitter
}
