//! hawser-backend
