//! hawser-catalog
