"""The same results on a GPU: every cell, torch's kernels there, ragged batches, training and translation."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import recurra
from recurra import Ragged
from recurra.cells import CELLS, GRU, LSTM, RNN, make_cell
from recurra.networks.decoding import beam_search, greedy
from recurra.tasks.prove import Settings, make_problem, prove
from recurra.tasks.translate import fit, load
from recurra.training import Interrupted, read_metrics
from tests.engine.engines import results
from tests.networks.decoding.models import BOS, EOS, Table
from tests.tasks.translate.test_fit import stop_at
from tests.tasks.translate.toy import OPTIONS, PAIRS, write_pairs
from tests.tolerance import assert_close

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
]
LENGTHS = [4, 0, 7, 1, 0, 12]


@pytest.fixture(autouse=True)
def _exact() -> Any:
    """Products in full single precision: TF32 keeps ten bits of each number."""
    kinds = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [kind.allow_tf32 for kind in kinds]
    for kind in kinds:
        kind.allow_tf32 = False
    yield
    for kind, allowed in zip(kinds, before, strict=True):
        kind.allow_tf32 = allowed


def ragged(cell: Any, lengths: list[int], dtype: torch.dtype) -> Ragged:
    return Ragged.from_list([torch.randn(length, *cell.input_shape, dtype=dtype) for length in lengths])


def both(cell: Any, x: Ragged, engine: str, **options: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Outputs, states and gradients: by the reference engine on the CPU, and by an engine on the GPU."""
    state = cell.initial_state(x.batch_size, dtype=x.values.dtype)
    want = results(cell, x, state, "reference", **options)
    there = copy.deepcopy(cell).cuda()
    state = there.State(*(field.cuda() for field in state))
    return want, results(there, x.to("cuda"), state, engine, **options)


def assert_all_close(found: dict[str, Tensor], expected: dict[str, Tensor], relative: float) -> None:
    for name, want in expected.items():
        assert found[name].device.type == "cuda", name
        assert_close(found[name].cpu(), want, relative=relative)


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_and_gradient_is_that_of_the_cpu(name: str) -> None:
    cell = make_cell(name, 4, 6, **({"size": (4, 5)} if name.startswith("conv") else {})).double()
    want, got = both(cell, ragged(cell, [3, 0, 5, 2], torch.float64), "reference")
    assert_all_close(got, want, 1e-9)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("dtype", "relative"), [(torch.float64, 1e-9), (torch.float32, 2e-5)], ids=str)
@pytest.mark.parametrize(
    "make",
    [
        lambda: LSTM(5, 7),
        lambda: LSTM(5, 7, proj_size=3),
        lambda: GRU(5, 7),
        lambda: RNN(5, 7),
        lambda: RNN(5, 7, activation="relu", bias=False),
    ],
    ids=["lstm", "lstm projected", "gru", "rnn", "rnn relu"],
)
def test_auto_takes_the_kernels_of_cudnn_and_they_compute_the_same(
    make: Any, dtype: torch.dtype, relative: float, reverse: bool
) -> None:
    cell = make().to(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # neither the Python loop nor weights out of place
        want, got = both(cell, ragged(cell, LENGTHS, dtype), "auto", reverse=reverse)
    assert_all_close(got, want, relative)


def test_a_cell_without_a_kernel_says_once_that_it_is_slow_there() -> None:
    cell = make_cell("indrnn", 4, 6).cuda()
    with pytest.warns(UserWarning, match=r"runs on the CPU, `x` is on cuda:0\. It runs on the reference engine"):
        recurra.scan(cell, torch.randn(3, 2, 4, device="cuda"))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_the_drop_in_layer_is_torchs(kind: str) -> None:
    ours = getattr(recurra.nn, kind)(5, 7, num_layers=2, bidirectional=True).cuda()
    theirs = getattr(nn, kind)(5, 7, num_layers=2, bidirectional=True).cuda()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(9, 3, 5, device="cuda")
    assert_close(ours(x)[0], theirs(x)[0], relative=1e-5)
    packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([4, 9, 2]), enforce_sorted=False)
    assert_close(ours(packed)[0].data, theirs(packed)[0].data, relative=1e-5)


def test_a_stream_takes_numbers_from_there_as_they_are() -> None:
    network, x = recurra.Recurrent(GRU(3, 5), engine="reference").double().cuda(), torch.randn(3).double()
    assert torch.equal(network.stream().push(x.cuda()), network.stream().push(x))


def test_ragged_batches_convert_both_ways() -> None:
    x = ragged(LSTM(5, 7), LENGTHS, torch.float64).to("cuda")
    for other in (
        Ragged.from_padded(x.to_padded(), x.lengths),
        Ragged.from_padded(x.to_padded(batch_first=True), x.lengths, batch_first=True),
        Ragged.from_list(x.to_list()),
        x.reverse().reverse(),
    ):
        assert other.values.device.type == "cuda"
        assert torch.equal(other.values, x.values)
        assert torch.equal(other.offsets.cpu(), x.offsets.cpu())


def test_a_stack_in_bf16_is_near_the_same_in_float32() -> None:
    layers = recurra.Recurrent(GRU(16, 32), num_layers=2, bidirectional=True, residual=True).cuda()
    x = torch.randn(12, 4, 16, device="cuda")
    want = layers(x)[0]
    with torch.autocast("cuda", torch.bfloat16):
        got = layers(x)[0]
    assert_close(got.float(), want, relative=3e-2)


@pytest.mark.parametrize("search", [greedy, beam_search])
def test_decoding_finds_what_it_finds_on_the_cpu(search: Any) -> None:
    here = Table.random(5, batch_size=4, vocab_size=6)
    there = Table(here.logits.cuda())
    options = {"bos": BOS, "eos": EOS, "max_length": 4}
    want, got = (search(table.step, table.start(), **options) for table in (here, there))
    for one, other in zip(got, want, strict=True):
        assert _tokens(one) == _tokens(other)


def _tokens(found: Any) -> list[list[int]]:
    return [each.tokens for each in (found if isinstance(found, list) else [found])]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_translator_learns_there_and_translates_anywhere(tmp_path: Path, precision: str) -> None:
    pairs = write_pairs(tmp_path / "pairs.tsv")
    options = {**OPTIONS, "device": "cuda", "precision": precision, "progress": "none"}
    fit(pairs, out=tmp_path / "run", validation=pairs, **options)
    for device in ("cuda", "cpu"):
        model = load(tmp_path / "run", device=device)
        assert model([source for source, _ in PAIRS]) == [target for _, target in PAIRS]


def test_a_training_goes_on_there_with_the_same_random_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = write_pairs(tmp_path / "pairs.tsv")
    options = {**OPTIONS, "device": "cuda", "dropout": 0.3, "max_steps": 20, "evaluate_every": 10, "progress": "none"}
    fit(pairs, out=tmp_path / "unbroken", **options)
    with monkeypatch.context() as patch:
        stop_at(patch, evaluation=1)
        with pytest.raises(Interrupted):
            fit(pairs, out=tmp_path / "run", **options)
    fit(out=tmp_path / "run", resume=True, progress="none")
    losses = [
        [row["loss"] for row in read_metrics(tmp_path / name / "metrics.jsonl") if row["split"] == "validation"]
        for name in ("run", "unbroken")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_a_cell_is_proven_there() -> None:
    problem = make_problem("parity", {"max_length": 2, "test_length": 4, "test_size": 8})
    outcome = prove(problem, "lstm", Settings(hidden_size=12, steps=60), device="cuda")
    assert outcome.steps == 60
