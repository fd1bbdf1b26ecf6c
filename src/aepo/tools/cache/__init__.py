"""Kept results of tools: a file that many processes share, and what stands between a tool and it."""
