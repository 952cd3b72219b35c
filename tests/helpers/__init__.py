"""Small real things that tests talk to."""
