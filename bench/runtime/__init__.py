"""What serves a model, wherever it runs: these files are also copied beside a model and run outside bench's environment."""
