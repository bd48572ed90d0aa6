"""What people look at: the figure for print and the interactive page."""
