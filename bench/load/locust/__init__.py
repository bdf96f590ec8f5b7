"""Locust's side of a load: it starts, shapes and stops the users; nothing else of bench imports locust or gevent."""

import os

# nothing here blocks but on gevent's own calls, and the engine's threads need the real ones
os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
