"""One file per test of several columns at once, from rows or from what rows add up to."""
