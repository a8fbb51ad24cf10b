"""Where tasks live: `base` is the interface with its guarantees, each other module one store."""
