"""The words: bilingual tables by meaning, so that verbs meet only objects that make sense."""
