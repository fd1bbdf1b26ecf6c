"""Comparing algorithms: several on one task, over several seeds, under one budget; then a table and figures."""
