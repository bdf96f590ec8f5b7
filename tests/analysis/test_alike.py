"""Like with like: hand-made pairs for each kind of difference, and what holds of any."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bench.analysis.alike import Differences, differences, fingerprint
from bench.arrivals import Closed
from bench.record import Run
from bench.testing import make_mix, make_run, make_workload
from bench.workload import DataType, Input, Model

GPU = {
    "index": 0,
    "name": "H100",
    "uuid": "GPU-1",
    "memory_bytes": 80 * 2**30,
    "power_limit_w": 700.0,
    "sm_clock_set_mhz": 1755,
}
ENVIRONMENT: dict[str, Any] = {
    "bench": "0.1.0",
    "packages": {"flask": "3.1.3", "numpy": "2.4.6", "onnxruntime": "1.32.0"},
    "kernel": "6.1",
    "cores": 2,
    "cores_limit": None,
    "governor": "performance",
    "memory_bytes": 24 * 2**30,
    "driver": "550.54",
    "cuda": "12.4",
    "gpus": [GPU],
    "gpu_problem": None,
    "cuda_visible_devices": None,
}
TRITON: dict[str, Any] = {
    "word": "triton-http://127.0.0.1:40833",
    "asked": "triton",
    "server": {
        "kind": "triton",
        "version": "2.48.0",
        "source": "nvidia-pytriton 0.5.10 (NGC 24.07)",
        "backend": "python, onnxruntime 1.32.0",
        "options": {"device": "CPU", "batching": "dynamic", "threads": 2, "intra_op_num_threads": 2, "max_queue_delay_us": 0},
        "image": "",
        "digest": "",
        "ready_s": 3.6,
    },
    "model": {"name": "made", "precision": "fp32", "digest": "a" * 64},
    "answered_as": {"name": "bench829883732312", "version": "2.48.0"},
}
FLASK = TRITON | {
    "word": "flask://127.0.0.1:43355",
    "asked": "flask",
    "server": {
        "kind": "flask",
        "version": "3.1.3",
        "source": "Flask 3.1.3, gunicorn 27.0.1 (gthread)",
        "backend": "onnxruntime 1.32.0",
        "options": {"device": "CPU", "workers": 2, "threads": 2},
    },
    "answered_as": {"name": "flask", "version": "3.1.3"},
}
THERE = {"word": "triton-http://h:8000", "asked": "triton-http://h:8000", "server": None, "model": None}
THERE |= {"answered_as": {"name": "triton", "version": "2.48.0", "platform": "onnxruntime_onnx"}}
IN_PROCESS = TRITON | {
    "word": "onnx://cpu",
    "asked": "onnx://cpu",
    "server": None,
    "answered_as": {"name": "onnxruntime", "version": "1.32.0", "intra_op_num_threads": 2, "model_load_ns": 414951519},
}


def run(target: dict[str, Any] = TRITON, environment: dict[str, Any] = ENVIRONMENT, **fields: Any) -> Run:
    return make_run([1.0], target=target, environment=environment, **fields)


def changed(base: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A record in which the value at a dotted path is another."""
    made = deepcopy(base)
    *above, last = path.split(".")
    inner = made
    for key in above:
        inner = inner[key]
    inner[last] = value
    return made


def of(*runs: Run) -> Differences:
    """Each run a side."""
    return differences([[one] for one in runs])


def named(found: Any) -> dict[str, tuple[str, ...]]:
    return {d.name: d.values for d in found}


@pytest.mark.parametrize(
    ("path", "value", "name", "values"),
    [
        ("bench", "0.2.0", "bench version", ("0.1.0", "0.2.0")),
        ("kernel", "6.2", "kernel", ("6.1", "6.2")),
        ("cores", 4, "cores", ("2", "4")),
        ("cores_limit", 1.5, "core limit", ("not known", "1.5")),
        ("governor", "powersave", "CPU governor", ("performance", "powersave")),
        ("memory_bytes", 12 * 2**30, "memory", ("24 GiB", "12 GiB")),
        ("driver", "560.28", "driver", ("550.54", "560.28")),
        ("cuda", "12.6", "CUDA", ("12.4", "12.6")),
        ("packages.numpy", "2.3.0", "numpy package", ("2.4.6", "2.3.0")),
        ("packages.gevent", "26.9.0", "gevent package", ("none", "26.9.0")),
        ("gpus", [GPU | {"name": "A100"}], "GPU", ("1 x H100", "1 x A100")),
        ("gpus", [GPU, GPU], "GPU", ("1 x H100", "2 x H100")),
        ("gpus", [], "GPU", ("1 x H100", "none")),
        ("gpus", [GPU | {"power_limit_w": 350.0}], "GPU power limit in W", ("700", "350")),
        ("gpus", [GPU | {"sm_clock_set_mhz": 1410}], "GPU SM clock as set in MHz", ("1755", "1410")),
        ("cuda_visible_devices", "", "GPUs that CUDA may use", ("all", "0")),
        ("a_fact_of_tomorrow", True, "a fact of tomorrow", ("none", "yes")),
    ],
)
def test_a_difference_of_the_machine_is_not_alike(path: str, value: Any, name: str, values: tuple[str, ...]) -> None:
    """Named in plain words, with what each side has, a fact that is new to this module too."""
    found = of(run(), run(environment=changed(ENVIRONMENT, path, value)))
    assert named(found.not_alike)[name] == values
    assert not found.under_test
    assert len(found.not_alike) == 1, "of other GPUs the rest need not be told"


@pytest.mark.parametrize(
    ("path", "value", "names"),
    [
        ("server.options.batching", "off", ["batching"]),
        ("server.options.threads", 1, ["threads"]),
        ("server.options.max_queue_delay_us", 5, ["max queue delay us"]),
        ("server.options.args", "--log-verbose=1", ["args"]),
        ("word", "triton-grpc://127.0.0.1:4", ["protocol"]),
        ("word", "triton-http://127.0.0.1:4?client=tritonclient", ["client"]),
        ("answered_as.version", "2.51.0", ["server version"]),
        ("server.backend", "python, onnxruntime 1.31.0", ["backend"]),
        ("server.source", "somewhere else", ["server's source"]),
        ("tls", "on", []),  # of a server that bench started there is none
        ("server.ready_s", 99.0, []),
        ("answered_as.name", "bench27b74ccd6a5f", []),
        ("word", "triton-http://127.0.0.1:46143", []),
        ("name", "another", []),
    ],
)
def test_a_difference_of_the_target_is_under_test_and_what_changes_by_itself_is_none(
    path: str, value: Any, names: list[str]
) -> None:
    """A setting that was chosen is; a port, a token or a time is not."""
    found = of(run(), run(changed(TRITON, path, value)))
    assert [*named(found.under_test)] == names
    assert (found.not_alike, found.noted) == ((), ())


def test_another_kind_of_server_is_under_test_without_what_only_one_of_them_has() -> None:
    """Workers of Flask, batching of Triton: no difference beside that, unless somebody asked for it."""
    found = of(run(FLASK), run())
    assert [*named(found.under_test)] == ["target", "server version", "server's source", "backend"]
    asked = of(run(changed(FLASK, "asked", "flask?workers=2")), run())
    assert named(asked.under_test)["workers"] == ("2", "none")
    three = of(run(), run(changed(TRITON, "server.options.batching", "off")), run(FLASK))
    assert named(three.under_test)["batching"] == ("dynamic", "off", "none")
    assert [found.not_alike, asked.not_alike, three.not_alike] == [()] * 3


def test_settings_that_the_user_s_own_configuration_decides_are_no_difference() -> None:
    """Of such a server the record has none."""
    own = changed(TRITON, "server.options", {"device": "CPU", "repository": "/theirs"})
    own["model"] |= {"repository": "/theirs"}
    assert of(run(), run(own)) == Differences((), ())


def test_in_process_and_triton_differ_in_what_serves_and_how_it_is_reached() -> None:
    """The threads of ONNX Runtime are the same thing on both; the time that the model took to load is none."""
    found = of(run(IN_PROCESS), run())
    assert named(found.under_test) == {
        "target": ("onnx", "triton"),
        "protocol": ("none: in process", "http"),
        "backend": ("onnxruntime 1.32.0", "python, onnxruntime 1.32.0"),
    }
    assert (found.not_alike, found.noted) == ((), ())
    assert of(run(IN_PROCESS), run(changed(IN_PROCESS, "answered_as.model_load_ns", 1))) == Differences((), ())


def test_another_device_in_process_is_under_test_and_the_onnx_runtime_for_it_is_told_by_it() -> None:
    """The CPU against CUDA, each with the distribution that has it."""
    cuda = changed(IN_PROCESS, "answered_as.version", "1.33.0") | {"word": "onnx://cuda:0", "asked": "onnx://cuda:0"}
    found = of(run(IN_PROCESS), run(cuda, changed(ENVIRONMENT, "packages.onnxruntime-gpu", "1.33.0")))
    assert [*named(found.under_test)] == ["backend", "device"]
    assert found.not_alike == ()


def test_the_settings_and_the_model_of_a_server_that_runs_already_are_not_known_and_no_difference() -> None:
    """That bench did not start it is under test; that its model's hash is not known is noted."""
    found = of(run(), run(THERE))
    assert [*named(found.under_test)] == ["server's source", "backend"]
    assert named(found.noted) == {"model hash": ("a" * 16, "not known")}
    assert found.not_alike == ()


def test_an_image_is_told_by_its_name_and_digest_whatever_engine_runs_it() -> None:
    """A tag that was moved shows by the digest."""
    image = changed(TRITON, "server.image", "nvcr.io/nvidia/tritonserver:24.07-py3")
    image["server"] |= {"source": "image nvcr.io/... sha256:aa (Docker 28.0)", "digest": "sha256:aa", "version": "24.07"}
    moved = changed(changed(image, "server.digest", "sha256:bb"), "server.source", "image nvcr.io/... sha256:bb (Docker 27.0)")
    assert named(of(run(image), run(moved)).under_test) == {"image digest": ("sha256:aa", "sha256:bb")}
    mixed = named(of(run(), run(image)).under_test)
    assert [*mixed] == ["server's source"]
    assert mixed["server's source"][1] == "image nvcr.io/nvidia/tritonserver:24.07-py3"


def test_the_package_that_serves_is_told_by_the_target_and_any_other_is_not_alike() -> None:
    """An upgrade of Flask is what two runs of Flask test; one of numpy beside it is not."""
    newer = changed(changed(FLASK, "answered_as.version", "3.2.0"), "server.source", "Flask 3.2.0, gunicorn 27.0.1 (gthread)")
    environment = changed(changed(ENVIRONMENT, "packages.flask", "3.2.0"), "packages.numpy", "2.5.0")
    found = of(run(FLASK), run(newer, environment))
    assert [*named(found.under_test)] == ["server version", "server's source"]
    assert [*named(found.not_alike)] == ["numpy package"]


HASH = {"model hash": ("a" * 16, "b" * 16)}


@pytest.mark.parametrize(
    ("asked", "model", "under_test", "not_alike"),
    [
        ("triton", {}, {}, HASH),
        ("triton?batching=dynamic", {}, {}, HASH),
        ("triton?precision=int8", {"precision": "int8"}, {"precision": ("fp32", "int8")} | HASH, {}),
        ("triton", {"repository": "/theirs"}, {"model repository": ("none", "/theirs")} | HASH, {}),
    ],
)
def test_a_model_of_another_hash_is_under_test_where_the_target_chose_it(
    asked: str, model: dict[str, str], under_test: dict[str, Any], not_alike: dict[str, Any]
) -> None:
    """By its precision or its repository; else the model was changed unseen."""
    other = changed(TRITON, "asked", asked)
    other["model"] |= {"digest": "b" * 64} | model
    found = of(run(), run(other))
    assert (named(found.under_test), named(found.not_alike)) == (under_test, not_alike)


def test_a_model_that_was_changed_unseen_is_not_excused_by_a_third_side_that_chose_its_own() -> None:
    """Two sides of one word have one model, or are not alike."""
    int8 = changed(changed(TRITON, "asked", "triton?precision=int8"), "model.digest", "c" * 64)
    found = of(run(), run(changed(TRITON, "model.digest", "b" * 64)), run(int8))
    assert named(found.not_alike) == {"model hash": ("a" * 16, "b" * 16, "c" * 16)}


def test_the_same_model_in_another_folder_is_alike() -> None:
    """A checkout elsewhere."""
    one, other = (changed(TRITON, "model", {"name": "m", "repository": at, "digest": "c" * 64}) for at in ("/a", "/b"))
    for target in (one, other):
        target["server"]["options"]["repository"] = target["model"]["repository"]
    assert of(run(one), run(other)) == Differences((), ())


def test_a_precision_that_the_workload_asks_for_is_the_workload_s_difference() -> None:
    """Told once, there."""
    workload = make_workload()
    target = changed(TRITON, "model", TRITON["model"] | {"precision": "int8"})
    found = of(run(workload=workload), run(target, workload=replace(workload, model=Model("made", precision="int8"))))
    assert named(found.not_alike) == {"workload model.precision": ("fp32", "int8")}
    assert not found.under_test


def test_the_parts_of_a_mix_have_a_hash_each() -> None:
    """And only the one that differs is named."""
    mixed = make_mix({"a": (3, 4), "b": (1, 2)})
    parts = {name: {"model": {"name": name, "precision": "fp32", "digest": "a" * 64}} for name in "ab"}
    target = {key: value for key, value in TRITON.items() if key != "model"} | {"parts": parts}
    other = changed(target, "parts.b.model.digest", "b" * 64)
    assert named(of(run(target, workload=mixed), run(other, workload=mixed)).not_alike) == {
        "model hash of b": ("a" * 16, "b" * 16)
    }


def test_a_difference_of_the_workload_is_named_by_its_key() -> None:
    """As the file has it; a name, a description and the number of the round are no differences."""
    workload = make_workload()
    other = replace(workload, load=Closed(8), name="other", description="the same", round=3)
    assert named(of(run(workload=workload), run(workload=other)).not_alike) == {"workload load.users": ("1", "8")}
    renamed = replace(workload, payload=replace(workload.payload, inputs={"y": Input(DataType("FP32"), (1, 4))}))
    keys = [name.rpartition(".")[2] for name in named(of(run(workload=workload), run(workload=renamed)).not_alike)]
    assert keys == ["datatype", "shape", "low", "high"] * 2, "and not the keys that neither has a value for"


@pytest.mark.parametrize(
    ("load", "name", "values"),
    [
        (
            {"workers": [{"host": ""}, {"host": "b"}]},
            "load processes",
            ("1 here, 0 on other hosts", "1 here, 1 on other hosts"),
        ),
        ({"driver": "locustfile.py"}, "load made by", ("bench", "locustfile.py")),
    ],
)
def test_a_load_that_was_made_otherwise_is_not_alike(load: dict[str, Any], name: str, values: tuple[str, str]) -> None:
    """More processes, other hosts, a Locust file of the user's."""
    assert named(of(run(), run(load=load)).not_alike) == {name: values}


def test_rounds_of_one_side_that_differ_are_not_alike_also_in_what_could_be_under_test() -> None:
    """A folder into which runs of two versions fell is no side."""
    newer = changed(TRITON, "answered_as.version", "2.51.0")
    found = differences([[run(), run(newer)], [run(newer)]])
    (one,) = found.not_alike
    assert (one.name, one.values, one.within) == ("server version", ("2.48.0, 2.51.0", "2.51.0"), True)
    assert not found.under_test
    assert differences([[run(), run()], []]) == Differences((), ())


def test_another_card_of_the_same_model_is_alike_and_noted() -> None:
    """No two cards are quite as fast."""
    second = changed(ENVIRONMENT, "gpus", [GPU | {"uuid": "GPU-2"}])
    found = of(run(), run(environment=second))
    assert named(found.noted) == {"GPU cards": ("GPU-1", "GPU-2")}
    assert not found.not_alike


def test_a_page_of_memory_more_is_alike() -> None:
    """A virtual machine's memory is not the same to the byte after it is started anew."""
    more = changed(ENVIRONMENT, "memory_bytes", ENVIRONMENT["memory_bytes"] + 4096)
    assert fingerprint(run()) == fingerprint(run(environment=more))


CHANGES: list[Callable[[], Run]] = [
    run,
    lambda: run(FLASK),
    lambda: run(THERE),
    lambda: run(IN_PROCESS),
    lambda: run({"word": "echo://"}, {}),
    lambda: run(changed(TRITON, "model.digest", "b" * 64)),
    lambda: run(changed(changed(TRITON, "asked", "triton?precision=int8"), "model.digest", "c" * 64)),
    lambda: run(changed(TRITON, "answered_as.version", "2.51.0")),
    lambda: run(environment=changed(ENVIRONMENT, "driver", "560")),
    lambda: run(environment=changed(ENVIRONMENT, "gpus", [])),
    lambda: run(workload=make_workload(load=Closed(3))),
]


@given(st.lists(st.lists(st.sampled_from(CHANGES), max_size=3), min_size=1, max_size=4))
def test_a_run_is_alike_itself_and_nothing_is_under_test_and_not_alike_at_once(made: list[list[Callable[[], Run]]]) -> None:
    """Whatever is compared; and what differs has a value of each side, not all of them the same unless it is within one."""
    sides = [[make() for make in side] for side in made]
    found = differences(sides)
    names = [d.name for d in (*found.under_test, *found.not_alike, *found.noted)]
    assert len(names) == len({*names})
    for d in (*found.under_test, *found.not_alike, *found.noted):
        assert len(d.values) == len(sides)
        assert d.within or len({*d.values}) > 1
    for side in sides:
        for one in side:
            assert differences([[one], [one]]) == Differences((), ())
