"""The command line: `main` dispatches by name; each other file is a group of commands, imported only when one of them runs."""
