//! Makes the same records appear on every node that should hold them.
