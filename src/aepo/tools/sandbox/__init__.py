"""Running code that nobody has read: the isolation is by kept tools (sandlock, bubblewrap), chosen by a probe.

All of them share the host's kernel. They contain what a program asks the kernel for; a hole in the kernel is a way out.
"""
