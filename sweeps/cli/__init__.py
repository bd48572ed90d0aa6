"""The programs of the command line."""
