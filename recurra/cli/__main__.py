"""`python -m recurra.cli` is `recurra`, also for `torchrun -m recurra.cli fit ...`."""

from recurra.cli.main import run

if __name__ == "__main__":
    run()
