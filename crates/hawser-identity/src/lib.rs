//! hawser-identity
