"""Compares algorithms on one task, over several seeds and under one budget; makes a table and figures."""
