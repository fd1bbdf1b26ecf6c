"""Trains on a cluster with verl (Ray, FSDP, vLLM). Our parts are put into verl's registries.

`settings` and `mapping` turn our configuration into verl's and refuse settings that verl does not support. `launch`
starts a run. Every process of verl loads `plugin`. `agent` grows trees beside verl's servers, by entropies whose source
`sources` chooses. `rows` carries the trees to `trainer`, which turns them into advantages.
"""
