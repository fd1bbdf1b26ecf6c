from hypothesis import settings

# No deadline: a busy machine is not a bug. The same examples every time: a test must not fail by chance.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")
