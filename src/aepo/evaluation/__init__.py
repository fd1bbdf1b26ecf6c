"""Evaluation: Pass@k with intervals over questions, and paired comparison."""
