"""What recorded runs say: pure functions from records to claims; nothing here prints, reads a clock or opens a file."""
