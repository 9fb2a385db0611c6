"""English-French sentence pairs from a grammar, with a held-out part that asks for recombination.

Every English sentence has one French translation, by these rules: you is vous, one person, masculine; I is masculine,
we and they are masculine plural (they is elles only after women were named); it and them follow the noun just named.
The simple past is a passé composé, or an imparfait for verbs of state; the progressive and the simple present are both
a present. Be, have, know, speak, want and can ask by inversion when the subject is a pronoun, and so do where one comes
from and what one's name is; all others ask with est-ce que. French puts an ordinary space (U+0020) before ? and !, so
that splitting on spaces is nearly a tokenizer. Greetings and courtesies stand without marks too, most in lower case.
"""

from pathlib import Path

from recurra.files import write_whole

from .generator import LARGEST, SMALLEST, Pair, Samples, generate

__all__ = ["LARGEST", "SMALLEST", "Pair", "Samples", "generate", "write"]


def write(folder: Path, seed: int = 0, num_pairs: int = 24_000) -> tuple[Path, Path]:
    """Writes `train.tsv` and `held_out.tsv` (header `source`, tab, `target`; UTF-8; line feeds) into the folder.

    Each file appears whole or not at all.

    Args:
        folder: made if it does not exist.
        seed: see `generate`.
        num_pairs: of both parts together, see `generate`.

    Returns:
        The two paths.
    """
    samples = generate(seed, num_pairs)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    parts = (folder / "train.tsv", samples.train), (folder / "held_out.tsv", samples.held_out)
    for path, pairs in parts:
        rows = "".join(f"{pair.source}\t{pair.target}\n" for pair in pairs)
        write_whole(path, f"source\ttarget\n{rows}")
    return parts[0][0], parts[1][0]
