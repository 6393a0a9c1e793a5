"""The checks, a module per group; each lists its own in ``CHECKS``."""
