"""What a run keeps and where, what it begins from, and what it says."""
