"""The command line: words typed by a person become one call on a task."""
