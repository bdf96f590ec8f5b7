"""What people and programs read of runs and comparisons: renderers return str, bytes or dict, one place elsewhere writes."""
