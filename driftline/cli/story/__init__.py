"""The demo's story: New York flights of 2013, a model trained on autumn, and the December that followed."""
