"""Locust's side of a load: it starts, shapes and stops the users; nothing else of bench imports locust or gevent."""
