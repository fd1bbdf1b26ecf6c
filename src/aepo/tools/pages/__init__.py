"""Visits web pages: only public addresses, within limits, parsed in a sandbox."""
