"""Keeps results of tools in a file that many processes share."""
