"""The collector's HTTP API: labels in, dead letters out, what is stored and what is erased, health and metrics."""
