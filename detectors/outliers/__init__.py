"""How unlike the reference one row is: scores as rows come."""
