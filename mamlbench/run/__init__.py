"""What a run keeps and where, and what it begins from."""
