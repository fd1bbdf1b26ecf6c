"""Engines: what grows sequences with a real model. Nothing outside this package imports a model library."""
