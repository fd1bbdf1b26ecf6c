"""A population of instructions that is trained beside the policy (INSPO, arXiv 2512.01945). No torch.

Each question of a step is asked under one instruction, which stands above the system text; no algorithm knows of it.
"""
