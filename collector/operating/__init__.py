"""What people see of a collector that runs: health, metrics, spans."""
