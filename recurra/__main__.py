"""`python -m recurra` is `recurra`, also for `torchrun -m recurra fit ...`."""

from recurra.cli.main import run

if __name__ == "__main__":
    run()
