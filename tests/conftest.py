"""Settings of all tests."""

from hypothesis import settings

# No example is too slow: a test says what is right, on whatever machine it runs.
settings.register_profile("groundr1", deadline=None)
settings.load_profile("groundr1")
