"""What the tool measures of itself: whether its intervals, its times of streams and its reading of others are right."""
