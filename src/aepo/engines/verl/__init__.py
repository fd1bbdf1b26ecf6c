"""Training on a cluster by verl: Ray, FSDP, vLLM; verl is not changed, only its registries are used.

`settings` and `mapping` turn our configuration into verl's and refuse what cannot be honoured; `launch` starts a run;
`plugin` is what every process of verl loads; `agent` grows trees beside verl's servers, by entropies whose source is
chosen in `sources`; `rows` carries them to `trainer`, which turns them into advantages.
"""
