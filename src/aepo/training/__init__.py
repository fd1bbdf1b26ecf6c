"""Training: what a step measures, writes and shows, and the loop around it."""
