//! Keeps the chains on disk and refuses to promise what it could not sync.
