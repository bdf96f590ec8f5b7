"""Users of a Locust file of one's own: they send what `bench run` sends, and each request is recorded as it records it."""
