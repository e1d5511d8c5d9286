"""The library: everything that the command line can do, as functions and types."""
