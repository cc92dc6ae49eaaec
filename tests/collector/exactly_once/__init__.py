"""What the proofs of exactly once are made of: traffic, erasures, collectors to be killed, and what must be equal."""
