//! The registry of connected clients: what CLIENT LIST shows of clients of every loop.
