"""The only place that knows the D-Bus library."""
