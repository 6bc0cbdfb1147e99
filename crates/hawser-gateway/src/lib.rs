//! hawser-gateway
