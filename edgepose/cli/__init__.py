"""The command line: a command parses, calls one function, prints a table or JSON."""
