"""Visits web pages at public addresses within limits, and parses them in a sandbox."""
