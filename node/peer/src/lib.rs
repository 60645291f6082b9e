//! The pure composition of kernel, discovery and replication.
