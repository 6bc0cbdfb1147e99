//! hawser-mcp
