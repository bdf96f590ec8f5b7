"""Which model a target word is to serve, and whether it can carry the workload: told before anything is built."""

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bench import serving, words
from bench.errors import UsageError
from bench.lengths import Length, Uniform
from bench.servers.base import HubModel, OwnModel
from bench.servers.digests import of_folder
from bench.testing import make_workload
from bench.workload import Check, DataType, Generate, Input, Model, Part, Payload, Workload

MODELS = Path(__file__).parent / "models"
QWEN = Model("qwen-1.5b", precision="int4", preset="tiny")


def prompts(prompt: int = 64, output: int = 64, model: Model = QWEN, form: Literal["tokens", "text"] = "tokens") -> Workload:
    """A workload whose longest prompt and answer have so many tokens."""
    generate = Generate(Uniform(1, prompt), Uniform(1, output), form=form)
    return make_workload(model=model, payload=Payload(generate=generate))


def silent(text: str) -> None:
    """Nobody listens."""


@pytest.mark.parametrize("word", ["triton?precision=fp8", "flask?precision=fp8", "onnx://cpu?precision=fp8"])
def test_a_precision_that_the_model_has_not_is_told_with_those_it_has(word: str) -> None:
    """The word's precision goes over the workload's."""
    with pytest.raises(UsageError, match="model resnet50: unknown precision 'fp8'; it can be built as: fp32"):
        serving.check(words.parse(word), make_workload(model=Model("resnet50")))


def test_the_word_s_precision_goes_over_the_workload_s() -> None:
    """Two sides of a comparison differ in it while the workload is one."""
    assert serving.precision(words.parse("triton?precision=fp16"), QWEN) == "fp16"
    assert serving.precision(words.parse("triton"), QWEN) == "int4"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "triton",
            r"prompts of up to 1,000 tokens and answers of up to 25 make 1,025, .*context of 1,024: option context=1025",
        ),
        ("flask?context=1000", "make 1,025, and target .* has a context of 1,000: option context=1025 makes room for them"),
        ("onnx://cpu", "a context of 1,024"),
    ],
)
def test_a_prompt_and_answer_longer_than_the_context_are_told_with_the_numbers(word: str, message: str) -> None:
    """Every long request would fail, and only those."""
    with pytest.raises(UsageError, match=message):
        serving.check(words.parse(word), prompts(1000, 25))


def test_vllm_s_context_is_checked_too() -> None:
    """Its checkpoint may have any."""
    with pytest.raises(UsageError, match="a context of 512: option context=1025 makes room"):
        serving.check(words.parse("triton?engine=vllm,via=docker,context=512"), prompts(1000, 25, form="text"))
    serving.check(words.parse("triton?engine=vllm,via=docker,context=1025"), prompts(1000, 25, form="text"))


def test_what_the_model_itself_cannot_hold_has_no_remedy() -> None:
    """The tiny preset has 2,048 tokens."""
    with pytest.raises(UsageError, match="a context of 1,024: the model has 2048 at most"):
        serving.check(words.parse("triton"), prompts(2000, 49))


@given(prompt=st.integers(1, 2048), output=st.integers(1, 2048), context=st.integers(1, 2048))
def test_what_fits_is_accepted_and_what_does_not_is_refused(prompt: int, output: int, context: int) -> None:
    """To the last token."""
    word = words.parse(f"triton?context={context}")
    if prompt + output <= context:
        serving.check(word, prompts(prompt, output))
    else:
        with pytest.raises(UsageError, match="make"):
            serving.check(word, prompts(prompt, output))


def test_an_endpoint_that_runs_already_has_a_context_that_bench_does_not_know() -> None:
    """It may have more than bench's own servers have by default; it says itself where it has less."""
    serving.check(words.parse("triton-http://127.0.0.1:8000"), prompts(1000, 1000))


@pytest.mark.parametrize(
    ("word", "workload", "message"),
    [
        (
            "triton",
            prompts(model=Model("resnet50")),
            "it sends prompts, and the model generates no tokens: model resnet50 needs",
        ),
        (
            "onnx://cpu",
            make_workload(model=QWEN),
            r"it sends inputs, and the model generates tokens: model qwen-1.5b needs \[pay",
        ),
        ("triton?engine=vllm,via=docker", make_workload(model=QWEN), "Triton's vLLM backend takes texts: it needs"),
        ("triton?engine=vllm,via=docker", prompts(), r'needs \[payload.generate\] with form = "text"'),
        (
            "triton?batching=continuous",
            make_workload(model=Model("resnet50")),
            "option batching=continuous: for models that gen",
        ),
        ("flask?context=4096", prompts(), "option context: expected at most the model's 2048 tokens"),
        ("flask", make_workload(), "a managed server needs a model that bench can build: .*resnet50"),
    ],
)
def test_a_model_that_is_none_for_the_workload_or_the_word_is_refused(word: str, workload: Workload, message: str) -> None:
    """Each with what is needed instead."""
    with pytest.raises(UsageError, match=message):
        serving.check(words.parse(word), workload)


@pytest.mark.parametrize(("repository", "message"), [
    (MODELS, f"--model-repository {MODELS}: model 'made' is not there; there are: own"),
    (MODELS / "nowhere", "nowhere: expected a folder that has a folder for each model"),
    (MODELS / "own" / "1", "model 'made' is not there; there are: none"),
])  # fmt: skip
def test_a_model_that_is_not_in_the_user_s_repository_is_told_with_those_that_are(repository: Path, message: str) -> None:
    """Before a server is started on it."""
    with pytest.raises(UsageError, match=message):
        serving.check(words.parse("triton"), make_workload(), repository)


def test_a_model_of_the_user_s_is_taken_from_the_repository_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that bench has a recipe for is the user's model all the same. Servers start elsewhere: the folder is absolute."""
    (tmp_path / "theirs" / "resnet50").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    own = serving.choose(words.parse("triton"), Model("resnet50"), Path("theirs"), silent)
    assert own == OwnModel("resnet50", tmp_path / "theirs", of_folder(tmp_path / "theirs" / "resnet50"))


@pytest.mark.parametrize(
    ("model", "weights"),
    [
        (QWEN, "Qwen/Qwen2.5-1.5B-Instruct"),
        (Model("qwen-1.5b", weights="org/name"), "org/name"),
        (Model("theirs", weights="org/name"), "org/name"),
        (Model("theirs", weights=str(MODELS)), str(MODELS)),
    ],
)
def test_vllm_loads_the_workload_s_checkpoint_or_the_one_that_the_model_is_made_after(model: Model, weights: str) -> None:
    """Nothing is built for it."""
    word = words.parse("triton?engine=vllm,via=docker")
    assert serving.choose(word, model, None, silent) == HubModel(model.name, weights)


def test_vllm_needs_a_checkpoint() -> None:
    """bench's seeded models are no checkpoints."""
    with pytest.raises(
        UsageError, match=r"vLLM loads model theirs from a Hugging Face checkpoint, which model\.weights has to name"
    ):
        serving.check(words.parse("triton?engine=vllm,via=docker"), prompts(model=Model("theirs")))


def sentences(tokens: int | str, lengths: dict[str, Length], model: Model) -> Workload:
    """Sentences of so many tokens."""
    inputs = {name: Input(DataType("INT64"), (1, tokens)) for name in ("input_ids", "attention_mask", "token_type_ids")}
    return make_workload(model=model, payload=Payload(inputs=inputs, lengths=lengths))


@pytest.mark.parametrize("word", ["triton", "flask", "onnx://cpu", "triton-http://127.0.0.1:1"])
@pytest.mark.parametrize("drawn", [True, False])
def test_a_sentence_longer_than_the_model_s_positions_is_told_before_anything_is_built(word: str, drawn: bool) -> None:
    """By the input, its longest length and the model's; the limit itself is within, and a checkpoint has one of its own."""

    def asked(most: int, weights: str = "") -> Workload:
        model = Model("bert-base", weights=weights)
        return sentences("n", {"n": Uniform(1, most)}, model) if drawn else sentences(most, {}, model)

    serving.check(words.parse(word), asked(512))
    serving.check(words.parse(word), asked(513, "./mine"))
    with pytest.raises(UsageError, match="input input_ids is up to 513 long, and model bert-base takes 512 at most"):
        serving.check(words.parse(word), asked(513))


def mixed(*models: Model) -> Workload:
    """A mix of four floats to each of these models."""
    payload = make_workload().payload
    return make_workload(
        mix=tuple(Part(f"part-{n}", model, payload, check=Check(reference=False)) for n, model in enumerate(models))
    )


RESNET, BERT = Model("resnet50", preset="tiny"), Model("bert-base", preset="tiny")


@pytest.mark.parametrize(
    ("word", "models", "message"),
    [
        (
            "flask",
            (RESNET, BERT),
            r"target flask: Flask serves one model, and workload made is a mix of several: resnet50, bert",
        ),
        ("flask://127.0.0.1:5000", (RESNET, BERT), "Flask serves one model, and workload made is a mix of several"),
        ("triton?engine=vllm,via=docker", (QWEN, BERT), "option engine: vLLM takes the GPU for one model, and workload made"),
        ("openai://127.0.0.1:8000?model=x", (QWEN, BERT), "option model: names one model, and workload made is a mix of"),
        (
            "triton",
            (RESNET, replace(RESNET, precision="fp16")),
            "target triton: a server has one model of a name, and workload made has parts that ask for resnet50 in another",
        ),
        ("triton?batching=continuous", (RESNET, BERT), "part part-0 of workload made: target .*option batching=continuous"),
        ("triton?precision=int4", (BERT, RESNET), "part part-0 of workload made: model bert-base: unknown precision 'int4'"),
        ("triton", (RESNET, Model("theirs")), "part part-1 of workload made: target triton: a managed server needs a model"),
    ],
)
def test_a_mix_that_an_endpoint_cannot_serve_is_refused_with_what_stands_against_it(
    word: str, models: tuple[Model, ...], message: str
) -> None:
    """The part is named where one of them is the reason."""
    with pytest.raises(UsageError, match=message):
        serving.check(words.parse(word), mixed(*models))


@pytest.mark.parametrize(
    ("word", "models"),
    [
        ("triton", (RESNET, BERT)),
        ("triton?precision=int8", (RESNET, replace(BERT, precision="fp16"))),
        ("triton?precision=int8", (RESNET, replace(RESNET, precision="fp16"))),
        ("onnx://cpu", (RESNET, replace(RESNET, precision="fp16"))),
        ("flask", (RESNET, RESNET)),
        ("openai://127.0.0.1:8000?model=x", (QWEN, QWEN)),
        ("triton-http://127.0.0.1:8000", (Model("one"), Model("another"))),
    ],
)
def test_a_mix_that_an_endpoint_can_serve_is_accepted(word: str, models: tuple[Model, ...]) -> None:
    """Two parts may ask for one model; a precision of the word is every part's."""
    serving.check(words.parse(word), mixed(*models))
