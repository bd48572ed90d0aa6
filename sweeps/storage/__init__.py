"""What is kept on disk: runs, their curves, weights, lanes in mid-training, and which sweep a directory holds."""
