//! Takes in the chunk protocol's streams. It opens none: peers come to the relay.
//!
//! Why not `libp2p-stream`: it keeps a channel for every connection there ever was, and drops a
//! stream when two arrive at once.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{DeniedUpgrade, ReadyUpgrade};
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
    NetworkBehaviour, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol};
use sluice_core::wire::CHUNK_PROTOCOL;

use super::limits::Host;

/// A stream that a peer opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) peer: PeerId,
    pub(crate) host: Option<Host>,
    pub(crate) stream: Stream,
}

/// Hands every stream on as an event of the swarm.
#[derive(Default)]
pub(crate) struct Behaviour {
    /// Emptied at each poll, and filled by at most one event of each connection in between.
    opened: VecDeque<Opened>,
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Opened;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::of(remote))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        remote: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::of(remote))
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        _: ConnectionId,
        (host, stream): THandlerOutEvent<Self>,
    ) {
        self.opened.push_back(Opened { peer, host, stream });
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Opened, THandlerInEvent<Self>>> {
        match self.opened.pop_front() {
            Some(opened) => Poll::Ready(ToSwarm::GenerateEvent(opened)),
            None => Poll::Pending,
        }
    }
}

/// One connection's half.
pub(crate) struct Handler {
    /// Where the peer is.
    host: Option<Host>,
    /// Bounded by the swarm: it negotiates so many streams at once and polls us in between.
    negotiated: VecDeque<Stream>,
}

impl Handler {
    fn of(remote: &Multiaddr) -> Self {
        Self {
            host: Host::of(remote),
            negotiated: VecDeque::new(),
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = (Option<Host>, Stream);
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = DeniedUpgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Infallible;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(StreamProtocol::new(CHUNK_PROTOCOL)), ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<DeniedUpgrade, Infallible, Self::ToBehaviour>> {
        match self.negotiated.pop_front() {
            Some(stream) => {
                Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour((self.host, stream)))
            }
            None => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, DeniedUpgrade, (), Infallible>,
    ) {
        if let ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
            protocol: stream,
            ..
        }) = event
        {
            self.negotiated.push_back(stream);
        }
    }
}
