"""The spool: segments of checksummed frames, bounded in bytes, written by one and read by many."""
