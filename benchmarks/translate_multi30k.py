"""The translate task with its default options on Multi30k, English to French, against the published recurrent system.

    python benchmarks/translate_multi30k.py --data multi30k/raw --out runs/multi30k

Trains on `train`, validates on `val`, scores `test_2016_flickr` with sacreBLEU 13a, lower-cased, beam 5. Published for
text alone: 52.5 (Caglayan et al. 2017, arXiv:1707.04481). Writes `benchmarks/results/translate_multi30k.json`.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import sacrebleu
import torch

import recurra
from recurra.data.lines import read_lines
from recurra.tasks.translate.fit import fit

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with train, val and test_2016_flickr .en/.fr.gz"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/multi30k"))
    args = parser.parse_args()
    if not (args.data / "train.en.gz").exists():
        print(f"`{args.data}` has no train.en.gz: the data of this benchmark is not here, nothing was measured.")
        return

    def files(part: str) -> list[Path]:
        return [args.data / f"{part}.{language}.gz" for language in ("en", "fr")]

    began = time.time()
    model = fit(*files("train"), validation=files("val"), out=args.out, overwrite=True)
    minutes = (time.time() - began) / 60
    result: dict[str, Any] = {
        "minutes_with_scoring": round(minutes, 1),
        "threads": torch.get_num_threads(),
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "recurra": recurra.__version__,
    }
    for part in ("val", "test_2016_flickr"):
        sources, references = ([line.text for line in read_lines(file)] for file in files(part))
        began = time.time()
        translations = model(sources)
        seconds = time.time() - began
        for name, lowercase in (("lower", True), ("mixed", False)):
            metric = sacrebleu.BLEU(lowercase=lowercase)
            score = metric.corpus_score(translations, [references])
            result[f"{part}_{name}"] = {"bleu": round(score.score, 2), "signature": str(metric.get_signature())}
        result[f"{part}_seconds_beam_5"] = round(seconds, 1)
        result[f"{part}_sentences"] = len(sources)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "translate_multi30k.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
