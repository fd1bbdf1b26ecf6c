"""Visiting pages of the web: only public addresses, within limits, parsed apart from the host."""
