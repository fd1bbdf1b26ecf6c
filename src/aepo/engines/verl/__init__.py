"""Training on a cluster with verl: Ray, FSDP, vLLM. Our parts are put into verl's registries.

`settings` and `mapping` turn our configuration into verl's and refuse what cannot be honoured; `launch` starts a run;
`plugin` is what every process of verl loads; `agent` grows trees beside verl's servers, by entropies whose source is
chosen in `sources`; `rows` carries them to `trainer`, which turns them into advantages.
"""
