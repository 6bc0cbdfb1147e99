//! hawser-authserver
