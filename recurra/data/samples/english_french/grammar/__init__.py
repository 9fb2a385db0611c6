"""The rules: spelling, inflection, agreement and word order of the two languages, with no vocabulary of their own."""
