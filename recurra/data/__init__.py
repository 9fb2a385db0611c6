"""How files become ragged batches: lines, pairs, checks, splits, vocabularies, batches."""
