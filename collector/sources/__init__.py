"""Events of loggers that are not ours: how they come in, how they are read, how their halves are paired."""
