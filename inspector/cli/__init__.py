"""The command line: a file a command. It parses options, calls the library and prints."""
