"""HTTP/2 and gRPC: one connection spliced to another, and what is read beside the path."""
