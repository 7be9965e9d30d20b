//! The parameters of the server, shared and changeable while it runs (CONFIG SET).
