//! Many peers in one process under virtual time, with faults.
