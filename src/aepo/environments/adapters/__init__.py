"""Worlds that others have made, as environments. Each module says what to install; nothing of it is imported before."""
