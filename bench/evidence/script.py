"""What a scripted server sends and when, and the book it keeps of it."""

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

MODEL = "scripted"
FIRST_MS = 15.0, 40.0  # until the first piece
GAP_MS = 3.0, 12.0  # between pieces
LARGEST = 4  # tokens in a piece

# request -> when it had arrived, and (sent, tokens) of each piece; times in ns
Book = dict[int, tuple[int, list[tuple[int, int]]]]
METADATA: dict[str, Any] = {
    "name": MODEL,
    "versions": ["1"],
    "platform": "python",
    "inputs": [{"name": n, "datatype": "BYTES", "shape": [1]} for n in ("text_input", "sampling_parameters")],
    "outputs": [
        {"name": "text_output", "datatype": "BYTES", "shape": [-1]},
        {"name": "num_output_tokens", "datatype": "UINT32", "shape": [-1]},
    ],
}


def script(number: int, max_tokens: int) -> Iterator[tuple[float, int]]:
    """(seconds to wait, tokens to send then) of each piece in reply to a request; the first piece is empty."""
    rng = random.Random(number)
    yield rng.uniform(*FIRST_MS) / 1e3, 0
    left = max_tokens
    while left:
        tokens = min(left, rng.randint(1, LARGEST))
        left -= tokens
        yield rng.uniform(*GAP_MS) / 1e3, tokens


def play(book: Book, number: int, max_tokens: int, arrived_ns: int, encode: Callable[[int, int], Any]) -> Iterator[Any]:
    """What to send in reply to a request, each piece when it is time for it and as it is written down.

    `encode` is given the tokens of a piece, and those that came before.
    """
    pieces: list[tuple[int, int]] = []
    book[number] = (arrived_ns, pieces)
    due, sent = arrived_ns, 0
    for wait_s, tokens in script(number, max_tokens):
        due += round(wait_s * 1e9)
        data = encode(tokens, sent)
        while (left := due - time.perf_counter_ns()) > 0:
            time.sleep(left / 1e9)
        pieces.append((time.perf_counter_ns(), tokens))
        yield data
        sent += tokens
