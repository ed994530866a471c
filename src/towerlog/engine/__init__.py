"""The verbs: the engine alone carries out commands, free of any transport."""
