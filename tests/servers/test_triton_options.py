"""The options of `triton?...`: pure."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import servers, words
from bench.errors import UsageError
from bench.recipes.catalog import BuiltModel
from bench.runtime import session
from bench.servers import triton_options
from bench.servers.generating import Scheduling
from bench.servers.triton_options import Settings
from bench.tensors import TensorSpec

SPEC = TensorSpec("input", "FP32", (-1, 4))
MODEL = BuiltModel("m", "fp32", "full", Path("/r/m"), Path("/r/m/1/model.onnx"), "0" * 64, 1, (SPEC,), (SPEC,), 32)
GENERATING = replace(MODEL, context=2048)


def read(text: str, model: BuiltModel = MODEL, gpu: bool = False) -> Settings:
    return triton_options.read(words.parse(text), model, gpu)


def test_the_defaults_batch_dynamically_and_wait_for_nothing() -> None:
    """One instance with every core, the model's own largest batch, no queueing delay: what `triton` alone means."""
    assert read("triton") == Settings("dynamic", 1, session.default_threads(), 32, 0, gpu=False)


def test_every_option_reaches_the_settings() -> None:
    """A flag that does nothing would make two equal sides look compared."""
    word = "triton?batching=off,instances=2,threads=3,max_batch=4,max_queue_delay=5ms"
    assert read(word, gpu=True) == Settings("off", 2, 3, 4, 5000, gpu=True)
    word = "triton?batching=continuous,max_batch=4,context=2000,prefill_chunk=0"
    assert read(word, GENERATING).generating == Scheduling("continuous", 4, 2000, 0)


@pytest.mark.parametrize(("context", "expected"), [(2048, 1024), (512, 512)])
def test_a_model_that_generates_gets_1024_tokens_or_as_many_as_it_has(context: int, expected: int) -> None:
    """Every slot's memory grows with it."""
    assert read("triton", replace(MODEL, context=context)).generating == Scheduling("dynamic", 32, expected, 16)


@given(instances=st.integers(1, 64), cores=st.integers(1, 64))
def test_instances_share_the_cores_and_each_has_one_at_least(instances: int, cores: int) -> None:
    """Threads that add up to more than the cores would slow each other down, by a default that nobody asked for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "default_threads", lambda: cores)
        threads = read(f"triton?instances={instances}").threads
    assert threads >= 1
    assert threads * instances <= max(cores, instances)


def test_the_users_own_arguments_are_joined_by_plus() -> None:
    """A comma ends an option."""
    assert triton_options.args(words.parse("triton?args=--log-verbose=1+--rate-limit=off")) == (
        "--log-verbose=1",
        "--rate-limit=off",
    )
    assert triton_options.args(words.parse("triton")) == ()


def test_the_record_shows_what_was_set() -> None:
    """Both sides of a comparison are visible in what is stored."""
    settings = Settings("dynamic", 2, 3, 8, 500, gpu=False)
    shown = {"device": "CPU", "batching": "dynamic", "instances": 2, "threads": 3, "max_batch": 8, "max_queue_delay_us": 500}
    assert settings.facts() == shown
    generating = replace(settings, batching="continuous", generating=Scheduling("continuous", 8, 1024, 16))
    assert generating.facts() == shown | {"batching": "continuous", "context": 1024, "prefill_chunk": 16}


@pytest.mark.parametrize(
    ("word", "context", "message"),
    [
        ("triton?max_queue_delay=5", None, r'option max_queue_delay: expected a duration such as "250ms"'),
        ("triton?image=private/triton:1", None, "option image goes with via=docker"),
        (
            "triton?batching=continuous",
            0,
            "option batching=continuous: for models that generate tokens, which this one does not",
        ),
        ("triton?prefill_chunk=16", 0, "option prefill_chunk: for models that generate tokens"),
        ("triton?context=512", 0, "option context: for models that generate tokens"),
        ("triton?context=4096", 2048, "option context: expected at most the model's 2048 tokens, got 4096"),
        (
            "triton?prefill_chunk=-1",
            None,
            "option prefill_chunk: expected a number of tokens, or 0 for whole prompts, got '-1'",
        ),
        ("triton?engine=vllm", None, "engine=vllm comes in NVIDIA's image only: via=docker goes with it"),
        ("triton?engine=vllm,via=wheel", 2048, "engine=vllm comes in NVIDIA's image only: via=docker goes with it"),
        (
            "triton?engine=vllm,via=docker,batching=off",
            2048,
            "option batching does not go with engine=vllm, which decides that",
        ),
        ("triton?engine=vllm,via=docker", 0, "option engine=vllm: for models that generate tokens"),
        ("triton?via=docker", 2048, "no ONNX Runtime for Python.*: engine=vllm, an image of yours that has it, or via=wheel"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(word: str, context: int | None, message: str) -> None:
    """It would be ignored, or fail once a model of gigabytes is built."""
    with pytest.raises(UsageError, match=message):
        servers.check(words.parse(word), context)


@pytest.mark.parametrize(
    ("word", "context"),
    [
        ("triton?batching=continuous,prefill_chunk=0,context=2048", 2048),
        ("triton?batching=continuous", None),
        ("triton?engine=vllm,via=docker,context=4096,max_batch=64,args=--log-verbose=1", None),
        ("triton?via=docker,image=mine:1", 2048),
        ("triton?via=docker", 0),
    ],
)
def test_what_goes_together_is_accepted(word: str, context: int | None) -> None:
    """Before the model is known too, as far as can be said then."""
    servers.check(words.parse(word), context)


@pytest.mark.parametrize(
    "option",
    ["batching=off", "instances=2", "threads=2", "max_batch=2", "max_queue_delay=1ms", "precision=fp16", "engine=onnxruntime"],
)
def test_a_repository_of_the_users_takes_no_option_that_its_configuration_decides(option: str) -> None:
    """The option is named: it would be ignored."""
    with pytest.raises(UsageError, match=f"option {option.partition('=')[0]} does not go with --model-repository"):
        servers.check_own(words.parse(f"triton?{option}"))


def test_a_repository_of_the_users_takes_what_is_said_of_the_server() -> None:
    """Where it runs, how it is asked, and the user's own arguments."""
    servers.check_own(words.parse("triton@24.05?protocol=grpc,port=8000,args=--log-verbose=1,via=wheel"))
    servers.check_own(words.parse("triton?via=docker,image=mine:1"))
