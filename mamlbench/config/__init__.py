"""What a command line composes, and how it becomes objects."""
