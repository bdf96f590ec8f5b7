"""One verb a module: `arguments(parser)` states its flags, `run(args, out, say)` does it and returns the exit code."""
