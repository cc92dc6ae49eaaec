"""From a closed window to its results: every detector, one decision, reasons in words."""
