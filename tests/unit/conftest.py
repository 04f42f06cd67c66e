"""Property tests fail for what they find, never for how long a busy machine took to find it."""

from hypothesis import settings

settings.register_profile("unit", deadline=None)
settings.load_profile("unit")
