"""From a sweep to stored runs: planned, foretold, trained, and trained again."""
