"""One file per sequential test: a state, a pure step, an alarm with a promise."""
