"""musterd keeps the roll of the AI coding agents on this machine."""

__version__ = "0.1.0"
