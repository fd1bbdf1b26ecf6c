"""Looking at a machine, a model, a server and a configuration before anything depends on them."""
