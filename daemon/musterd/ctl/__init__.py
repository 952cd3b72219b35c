"""musterctl, the command line; it talks over the bus only."""
