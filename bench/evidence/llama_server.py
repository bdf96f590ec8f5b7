"""llama.cpp's own HTTP server out of the package xllamacpp: run by the Python that has it, `CHECKPOINT NAME PORT SLOTS`."""

import importlib
import signal
import sys


def main() -> None:
    """Serve until SIGTERM."""
    # blocked before the server starts its threads, which would otherwise take the signal
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    llama = importlib.import_module("xllamacpp")  # not in bench's own environment
    checkpoint, name, port, slots = sys.argv[1:]
    settings = llama.CommonParams()
    settings.model.path, settings.model_alias = checkpoint, {name}
    settings.port, settings.n_parallel = int(port), int(slots)
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    settings.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    settings.cache_prompt = False  # a prompt that was seen before costs what it cost the first time
    server = llama.Server(settings)
    print("listens at", server.listening_address, flush=True)
    signal.sigwait(ends)


if __name__ == "__main__":
    main()
