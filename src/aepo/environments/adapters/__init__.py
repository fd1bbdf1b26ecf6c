"""Worlds that others have made, as environments. Nothing of their packages is imported before it is used."""
