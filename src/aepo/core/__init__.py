"""AEPO's mathematics as pure functions, one idea per module. Import the module that you need."""
