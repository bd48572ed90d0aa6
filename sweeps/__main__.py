"""The programs of the command line: `python -m sweeps`."""

from sweeps.cli import programs

if __name__ == "__main__":
    programs.main()
