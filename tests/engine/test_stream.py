"""A stream is the network in evaluation, step by step: same numbers, state kept, saved and reset."""

from __future__ import annotations

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import recurra
from recurra.cells import CELLS, make_cell
from recurra.errors import CompileError, ConfigError, RunError, ShapeError, TraceError
from tests.cells.equations import TABLE
from tests.tolerance import assert_close

both_types = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
both_runners = pytest.mark.parametrize("engine", ["compiled", "reference"])


# cells whose step holds an operation that has no compiled form; what a test names here, a message names to the user


class State(NamedTuple):
    h: Tensor


class Branching(recurra.Cell):
    State = State

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = x if x.sum() > 0 else -x
        return h, State(h)


class Highest(recurra.Cell):
    """Has an operation that no vector form knows."""

    State = State

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(input_size, hidden_size))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = torch.tanh(x @ self.weight + state.h.cummax(-1).values)
        return h, State(h)


class Inverse(recurra.Cell):
    """Takes the inverse of a matrix made of its input, which a scan leaves to torch, and of one made of its state."""

    State = State

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(input_size, hidden_size))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        given, carried = ((torch.eye(2) + value.tanh().view(-1, 2, 2) / 3) for value in (x @ self.weight, state.h))
        h = (torch.linalg.inv(given) @ torch.linalg.inv(carried)).flatten(1)
        return h, State(h)


class Lookups(recurra.Cell):
    """Reads a table at the place that its input names, its input at places that a buffer lists, and writes into parts
    of new memory: of the input alone, a scan leaves all of it to torch."""

    State = State

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.table = nn.Embedding(5, hidden_size)
        self.register_buffer("places", torch.randint(input_size, (hidden_size,)))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        token = x[:, 0].abs().long().clamp(max=4)
        h, half = torch.empty_like(state.h), state.h.shape[1] // 2
        h[:, :half] = (x[:, self.places] * state.h)[:, half:]
        h[:, half:] = torch.tanh(self.table(token) + self.table.weight[token] + state.h)[:, half:]
        return h, State(h)


class Counting(recurra.Cell):
    """Does not look at x."""

    State = State

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.5))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = self.gain * state.h + 1
        return h, State(h)


class Clock(recurra.Cell):
    """Counts its steps on itself, not in its state."""

    State = State

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.time = 0

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        self.time += 1
        h = state.h + x * self.time
        return h, State(h)


class Centred(recurra.Cell):
    """Its rows see each other, where nothing of the state is read."""

    State = State

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = state.h + x - x[:1]
        return h, State(h)


def gru(**options: Any) -> recurra.Recurrent:
    return recurra.Recurrent(recurra.GRU(3, 5), **options)


def assert_states(actual: Any, expected: Any) -> None:
    for one, other in zip(actual, expected, strict=True):
        assert type(one) is type(other)
        for got, want in zip(one, other, strict=True):
            assert_close(got, want.detach())


def assert_streams_like_a_scan(network: recurra.Recurrent, batch_size: int, num_steps: int = 7) -> None:
    dtype = next(value.dtype for value in network.state_dict().values() if value.is_floating_point())
    x = torch.randn(num_steps, batch_size, *network.input_shape, dtype=dtype)
    expected, last = copy.deepcopy(network).eval()(x)
    stream = network.stream(batch_size)
    assert_close(torch.stack([stream.push(row) for row in x]), expected.detach())
    assert_states(stream.state, last)


@pytest.mark.parametrize(
    ("name", "options", "dtype"),
    [
        *((name, options, torch.float64) for name, options, _ in TABLE),
        *((name, options, torch.float32) for name, (options, _) in {row[0]: row[1:] for row in TABLE}.items()),
    ],
    ids=str,
)
def test_a_stream_of_every_cell_equals_its_scan(name: str, options: dict[str, Any], dtype: torch.dtype) -> None:
    has_form = options.get("storage") != "sparse"
    engine = "auto" if has_form else "reference"
    network = recurra.Recurrent(make_cell(name, 3, 18, **options), engine=engine).to(dtype)

    assert network.stream().is_compiled == has_form
    assert_streams_like_a_scan(network, 1)


@pytest.mark.parametrize(("name", "options"), [row[:2] for row in TABLE if row[1].get("storage") == "sparse"], ids=str)
def test_a_cell_that_cannot_be_compiled_names_the_operation(name: str, options: dict[str, Any]) -> None:
    network = recurra.Recurrent(make_cell(name, 3, 4, **options), engine="compiled")

    for run in (network.stream, lambda: network(torch.zeros(2, 1, *network.input_shape))):
        with pytest.raises(CompileError, match="`_sparse_addmm` has no compiled form"):
            run()


@pytest.mark.parametrize("batch_size", [2, 5, 33])
@pytest.mark.parametrize("sizes", [(1, 1), (16, 65), (65, 16)], ids=str)
def test_many_sequences_go_side_by_side(batch_size: int, sizes: tuple[int, int]) -> None:
    assert_streams_like_a_scan(recurra.Recurrent(recurra.LSTM(*sizes)), batch_size, 3)


@pytest.mark.parametrize(
    "options",
    [
        {"num_layers": 3},
        {"num_layers": 2, "layer_norm": True},
        {"num_layers": 3, "residual": True, "layer_norm": True},
        {"learned_initial_state": True},
        {"num_layers": 2, "dropout": 0.5, "zoneout": 0.3},
        {"recurrent_dropout": 0.4, "weight_drop": 0.4},
        {"num_layers": 2, "variational_dropout": 0.5, "clip_state_gradient": 1.0},
    ],
    ids=str,
)
def test_a_stack_with_its_options_is_one_call_of_machine_code(options: dict[str, Any]) -> None:
    network = gru(**options, engine="compiled")
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)

    assert network.training
    assert_streams_like_a_scan(network, 2)
    assert network.training


@both_runners
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_outputs_are_of_the_kind_and_shape_of_x(engine: str, kind: str) -> None:
    def make(*shape: int) -> Any:
        return torch.zeros(shape) if kind == "torch" else np.zeros(shape, np.float32)

    one, two = gru(engine=engine).stream(), gru(engine=engine).stream(2)
    for stream, given, wanted in [
        (one, (3,), (5,)),
        (one, (1, 3), (1, 5)),
        (one, (4, 1, 3), (4, 1, 5)),
        (one, (0, 1, 3), (0, 1, 5)),
        (two, (2, 3), (2, 5)),
        (two, (4, 2, 3), (4, 2, 5)),
    ]:
        output = stream.push(make(*given))
        assert type(output) is type(make(1))
        assert tuple(output.shape) == wanted
        assert output.dtype == make(1).dtype


@both_runners
def test_a_chunk_is_its_steps_and_chunks_go_on_where_the_last_one_ended(engine: str) -> None:
    network = gru(num_layers=2, engine=engine)
    x = torch.randn(9, 3, 3)
    expected, last = network.eval()(x)
    stream = network.stream(3)

    outputs = torch.cat([stream.push(x[:4]), stream.push(x[4])[None], stream.push(x[5:5]), stream.push(x[5:])])

    assert_close(outputs, expected.detach())
    assert_states(stream.state, last)


@both_runners
def test_an_output_is_not_changed_by_the_next_push(engine: str) -> None:
    stream = gru(engine=engine).stream()
    first = stream.push(torch.randn(3))
    kept = first.clone()
    state = stream.state
    kept_state = copy.deepcopy(state)

    stream.push(torch.randn(3))

    assert torch.equal(first, kept)
    assert_states(state, kept_state)


def test_numbers_of_other_types_and_layouts_are_taken() -> None:
    network = gru()
    x = torch.randn(3)
    expected = network.stream().push(x)

    assert_close(network.stream().push(x.double()), expected)
    assert_close(torch.from_numpy(network.stream().push(x.double().numpy())), expected)
    assert_close(network.stream().push(x.repeat_interleave(2)[::2]), expected)
    assert_close(network.stream().push(x.clone().requires_grad_()), expected)
    assert_close(network.stream().push(x.bfloat16()), network.stream().push(x.bfloat16().float()))
    assert_close(network.stream().push(torch._neg_view(-x)), expected)
    assert_close(network.stream(2).push(x.expand(2, 3))[1], expected)
    chunk = torch.randn(1, 6, 3).transpose(0, 1)
    assert_close(network.stream().push(chunk), network.stream().push(chunk.contiguous()))


@both_runners
@pytest.mark.parametrize(
    "rows", [1, [1], torch.tensor([1]), np.array([1]), torch.tensor([False, True, False]), [False, True, False], -2]
)
def test_some_rows_begin_anew_and_the_others_go_on(engine: str, rows: Any) -> None:
    network = gru(learned_initial_state=True, engine=engine)
    nn.init.normal_(next(p for name, p in network.named_parameters() if "initial" in name))
    stream = network.stream(3)
    stream.push(torch.randn(4, 3, 3))
    before = stream.state[0].h
    start = network.initial_state(3)[0].h.detach()

    stream.reset(rows)

    assert_close(stream.state[0].h, torch.stack([before[0], start[1], before[2]]))
    stream.reset([])
    assert_close(stream.state[0].h[0], before[0])
    stream.reset()
    assert_close(stream.state[0].h, start)


@pytest.mark.parametrize("rows", [3, [0, -4], 1.5, [True, False], "a", slice(2)])
def test_a_row_that_is_not_there_is_refused(rows: Any) -> None:
    with pytest.raises(ShapeError, match="`rows` must be rows from 0 to 2, or a mask of 3 bools"):
        gru().stream(3).reset(rows)


@both_runners
def test_a_state_that_is_set_is_where_the_stream_goes_on(engine: str) -> None:
    network = gru(num_layers=2, engine=engine).eval()
    x = torch.randn(8, 2, 3)
    expected, _ = network(x)
    _, middle = network(x[:5])
    stream = network.stream(2)

    stream.state = middle

    assert_close(stream.push(x[5:]), expected[5:].detach())
    with pytest.raises(ShapeError, match="`state"):
        stream.state = middle[:1]


@both_runners
@both_types
def test_a_saved_state_is_gone_on_from(engine: str, dtype: torch.dtype, tmp_path: Path) -> None:
    network = recurra.Recurrent(recurra.LSTM(3, 5), num_layers=2, engine=engine).to(dtype)
    stream, other = network.stream(2), network.stream(2)
    stream.push(torch.randn(4, 2, 3, dtype=dtype))

    stream.save(tmp_path / "state.safetensors")
    other.load(tmp_path / "state.safetensors")

    x = torch.randn(2, 3, dtype=dtype)
    assert torch.equal(other.push(x), stream.push(x))
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]


def test_a_file_that_cannot_be_used_is_one_sentence_and_leaves_the_state(tmp_path: Path) -> None:
    stream = gru().stream()
    stream.push(torch.randn(3))
    before = stream.state
    stream.save(tmp_path / "whole")
    (tmp_path / "half").write_bytes((tmp_path / "whole").read_bytes()[:-7])
    (tmp_path / "noise").write_bytes(b"no state")
    (tmp_path / "empty").touch()
    gru().stream(2).save(tmp_path / "two")
    recurra.Recurrent(recurra.LSTM(3, 5)).stream().save(tmp_path / "lstm")

    for name, message in [
        ("half", "is damaged"),
        ("noise", "is damaged"),
        ("empty", "is damaged"),
        ("none", "could not be read"),
        ("two", r"this stream has 0.h \[1, 5\], the file 0.h \[2, 5\]"),
        ("lstm", r"the file 0.c \[1, 5\], 0.h \[1, 5\]"),
    ]:
        with pytest.raises(RunError, match=message) as caught:
            stream.load(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert_states(stream.state, before)


def test_whoever_may_read_new_files_may_read_a_saved_state(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    gru().stream().save(tmp_path / "state")

    assert (tmp_path / "state").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_state_that_cannot_be_written_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = gru().stream()
    stream.save(tmp_path / "state")
    old = (tmp_path / "state").read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match="no space left on device"):
        stream.save(tmp_path / "state")

    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert (tmp_path / "state").read_bytes() == old
    with pytest.raises(RunError, match="could not be written"):
        stream.save(tmp_path / "no folder" / "state")


@both_runners
def test_new_weights_are_seen_after_refresh(engine: str) -> None:
    network = gru(learned_initial_state=True, engine=engine)
    stream = network.stream()
    x = torch.randn(3)
    old = stream.push(x)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3)

    stream.reset()
    assert_close(stream.push(x), old)
    stream.refresh()
    stream.reset()

    assert_close(stream.push(x), network.eval()(x[None, None])[0].detach()[0, 0])
    assert not torch.allclose(stream.push(x), old)


def test_streams_of_one_network_share_code_and_nothing_else() -> None:
    network = gru()
    first, second = network.stream(), network.stream(4)
    x = torch.randn(3)
    expected = network.stream().push(x)
    first.push(torch.randn(5, 1, 3))

    assert_close(second.push(x.expand(4, 3))[2], expected)
    assert first._runner._code is second._runner._code  # type: ignore[union-attr]


@both_runners
def test_a_copy_and_a_pickle_go_on_by_themselves(engine: str) -> None:
    model = nn.Module()
    model.network = gru(engine=engine)
    model.live = model.network.stream(2)
    x = torch.randn(3, 2, 3)
    model.live.push(x[0])
    copies: list[Any] = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    expected = model.live.push(x[1])

    for again in copies:
        assert_close(again.live.push(x[1]), expected)
        again.live.push(x[2])
        assert again.live._network is again.network
    assert_close(copy.copy(model.live).push(x[2]), model.live.push(x[2]))


def test_many_sequences_of_a_large_network_are_shared_among_threads() -> None:
    network = recurra.Recurrent(recurra.GRU(64, 256)).eval()
    x = torch.randn(2, 35, 64)
    expected, last = network(x)
    torch.set_num_threads(2)
    try:
        stream = network.stream(35)
        outputs = stream.push(x)
    finally:
        torch.set_num_threads(1)
    assert stream._runner._memory.threads == 2  # type: ignore[union-attr]
    assert_close(outputs, expected.detach())
    assert_states(stream.state, last)
    stream.reset()
    assert_close(stream.push(x), expected.detach())  # with one thread, as after a fork


def test_not_a_number_in_one_sequence_stays_there() -> None:
    network = gru()
    x = torch.randn(5, 3, 3)
    expected = network.stream(3).push(x)
    x[1, 1] = float("nan")

    outputs = network.stream(3).push(x)

    assert_close(outputs[:, [0, 2]], expected[:, [0, 2]])
    assert outputs[1:, 1].isnan().all()


def test_a_cell_that_does_not_look_at_x_is_streamed() -> None:
    network = recurra.Recurrent(Counting(3, 2))

    assert_close(network.stream().push(torch.randn(3, 1, 3))[:, 0, 0], torch.tensor([1.0, 2.5, 4.75]))


def test_a_call_that_is_taken_apart_in_loops_is_so_in_a_stream() -> None:
    cell = Inverse(3, 4)
    x = torch.randn(5, 2, 3)
    stream = recurra.Recurrent(cell).stream(batch_size=2)
    assert stream.is_compiled
    outputs, _ = recurra.scan(cell, x, engine="reference")
    assert_close(torch.stack([stream.push(step) for step in x]), outputs.detach())


def test_what_the_input_alone_names_is_looked_up_in_the_code_of_a_stream() -> None:
    network = recurra.Recurrent(Lookups(3, 6))
    x = 4 * torch.randn(7, 2, 3)
    stream = network.stream(2)
    assert stream.is_compiled
    assert_close(stream.push(x), recurra.scan(network.cells[0], x, engine="reference")[0].detach())


def test_what_has_no_compiled_form_runs_on_torch_and_says_so_once() -> None:
    network = recurra.Recurrent(Highest(3, 5)).eval()
    x = torch.randn(4, 2, 3)
    expected, last = recurra.Recurrent(network.cells[0], engine="reference")(x)

    with pytest.warns(UserWarning, match=r"test_stream.py.*cummax.*The stream runs on torch") as said:
        stream = network.stream(2)
    assert said[0].filename == __file__

    assert not stream.is_compiled
    assert_close(stream.push(x), expected.detach())
    assert_states(stream.state, last)
    network.stream(2)  # warnings are errors here: a second one would fail
    with pytest.raises(CompileError, match="cummax"):
        recurra.Recurrent(Highest(3, 5), engine="compiled").stream()


@pytest.mark.parametrize(("kind", "why"), [(Clock, "changes `time` of its cell"), (Centred, "mixes the rows")])
def test_a_step_that_is_not_the_same_for_each_step_and_row_runs_on_torch(kind: Any, why: str) -> None:
    x = torch.randn(4, 2, 3)
    expected, _ = recurra.scan(kind(3, 3), x, engine="reference")
    with pytest.warns(UserWarning, match=f"`{kind.__name__}.step` {why}"):
        stream = recurra.Recurrent(kind(3, 3)).stream(2)
    assert_close(stream.push(x), expected)


def test_a_network_in_half_precision_runs_on_torch() -> None:
    network = gru(engine="reference").bfloat16().eval()
    x = torch.randn(3, 1, 3)
    expected, _ = network(x.bfloat16())

    assert_close(network.stream().push(x).bfloat16(), expected.detach())
    assert network.stream().state[0].h.dtype == torch.bfloat16


def test_a_step_that_branches_on_a_value_is_refused_with_its_line() -> None:
    with pytest.raises(TraceError, match=r"test_stream.py:\d+: `h = x if x.sum\(\) > 0"):
        recurra.Recurrent(Branching(2, 2)).stream()


def test_a_stream_that_cannot_be_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="bidirectional network needs whole sequences"):
        gru(bidirectional=True).stream()
    for wrong in (0, True, 1.5):
        with pytest.raises(ConfigError, match="`batch_size` must be a whole number of at least 1"):
            gru().stream(wrong)  # type: ignore[arg-type]


@both_runners
@pytest.mark.parametrize("shape", [(4,), (2, 3), (), (1, 1, 1, 3), (5, 2, 3), (5, 1, 4)], ids=str)
def test_x_of_another_shape_is_refused(engine: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"`x` must have shape \[I=3\], \[B=1, I=3\] or \[T, B=1, I=3\], got \["):
        gru(engine=engine).stream().push(torch.zeros(shape))


def test_x_that_is_no_array_is_refused() -> None:
    with pytest.raises(ShapeError, match="`x` must be an array of numpy or a tensor, got a list"):
        gru().stream().push([1.0, 2.0, 3.0])  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.array(["2026-01-01"] * 3, "datetime64[D]"), "`x` must be an array of numbers, got datetime64"),
        (np.array([[["1", "2", "3"]]]), "`x` must be an array of numbers, got <U1"),
        (np.array([1.0, None, 2.0]), "`x` must be an array of numbers, got object"),
        (np.ma.masked_array(np.ones(3), mask=[0, 1, 0]), "`x` must have a number in every place, got masked ones"),
    ],
)
def test_x_without_numbers_is_refused(x: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        gru().stream().push(x)


def test_a_stream_says_what_it_is() -> None:
    assert repr(gru().stream(2)) == "Stream(3 -> 5, batch_size=2, compiled)"
    assert repr(gru(engine="reference").stream()) == "Stream(3 -> 5, batch_size=1, by torch)"
    assert set(CELLS) == {name for name, _, _ in TABLE}  # every cell is streamed above


def test_streams_may_be_made_by_several_threads_at_once() -> None:
    network = recurra.Recurrent(recurra.LSTM(3, 8), num_layers=2, engine="compiled").eval()
    x, meeting = torch.randn(2, 3), threading.Barrier(3)

    def push(_: int) -> Tensor:
        meeting.wait(30)
        found: Tensor = network.stream(2).push(x)
        return found

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(push, range(3)))
    want = network(x[None])[0][0]
    for got in found:
        assert_close(got, want.detach())


@pytest.mark.parametrize(
    "mode",
    [
        torch.autocast("cpu", torch.bfloat16),
        torch.autograd.graph.save_on_cpu(),
        torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor),
        torch.inference_mode(),
    ],
    ids=["autocast", "save on cpu", "hooks", "inference mode"],
)
def test_the_mode_in_which_a_stream_is_made_makes_no_difference(mode: AbstractContextManager[Any]) -> None:
    network, x = recurra.Recurrent(recurra.GRU(3, 6), engine="compiled").eval(), torch.randn(4, 3)
    with mode:
        first = network.stream()
        got = torch.stack([first.push(row) for row in x])
    second = network.stream()
    assert second.is_compiled
    assert_close(got.clone(), torch.stack([second.push(row) for row in x]))


def test_arrays_that_are_mapped_from_a_file_are_arrays(tmp_path: Path) -> None:
    stream, x = recurra.Recurrent(recurra.GRU(3, 4)).stream(), np.ones((5, 1, 3), np.float32)
    want = stream.push(x)
    x.tofile(tmp_path / "x")
    stream.reset()
    assert np.array_equal(stream.push(np.memmap(tmp_path / "x", np.float32, "r", shape=x.shape)), want)
