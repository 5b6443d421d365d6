"""What a run shows of itself: its scores, its tasks, its films."""
