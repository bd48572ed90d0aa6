"""What people look at: the figure for print and the interactive page."""

from sweeps.report import methods as methods  # binds what is drawn to the diagrams
