"""One file per test of one column, from counts."""
