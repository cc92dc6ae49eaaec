"""How many of many alarms may be false, and which of them stand."""
