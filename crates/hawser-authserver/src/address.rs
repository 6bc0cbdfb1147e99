//! Where a request came from, for limits and the audit log.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::ConnectInfo;
use http::Extensions;

/// The address of the caller, put into a request's extensions by whoever knows it better than the connection does (a
/// gateway behind a trusted proxy). Without it the connection's peer counts, if the server was started with connect info.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// What limits are counted by: an address, or the /64 of an IPv6 one, which one party owns as a whole. All requests of
/// unknown origin share one.
pub(crate) fn limit_key(extensions: &Extensions) -> IpAddr {
    let given = extensions.get::<ClientAddress>().map(|address| address.0);
    let peer = || extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    match given.or_else(peer).map(|address| address.to_canonical()) {
        Some(IpAddr::V6(address)) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        Some(address) => address,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}
