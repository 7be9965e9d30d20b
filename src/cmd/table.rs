//! The command table: families put together, and the lookup by name.
