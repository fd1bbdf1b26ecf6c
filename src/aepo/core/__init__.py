"""AEPO's mathematics as pure functions, one idea a module; import the module you need, nothing is loaded here."""
