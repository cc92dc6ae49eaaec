"""What statistics are made of: evidence, tables of counts, laws of test statistics, effects, power."""
