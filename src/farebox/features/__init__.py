"""Features: optional parts that may rewrite a prompt, answer early or observe; independent of each other."""
