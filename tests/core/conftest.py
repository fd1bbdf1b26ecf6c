from hypothesis import settings

# No deadline: a busy machine is not a bug. The same examples every time: a test must not fail by chance.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=2000)
settings.load_profile("steady")
