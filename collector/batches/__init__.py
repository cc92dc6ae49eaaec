"""From records to one transaction: read, decoded, made into rows, counted, committed."""
