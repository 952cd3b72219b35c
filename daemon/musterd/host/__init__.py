"""The only place that reads and writes the machine."""
