//! The whole program from outside: real processes, real sockets, and the boundaries of the code.
