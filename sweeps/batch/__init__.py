"""Files with which a batch system runs a sweep in shares: a process each, that knows nothing of the others."""
