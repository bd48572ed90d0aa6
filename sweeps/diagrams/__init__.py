"""From stored runs to what is said of them: times, labels, cells, and the diagrams that are made of these."""
