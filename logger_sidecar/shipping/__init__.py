"""From the spool to the sinks: a process of its own, with one position for each sink."""
