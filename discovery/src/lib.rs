//! Who is in the cluster, who is alive, and who holds which agent.
