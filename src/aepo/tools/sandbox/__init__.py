"""Runs code that nobody has read, isolated by sandlock or bubblewrap; a probe chooses between them.

Both are maintained tools. They restrict the calls that a program may make to the host's kernel. The program still uses
this kernel, so a bug in the kernel can let a program out.
"""
