"""The options for models that generate tokens, alike under every server."""

from dataclasses import dataclass

from bench.errors import UsageError
from bench.runtime.generation import PREFILL_CHUNK
from bench.servers.base import DEFAULT_CONTEXT
from bench.words import Word

BATCHING = ("off", "dynamic", "continuous")
OPTIONS: dict[str, tuple[str, ...] | str] = {
    "batching": BATCHING,
    "max_batch": "count",  # requests that run together
    "context": "count",  # tokens that a prompt and its answer may have together
    "prefill_chunk": "tokens of a prompt that are read between two decode steps; 0: whole prompts",
}


@dataclass(frozen=True, slots=True)
class Scheduling:
    """What the scheduler of a generating model is told."""

    batching: str
    slots: int
    context: int
    prefill_chunk: int

    def facts(self) -> dict[str, str | int]:
        """For the record of a run."""
        return {
            "batching": self.batching,
            "max_batch": self.slots,
            "context": self.context,
            "prefill_chunk": self.prefill_chunk,
        }


def read(word: Word, batching: str, slots: int, model_context: int, gpu: bool) -> Scheduling:
    """The options of a word that `check` has passed; `batching` and `slots` where it leaves them out."""
    options, chunk = word.options, _prefill_chunk(word)
    return Scheduling(
        batching=options.get("batching", batching),
        slots=int(options.get("max_batch", slots)),
        context=int(options.get("context", min(DEFAULT_CONTEXT, model_context))),
        prefill_chunk=PREFILL_CHUNK["cuda" if gpu else "cpu"] if chunk is None else chunk,
    )


def check(word: Word, model_context: int | None, only: tuple[str, ...]) -> None:
    """UsageError for values that cannot be; for one of the options `only` where the model does not generate.

    `model_context` None: the model is not known yet.
    """
    _prefill_chunk(word)
    if model_context is None:
        return
    given = [name for name in only if name in word.options]
    if given and not model_context:
        raise UsageError(f"target {word}: option {given[0]}: for models that generate tokens, which this one does not")
    if (asked := int(word.options.get("context", 0))) > model_context:
        raise UsageError(f"target {word}: option context: expected at most the model's {model_context} tokens, got {asked}")


def _prefill_chunk(word: Word) -> int | None:
    text = word.options.get("prefill_chunk")
    if text is None:
        return None
    if not text.isdecimal():
        raise UsageError(
            f"target {word}: option prefill_chunk: expected a number of tokens, or 0 for whole prompts, got {text!r}"
        )
    return int(text)
