"""Engines, which grow sequences with a real model. No module outside this package imports a model library."""
