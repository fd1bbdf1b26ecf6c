"""Measures how much signal the gradient of each method has, at a fixed policy, for its tool calls and tokens."""
