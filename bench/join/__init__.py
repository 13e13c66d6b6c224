"""How right the join is: real captures with known truth, replayed as a stream, scored."""
