"""The eyes and hands of one user."""
