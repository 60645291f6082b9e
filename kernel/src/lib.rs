//! The local operating system of agents.
