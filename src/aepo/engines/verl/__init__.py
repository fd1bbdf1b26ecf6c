"""Training on a cluster by verl: Ray, FSDP, vLLM; verl is not changed, only its registries are used.

`settings` maps our configuration to verl's and refuses what cannot be honoured; `launch` starts a run; `plugin` is what
every process of verl loads; `agent` grows trees beside verl's servers; `trainer` turns them into advantages.
"""
